//! Decoded filters that `dsp` makes lists of: which ones, what that takes, and what their products take at a
//! group of positions. Follows `runtime/src/arch/dsp/lists.rs`.

use std::ops::Range;

use super::counts::Counts;
use super::finish::CHUNK;

/// Least positions, and weights of a filter, for which lists are made: `runtime/src/ops/conv2d.rs`.
const LEAST_POSITIONS: usize = 16;
const LEAST_COLUMNS: usize = 64;
/// Columns of a group, and weights of it in each half of words.
const GROUP: usize = 4;
const HALF: usize = 2;
/// Bytes of an entry, and of two, which a head has as well.
const ENTRY: usize = 2;
const PAIR: usize = 4;

/// Whether lists may be made of filters of so many columns that meet so many positions.
pub(super) fn may_be(columns: usize, positions: usize) -> bool {
    positions >= LEAST_POSITIONS && columns >= LEAST_COLUMNS
}

/// How many pieces windows of so many values are gathered in, of at most `most`, and groups of each but the
/// last: all of almost the same size.
pub(super) fn pieces(columns: usize, most: usize) -> (usize, usize) {
    let groups = columns.div_ceil(GROUP);
    let step = groups.div_ceil(columns.div_ceil(most).max(1)).max(1);
    (groups.div_ceil(step).max(1), step)
}

/// A filter as a list: pairs of entries, of each half of each piece.
type List = Vec<[usize; 2]>;

/// The filters of a layer, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Lists {
    /// Pieces of a window, and groups of each but the last.
    pieces: usize,
    step: usize,
    /// `None` is a row.
    filters: Vec<Option<List>>,
    /// Groups that were looked at, entries that were written, and weights of rows.
    groups: usize,
    entries: usize,
    copied: usize,
}

impl Lists {
    /// None so far, of windows of so many values, which are gathered in pieces of at most `most`.
    pub(super) fn new(columns: usize, most: usize) -> Self {
        let (pieces, step) = pieces(columns, most);
        Self { pieces, step, ..Self::default() }
    }

    /// Adds a filter.
    pub(super) fn add(&mut self, weights: &[u8]) {
        let list = self.list(weights);
        if list.is_none() {
            self.copied += weights.len();
        }
        self.filters.push(list);
    }

    /// A filter's list, unless that would take longer than the row.
    fn list(&mut self, weights: &[u8]) -> Option<List> {
        let mut room = (weights.len() / 16 * 13) & !(PAIR - 1);
        let mut list = List::with_capacity(self.pieces);
        for piece in weights.chunks(self.step * GROUP) {
            room = room.checked_sub(PAIR)?;
            let mut pairs = [0; 2];
            for (half, pairs) in pairs.iter_mut().enumerate() {
                let mut used = 0;
                for group in piece.chunks(GROUP) {
                    self.groups += 1;
                    let weights = group.iter().skip(half * HALF).take(HALF);
                    for _ in weights.filter(|&&weight| weight != 0) {
                        if used == room {
                            return None;
                        }
                        used += ENTRY;
                        self.entries += 1;
                    }
                }
                *pairs = used.div_ceil(PAIR);
                room = room.checked_sub(*pairs * PAIR)?;
            }
            list.push(pairs);
        }
        Some(list)
    }

    /// Whether a filter is a row, and no list.
    pub(super) fn is_row(&self, filter: usize) -> bool {
        matches!(self.filters.get(filter), Some(None))
    }

    /// Counts what it takes to make them.
    pub(super) fn count_making(&self, counts: &mut Counts) {
        let rows = self.filters.iter().filter(|list| list.is_none()).count();
        counts.add("listed", self.filters.len() as f64);
        counts.add("listed-group", self.groups as f64);
        counts.add("listed-entry", self.entries as f64);
        counts.add("unlisted", rows as f64);
        counts.add("unlisted-weight", self.copied as f64);
    }

