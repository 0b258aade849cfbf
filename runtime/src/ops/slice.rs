//! Some of a tensor's values, at equal distances along each dimension.

use heapless::Vec;
use serde::{Deserialize, Serialize};

use super::Operator;
use super::operands::split;
use crate::arch::{Isa, Kernels};
use crate::format::{MAX_RANK, OpFault, Source, Tensor, read_fields};

/// y\[i\] = x\[begin + i · stride\] in every dimension; how many follows from the output's shape. TFLite's
/// `STRIDED_SLICE` and `SLICE`, without steps backwards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slice {
    /// Input.
    pub input: Source,
    /// Output, of the input's rank and zero point.
    pub output: Tensor,
    /// The first position, per dimension.
    pub begin: Vec<u16, MAX_RANK, u8>,
    /// From a position to the next one, per dimension.
    pub stride: Vec<u16, MAX_RANK, u8>,
}

read_fields!(Slice { input, output, begin, stride });

/// A dimension.
#[derive(Clone, Copy)]
struct Axis {
    input: usize,
    output: usize,
    begin: usize,
    stride: usize,
}

impl Axis {
    const ONE: Self = Self { input: 1, output: 1, begin: 0, stride: 1 };

    /// Whether all positions that are read exist.
    fn is_sound(&self) -> bool {
        let steps = (self.output as u64).saturating_sub(1);
        let last = (self.begin as u64).saturating_add(steps.saturating_mul(self.stride as u64));
        self.stride > 0 && last < self.input as u64
    }

    /// Whether it is read as it is.
    fn is_whole(&self) -> bool {
        self.input == self.output && self.stride == 1
    }

    /// Where a position is read.
    fn at(&self, position: usize) -> usize {
        self.begin.wrapping_add(position.wrapping_mul(self.stride))
    }

    /// It and the dimension below as one: that one is whole, and this one has no gaps.
    fn with(&self, below: &Self) -> Self {
        Self {
            input: self.input.wrapping_mul(below.input),
            output: self.output.wrapping_mul(below.output),
            begin: self.begin.wrapping_mul(below.input),
            stride: 1,
        }
    }
}

impl Slice {
    /// The dimensions, with ones before them; `None` where ranks differ.
    fn axes(&self, input: &Tensor) -> Option<[Axis; MAX_RANK]> {
        let (from, to) = (input.shape.dims(), self.output.shape.dims());
        let rank = to.len();
        if from.len() != rank || self.begin.len() != rank || self.stride.len() != rank {
            return None;
        }
        let mut axes = [Axis::ONE; MAX_RANK];
        let fields = from.iter().zip(to).zip(self.begin.iter().zip(&self.stride));
        for (axis, ((&input, &output), (&begin, &stride))) in
            axes.iter_mut().rev().zip(fields.rev())
        {
            let [input, output, begin, stride] = [input, output, begin, stride].map(usize::from);
            *axis = Axis { input, output, begin, stride };
        }
        Some(axes)
    }
}

impl Operator for Slice {
    fn check(&self, previous: &Tensor, _section: &[u8]) -> Result<(), OpFault> {
        let input = self.input.resolve(previous);
        let axes = self.axes(input).ok_or(OpFault::Shape)?;
        if !axes.iter().all(Axis::is_sound) {
            return Err(OpFault::Shape);
        }
        if input.zero_point == self.output.zero_point { Ok(()) } else { Err(OpFault::ZeroPoint) }
    }

    fn steps(&self, _previous: &Tensor) -> u64 {
        self.output.len() as u64
    }

