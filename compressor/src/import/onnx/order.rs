//! In which order the numbers of a tensor are kept, as compared with the order of its ONNX shape.
//!
//! ONNX has channels before rows and columns, the runtime behind them. Nothing is moved at run
//! time for that: each tensor remembers how its numbers really lie, transpositions only change
//! what is remembered, and weights that read a tensor are put into its order.

use std::sync::Arc;

/// For each number as it is kept, its place in the order of the ONNX shape.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Order {
    /// None: kept as the shape says.
    places: Option<Arc<[u32]>>,
}

impl Order {
    /// As the shape says.
    pub(super) const LOGICAL: Self = Self { places: None };

    pub(super) fn new(places: Vec<u32>) -> Self {
        let logical = places.iter().enumerate().all(|(at, &place)| at == place as usize);
        Self { places: (!logical).then(|| places.into()) }
    }

    /// Channels, the first dimension, behind all others.
    pub(super) fn channels_last(dims: &[usize]) -> Self {
        let [channels, rest @ ..] = dims else { return Self::LOGICAL };
        let positions: usize = rest.iter().product();
        if *channels == 1 || positions == 1 {
            return Self::LOGICAL;
        }
        let place = |at: usize| (at % channels * positions + at / channels) as u32;
        Self::new((0..channels * positions).map(place).collect())
    }

    pub(super) fn is_logical(&self) -> bool {
        self.places.is_none()
    }

    /// The place in the shape's order of the number that is kept at `at`.
    pub(super) fn place(&self, at: usize) -> usize {
        match &self.places {
            None => at,
            Some(places) => places.get(at).map_or(at, |&place| place as usize),
        }
    }

    /// The order of the transposed tensor: its dimension `i` is dimension `permutation[i]` of
    /// `dims`, and nothing was moved.
    pub(super) fn transposed(&self, dims: &[usize], permutation: &[usize]) -> Self {
        let new_dims: Vec<usize> = permutation.iter().map(|&axis| dims[axis]).collect();
        let (old, new) = (strides(dims), strides(&new_dims));
        let len: usize = dims.iter().product();
        let place = |at: usize| {
            let place = self.place(at);
            let axes = permutation.iter().zip(&new);
            axes.map(|(&axis, step)| place / old[axis] % dims[axis] * step).sum::<usize>() as u32
        };
        Self::new((0..len).map(place).collect())
    }

    /// Of vectors, one behind the other.
    pub(super) fn joined<'a>(parts: impl Iterator<Item = (&'a Self, usize)>) -> Self {
        let mut places = Vec::new();
        for (order, len) in parts {
            let start = places.len();
            places.extend((0..len).map(|at| (start + order.place(at)) as u32));
        }
        Self::new(places)
    }
}

/// How far apart neighbours along each dimension are.
pub(super) fn strides(dims: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; dims.len()];
    for axis in (0..dims.len().saturating_sub(1)).rev() {
        strides[axis] = strides[axis + 1] * dims[axis + 1];
    }
    strides
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transposition_there_and_back_is_nothing() {
        let dims = [2, 3, 4];
        let there = Order::LOGICAL.transposed(&dims, &[1, 2, 0]);
        let back = there.transposed(&[3, 4, 2], &[2, 0, 1]);
        assert!(!there.is_logical() && back.is_logical());
    }

    #[test]
    fn channels_last_is_the_transposition_of_an_image() {
        // Kept as rows × columns × channels and then seen as channels × rows × columns.
        let seen = Order::LOGICAL.transposed(&[3, 4, 2], &[2, 0, 1]);
        assert_eq!(seen, Order::channels_last(&[2, 3, 4]));
        assert_eq!(seen.place(1), 12, "the second channel of the first pixel");
        assert!(Order::channels_last(&[1, 3, 4]).is_logical());
    }

    #[test]
    fn vectors_are_joined_one_behind_the_other() {
        let swapped = Order::new(vec![1, 0]);
        let joined = Order::joined([(&swapped, 2), (&Order::LOGICAL, 1)].into_iter());
        assert_eq!(joined, Order::new(vec![1, 0, 2]));
    }
}
