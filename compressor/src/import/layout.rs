//! In which order an ONNX model's input has its dimensions.
//!
//! The file doesn't say whether `1 × 8 × 8 × 3` is an image of three channels or of eight: what its
//! operators do with the dimensions does. Each tensor remembers which of the input's dimensions its
//! own are ([`Lineage`]); operators that know what they read (convolutions, poolings, parameters per
//! channel) say what that makes of the input ([`Evidence`]). Where none says anything, an order is
//! assumed, and whoever asked is told so.

use serde::Serialize;

use super::At;
use crate::data::Layout;

/// Most channels that decide about an order where nothing else does: colours, and alpha.
const MAX_COLOURS: usize = 4;

impl Layout {
    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::ChannelsFirst => "channels-first",
            Self::ChannelsLast => "channels-last",
        }
    }

    /// Its place in pairs of what is known of each order: [first, last].
    fn place(self) -> usize {
        usize::from(self == Self::ChannelsLast)
    }

    pub(super) fn other(self) -> Self {
        match self {
            Self::ChannelsFirst => Self::ChannelsLast,
            Self::ChannelsLast => Self::ChannelsFirst,
        }
    }

    /// What dimensions without the batch look like. Images are channels first in most files; what
    /// ends with colours, and doesn't begin with them, has them last. Sequences stay as they are.
    pub(super) fn guess(dims: &[usize]) -> Self {
        match *dims {
            [first, _, last] if first <= MAX_COLOURS || last > MAX_COLOURS => Self::ChannelsFirst,
            _ => Self::ChannelsLast,
        }
    }
}

/// How the order of an input is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Basis {
    /// The operators leave no other.
    Proved,
    /// The caller said so.
    Given,
    /// Nothing says: it is the likelier one.
    Assumed,
}

/// The order of a model's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct InputLayout {
    /// The order.
    pub layout: Layout,
    /// How it is known.
    pub basis: Basis,
}

impl InputLayout {
    /// What is said where the order was assumed; `key`, in front of its name, states another.
    pub fn assumption(self, key: &str) -> Option<String> {
        let Self { layout, basis } = self;
        let text = format!(
            "the model's operators don't show in which order its input has its dimensions: {} is \
             assumed (`{key}{}` says the other)",
            layout.name(),
            layout.other().name()
        );
        (basis == Basis::Assumed).then_some(text)
    }
}

/// Which of the input's dimensions the dimensions of a tensor are, where that is known.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Lineage(Vec<Option<usize>>);

impl Lineage {
    /// Of the input itself.
    pub(super) fn of_input(rank: usize) -> Self {
        Self((0..rank).map(Some).collect())
    }

    pub(super) fn get(&self, axis: usize) -> Option<usize> {
        self.0.get(axis).copied().flatten()
    }

    /// Dimension `i` of the transposed tensor is dimension `permutation[i]`.
    pub(super) fn transposed(&self, permutation: &[usize]) -> Self {
        Self(permutation.iter().map(|&axis| self.get(axis)).collect())
    }

    /// Without a dimension.
    pub(super) fn without(mut self, axis: usize) -> Self {
        if let Some(parent) = self.0.get_mut(axis) {
            *parent = None;
        }
        self
    }

    /// Of the same numbers in other dimensions: those that are equal from the front on, and those
    /// from the back on, are the same. Dimensions of 1 come and go.
    pub(super) fn reshaped(&self, from: &[usize], to: &[usize]) -> Self {
        let wide = |dims: &[usize]| -> Vec<(usize, usize)> {
            dims.iter().copied().enumerate().filter(|&(_, dim)| dim != 1).collect()
        };
        let (from, wide_to) = (wide(from), wide(to));
        let mut parents = vec![None; to.len()];
        let mut keep = |pairs: &mut dyn Iterator<Item = (&(usize, usize), &(usize, usize))>| {
            for (&(old, old_dim), &(new, new_dim)) in pairs {
                if old_dim != new_dim {
                    break;
                }
                parents[new] = self.get(old);
            }
        };
        keep(&mut from.iter().zip(&wide_to));
        keep(&mut from.iter().rev().zip(wide_to.iter().rev()));
        Self(parents)
    }
}

/// What operators say about the input's order.
#[derive(Clone, Debug, Default)]
pub(super) struct Evidence {
    /// Dimensions of the input; 0 where it is neither an image nor a sequence.
    rank: usize,
    /// The first operator that can't be understood otherwise, by order.
    proofs: [Option<At>; 2],
    /// The first that would be odd otherwise.
    hints: [bool; 2],
}

/// What a dimension is to an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Channels,
    Position,
}

impl Evidence {
    pub(super) fn of_rank(rank: usize) -> Self {
        Self { rank, ..Self::default() }
    }

