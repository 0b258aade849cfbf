//! Every golden vector of the repository, on this host and with the kernels that this build has.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use bitsback_runtime::{ISA, Interpreter, Model};

/// The values of a file of raw int8.
fn values(path: &Path) -> Vec<i8> {
    fs::read(path).unwrap().into_iter().map(|byte| byte as i8).collect()
}

/// Compares all vectors of a folder, and returns how many there are.
fn compare(folder: &Path) -> usize {
    let bytes = fs::read(folder.join("model.bbk")).unwrap();
    let model =
        Model::parse(&bytes).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut arena = vec![0; model.arena_len()];
    let mut interpreter = Interpreter::new(&model, &mut arena).unwrap();
    let (inputs, outputs) = (values(&folder.join("inputs.i8")), values(&folder.join("outputs.i8")));
    let input_len = interpreter.input_mut().len();
    let vectors = inputs.chunks(input_len).zip(outputs.chunks(interpreter.output().len()));
    // Of a model with a margin: two bytes a vector, all ones where it isn't sure.
    let decisions = fs::read(folder.join("decisions.u16")).unwrap_or_default();
    assert_eq!(decisions.is_empty(), model.margin() == 0, "{}", folder.display());
    let mut count = 0;
    for (input, expected) in vectors {
        interpreter.input_mut().copy_from_slice(input);
        interpreter.invoke();
        assert_eq!(interpreter.output(), expected, "vector {count} of {}", folder.display());
        if let Some(&[low, high]) = decisions.as_chunks().0.get(count) {
            let class = Some(u16::from_le_bytes([low, high])).filter(|&class| class != u16::MAX);
            assert_eq!(interpreter.decision().class(), class.map(usize::from), "vector {count}");
        }
        count += 1;
    }
    assert!(decisions.is_empty() || decisions.len() == 2 * count);
    assert_eq!(count * input_len, inputs.len());
    #[cfg(feature = "std")]
    engines_agree(&model, &inputs, &outputs);
    count
}

/// Each of this machine's kernels gives the outputs, of all vectors at once.
#[cfg(feature = "std")]
fn engines_agree(model: &Model<'_>, inputs: &[i8], outputs: &[i8]) {
    for kernels in bitsback_runtime::KernelSet::available() {
        let engine = bitsback_runtime::Engine::with_kernels(model, kernels);
        let mut found = vec![0; outputs.len()];
        engine.with_threads(2).run(inputs, &mut found).unwrap();
        assert_eq!(found, outputs, "{}", kernels.name());
    }
}

#[test]
fn every_vector_gives_its_bytes() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden");
    for entry in fs::read_dir(golden).unwrap() {
        let folder = entry.unwrap().path();
        assert!(compare(&folder) > 0, "{} has no vectors", folder.display());
    }
}

#[test]
fn the_kernels_are_those_that_were_asked_for() {
    let usual = match std::env::consts::ARCH {
        "x86_64" => "x86_64",
        "aarch64" => "neon",
        _ => "portable",
    };
    assert_eq!(ISA, option_env!("BITSBACK_ISA").unwrap_or(usual));
}
