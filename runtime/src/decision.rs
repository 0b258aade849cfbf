//! What a model says of an input: a class, or that it isn't sure.
//!
//! A model whose file has a margin m is sure of its largest output where that is at least m steps above
//! every other output. Outputs that are saturated or equal by chance lead by nothing, so that any margin
//! makes such an answer unsure. The compressor chooses m so that the error among the answers that are sure
//! keeps a promise; here it is a comparison of integers.

use core::hint::black_box;

/// What a model says of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(all(feature = "defmt", target_os = "none"), derive(defmt::Format))]
pub enum Decision {
    /// The class that [`crate::Interpreter::class`] gives, and the model is sure of it.
    Class(usize),
    /// No output is far enough above all others.
    Unsure,
}

impl Decision {
    /// The class, if the model is sure.
    pub fn class(self) -> Option<usize> {
        match self {
            Self::Class(class) => Some(class),
            Self::Unsure => None,
        }
    }
}

/// The position of the largest output, the first of equals, and by how many steps it leads all others:
/// 0 of equals, and the most of fewer than two outputs, which have nothing to be compared with.
#[cfg_attr(not(bitsback_isa = "dsp"), inline(never))]
pub fn lead(outputs: &[i8]) -> (usize, u8) {
    let Some((&value, rest)) = outputs.split_first() else { return (0, u8::MAX) };
    // In words, which no core has to extend.
    let (mut first, mut second) = (i32::from(value), i32::from(i8::MIN));
    // How many there are from the largest one on. In memory: a branch takes less than what the compiler would
    // have all outputs do instead.
    let mut left = outputs.len();
    black_box(&mut left);
    let mut rest = rest.iter();
    while let Some(&value) = rest.next() {
        let value = i32::from(value);
        if value > second {
            if value > first {
                left = rest.len().wrapping_add(1);
                (first, second) = (value, first);
            } else {
                second = value;
            }
        }
    }
    let lead = if outputs.len() < 2 { u8::MAX } else { first.wrapping_sub(second) as u8 };
    (outputs.len().wrapping_sub(left), lead)
}

