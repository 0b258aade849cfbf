//! The two operands of a sum, a difference or a product: repeated or negated where the runtime's
//! operators don't do it themselves.

use bitsback_runtime::format::{Clamp, Window};
use bitsback_runtime::requantize::{Multiplier, requantize};

use super::convert::{Converter, Site};
use crate::graph::ops::{IntegerConcat, IntegerDepthwiseConv2d};
use crate::graph::{IntegerValue, Matrix, Origin, ValueId};
use crate::import::ImportError;
use crate::numbers::Quantization;

/// Most copies of an operand side by side.
const MAX_COPIES: usize = 1024;
/// Positions that a sum's operands are shifted before their factors.
const LEFT_SHIFT: u32 = 20;

/// Operands as the runtime takes them.
pub(super) struct Operands {
    /// The one that fills the output first.
    pub(super) inputs: [ValueId; 2],
    /// Whether that is the file's second.
    pub(super) swapped: bool,
    pub(super) output: ValueId,
}

impl<'a> Converter<'a> {
    /// The operands of a sum or product.
    pub(super) fn operands(&mut self, site: &Site<'a>) -> Result<Operands, ImportError> {
        let first = self.operand(site, 0, "its first operand")?;
        let second = self.operand(site, 1, "its second operand")?;
        self.arranged(site, first, second)
    }

    /// Two values, the one that fills the output first; the other has as many values, or one, or
    /// one per channel, or is repeated until it fills the output.
    pub(super) fn arranged(
        &mut self,
        site: &Site<'a>,
        first: ValueId,
        second: ValueId,
    ) -> Result<Operands, ImportError> {
        let output = self.result(site)?;
        let whole = self.of(output).dims.clone();
        let mut inputs = [first, second];
        let fills =
            |converter: &Self, id: ValueId| converter.of(id).len() == converter.of(output).len();
        if !inputs.iter().any(|&id| fills(self, id)) {
            inputs[0] = self.filled(site, inputs[0], &whole)?;
        }
        // A constant comes second, so that a product with it can become weights.
        let [a, b] = inputs;
        let constant = matches!(self.of(a).origin, Origin::Constant(_));
        let swapped = !fills(self, a) || constant && fills(self, b);
        if swapped {
            inputs.reverse();
        }
        let small = self.of(inputs[1]);
        let per_channel =
            small.len() == *whole.last().unwrap_or(&0) && small.dims.last() == whole.last();
        if !fills(self, inputs[1]) && small.len() != 1 && !per_channel {
            inputs[1] = self.filled(site, inputs[1], &whole)?;
        }
        Ok(Operands { inputs, swapped, output })
    }

    /// A value that is repeated along dimensions of 1 until it has the dimensions of `whole`.
    fn filled(
        &mut self,
        site: &Site<'a>,
        id: ValueId,
        whole: &[usize],
    ) -> Result<ValueId, ImportError> {
        let mut dims = self.of(id).dims.clone();
        let missing = whole.len().checked_sub(dims.len());
        let wrong = |dims: &[usize]| {
            let problem = "operands must be equal in shape, or have 1 where they are repeated";
            site.shape_error(problem, &[dims, whole])
        };
        let missing = missing.ok_or_else(|| wrong(&dims))?;
        dims.splice(0..0, vec![1; missing]);
        if dims.iter().zip(whole).any(|(&dim, &all)| dim != 1 && dim != all) {
            return Err(wrong(&dims));
        }
        let mut id = id;
        for axis in (0..whole.len()).rev() {
            if dims[axis] != whole[axis] {
                let outer = dims[..axis].iter().product();
                let inner = whole[axis + 1..].iter().product();
                id = self.repeated(site, id, [outer, whole[axis], inner])?;
                dims[axis] = whole[axis];
            }
        }
        Ok(id)
    }

