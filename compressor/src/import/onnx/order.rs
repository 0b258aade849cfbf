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

    /// Whether it is [`Order::channels_last`], without making that one where this is logical.
    pub(super) fn is_channels_last(&self, dims: &[usize]) -> bool {
        match (&self.places, dims) {
            (None, [channels, rest @ ..]) => *channels == 1 || rest.iter().all(|&dim| dim == 1),
            (None, []) => true,
            (Some(_), _) => *self == Self::channels_last(dims),
        }
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

    /// The numbers as they are kept, as rows over the dimensions for which `inner` holds; `None`
    /// where these don't lie together, or not in the same order everywhere.
    pub(super) fn rows(&self, dims: &[usize], inner: impl Fn(usize) -> bool) -> Option<Rows> {
        let len: usize = dims.iter().product();
        let split = splitter(dims, &inner);
        let width = dims.iter().enumerate().filter(|&(axis, _)| inner(axis));
        let width: usize = width.map(|(_, &dim)| dim).product();
        let mut rows = Rows { outer: Vec::new(), inner: Vec::new() };
        for at in 0..len {
            let [outer, inner] = split(self.place(at));
            if at % width == 0 {
                rows.outer.push(outer);
            }
            if at < width {
                rows.inner.push(inner);
            }
            if rows.outer[at / width] != outer || rows.inner[at % width] != inner {
                return None;
            }
        }
        Some(rows)
    }

    /// The numbers as they are kept, as outer × middle × inner ones, of which the middle ones are the
    /// steps of the dimensions for which `goes` holds; `None` where these don't lie together.
    pub(super) fn around(&self, dims: &[usize], goes: impl Fn(usize) -> bool) -> Option<Around> {
        let split = splitter(dims, goes);
        let len: usize = dims.iter().product();
        let places: Vec<[usize; 2]> = (0..len).map(|at| split(self.place(at))).collect();
        let middle = places.iter().map(|[_, step]| step + 1).max()?;
        let first = places.first()?[1];
        let run = places.iter().take_while(|[_, step]| *step == first).count();
        let inner = if middle == 1 { len } else { run };
        let block = inner * middle;
        if !len.is_multiple_of(block) {
            return None;
        }
        let kept = |at: usize| at / block * block + at % inner;
        let regular = places.iter().enumerate().all(|(at, &[left, step])| {
            left == places[kept(at)][0] && step == places[at % block / inner * inner][1]
        });
        let left = (0..len).filter(|&at| kept(at) == at).map(|at| places[at][0]).collect();
        regular.then_some(Around { outer: len / block, middle, inner, left })
    }

    /// Of the tensor of which a dimension was cut to `count` steps, `step` apart, from `start` on;
    /// what was cut off is not kept.
    pub(super) fn cut(&self, dims: &[usize], cut: &Cut) -> Self {
        let Cut { axis, start, step, count } = *cut;
        let mut new_dims = dims.to_vec();
        new_dims[axis] = count;
        let (old, new) = (strides(dims), strides(&new_dims));
        let len: usize = dims.iter().product();
        let places = (0..len).filter_map(|at| {
            let place = self.place(at);
            let along = (place / old[axis] % dims[axis]).checked_sub(start)?;
            if !along.is_multiple_of(step) || along / step >= count {
                return None;
            }
            let axes = dims.iter().enumerate().map(|(other, &dim)| {
                let index = if other == axis { along / step } else { place / old[other] % dim };
                index * new[other]
            });
            Some(axes.sum::<usize>() as u32)
        });
        Self::new(places.collect())
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

/// For a place in the shape's order, its places among the dimensions for which `second` doesn't hold,
/// and among those for which it does.
fn splitter(dims: &[usize], second: impl Fn(usize) -> bool) -> impl Fn(usize) -> [usize; 2] {
    let strides = strides(dims);
    move |place| {
        let axes = dims.iter().zip(&strides).enumerate();
        axes.fold([0, 0], |mut sums, (axis, (&dim, &stride))| {
            let sum = &mut sums[usize::from(second(axis))];
            *sum = *sum * dim + place / stride % dim;
            sums
        })
    }
}

/// Numbers as they are kept, around those of some dimensions.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Around {
    pub(super) outer: usize,
    pub(super) middle: usize,
    pub(super) inner: usize,
    /// For each number that is left without these dimensions, its place in the order of the others.
    pub(super) left: Vec<usize>,
}

/// Numbers as they are kept, in rows of one length.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rows {
    /// For each row, its place in the order of the outer dimensions.
    pub(super) outer: Vec<usize>,
    /// For each number of a row, its place in the order of the inner ones.
    pub(super) inner: Vec<usize>,
}

