//! Borrowing an operator's operands from the arena.
//!
//! After `Model::parse` every tensor lies within the arena and inputs don't overlap the output
//! (or are the very same range, where an operator works in place), so the empty slices that stand
//! for impossible ranges here never occur.

use crate::format::{OpFault, Tensor};

/// What lies before and after the output.
pub(crate) struct Inputs<'a> {
    before: &'a [i8],
    after: &'a [i8],
    after_start: usize,
}

/// Borrows the output to write and everything else to read.
pub(crate) fn split<'a>(arena: &'a mut [i8], output: &Tensor) -> (Inputs<'a>, &'a mut [i8]) {
    let start = (output.offset as usize).min(arena.len());
    let (before, rest) = arena.split_at_mut_checked(start).unwrap_or_default();
    let (output, after) = rest.split_at_mut_checked(output.len()).unwrap_or_default();
    let after_start = start.saturating_add(output.len());
    (Inputs { before, after, after_start }, output)
}

impl<'a> Inputs<'a> {
    /// The values of a tensor that doesn't overlap the output.
    pub(crate) fn get(&self, tensor: &Tensor) -> &'a [i8] {
        let start = tensor.offset as usize;
        let (values, start) = match start.checked_sub(self.after_start) {
            Some(start) => (self.after, start),
            None => (self.before, start),
        };
        values.get(start..).and_then(|values| values.get(..tensor.len())).unwrap_or_default()
    }
}

/// Borrows the longest stretch that neither input nor output has, the input, and the output to write;
/// `None` where these overlap.
pub(crate) fn split_room<'a>(
    arena: &'a mut [i8],
    input: &Tensor,
    output: &Tensor,
) -> Option<(&'a mut [i8], &'a [i8], &'a mut [i8])> {
    let is_ordered = input.offset <= output.offset;
    let (one, two) = if is_ordered { (input, output) } else { (output, input) };
    let (before, rest) = arena.split_at_mut_checked(one.offset as usize)?;
    let (first, rest) = rest.split_at_mut_checked(one.len())?;
    let between = (two.offset as usize).checked_sub(one.end())?;
    let (between, rest) = rest.split_at_mut_checked(between)?;
    let (second, after) = rest.split_at_mut_checked(two.len())?;
    let mut room = before;
    for other in [between, after] {
        if other.len() > room.len() {
            room = other;
        }
    }
    if is_ordered { Some((room, first, second)) } else { Some((room, second, first)) }
}

/// The output, holding the input's values: the start of an operator that works in place.
pub(crate) fn copied<'a>(arena: &'a mut [i8], input: &Tensor, output: &Tensor) -> &'a mut [i8] {
    let (inputs, out) = split(arena, output);
    if input.offset != output.offset {
        for (to, from) in out.iter_mut().zip(inputs.get(input)) {
            *to = *from;
        }
    }
    out
}

/// Element-wise operators keep the number of values.
pub(crate) fn same_len(input: &Tensor, output: &Tensor) -> Result<(), OpFault> {
    if input.len() == output.len() { Ok(()) } else { Err(OpFault::Shape) }
}

/// The first operand has as many values as the output; the second one as well, or as many as the
/// output has channels, or one: then it is repeated.
pub(crate) fn broadcast([first, second]: [&Tensor; 2], output: &Tensor) -> Result<(), OpFault> {
    same_len(first, output)?;
    let n = second.len();
    let fits = n == output.len() || n == output.shape.channels() || n == 1;
    if fits { Ok(()) } else { Err(OpFault::Shape) }
}

/// Each value of the output from the operands' values there; see [`broadcast`]. The output may be
/// the very same range as either or both of them.
pub(crate) fn zip_map(
    arena: &mut [i8],
    [first, second]: [&Tensor; 2],
    output: &Tensor,
    f: impl Fn(i8, i8) -> i8,
) {
    let (inputs, out) = split(arena, output);
    let is_output = |tensor: &Tensor| tensor.offset == output.offset;
    match (is_output(first), is_output(second)) {
        (true, true) => out.iter_mut().for_each(|y| *y = f(*y, *y)),
        (true, false) => {
            let b = inputs.get(second).iter().cycle();
            out.iter_mut().zip(b).for_each(|(y, &b)| *y = f(*y, b));
        }
        (false, true) => {
            let a = inputs.get(first);
            out.iter_mut().zip(a).for_each(|(y, &a)| *y = f(a, *y));
        }
        (false, false) => {
            let (a, b) = (inputs.get(first), inputs.get(second).iter().cycle());
            out.iter_mut().zip(a.iter().zip(b)).for_each(|(y, (&a, &b))| *y = f(a, b));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Shape;

    fn at(offset: u32, len: u16) -> Tensor {
        Tensor { offset, shape: Shape::flat(len), zero_point: 0 }
    }

    #[test]
    fn both_sides_of_the_output_can_be_read() {
        let mut arena = [0, 1, 2, 3, 4, 5];
        let (inputs, output) = split(&mut arena, &at(2, 2));
        assert_eq!(inputs.get(&at(0, 2)), [0, 1]);
        assert_eq!(inputs.get(&at(4, 2)), [4, 5]);
        assert_eq!(output, [2, 3]);
        assert_eq!(inputs.get(&at(1, 2)), [0; 0]);
        assert_eq!(inputs.get(&at(5, 2)), [0; 0]);
    }

    #[test]
    fn copies_unless_in_place() {
        let mut arena = [1, 2, 3, 4];
        assert_eq!(copied(&mut arena, &at(0, 2), &at(2, 2)), [1, 2]);
        assert_eq!(copied(&mut arena, &at(0, 2), &at(0, 2)), [1, 2]);
    }

    #[test]
    fn room_is_the_longest_stretch_that_is_left() {
        let mut arena: [i8; 12] = core::array::from_fn(|i| i as i8);
        for (input, output, found) in
            [((0, 2), (2, 1), (3, 9)), ((9, 3), (0, 2), (2, 7)), ((8, 1), (9, 3), (0, 8))]
        {
            let [x, y] = [input, output].map(|(offset, len)| at(offset, len));
            let (room, inputs, outputs) = split_room(&mut arena, &x, &y).unwrap();
            assert_eq!((room[0], room.len()), found);
            assert_eq!((inputs[0] as u32, inputs.len() as u16), input);
            assert_eq!((outputs[0] as u32, outputs.len() as u16), output);
        }
        let [x, y] = [(0, 5), (4, 3)].map(|(offset, len)| at(offset, len));
        assert!(split_room(&mut arena, &x, &y).is_none());
        assert!(split_room(&mut arena, &x, &at(9, 5)).is_none());
    }

    #[test]
    fn impossible_ranges_are_empty() {
        let mut arena = [0; 4];
        assert_eq!(split(&mut arena, &at(3, 2)).1, [0; 0]);
        assert_eq!(split(&mut arena, &at(9, 1)).1, [0; 0]);
    }
}
