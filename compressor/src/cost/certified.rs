//! Instructions counted by QEMU, by way of the checkout's `cargo xtask certify`.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use super::{Core, Instructions, Provenance, Unpacked};

/// Of a certificate, what is used.
#[derive(Debug, Deserialize)]
struct Certificate {
    instructions: u64,
    unpacked: Option<UnpackedCertificate>,
}

/// The same of its other way.
#[derive(Debug, Deserialize)]
struct UnpackedCertificate {
    instructions: u64,
    weights_ram_bytes: u64,
}

/// Whether a folder holds this project.
pub(crate) fn is_checkout(folder: &Path) -> bool {
    folder.join("xtask/Cargo.toml").is_file() && folder.join("compressor/Cargo.toml").is_file()
}

/// The first folder upwards that holds this project.
pub(crate) fn checkout() -> Option<PathBuf> {
    let here = std::env::current_dir().ok()?;
    here.ancestors().find(|folder| is_checkout(folder)).map(Path::to_path_buf)
}

/// Counts an inference of a model file on a core, with weights as they are stored, and unpacked into so many
/// bytes of RAM (0: into all that they take); `None` where that can't be done: outside of a checkout, or
/// without QEMU, a toolchain, or a board that holds the model.
pub(crate) fn instructions(
    core: Core,
    weights_ram_bytes: u64,
    model: &Path,
) -> Option<Instructions> {
    let model = std::path::absolute(model).ok()?;
    let mut command = Command::new("cargo");
    command.current_dir(checkout()?);
    command.args(["xtask", "certify", "--json", "--target", core.name()]).arg(model);
    if weights_ram_bytes > 0 {
        command.args(["--weights-ram", &weights_ram_bytes.to_string()]);
    }
    let output = command.output().ok()?;
    if !output.status.success() {
        tracing::debug!("certify: {}", String::from_utf8_lossy(&output.stderr));
        return None;
    }
    counted(&String::from_utf8_lossy(&output.stdout), weights_ram_bytes > 0)
}

fn counted(text: &str, is_given: bool) -> Option<Instructions> {
    let line = text.lines().rev().find(|line| line.starts_with('{'))?;
    let Certificate { instructions: count, unpacked } = serde_json::from_str(line).ok()?;
    let unpacked = unpacked
        .map(|way| Unpacked { count: way.instructions, weights_ram_bytes: way.weights_ram_bytes });
    Some(Instructions { count, from: Provenance::Measured, unpacked, is_given })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_object_is_the_certificate() {
        let text = "building\n{\"instructions\":12,\"target\":\"cortex-m4\",\"unpacked\":null}\n";
        let found = counted(text, true).unwrap();
        assert_eq!((found.count, found.from), (12, Provenance::Measured));
        assert_eq!((found.unpacked, found.required()), (None, 12));
        assert_eq!(counted("no board holds it", false), None);
        assert_eq!(counted("{\"flash\":1}", false), None);
    }

    #[test]
    fn both_ways_are_certified() {
        let text = r#"{"instructions":12,"unpacked":{"instructions":5,"weights_ram_bytes":80}}"#;
        let found = counted(text, true).unwrap();
        assert_eq!(found.unpacked, Some(Unpacked { count: 5, weights_ram_bytes: 80 }));
        assert_eq!((found.count, found.required(), found.required_ram()), (12, 5, 80));
        let told = counted(text, false).unwrap();
        assert_eq!((told.unpacked, told.required()), (found.unpacked, 12));
        assert_eq!(told.required_ram(), 0);
    }

    #[test]
    fn what_is_no_model_is_not_counted() {
        assert_eq!(instructions(Core::CortexM4, 0, Path::new("no/such/model.bbk")), None);
    }
}
