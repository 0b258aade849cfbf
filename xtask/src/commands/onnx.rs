//! `cargo xtask test --only onnx`: what is read from ONNX and written to it, by ONNX Runtime.

use std::env;
use std::path::Path;
use std::process::Command;

use crate::error::XtaskError;
use crate::{paths, process, python};

/// Models whose exports are run: coded weights, plain ones with a selection, and colours.
const EXPORTED: [&str; 3] = ["digits", "coded", "colour"];

/// Compares the committed models' outputs with ONNX Runtime, and exports of golden models with
/// their vectors. Without Python or its packages it says so and passes: the committed outputs have
/// been compared with what is read here in any case.
pub(crate) fn check(root: &Path) -> Result<(), XtaskError> {
    let python = match python::install(root, "onnx", "tests/onnx/requirements.txt") {
        Ok(python) => python,
        Err(error) => {
            println!("not run: {error}");
            return Ok(());
        }
    };
    let script = root.join("tests/onnx/models.py");
    let run = |arguments: &[&str]| {
        let mut command = Command::new(&python);
        process::show_and_check(command.arg(&script).args(arguments).current_dir(root))
    };
    run(&["--check", "tests/onnx/models"])?;
    let folder = paths::target(root).join("onnx");
    for name in EXPORTED {
        let stem = folder.join(name).display().to_string();
        let golden = format!("tests/golden/{name}");
        for (form, ending) in [("onnx", ""), ("onnx-qdq", "-qdq")] {
            export(root, &golden, form, &format!("{stem}{ending}.onnx"))?;
        }
        run(&["--golden", &golden, &stem])?;
    }
    Ok(())
}

fn export(root: &Path, golden: &str, form: &str, to: &str) -> Result<(), XtaskError> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let model = format!("{golden}/model.bbk");
    let mut command = Command::new(cargo);
    command
        .args(["run", "--release", "--quiet", "--package", "bitsback", "--"])
        .args(["export", &model, "--to", form, "-o", to])
        .current_dir(root);
    process::show_and_check(&mut command)
}
