//! The two operands of a sum, a difference or a product: repeated or negated where the runtime's
//! operators don't do it themselves.

use bitsback_runtime::format::{Clamp, Window};
use bitsback_runtime::requantize::Multiplier;

use super::convert::{Converter, Site};
use crate::import::ImportError;
use crate::integer_graph::{Kind, Matrix, Origin, Value, ValueId};

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
        let written = Value { dims: vec![outer, count, inner], ..value.clone() };
        self.count(written.len())?;
        if let Origin::Constant(constant) = &value.origin {
            let copies = constant.chunks(inner.max(1)).flat_map(|part| vec![part; count]);
            let origin = Origin::Constant(copies.flatten().copied().collect());
            return Ok(self.add_value(Value { origin, ..written }));
        }
        let view = Value { origin: Origin::View(id), ..value };
        if inner == 1 {
            let read = self.add_value(Value { dims: vec![outer, 1, 1], ..view });
            let dims = vec![outer, 1, count];
            let copies = self.add_value(Value { dims, origin: Origin::Computed, ..written });
            let kind = Kind::DepthwiseConv2d(ONE_TAP, [1, 1], each(count, 1));
            self.push(site, kind, vec![read], copies);
            return Ok(copies);
        }
        if count > MAX_COPIES {
            let (what, found) = ("copies of an operand", count);
            return Err(ImportError::TooMany { what, found, limit: MAX_COPIES });
        }
        let read = self.add_value(Value { dims: vec![outer, 1, inner], ..view });
        let copies = self.add_value(Value { origin: Origin::Computed, ..written });
        self.push(site, Kind::Concat(1), vec![read; count], copies);
        Ok(copies)
    }

    /// The same real values with the other sign, exactly: q becomes −1 − q, and so does the zero
    /// point.
    pub(super) fn negated(&mut self, site: &Site<'a>, id: ValueId) -> ValueId {
        let value = self.of(id).clone();
        let negative = Value { zero_point: !value.zero_point, ..value.clone() };
        if let Origin::Constant(constant) = &value.origin {
            let origin = Origin::Constant(constant.iter().map(|q| !q).collect());
            return self.add_value(Value { origin, ..negative });
        }
        let dims = vec![value.len(), 1, 1];
        let read = self.add_value(Value { dims: dims.clone(), origin: Origin::View(id), ..value });
        let origin = Origin::Computed;
        let written = self.add_value(Value { dims, origin, ..negative.clone() });
        let kind = Kind::DepthwiseConv2d(ONE_TAP, [1, 1], each(1, -1));
        self.push(site, kind, vec![read], written);
        self.add_value(Value { origin: Origin::View(written), ..negative })
    }

    fn add_value(&mut self, value: Value) -> ValueId {
        self.graph.values.push(value);
        self.graph.values.len() - 1
    }
}

const ONE_TAP: Window = Window { size: [1, 1], stride: [1, 1], padding: [0, 0] };

/// One weight for each of some channels, whose products stay as they are.
fn each(rows: usize, weight: i16) -> Matrix {
    Matrix {
        rows,
        columns: 1,
        bits: 8,
        values: vec![weight; rows],
        bias: Vec::new(),
        multipliers: vec![Multiplier::ONE],
        clamp: Clamp::NONE,
    }
}

/// The factor by which a sum takes −x to what a difference takes away for x. Products round ties
/// up whatever their sign, so that it may have to be a little more or less than `factor`; of a
/// value with this `zero_point`.
pub(super) fn mirrored(factor: Multiplier, zero_point: i8) -> Option<Multiplier> {
    let nearby =
        [0, -1, 1].map(|step| Multiplier { value: factor.value.saturating_add(step), ..factor });
    nearby.into_iter().find(|candidate| {
        (i8::MIN..=i8::MAX).all(|q| {
            let x = (i32::from(q) - i32::from(zero_point)) << LEFT_SHIFT;
            candidate.apply(-x) == -factor.apply(x)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirrored_factor_gives_the_opposite_of_every_product() {
        // 1/2 divides everything; 2³⁰ + 2¹⁰ makes a tie of every odd number.
        assert_eq!(
            mirrored(Multiplier { value: 1 << 30, shift: 0 }, 5).map(|m| m.value),
            Some(1 << 30)
        );
        for value in [(1 << 30) + (1 << 10), (1 << 30) + (1 << 11), 0x5a5a_5a5a, i32::MAX - 1] {
            for zero_point in [i8::MIN, -3, 0, i8::MAX] {
                let factor = Multiplier { value, shift: -2 };
                let found = mirrored(factor, zero_point).unwrap();
                for q in i8::MIN..=i8::MAX {
                    let x = (i32::from(q) - i32::from(zero_point)) << LEFT_SHIFT;
                    assert_eq!(found.apply(-x), -factor.apply(x), "{value} {zero_point} {q}");
                }
            }
        }
    }
}