    /// What follows if the input's dimension `parent` plays a role: an inner one plays it in either
    /// order.
    fn layout(&self, parent: Option<usize>, role: Role) -> Option<Layout> {
        let end = match parent? {
            0 => Layout::ChannelsFirst,
            last if last + 1 == self.rank => Layout::ChannelsLast,
            _ => return None,
        };
        Some(if role == Role::Channels { end } else { end.other() })
    }

    /// An operator for which a dimension must play a role.
    pub(super) fn prove(&mut self, at: &At, parent: Option<usize>, role: Role) {
        if let Some(layout) = self.layout(parent, role) {
            self.proofs[layout.place()].get_or_insert_with(|| at.clone());
        }
    }

    /// An operator for which it plays it most likely.
    pub(super) fn hint(&mut self, parent: Option<usize>, role: Role) {
        if let Some(layout) = self.layout(parent, role) {
            self.hints[layout.place()] = true;
        }
    }

    /// Both orders' proofs, if operators contradict one another.
    pub(super) fn contradiction(&self) -> Option<[&At; 2]> {
        let [first, last] = &self.proofs;
        Some([first.as_ref()?, last.as_ref()?])
    }

    /// The operator that proves an order.
    pub(super) fn proof(&self, layout: Layout) -> Option<&At> {
        self.proofs[layout.place()].as_ref()
    }

    /// The order that is proved, or else the one that alone is hinted at.
    pub(super) fn layout_known(&self) -> Option<Layout> {
        let all = [Layout::ChannelsFirst, Layout::ChannelsLast];
        let proved = all.into_iter().find(|&layout| self.proof(layout).is_some());
        let hinted = match self.hints {
            [true, false] => Some(Layout::ChannelsFirst),
            [false, true] => Some(Layout::ChannelsLast),
            _ => None,
        };
        proved.or(hinted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dimensions_are_followed_through_transpositions_and_reshapes() {
        let input = Lineage::of_input(3);
        assert_eq!(input.transposed(&[2, 0, 1]).get(0), Some(2));
        let gray = input.reshaped(&[8, 6, 1], &[1, 8, 6]);
        assert_eq!([0, 1, 2].map(|axis| gray.get(axis)), [None, Some(0), Some(1)]);
        let rows = input.reshaped(&[8, 6, 3], &[48, 3]);
        assert_eq!([0, 1].map(|axis| rows.get(axis)), [None, Some(2)]);
        let flat = input.reshaped(&[8, 6, 3], &[144]);
        assert_eq!(flat.get(0), None);
    }

    #[test]
    fn roles_of_the_outer_dimensions_decide() {
        let at = At { index: 0, operator: "Conv".into(), output: "y".into() };
        let known = |parent, role| {
            let mut evidence = Evidence::of_rank(3);
            evidence.prove(&at, parent, role);
            evidence.layout_known()
        };
        assert_eq!(known(Some(0), Role::Channels), Some(Layout::ChannelsFirst));
        assert_eq!(known(Some(0), Role::Position), Some(Layout::ChannelsLast));
        assert_eq!(known(Some(2), Role::Channels), Some(Layout::ChannelsLast));
        assert_eq!(known(Some(2), Role::Position), Some(Layout::ChannelsFirst));
        assert_eq!((known(Some(1), Role::Position), known(None, Role::Channels)), (None, None));
    }

    #[test]
    fn proofs_go_before_hints_and_hints_must_agree() {
        let at = At { index: 0, operator: "Conv".into(), output: "y".into() };
        let mut evidence = Evidence::of_rank(3);
        evidence.hint(Some(2), Role::Channels);
        assert_eq!(evidence.layout_known(), Some(Layout::ChannelsLast));
        evidence.hint(Some(0), Role::Channels);
        assert_eq!(evidence.layout_known(), None);
        evidence.prove(&at, Some(0), Role::Channels);
        assert_eq!(evidence.layout_known(), Some(Layout::ChannelsFirst));
        assert!(evidence.contradiction().is_none());
        evidence.prove(&at, Some(0), Role::Position);
        assert!(evidence.contradiction().is_some());
    }

    #[test]
    fn colours_at_the_end_are_channels() {
        let table: [(&[usize], Layout); 6] = [
            (&[3, 32, 32], Layout::ChannelsFirst),
            (&[32, 32, 3], Layout::ChannelsLast),
            (&[8, 8, 1], Layout::ChannelsLast),
            (&[1, 8, 8], Layout::ChannelsFirst),
            (&[16, 16, 16], Layout::ChannelsFirst),
            (&[50, 4], Layout::ChannelsLast),
        ];
        for (dims, layout) in table {
            assert_eq!(Layout::guess(dims), layout, "{dims:?}");
        }
    }
}
