//! Batches of any length, on any number of threads, give what the interpreter gives.

use std::string::ToString;
use std::vec;
use std::vec::Vec;

use super::*;
use crate::Interpreter;

const NETWORK: &[u8] = include_bytes!("../../tests/fixtures/v1/convolutional.bbk");

/// Inputs of so many examples, and the interpreter's outputs.
fn batch(model: &Model<'_>, examples: usize) -> (Vec<i8>, Vec<i8>) {
    let inputs = (0..examples * model.input().len()).map(|at| (at * 97 % 251) as u8 as i8);
    let inputs: Vec<i8> = inputs.collect();
    let mut arena = vec![0; model.arena_len()];
    let mut interpreter = Interpreter::new(model, &mut arena).unwrap();
    let outputs = inputs.chunks(model.input().len()).flat_map(|input| {
        interpreter.input_mut().copy_from_slice(input);
        interpreter.invoke();
        interpreter.output().to_vec()
    });
    let outputs = outputs.collect();
    (inputs, outputs)
}

#[test]
fn batches_of_any_length_on_any_number_of_threads() {
    let model = Model::parse(NETWORK).unwrap();
    for kernels in KernelSet::available() {
        for threads in [0, 1, 2, 3, 7] {
            let mut engine = Engine::with_kernels(&model, kernels).with_threads(threads);
            assert_eq!(engine.kernels(), kernels);
            for examples in [0, 1, 2, 5, 65, 131] {
                let (inputs, expected) = batch(&model, examples);
                let mut found = vec![1; expected.len()];
                engine.run(&inputs, &mut found).unwrap();
                assert_eq!(found, expected, "{examples} on {threads}, {kernels:?}");
            }
        }
    }
}

#[test]
fn lengths_must_fit() {
    let model = Model::parse(NETWORK).unwrap();
    let (input, output) = (model.input().len(), model.output().len());
    let mut engine = Engine::new(&model);
    let error = engine.run(&vec![0; input + 1], &mut vec![0; output]).unwrap_err();
    assert_eq!(error, BatchError::Inputs { each: input, given: input + 1 });
    let error = engine.run(&vec![0; 2 * input], &mut vec![0; output]).unwrap_err();
    assert_eq!(error, BatchError::Outputs { needed: 2 * output, given: output });
    assert!(error.to_string().contains("values, not"));
}

/// What a profiler sees: the operators' numbers and outputs.
#[derive(Default, PartialEq, Debug)]
struct Seen(Vec<(u16, Vec<i8>)>);

impl Profiler for Seen {
    fn after(&mut self, running: &crate::Running<'_>, output: &[i8]) {
        self.0.push((running.index, output.to_vec()));
    }
}

#[test]
fn profilers_see_what_they_see_in_the_interpreter() {
    let model = Model::parse(NETWORK).unwrap();
    let (inputs, expected) = batch(&model, 2);
    let mut arena = vec![0; model.arena_len()];
    let mut interpreter = Interpreter::new(&model, &mut arena).unwrap();
    let (mut wanted, mut seen) = (Seen::default(), Seen::default());
    for input in inputs.chunks(model.input().len()) {
        interpreter.input_mut().copy_from_slice(input);
        interpreter.invoke_with(&mut wanted);
    }
    let mut found = vec![0; expected.len()];
    Engine::new(&model).run_with(&inputs, &mut found, &mut seen).unwrap();
    assert_eq!((found, seen), (expected, wanted));
}