    /// Counts the products of some filters at so many groups of positions; returns how many of them are
    /// rows.
    pub(super) fn count(&self, counts: &mut Counts, filters: Range<usize>, groups: f64) -> usize {
        let filters = self.filters.get(filters).unwrap_or_default();
        let (mut lists, mut pairs, mut turns, mut rows, mut runs) = (0, 0, 0, 0, 0);
        for chunk in filters.chunks(CHUNK) {
            let mut is_run = false;
            for filter in chunk {
                runs += usize::from(filter.is_none() && !is_run);
                is_run = filter.is_none();
                let Some(list) = filter else {
                    rows += 1;
                    continue;
                };
                lists += 1;
                let halves = || list.iter().flatten();
                pairs += halves().sum::<usize>();
                // Two pairs are a turn.
                turns += halves().map(|pairs| pairs.div_ceil(2)).sum::<usize>();
            }
        }
        let pieces = self.pieces as f64;
        // A piece's list lies behind those of the pieces before.
        let heads = pieces * (pieces + 1.0) / 2.0;
        counts.add_all(
            groups,
            [
                ("list", pieces * f64::from(lists)),
                ("list-head", heads * f64::from(lists)),
                ("list-pair", pairs as f64),
                ("list-turn", turns as f64),
                // Rows between lists, one after the other.
                ("list-run", pieces * runs as f64),
                ("list-row", pieces * rows as f64),
            ],
        );
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A filter with weights other than 0 at these places.
    fn filter(columns: usize, used: impl IntoIterator<Item = usize>) -> Vec<u8> {
        let mut weights = vec![0; columns];
        used.into_iter().for_each(|at| weights[at] = 0xFF);
        weights
    }

    #[test]
    fn pieces_are_of_whole_groups() {
        for (columns, expected) in [(1, (1, 1)), (192, (1, 48)), (193, (2, 25)), (500, (3, 42))] {
            assert_eq!(pieces(columns, 192), expected, "{columns}");
        }
        assert_eq!(pieces(577, usize::MAX), (1, 145));
    }

    #[test]
    fn filters_of_few_weights_are_lists() {
        let mut lists = Lists::new(64, 192);
        // 52 bytes of 64: a head, and 24 entries, of which halves have an even number.
        lists.add(&filter(64, [0, 1, 5, 6, 63]));
        lists.add(&filter(64, (0..64).filter(|at| at % 4 < 2).take(24)));
        lists.add(&filter(64, (0..64).filter(|at| at % 4 < 2).take(25)));
        lists.add(&filter(64, []));
        let found = [Some(vec![[2, 1]]), Some(vec![[12, 0]]), None, Some(vec![[0, 0]])];
        assert_eq!(lists.filters, found);
        let mut counts = Counts::default();
        lists.count_making(&mut counts);
        assert_eq!([counts.get("listed"), counts.get("unlisted-weight")], [4.0, 64.0]);
        // The third one ends at its 13th group.
        assert_eq!(counts.get("listed-group"), 3.0 * 32.0 + 13.0);
        assert_eq!(counts.get("listed-entry"), 5.0 + 24.0 + 24.0);
        let mut counts = Counts::default();
        assert_eq!(lists.count(&mut counts, 0..4, 10.0), 1);
        assert_eq!([counts.get("list"), counts.get("list-run")], [30.0, 10.0]);
        assert_eq!([counts.get("list-pair"), counts.get("list-turn")], [150.0, 80.0]);
        assert_eq!(lists.count(&mut counts, 3..4, 10.0), 0);
    }

    #[test]
    fn each_piece_has_a_list() {
        let mut lists = Lists::new(200, 192);
        lists.add(&filter(200, [0, 99, 100, 101, 103]));
        // Pieces of 100: the last of the first one is in the upper half, as 103 is.
        assert_eq!(lists.filters, [Some(vec![[1, 1], [1, 1]])]);
        let mut counts = Counts::default();
        lists.count(&mut counts, 0..1, 1.0);
        assert_eq!([counts.get("list"), counts.get("list-head")], [2.0, 3.0]);
    }
}