/// What outputs say, for a margin.
pub(crate) fn decide(outputs: &[i8], margin: u8) -> Decision {
    let (class, lead) = lead(outputs);
    if lead >= margin { Decision::Class(class) } else { Decision::Unsure }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{Clamp, Source};
    use crate::ops::testing::{file, tensor};
    use crate::ops::{Argmax, Op, Rescale, argmax};
    use crate::requantize::Multiplier;
    use crate::writer::set_margin;
    use crate::{Engine, Interpreter, Model, ParseError};
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    #[test]
    fn equal_and_saturated_outputs_lead_by_nothing() {
        for outputs in [&[127, 127][..], &[-128, -128], &[5, 127, 127, -128], &[0; 9]] {
            assert_eq!(lead(outputs).1, 0, "{outputs:?}");
            assert_eq!(decide(outputs, 1), Decision::Unsure);
            assert_eq!(decide(outputs, 0), Decision::Class(argmax(outputs)));
        }
        assert_eq!(lead(&[-128, 127]), (1, 255));
        assert_eq!(lead(&[127, -128]), (0, 255));
        assert_eq!(decide(&[3, 10, 4], 6), Decision::Class(1));
        assert_eq!(decide(&[3, 10, 4], 7), Decision::Unsure);
    }

    #[test]
    fn what_has_nothing_beside_it_is_sure() {
        assert_eq!(decide(&[-128], 255), Decision::Class(0));
        assert_eq!(decide(&[], 255), Decision::Class(0));
    }

    proptest! {
        /// By sorting, which the loop doesn't do.
        #[test]
        fn a_class_is_given_where_the_two_highest_are_apart(
            outputs in prop_oneof![
                prop::collection::vec(any::<i8>(), 1..40),
                prop::collection::vec(-2i8..2, 1..40),
            ],
            margin: u8,
        ) {
            let mut sorted = outputs.clone();
            sorted.sort_unstable();
            let apart = match sorted[..] {
                [.., second, first] => i16::from(first) - i16::from(second),
                _ => 255,
            };
            let expected = match apart >= i16::from(margin) {
                true => Decision::Class(outputs.iter().position(|x| Some(x) == sorted.last()).unwrap()),
                false => Decision::Unsure,
            };
            prop_assert_eq!(decide(&outputs, margin), expected);
            prop_assert_eq!(decide(&outputs, 0), Decision::Class(argmax(&outputs)));
        }
    }

    /// A model that gives what it takes, or the class alone.
    fn model(inputs: u16, class_alone: bool) -> Vec<u8> {
        let output = tensor(u32::from(inputs), &[inputs], 0);
        let (multiplier, clamp) = (Multiplier::ONE, Clamp::NONE);
        let mut ops =
            vec![Op::Rescale(Rescale { input: Source::Previous, output, multiplier, clamp })];
        if class_alone {
            let output = tensor(0, &[2], 0);
            ops.push(Op::Argmax(Argmax { input: Source::Previous, output }));
        }
        file(&tensor(0, &[inputs], 0), &ops, &[])
    }

    #[test]
    fn interpreter_and_engine_decide_by_the_file() {
        let inputs: Vec<i8> = vec![0, 9, 3, 7, 7, 7, -9, -128, 127];
        for margin in [0, 1, 6, 7, 255] {
            let mut bytes = model(3, false);
            let without = bytes.clone();
            set_margin(&mut bytes, margin);
            assert_eq!((margin == 0, bytes.len()), (bytes == without, without.len()));
            let model = Model::parse(&bytes).unwrap();
            assert_eq!(model.margin(), margin);
            let mut outputs = vec![0; inputs.len()];
            Engine::new(&model).run(&inputs, &mut outputs).unwrap();
            let rows: Vec<Decision> = outputs.chunks(3).map(|row| model.decision_of(row)).collect();
            let (mut arena, mut weights) = (vec![0; model.arena_len()], [0; 8]);
            let mut decisions = Vec::new();
            for input in inputs.chunks(3) {
                let mut interpreter = Interpreter::new(&model, &mut arena).unwrap();
                interpreter.input_mut().copy_from_slice(input);
                interpreter.invoke();
                decisions.push(interpreter.decision());
                let mut interpreter =
                    Interpreter::with_weights(&model, &mut arena, &mut weights).unwrap();
                interpreter.input_mut().copy_from_slice(input);
                interpreter.invoke();
                assert_eq!(decisions.last(), Some(&interpreter.decision()));
            }
            assert_eq!(decisions, rows);
            let sure: Vec<Option<usize>> = rows.into_iter().map(Decision::class).collect();
            let expected = [(6, Some(1)), (0, Some(0)), (136, Some(2))];
            let expected: Vec<Option<usize>> =
                expected.map(|(lead, class)| class.filter(|_| lead >= margin)).to_vec();
            assert_eq!(sure, expected, "{margin}");
        }
    }

    #[test]
    fn a_margin_without_scores_is_refused_and_harmless() {
        for (mut bytes, class) in [(model(1, false), 0), (model(3, true), 1)] {
            set_margin(&mut bytes, 255);
            assert_eq!(Model::parse(&bytes).unwrap_err(), ParseError::Margin);
            let model = Model::trust(&bytes).unwrap();
            let mut arena = vec![0; model.arena_len()];
            let mut interpreter = Interpreter::new(&model, &mut arena).unwrap();
            if let Some(place) = interpreter.input_mut().get_mut(class) {
                *place = 9;
            }
            interpreter.invoke();
            assert_eq!(interpreter.decision(), Decision::Class(class));
            set_margin(&mut bytes, 0);
            assert!(Model::parse(&bytes).is_ok());
        }
        let mut no_model = *b"none";
        set_margin(&mut no_model, 9);
        assert_eq!(&no_model, b"none");
    }
}
