//! Files of every format version so far must load and compute what they always did.
//!
//! `fixtures/v1/` holds small models, one per operator, and `outputs.txt` what each computes from
//! a fixed input. A deliberate change is recorded with `BLESS=1 cargo test -p bitsback-runtime`.

use std::fmt::Write as _;
use std::path::Path;

use bitsback_runtime::{Interpreter, Model, arena_len, include_model, op_kinds};

/// Inputs that reach both ends of the range.
fn fill(input: &mut [i8]) {
    for (i, x) in input.iter_mut().enumerate() {
        *x = (i * 89 % 256) as u8 as i8;
    }
}

#[test]
fn outputs_stay_the_same() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1");
    let mut files: Vec<_> =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "bbk"));
    files.sort();
    let mut found = String::new();
    for path in files {
        let bytes = std::fs::read(&path).unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let model = Model::parse(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut arena = vec![0; model.arena_len()];
        let mut interpreter = Interpreter::new(&model, &mut arena).unwrap();
        fill(interpreter.input_mut());
        interpreter.invoke();
        write!(found, "{name}: {:?}", interpreter.output()).unwrap();
        if model.margin() > 0 {
            write!(found, " {:?}", interpreter.decision()).unwrap();
        }
        writeln!(found).unwrap();
    }
    let record = folder.join("outputs.txt");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&record, &found).unwrap();
    }
    assert_eq!(found, std::fs::read_to_string(&record).unwrap());
}

static MODEL: &[u8] = include_model!("fixtures/v1/convolutional.bbk");

#[test]
fn models_can_be_embedded_with_their_arena() {
    let mut arena = [0; arena_len(MODEL)];
    assert_eq!(MODEL.as_ptr().align_offset(16), 0);
    let model = Model::<{ op_kinds(MODEL) }>::parse_only(MODEL).unwrap();
    let mut interpreter = Interpreter::new(&model, &mut arena).unwrap();
    fill(interpreter.input_mut());
    interpreter.invoke();
    assert_eq!(model.class_name(interpreter.class().min(1)).map(str::len), Some(1));
}
