//! A folder in which the program runs, and a job for it.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

/// A folder in which the program runs.
pub(crate) struct Scene(TempDir);

impl Scene {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path(name), bytes).unwrap();
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bitsback"));
        command.current_dir(self.0.path()).args(args);
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// What a command that must succeed prints.
    pub(crate) fn text(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Its last line as JSON.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let text = self.text(&[args, &["--json", "--quiet"]].concat());
        serde_json::from_str(text.lines().last().unwrap()).unwrap()
    }

    /// The exit code and the message of what must fail.
    pub(crate) fn failure(&self, args: &[&str]) -> (i32, String) {
        let output = self.run(args);
        assert!(!output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stdout));
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }
}

/// A job of seconds, too small to be right about everything, with so many validation examples and more sections.
pub(crate) fn small_job(validation: usize, sections: &str) -> String {
    format!(
        "[data]\nkind = \"digits\"\nnormalization = \"unit\"\ntest_fraction = 0.25\n\
         validation_count = {validation}\n\n\
         [network]\nlayers = [\n  {{ type = \"flatten\" }},\n  {{ type = \"dense\", units = 24 }},\n  \
         {{ type = \"relu\" }},\n  {{ type = \"dense\" }},\n]\n\n\
         [pretrain]\nepochs = 40\nbatch = 32\n\n[variational]\nepochs = 0\n\n[finetune]\nepochs = 0\n\n\
         [quantize]\nepochs = 0\n\n[requirements]\nerror_rise_points = 10.0\n{sections}\n"
    )
}
