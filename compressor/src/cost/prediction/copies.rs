//! Copies of stretches of values: what they take depends on their length, and on cores without vectors
//! on where both begin within a word.

use std::collections::BTreeMap;

use super::cores::{Family, Kernels};
use super::counts::Counts;

/// Shorter ones are copied byte by byte.
const LONG: usize = 16;
const WORD: usize = 4;

/// Stretches that are copied: where to and where from, by what a division by a word leaves, their length,
/// and how many there are.
#[derive(Debug, Default)]
pub(super) struct Copies(BTreeMap<([usize; 2], usize), f64>);

impl Copies {
    /// Adds so many stretches of `len` values.
    pub(super) fn add(&mut self, to: usize, from: usize, len: usize, count: f64) {
        if len > 0 {
            *self.0.entry(([to % WORD, from % WORD], len)).or_default() += count;
        }
    }

    /// Counts `times` as many.
    pub(super) fn count(&self, kernels: &Kernels, times: f64, counts: &mut Counts) {
        for (&([to, from], len), &count) in &self.0 {
            let count = count * times;
            counts.add("copy", count);
            match kernels.family {
                Family::Vectors | Family::Neon => {
                    counts.add("copy-vector", count * len.div_ceil(LONG) as f64);
                    let rest = if len >= LONG { 0 } else { len % 8 };
                    counts.add("copy-rest", count * rest as f64);
                    counts.add("copy-whole", count * (len / LONG) as f64);
                }
                _ if len < LONG => counts.add("copy-byte", count * len as f64),
                _ => {
                    // Bytes up to a word's beginning, words, and bytes again.
                    let head = (WORD - to) % WORD;
                    let (words, tail) = ((len - head) / WORD, (len - head) % WORD);
                    counts.add("copy-long", count);
                    counts.add("copy-ends", count * (head + tail) as f64);
                    if to == from {
                        counts.add("copy-word", count * words as f64);
                    } else {
                        counts.add("copy-askew", count);
                        counts.add("copy-askew-word", count * words as f64);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::cores::Core;
    use super::*;

    #[test]
    fn stretches_are_words_and_what_is_left() {
        let mut copies = Copies::default();
        copies.add(1, 5, 20, 2.0);
        copies.add(0, 1, 16, 1.0);
        copies.add(3, 3, 7, 1.0);
        copies.add(3, 3, 0, 1.0);
        let counted = |core: Core| {
            let mut counts = Counts::default();
            copies.count(&core.kernels(), 1.0, &mut counts);
            counts
        };
        let counts = counted(Core::CortexM3);
        for (name, expected) in [
            ("copy", 4.0),
            ("copy-byte", 7.0),
            ("copy-long", 3.0),
            // Three bytes to the word, then one behind four words.
            ("copy-ends", 2.0 * (3.0 + 1.0)),
            ("copy-word", 2.0 * 4.0),
            ("copy-askew", 1.0),
            ("copy-askew-word", 4.0),
        ] {
            assert_eq!(counts.get(name), expected, "{name}");
        }
        let counts = counted(Core::CortexM55);
        assert_eq!([counts.get("copy"), counts.get("copy-vector")], [4.0, 6.0]);
    }
}
