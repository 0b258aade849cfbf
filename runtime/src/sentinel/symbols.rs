//! What an inference is to its sentinel: a symbol of each statistic.

use super::{Answers, Look, MAPPED_CLASSES, MAX_CLASSES, ORDINALS, Sentinel, mean};
use crate::decision::lead;

/// The symbols of an inference. Those of statistics that the sentinel doesn't have are 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Symbols {
    /// Bins of answer, brightness and roughness, 0 to 7.
    pub bins: [u8; ORDINALS],
    /// The class symbol, 0 to 9.
    pub class: u8,
}

impl Sentinel<'_> {
    /// The symbols of an inference: of a look at its input, and the model's output.
    pub fn symbols(&self, look: Look, output: &[i8]) -> Symbols {
        let (class, answer) = match (self.answers(), output) {
            (Answers::Scores, output) => lead(output),
            (Answers::Values, output) => (0, mean(output)),
            (Answers::Class, &[low, high]) => {
                (usize::from(u16::from_le_bytes([low as u8, high as u8])), 0)
            }
            _ => (0, 0),
        };
        let mut bins = [0; ORDINALS];
        let [answer_bin, brightness, roughness] = &mut bins;
        if let Some(edges) = self.answer_edges() {
            *answer_bin = bin(edges, |&edge| edge <= answer);
        }
        let sums = [(brightness, look.brightness), (roughness, look.roughness)];
        for ((place, sum), edges) in sums.into_iter().zip(self.input_edges()) {
            let sum = sum.wrapping_shr(self.shift().into());
            *place = bin(edges, |&edge| i32::from(i16::from_le_bytes(edge)) <= sum);
        }
        let class = if self.has_classes() { self.class_symbol(class) } else { 0 };
        Symbols { bins, class }
    }

    /// The class itself, or its place in the map, or that of the others.
    fn class_symbol(&self, class: usize) -> u8 {
        let mut numbers = self.map_numbers();
        let symbol = match numbers.len() {
            0 => class,
            _ => numbers.position(|number| usize::from(number) == class).unwrap_or(MAPPED_CLASSES),
        };
        symbol.min(MAX_CLASSES.wrapping_sub(1)) as u8
    }
}

/// The number of edges that a value has reached, of seven that ascend.
fn bin<E>(edges: &[E; 7], reached: impl Fn(&E) -> bool) -> u8 {
    let mut bin = 0u8;
    for step in [4, 2, 1] {
        let edge = usize::from(bin.wrapping_add(step).wrapping_sub(1));
        if edges.get(edge).is_some_and(&reached) {
            bin = bin.wrapping_add(step);
        }
    }
    bin
}