    /// From outer × inner values to outer × count × inner.
    fn repeated(
        &mut self,
        site: &Site<'a>,
        id: ValueId,
        [outer, count, inner]: [usize; 3],
    ) -> Result<ValueId, ImportError> {
        let value = self.of(id).clone();
        let written = IntegerValue { dims: vec![outer, count, inner], ..value.clone() };
        self.count(written.len())?;
        if let Origin::Constant(constant) = &value.origin {
            let copies = constant.chunks(inner.max(1)).flat_map(|part| vec![part; count]);
            let origin = Origin::Constant(copies.flatten().copied().collect());
            return Ok(self.add_value(IntegerValue { origin, ..written }));
        }
        let view = IntegerValue { origin: Origin::View(id, 0), ..value };
        if inner == 1 {
            let read = self.add_value(IntegerValue { dims: vec![outer, 1, 1], ..view });
            let dims = vec![outer, 1, count];
            let copies = self.add_value(IntegerValue { dims, origin: Origin::Computed, ..written });
            let (op, layer) = (ONE_TAP, each(count, 1));
            self.push_layer(site, op, layer, vec![read], copies);
            return Ok(copies);
        }
        if count > MAX_COPIES {
            let (what, found) = ("copies of an operand", count);
            return Err(ImportError::TooMany { what, found, limit: MAX_COPIES });
        }
        let read = self.add_value(IntegerValue { dims: vec![outer, 1, inner], ..view });
        let copies = self.add_value(IntegerValue { origin: Origin::Computed, ..written });
        self.push(site, IntegerConcat { axis: 1 }, vec![read; count], copies);
        Ok(copies)
    }

    /// The same real values with the other sign, exactly: q becomes −1 − q, and so does the zero
    /// point.
    pub(super) fn negated(&mut self, site: &Site<'a>, id: ValueId) -> ValueId {
        let value = self.of(id).clone();
        let Quantization { scale, zero_point } = value.quantization;
        let quantization = Quantization { scale, zero_point: !zero_point };
        let negative = IntegerValue { quantization, ..value.clone() };
        if let Origin::Constant(constant) = &value.origin {
            let origin = Origin::Constant(constant.iter().map(|q| !q).collect());
            return self.add_value(IntegerValue { origin, ..negative });
        }
        let dims = vec![value.len(), 1, 1];
        let read = self.add_value(IntegerValue {
            dims: dims.clone(),
            origin: Origin::View(id, 0),
            ..value
        });
        let origin = Origin::Computed;
        let written = self.add_value(IntegerValue { dims, origin, ..negative.clone() });
        let (op, layer) = (ONE_TAP, each(1, -1));
        self.push_layer(site, op, layer, vec![read], written);
        self.add_value(IntegerValue { origin: Origin::View(written, 0), ..negative })
    }

    fn add_value(&mut self, value: IntegerValue) -> ValueId {
        self.graph.values.push(value);
        self.graph.values.len() - 1
    }
}

const ONE_TAP: IntegerDepthwiseConv2d = IntegerDepthwiseConv2d {
    window: Window { size: [1, 1], stride: [1, 1], padding: [0, 0] },
    dilation: [1, 1],
};

/// One weight for each of some channels, whose products stay as they are.
fn each(rows: usize, weight: i16) -> Matrix {
    Matrix {
        rows,
        columns: 1,
        bits: 8,
        values: vec![weight; rows],
        multipliers: vec![Multiplier::ONE],
        ..Matrix::default()
    }
}

/// A difference as TensorFlow Lite Micro computes it.
pub(super) struct Difference {
    /// Factors of both operands.
    pub(super) factors: [Multiplier; 2],
    pub(super) zero_points: [i8; 2],
    /// Factor of what is left.
    pub(super) rest: Multiplier,
    pub(super) zero_point: i8,
    pub(super) clamp: Clamp,
}