/// What is left of a dimension.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    pub(super) axis: usize,
    pub(super) start: usize,
    pub(super) step: usize,
    pub(super) count: usize,
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
        assert!(seen.is_channels_last(&[2, 3, 4]) && !seen.is_channels_last(&[4, 3, 2]));
        assert!(Order::LOGICAL.is_channels_last(&[1, 3, 4]));
        assert!(Order::LOGICAL.is_channels_last(&[5, 1]));
        assert!(!Order::LOGICAL.is_channels_last(&[2, usize::MAX, usize::MAX]));
    }

    #[test]
    fn rows_lie_together_or_there_are_none() {
        let image = Order::channels_last(&[2, 2, 3]);
        let pixels = image.rows(&[2, 2, 3], |axis| axis == 0).unwrap();
        assert_eq!((pixels.outer, pixels.inner), (vec![0, 1, 2, 3, 4, 5], vec![0, 1]));
        assert_eq!(image.rows(&[2, 2, 3], |axis| axis == 2), None);
        let positions = Order::LOGICAL.rows(&[2, 2, 3], |axis| axis > 0).unwrap();
        assert_eq!(positions.outer, [0, 1]);
        // Dimensions of 1 make no difference.
        assert!(Order::channels_last(&[4, 1, 1]).rows(&[4, 1, 1], |axis| axis <= 1).is_some());
    }

    #[test]
    fn dimensions_that_go_lie_together_or_not() {
        let image = Order::channels_last(&[2, 3, 4]);
        let around = |order: &Order, goes: &[usize]| {
            let around = order.around(&[2, 3, 4], |axis| goes.contains(&axis))?;
            Some([around.outer, around.middle, around.inner])
        };
        assert_eq!(around(&image, &[1, 2]), Some([1, 12, 2]));
        assert_eq!(around(&image, &[2]), Some([3, 4, 2]));
        assert_eq!(around(&image, &[0]), Some([12, 2, 1]));
        assert_eq!(around(&image, &[0, 1, 2]), Some([1, 24, 1]));
        assert_eq!(around(&image, &[0, 1]), None);
        assert_eq!(around(&Order::LOGICAL, &[0, 1]), Some([1, 6, 4]));
        let left = image.around(&[2, 3, 4], |axis| axis == 2).unwrap().left;
        assert_eq!(left, [0, 3, 1, 4, 2, 5]);
    }

    #[test]
    fn a_cut_keeps_the_order_of_what_is_left() {
        let image = Order::channels_last(&[3, 2, 2]);
        let channels = Cut { axis: 0, start: 1, step: 1, count: 2 };
        assert_eq!(image.cut(&[3, 2, 2], &channels), Order::channels_last(&[2, 2, 2]));
        let columns = Cut { axis: 2, start: 0, step: 2, count: 2 };
        assert_eq!(
            Order::channels_last(&[2, 2, 4]).cut(&[2, 2, 4], &columns),
            Order::channels_last(&[2, 2, 2])
        );
        assert!(
            Order::LOGICAL.cut(&[5], &Cut { axis: 0, start: 4, step: 1, count: 1 }).is_logical()
        );
    }

    #[test]
    fn vectors_are_joined_one_behind_the_other() {
        let swapped = Order::new(vec![1, 0]);
        let joined = Order::joined([(&swapped, 2), (&Order::LOGICAL, 1)].into_iter());
        assert_eq!(joined, Order::new(vec![1, 0, 2]));
    }
}
