//! `bitsback doctor`: what is here, what is missing, and how to get it.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Serialize;

use super::output::Context;
use super::table::{self, Align};
use crate::cost::certified::checkout;
use crate::data::cifar;
use crate::device::DeviceName;
use crate::error::Error;

/// Say what is installed, what is missing, and how to get it
///
/// Compressing needs nothing but this program and a data set. Building firmware and running it in
/// an emulator need a Rust target and QEMU; `cargo xtask setup` in the checkout installs them.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bitsback doctor
  bitsback doctor --json | jq '.checks[] | select(.present == false)'")]
pub(crate) struct Doctor {}

/// What something is needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Purpose {
    /// Building this project.
    Build,
    /// Firmware and the emulated cores.
    Firmware,
    /// Jobs on these data.
    Data,
}

impl Purpose {
    fn name(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Firmware => "firmware",
            Self::Data => "data",
        }
    }
}

/// One thing that was looked for.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    purpose: Purpose,
    present: bool,
    /// Version or place; empty when it is missing.
    detail: String,
    /// How to get it.
    get: &'static str,
}

/// Everything that was looked for.
#[derive(Debug, Serialize)]
struct Findings {
    version: &'static str,
    /// Devices that this program was built with.
    devices: Vec<&'static str>,
    /// The checkout, if the current folder is in one.
    checkout: Option<PathBuf>,
    /// Whether firmware can be built and run: a way to the Cortex-M4 target, and QEMU.
    firmware_ready: bool,
    checks: Vec<Check>,
}

/// The Rust target of the Cortex-M4.
const TARGET: &str = "thumbv7em-none-eabihf";

impl Doctor {
    pub(super) fn run(&self, context: &Context) -> Result<(), Error> {
        let findings = examine();
        context.result(&text(&findings), &findings)
    }
}

fn examine() -> Findings {
    let checkout = checkout();
    let checks = checks(checkout.as_deref());
    let has = |name: &str| checks.iter().any(|check| check.name == name && check.present);
    let firmware_ready = has(QEMU) && has(CARGO) && (has(RUSTUP_TARGET) || has(DEBIAN));
    Findings {
        version: env!("CARGO_PKG_VERSION"),
        devices: DeviceName::ALL
            .into_iter()
            .filter(|d| d.is_built())
            .map(DeviceName::name)
            .collect(),
        checkout,
        firmware_ready,
        checks,
    }
}

const CARGO: &str = "cargo";
const RUSTUP_TARGET: &str = "rustup target thumbv7em";
const DEBIAN: &str = "Debian's Rust with source";
pub(super) const QEMU: &str = "qemu-system-arm";

fn checks(checkout: Option<&Path>) -> Vec<Check> {
    let check = |name, purpose, detail: Option<String>, get| Check {
        name,
        purpose,
        present: detail.is_some(),
        detail: detail.unwrap_or_default(),
        get,
    };
    let data = |name: &str| {
        let folder = checkout.unwrap_or(Path::new("")).join("data").join(name);
        let found = folder.join("train-images-idx3-ubyte");
        let zipped = folder.join("train-images-idx3-ubyte.gz");
        let is_there = found.is_file() || zipped.is_file() || cifar::is_in(&folder);
        is_there.then(|| folder.display().to_string())
    };
    let setup = "in a checkout: cargo xtask setup";
    vec![
        check(CARGO, Purpose::Build, version("cargo", &["--version"]), "https://rustup.rs"),
        check(
            RUSTUP_TARGET,
            Purpose::Firmware,
            rustup_target(),
            "rustup target add thumbv7em-none-eabihf, or: cargo xtask setup",
        ),
        check(
            DEBIAN,
            Purpose::Firmware,
            debian_rust(),
            "only where rustup can't fetch: apt install rustc-web cargo-web rust-web-src",
        ),
        check(QEMU, Purpose::Firmware, version(QEMU, &["--version"]), setup),
        check(
            "arm-none-eabi-gcc",
            Purpose::Firmware,
            version("arm-none-eabi-gcc", &["--version"]),
            "only for C: apt install gcc-arm-none-eabi libnewlib-arm-none-eabi",
        ),
        check("digits", Purpose::Data, Some("bundled".to_owned()), ""),
        check("MNIST", Purpose::Data, data("mnist"), "in a checkout: cargo xtask data mnist"),
        check(
            "Fashion-MNIST",
            Purpose::Data,
            data("fashion-mnist"),
            "in a checkout: cargo xtask data fashion-mnist",
        ),
        check(
            "CIFAR-10",
            Purpose::Data,
            data("cifar-10"),
            "in a checkout: cargo xtask data cifar-10",
        ),
    ]
}

/// The first line that a program prints, if it runs at all.
pub(super) fn version(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    output.status.success().then(|| text.lines().next().unwrap_or_default().trim().to_owned())
}

/// Whether rustup has the target of the Cortex-M4.
fn rustup_target() -> Option<String> {
    let output = Command::new("rustup").args(["target", "list", "--installed"]).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().any(|line| line.trim() == TARGET).then(|| TARGET.to_owned())
}

/// Debian's compiler, if the source of `core` came with it.
fn debian_rust() -> Option<String> {
    let rustc = version("/usr/bin/rustc", &["--version"])?;
    let root = version("/usr/bin/rustc", &["--print", "sysroot"])?;
    let source = Path::new(&root).join("lib/rustlib/src/rust/library/core");
    source.is_dir().then_some(rustc)
}

fn text(findings: &Findings) -> String {
    let rows: Vec<[String; 4]> = findings
        .checks
        .iter()
        .map(|check| {
            let (state, detail) = match check.present {
                true => ("present", check.detail.clone()),
                false => ("missing", check.get.to_owned()),
            };
            [check.name.to_owned(), check.purpose.name().to_owned(), state.to_owned(), detail]
        })
        .collect();
    let table = table::layout(
        &["What", "For", "State", "Version, or how to get it"],
        &[Align::Left; 4],
        &rows,
    );
    let verdict = match (findings.firmware_ready, &findings.checkout) {
        (true, Some(_)) => "Compressing works here, and firmware can be built and emulated.",
        (true, None) => "Compressing works here. Firmware is built in a checkout of the project.",
        (false, _) => {
            "Compressing works here. To build and emulate firmware: cargo xtask setup, in a checkout."
        }
    };
    let devices = findings.devices.join(", ");
    format!("bitsback {}, devices: {devices}\n\n{table}\n{verdict}", findings.version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_says_how_to_get_it() {
        for check in checks(None) {
            assert!(check.present || !check.get.is_empty(), "{}", check.name);
        }
    }

    #[test]
    fn keys_are_stable() {
        let value = serde_json::to_value(examine()).unwrap();
        for key in ["version", "devices", "checkout", "firmware_ready", "checks"] {
            assert!(value.get(key).is_some(), "{key}");
        }
        for key in ["name", "purpose", "present", "detail", "get"] {
            assert!(value["checks"][0].get(key).is_some(), "{key}");
        }
    }

    #[test]
    fn a_program_that_is_not_there_has_no_version() {
        assert_eq!(version("no-such-program-anywhere", &[]), None);
    }
}