impl Difference {
    /// The second factor of the sum with the second operand's negative that gives the same for all
    /// operands. Products round ties up whatever their sign, so that it may have to be a little
    /// more or less than the difference's.
    pub(super) fn mirrored(&self) -> Option<Multiplier> {
        let [first, second] = self.factors;
        let scaled = |factor: Multiplier, at: usize, sign: i32| {
            (i8::MIN..=i8::MAX)
                .map(|q| (i32::from(q) - i32::from(self.zero_points[at])) << LEFT_SHIFT)
                .map(|x| factor.apply(sign * x))
                .collect::<Vec<i32>>()
        };
        let (whole, taken) = (scaled(first, 0, 1), scaled(second, 1, 1));
        let result = |sum: i32| self.clamp.apply(requantize(sum, self.rest, self.zero_point));
        [0, -1, 1]
            .map(|step| Multiplier { value: second.value.saturating_add(step), ..second })
            .into_iter()
            .find(|&candidate| {
                taken.iter().zip(scaled(candidate, 1, -1)).all(|(&taken, added)| {
                    added == -taken || whole.iter().all(|&x| result(x - taken) == result(x + added))
                })
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::tflite::builder::{Field, I8, ModelBuilder, single};

    const ADD: i32 = 0;
    const SUB: i32 = 41;

    #[test]
    fn differences() {
        let of = |constant_first: bool| {
            let mut builder = single(SUB, &[1, 2, 2], &[1, 2, 2], vec![]);
            let constant = builder.typed(&[2], I8, &[3, 0xfe], 0.5, 1); // 2 and −3 above the zero
            let operands = if constant_first { vec![constant, 0] } else { vec![0, constant] };
            builder.operators[0][1].1 = Field::I32s(operands);
            builder.run(&[1, 2, 10, -20])
        };
        assert_eq!(of(false), [-1, 5, 8, -17]);
        assert_eq!(of(true), [3, -3, -6, 19]);
        let mut builder = ModelBuilder::new();
        let input = builder.tensor(&[1, 3], 0.5, 1);
        let limited = builder.tensor(&[1, 3], 0.5, 1);
        builder.operator(19, &[input], limited, vec![]);
        let output = builder.tensor(&[1, 3], 0.5, 0);
        builder.operator(SUB, &[input, limited], output, vec![]);
        (builder.inputs, builder.outputs) = (vec![input], vec![output]);
        assert_eq!(builder.run(&[-128, 1, 100]), [-128, 0, 0]);
    }

    #[test]
    fn operands_are_repeated_along_any_dimension() {
        let inputs = [1, 2, 3, 4, 5, 6, 7, 8];
        let table: [(i32, &[i32]); 3] =
            [(1, &[1, 1, 2, 2]), (2, &[1, 2, 1, 2]), (3, &[1, 2, 2, 1])];
        for (axis, reduced) in table {
            // The largest along a dimension, added to all.
            let mut builder = ModelBuilder::new();
            let (input, axes) = (builder.tensor(&[1, 2, 2, 2], 1.0, 0), builder.integers(&[axis]));
            let largest = builder.tensor(reduced, 1.0, 0);
            builder.operator(82, &[input, axes], largest, vec![]);
            let output = builder.tensor(&[1, 2, 2, 2], 1.0, 0);
            builder.operator(ADD, &[largest, input], output, vec![]);
            (builder.inputs, builder.outputs) = (vec![input], vec![output]);
            // Positions that differ in the dimension differ in this bit.
            let bit = 1 << (3 - axis);
            let expected = (0..8).map(|at| inputs[at] + inputs[at | bit]);
            assert_eq!(builder.run(&inputs), expected.collect::<Vec<i8>>(), "{axis}");
        }
    }

    #[test]
    fn constants_are_repeated_and_what_does_not_fit_is_refused() {
        let with = |shape: &[i32], bytes: &[u8]| {
            let mut builder = single(ADD, &[1, 3, 2], &[1, 3, 2], vec![]);
            let constant = builder.typed(shape, I8, bytes, 0.5, 0);
            builder.operators[0][1].1 = Field::I32s(vec![0, constant]);
            builder
        };
        assert_eq!(with(&[3, 1], &[1, 2, 3]).run(&[0; 6]), [1, 1, 2, 2, 3, 3]);
        let error = with(&[3], &[1, 2, 3]).refused();
        assert!(matches!(error, ImportError::Shape { .. }), "{error}");
    }

    #[test]
    fn sums_give_every_difference() {
        // Half divides everything; the others make ties of some products, of both signs.
        for value in [1 << 30, (1 << 30) + (1 << 10), (1 << 30) + 8, 0x5a5a_5a58, i32::MAX - 7] {
            for zero_points in [[i8::MIN, i8::MAX], [3, -3], [0, 0]] {
                let half = Multiplier { value: 1 << 30, shift: 0 };
                let second = Multiplier { value, shift: -1 };
                let rest = Multiplier { value: 0x4b3d_8af1, shift: -19 };
                let difference = Difference {
                    factors: [half, second],
                    zero_points,
                    rest,
                    zero_point: 5,
                    clamp: Clamp::NONE,
                };
                let found = difference.mirrored().unwrap();
                assert!((i64::from(found.value) - i64::from(value)).abs() <= 1);
            }
        }
    }

    #[test]
    fn a_difference_that_depends_on_a_tie_is_refused() {
        // Every product is a tie, of either sign, and nothing is rounded behind it.
        let difference = Difference {
            factors: [Multiplier { value: 1 << 30, shift: 0 }; 2]
                .map(|m| Multiplier { value: m.value + (1 << 10), ..m }),
            zero_points: [0, 0],
            rest: Multiplier::ONE,
            zero_point: 0,
            clamp: Clamp::NONE,
        };
        assert_eq!(difference.mirrored(), None);
    }
}
