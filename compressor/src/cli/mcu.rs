//! A model on an emulated core, by way of the checkout's `cargo xtask qemu`.

use std::path::Path;
use std::process::{Command, Output};

use serde::{Deserialize, Serialize};

use super::child;
use super::doctor::{self, QEMU};
use crate::cost::{Core, Unpacked, certified};
use crate::error::{CliError, Error};
use crate::progress::Stage;

/// Characters of a program's complaint that are passed on: its last lines.
const MAX_REASON_CHARS: usize = 400;

/// What came of it. Where it didn't run, `reason` says why and the figures are absent.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Mcu {
    pub(super) ran: bool,
    pub(super) core: &'static str,
    pub(super) vectors: Option<u64>,
    pub(super) mismatches: Option<u64>,
    /// Instructions of one inference, as QEMU counts them: not cycles.
    pub(super) instructions: Option<u64>,
    /// The same with weights unpacked once, into so many bytes of RAM.
    pub(super) unpacked_instructions: Option<u64>,
    pub(super) weights_ram_bytes: Option<u64>,
    pub(super) arena_bytes: Option<u64>,
    pub(super) stack_bytes: Option<u64>,
    pub(super) reason: Option<String>,
}

/// What `cargo xtask qemu --json` writes.
#[derive(Debug, Deserialize)]
struct Outcome {
    ran: bool,
    #[serde(default)]
    reason: Option<String>,
    vectors: u64,
    mismatches: u64,
    instructions: u64,
    unpacked_instructions: u64,
    weights_ram_bytes: u64,
    arena_bytes: u64,
    stack_bytes: u64,
}

impl Mcu {
    /// It was not tried, or couldn't be.
    pub(super) fn not_run(core: Core, reason: impl Into<String>) -> Self {
        Self {
            ran: false,
            core: core.name(),
            vectors: None,
            mismatches: None,
            instructions: None,
            unpacked_instructions: None,
            weights_ram_bytes: None,
            arena_bytes: None,
            stack_bytes: None,
            reason: Some(reason.into()),
        }
    }

    /// What an inference takes with weights unpacked, if there are any to unpack.
    pub(super) fn unpacked(&self) -> Option<Unpacked> {
        let weights_ram_bytes = self.weights_ram_bytes.filter(|&bytes| bytes > 0)?;
        Some(Unpacked { count: self.unpacked_instructions?, weights_ram_bytes })
    }

    /// Runs a model's golden vectors on a core, and shows on `stage` what is built for that. What is missing
    /// here is a reason, not an error: the model is made, and can be run on a core elsewhere.
    ///
    /// # Errors
    /// When `cargo` can't be started, or answers what can't be understood.
    pub(super) fn run(
        core: Core,
        model: &Path,
        golden: &Path,
        stage: &Stage,
    ) -> Result<Self, Error> {
        let Some(checkout) = certified::checkout() else {
            return Ok(Self::not_run(
                core,
                "not in a checkout of the project, where the firmware is",
            ));
        };
        if doctor::version(QEMU, &["--version"]).is_none() {
            return Ok(Self::not_run(core, "QEMU is missing: cargo xtask setup"));
        }
        let [model, golden] = [model, golden].map(std::path::absolute);
        let here = Error::io("find", Path::new("."));
        let (model, golden) = match (model, golden) {
            (Ok(model), Ok(golden)) => (model, golden),
            (Err(error), _) | (_, Err(error)) => return Err(here(error)),
        };
        let mut command = Command::new("cargo");
        command.current_dir(&checkout);
        command.args(["xtask", "qemu", "--core", core.name(), "--json", "--model"]);
        command.arg(model).arg("--golden").arg(golden);
        let start = "building the firmware and running it in QEMU; at first that takes minutes";
        let output = child::output(&mut command, stage, start);
        let output = output.map_err(Error::io("run", Path::new("cargo")))?;
        Self::from_output(core, &output)
    }

    /// Takes the last object of the output; without one, the program's complaint is the reason.
    fn from_output(core: Core, output: &Output) -> Result<Self, Error> {
        let text = String::from_utf8_lossy(&output.stdout);
        let Some(line) = text.lines().rev().find(|line| line.starts_with('{')) else {
            let complaint = String::from_utf8_lossy(&output.stderr);
            return Ok(Self::not_run(core, tail(complaint.trim())));
        };
        let outcome: Outcome = serde_json::from_str(line).map_err(|_| CliError::Answer {
            program: "cargo xtask qemu".to_owned(),
            answer: line.chars().take(MAX_REASON_CHARS).collect(),
        })?;
        if !outcome.ran {
            let reason = outcome.reason.unwrap_or_else(|| "no reason given".into());
            return Ok(Self::not_run(core, reason));
        }
        Ok(Self {
            ran: true,
            core: core.name(),
            vectors: Some(outcome.vectors),
            mismatches: Some(outcome.mismatches),
            instructions: Some(outcome.instructions),
            unpacked_instructions: Some(outcome.unpacked_instructions),
            weights_ram_bytes: Some(outcome.weights_ram_bytes),
            arena_bytes: Some(outcome.arena_bytes),
            stack_bytes: Some(outcome.stack_bytes),
            reason: None,
        })
    }
}

/// The end of a text, on one line.
fn tail(text: &str) -> String {
    let skip = text.chars().count().saturating_sub(MAX_REASON_CHARS);
    let end: String = text.chars().skip(skip).collect();
    end.lines().map(str::trim).collect::<Vec<_>>().join(" / ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const CORE: Core = Core::CortexM4;

    fn output(stdout: &str, stderr: &str) -> Output {
        let (stdout, stderr) = (stdout.as_bytes().to_vec(), stderr.as_bytes().to_vec());
        Output { status: Default::default(), stdout, stderr }
    }

    #[test]
    fn the_last_object_counts() {
        let line = r#"{"core":"cortex-m4","model":"m","ran":true,"vectors":32,"mismatches":0,
            "instructions":9,"unpacked_instructions":6,"weights_ram_bytes":5,"arena_bytes":8,"stack_bytes":7}"#
            .replace('\n', "");
        let mcu = Mcu::from_output(CORE, &output(&format!("building\n{line}\n"), "")).unwrap();
        assert!(mcu.ran);
        assert_eq!((mcu.vectors, mcu.mismatches), (Some(32), Some(0)));
        assert_eq!(mcu.instructions, Some(9));
        assert_eq!(mcu.unpacked(), Some(Unpacked { count: 6, weights_ram_bytes: 5 }));
    }

    #[test]
    fn a_complaint_is_the_reason() {
        let mcu = Mcu::from_output(CORE, &output("", "error: no QEMU\n hint: apt\n")).unwrap();
        assert!(!mcu.ran);
        assert_eq!(mcu.reason.as_deref(), Some("error: no QEMU / hint: apt"));
        assert_eq!(tail(&"x".repeat(1000)).len(), MAX_REASON_CHARS);
    }

    #[test]
    fn nonsense_is_an_error() {
        let error = Mcu::from_output(CORE, &output("{\"core\":1}", "")).unwrap_err();
        assert!(error.to_string().contains("can't be understood"), "{error}");
    }

    #[test]
    fn keys_are_stable_whether_it_ran_or_not() {
        let value = serde_json::to_value(Mcu::not_run(CORE, "left out")).unwrap();
        for key in ["ran", "core", "vectors", "mismatches", "instructions", "reason"] {
            assert!(value.get(key).is_some(), "{key}");
        }
        assert_eq!(value["ran"], false);
    }
}
