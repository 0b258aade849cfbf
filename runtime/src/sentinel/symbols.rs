//! What an inference is to its sentinel: a symbol of each statistic.

use super::{Answers, Look, MAPPED_CLASSES, MAX_CLASSES, ORDINALS, Sentinel, mean};
use crate::decision::lead;

/// The symbols of an inference. Those of statistics that the sentinel doesn't have are 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Symbols {
    /// Bins of answer, brightness and roughness, 0 to 7.
    pub bins: [u8; ORDINALS],
    /// The class symbol, 0 to 9; 10 for a class that the section can't be about.
    pub class: u8,
}

impl Sentinel<'_> {
    /// The symbols of an inference: of a look at its input, and the model's output.
    pub fn symbols(&self, look: Look, output: &[i8]) -> Symbols {
        let (bins, class) = self.places(look, output);
        Symbols { bins: bins.map(|bin| bin as u8), class: class as u8 }
    }

    /// The same in words, which no core has to pack.
    #[inline(always)]
    pub(super) fn places(&self, look: Look, output: &[i8]) -> ([usize; ORDINALS], usize) {
        let (class, answer) = self.answers().of(output);
        let [of_answer, of_brightness, of_roughness] = self.edges();
        let answer = if self.has_answer() { bin(of_answer, answer.into()) } else { 0 };
        let (brightness, roughness) = if self.has_inputs() {
            let shift = self.shift().into();
            let brightness = bin(of_brightness, look.brightness.wrapping_shr(shift));
            (brightness, bin(of_roughness, look.roughness.wrapping_shr(shift)))
        } else {
            (0, 0)
        };
        let class = if self.has_classes() { self.class_symbol(class) } else { 0 };
        ([answer, brightness, roughness], class)
    }

    /// The class itself, or its place in the map, or that of the others.
    #[inline(always)]
    fn class_symbol(&self, class: usize) -> usize {
        match self.map_numbers().len() {
            0 => class.min(MAX_CLASSES),
            _ => self.mapped(class),
        }
    }

    #[inline(never)]
    fn mapped(&self, class: usize) -> usize {
        let place = self.map_numbers().position(|number| usize::from(number) == class);
        place.unwrap_or(MAPPED_CLASSES)
    }
}

impl Answers {
    /// The class of an output, and its answer: how far the largest score leads, or the mean of values. 0 of what
    /// there isn't.
    #[inline(always)]
    pub fn of(self, output: &[i8]) -> (usize, u8) {
        match self {
            Self::Scores => lead(output),
            _ => self.of_others(output),
        }
    }

    #[cold]
    #[inline(never)]
    fn of_others(self, output: &[i8]) -> (usize, u8) {
        match (self, output) {
            (Self::Values, output) => (0, mean(output)),
            (Self::Class, &[low, high]) => {
                (usize::from(u16::from_le_bytes([low as u8, high as u8])), 0)
            }
            _ => (0, 0),
        }
    }
}

/// The number of edges that a value has reached, of seven that ascend.
#[cfg_attr(bitsback_isa = "dsp", inline(always))]
#[cfg_attr(not(bitsback_isa = "dsp"), inline(never))]
fn bin(edges: &[i16; 7], value: i32) -> usize {
    let reached = |at: usize| edges.get(at).is_some_and(|&edge| i32::from(edge) <= value);
    let mut bin = if reached(3) { 4 } else { 0 };
    if reached(bin | 1) {
        bin |= 2;
    }
    if reached(bin) {
        bin |= 1;
    }
    bin
}

#[cfg(test)]
mod tests {
    use super::super::testing::{draft, kinds, model};
    use super::*;
    use crate::Model;
    use crate::sentinel::{Draft, ORDINALS};
    use crate::writer::set_sentinel;
    use proptest::prelude::*;

    /// The symbols of a look and an output, of a model with this section.
    fn symbols((draft, values, class): &(Draft, u16, bool), look: Look, output: &[i8]) -> Symbols {
        let mut file = model(*values, *class);
        set_sentinel(&mut file, &draft.to_bytes().unwrap());
        let model = Model::parse(&file).unwrap();
        Sentinel::new(&model).unwrap().unwrap().symbols(look, output)
    }

    #[test]
    fn an_edge_belongs_to_the_bin_above_it() {
        let of = draft(10);
        let [brightness, roughness] = of.inputs.unwrap();
        let shift = of.shift;
        for bin in 0..7u8 {
            let at = |edges: [i16; 7]| i32::from(edges[usize::from(bin)]);
            let lead = at(of.answer.unwrap().edges);
            for below in [0, 1] {
                let look = Look {
                    brightness: (at(brightness.edges) << shift) - below,
                    roughness: (at(roughness.edges) << shift) - below,
                };
                let mut output = [-128; 10];
                output[4] = (lead - below - 128) as i8;
                let found = symbols(&(of.clone(), 10, false), look, &output);
                let expected = bin + 1 - below as u8;
                assert_eq!(found, Symbols { bins: [expected; ORDINALS], class: 4 });
            }
        }
    }

    #[test]
    fn classes_of_every_kind_of_model() {
        let kinds = kinds();
        let class =
            |kind: usize, output: &[i8]| symbols(&kinds[kind], Look::default(), output).class;
        let one = |class: usize| -> [i8; 1000] { core::array::from_fn(|i| i8::from(i == class)) };
        assert_eq!(class(0, &one(7)[..10]), 7);
        for (number, symbol) in [(1, 0), (3, 1), (7, 2), (300, 3), (999, 4), (0, 5), (998, 5)] {
            assert_eq!(class(2, &one(number)), symbol, "{number}");
            let output = (number as u16).to_le_bytes().map(|byte| byte as i8);
            assert_eq!(class(9, &output), symbol, "{number}");
        }
        assert_eq!((class(8, &[9, 0]), class(8, &[0, 1]), class(8, &[])), (9, 10, 0));
        assert_eq!((class(4, &one(7)[..10]), class(10, &[5])), (0, 0));
    }

    proptest! {
        #[test]
        fn bins_are_numbers_of_edges(
            output in prop::collection::vec(any::<i8>(), 10),
            brightness in -2000i32..2000, roughness: i32, kind in 0usize..13,
        ) {
            let look = Look { brightness, roughness };
            let kind = &kinds()[kind];
            let output = if kind.2 { &output[..2] } else { &output[..] };
            let found = symbols(kind, look, output);
            let reached = |edges: [i16; 7], value: i32| {
                edges.iter().filter(|&&edge| i32::from(edge) <= value).count() as u8
            };
            let draft = &kind.0;
            let answer = if draft.values { mean(output) } else { lead(output).1 };
            let expected = draft.answer.map_or(0, |of| reached(of.edges, answer.into()));
            prop_assert_eq!(found.bins[0], expected);
            let looks = [brightness, roughness].map(|sum| sum >> draft.shift);
            for (at, sum) in looks.into_iter().enumerate() {
                let expected = draft.inputs.map_or(0, |of| reached(of[at].edges, sum));
                prop_assert_eq!(found.bins[at + 1], expected);
            }
        }
    }
}
