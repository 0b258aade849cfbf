//! Features that are left out change no result: a model either computes what it always does, or is
//! refused because it needs one of them. Run with and without them:
//! `cargo test -p bitsback-runtime --no-default-features --test features`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use bitsback_runtime::format::OpFault;
use bitsback_runtime::{Features, Interpreter, Model, ParseError};

fn golden() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden");
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.join("model.bbk").is_file()).collect()
}

/// Runs the golden vectors of a folder; false if a feature is missing.
fn runs(folder: &Path) -> bool {
    let read = |name: &str| fs::read(folder.join(name)).unwrap();
    let (bytes, inputs, outputs) = (read("model.bbk"), read("inputs.i8"), read("outputs.i8"));
    let is_left_out = |error| matches!(error, ParseError::Op { fault: OpFault::LeftOut, .. });
    let (parsed, trusted) = (Model::parse(&bytes), Model::trust(&bytes));
    if parsed.clone().is_err_and(is_left_out) {
        assert!(trusted.is_err_and(is_left_out), "{}", folder.display());
        return false;
    }
    for model in [parsed.unwrap(), trusted.unwrap()] {
        assert!(model.features().names().all(|name| Features::BUILT.names().any(|is| is == name)));
        let mut arena = vec![0; model.arena_len()];
        let mut interpreter = Interpreter::new(&model, &mut arena).unwrap();
        let vectors = inputs.chunks(model.input().len());
        for (input, output) in vectors.zip(outputs.chunks(model.output().len())) {
            for (to, &from) in interpreter.input_mut().iter_mut().zip(input) {
                *to = from as i8;
            }
            interpreter.invoke();
            let found: Vec<u8> = interpreter.output().iter().map(|&y| y as u8).collect();
            assert_eq!(found, output, "{}", folder.display());
        }
    }
    true
}

#[test]
fn models_run_or_are_refused() {
    let (ran, refused): (Vec<_>, Vec<_>) = golden().into_iter().partition(|folder| runs(folder));
    let left_out = Features::BUILT.names().count() < 3;
    assert!(!ran.is_empty() && refused.is_empty() != left_out, "{ran:?} {refused:?}");
}
