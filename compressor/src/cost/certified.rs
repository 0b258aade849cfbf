//! Instructions counted by QEMU, by way of the checkout's `cargo xtask certify`.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use super::{Core, Instructions, Provenance};

/// Of a certificate, what is used.
#[derive(Debug, Deserialize)]
struct Certificate {
    instructions: u64,
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

/// Counts an inference of a model file on a core; `None` where that can't be done: outside of a checkout, or
/// without QEMU, a toolchain, or a board that holds the model.
pub(crate) fn instructions(core: Core, model: &Path) -> Option<Instructions> {
    let model = std::path::absolute(model).ok()?;
    let output = Command::new("cargo")
        .current_dir(checkout()?)
        .args(["xtask", "certify", "--json", "--target", core.name()])
        .arg(model)
        .output()
        .ok()?;
    if !output.status.success() {
        tracing::debug!("certify: {}", String::from_utf8_lossy(&output.stderr));
        return None;
    }
    counted(&String::from_utf8_lossy(&output.stdout))
}

fn counted(text: &str) -> Option<Instructions> {
    let line = text.lines().rev().find(|line| line.starts_with('{'))?;
    let Certificate { instructions: count } = serde_json::from_str(line).ok()?;
    Some(Instructions { count, from: Provenance::Measured, unpacked: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_object_is_the_certificate() {
        let text = "building\n{\"instructions\":12,\"target\":\"cortex-m4\"}\n";
        let found = counted(text).unwrap();
        assert_eq!((found.count, found.from), (12, Provenance::Measured));
        assert_eq!(counted("no board holds it"), None);
        assert_eq!(counted("{\"flash\":1}"), None);
    }

    #[test]
    fn what_is_no_model_is_not_counted() {
        assert_eq!(instructions(Core::CortexM4, Path::new("no/such/model.bbk")), None);
    }
}