    fn run(&self, previous: &Tensor, _section: &[u8], arena: &mut [i8]) {
        let input = self.input.resolve(previous);
        let (inputs, output) = split(arena, &self.output);
        let Some(mut axes) = self.axes(input) else { return };
        // Long rows are copied fast.
        for _ in 1..MAX_RANK {
            let [a, b, c, d] = axes;
            if d.is_whole() && c.stride == 1 {
                axes = [Axis::ONE, a, b, c.with(&d)];
            }
        }
        let [a, b, c, d] = axes;
        let values = inputs.get(input);
        // `max(1)`: there are values, but the compiler can't know.
        let mut rows = output.chunks_exact_mut(d.output.max(1));
        for i in (0..a.output).map(|i| a.at(i).wrapping_mul(b.input)) {
            for j in (0..b.output).map(|j| i.wrapping_add(b.at(j)).wrapping_mul(c.input)) {
                for k in (0..c.output).map(|k| j.wrapping_add(c.at(k)).wrapping_mul(d.input)) {
                    let from = values.get(k.wrapping_add(d.begin)..).unwrap_or_default();
                    let Some(row) = rows.next() else { return };
                    if d.stride == 1 {
                        Isa::copy(row, from);
                    } else {
                        let from = from.iter().step_by(d.stride.max(1));
                        row.iter_mut().zip(from).for_each(|(y, &x)| *y = x);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Op;
    use crate::ops::testing::{fault, run, tensor, values};
    use proptest::prelude::*;

    fn op(place: u32, dims: &[u16], begin: &[u16], stride: &[u16]) -> Op {
        let [begin, stride] = [begin, stride].map(|of| of.iter().copied().collect());
        let output = tensor(place, dims, 0);
        Op::Slice(Slice { input: Source::Previous, output, begin, stride })
    }

    /// Per dimension: begin, stride, how many are read, and how many follow.
    fn axis() -> impl Strategy<Value = [u16; 4]> {
        let any = [0u16..3, 1u16..4, 1u16..5, 0u16..3];
        let whole = (1u16..5).prop_map(|len| [0, 1, len, 0]);
        prop_oneof![2 => any, 1 => whole]
    }

    proptest! {
        #[test]
        fn matches_the_oracle(axes in proptest::collection::vec(axis(), 1..=4), x in values(20_736)) {
            let of = |f: fn(&[u16; 4]) -> u16| axes.iter().map(f).collect::<std::vec::Vec<u16>>();
            let (begin, stride, inner) = (of(|a| a[0]), of(|a| a[1]), of(|a| a[2]));
            let outer = of(|a| a[0] + (a[2] - 1) * a[1] + 1 + a[3]);
            let input = tensor(0, &outer, 0);
            let x = &x[..input.len()];
            let op = op(x.len() as u32, &inner, &begin, &stride);
            let found = run(&input, &[op], &[], x).unwrap();
            for (i, &value) in found.iter().enumerate() {
                let (mut rest, mut at, mut step) = (i, 0, 1);
                for axis in (0..axes.len()).rev() {
                    let position = rest % usize::from(inner[axis]);
                    rest /= usize::from(inner[axis]);
                    at += (usize::from(begin[axis]) + position * usize::from(stride[axis])) * step;
                    step *= usize::from(outer[axis]);
                }
                prop_assert_eq!(value, x[at], "{}", i);
            }
        }
    }

    #[test]
    fn each_fault() {
        let input = tensor(0, &[4, 6], 0);
        let fault_of = |op: Op| fault(&input, op, &[]);
        assert_eq!(fault_of(op(24, &[2, 2], &[1, 1], &[2, 4])), None);
        for (dims, begin, stride) in [
            (&[2, 2][..], &[2, 1][..], &[2, 4][..]),
            (&[2, 2], &[1, 2], &[2, 4]),
            (&[2, 2], &[1, 1], &[0, 4]),
            (&[2, 2], &[1], &[2, 4]),
            (&[2, 2], &[1, 1], &[2]),
            (&[4], &[1], &[1]),
            (&[2, 2], &[1, 1], &[u16::MAX, 4]),
        ] {
            assert_eq!(fault_of(op(24, dims, begin, stride)), Some(OpFault::Shape), "{dims:?}");
        }
        assert_eq!(fault_of(op(20, &[2, 2], &[1, 1], &[2, 4])), Some(OpFault::Overlap));
        let shifted = tensor(0, &[4, 6], 1);
        let fault = fault(&shifted, op(24, &[2, 2], &[0, 0], &[1, 1]), &[]);
        assert_eq!(fault, Some(OpFault::ZeroPoint));
    }
}
