//! Where results go.

use std::cell::RefCell;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::Global;
use crate::error::{CliError, Error};
use crate::progress::{Cancel, Progress};
use crate::text::{json_printable, one_line, printable};

/// How this process was called.
#[derive(Clone, Debug)]
pub(super) struct Context {
    global: Global,
    /// The command line, for the record: what a shell would have to be told.
    pub(super) command_line: String,
    /// What was noted.
    notes: RefCell<Vec<String>>,
}

impl Context {
    pub(super) fn new(global: Global, args: &[OsString]) -> Self {
        Self { global, command_line: command_line(args), notes: RefCell::default() }
    }

    /// Whether results are JSON.
    pub(super) fn json(&self) -> bool {
        self.global.json
    }

    /// For long work: progress is shown, and Ctrl-C, SIGTERM and SIGHUP end it in order.
    pub(super) fn progress(&self) -> Result<Progress, Error> {
        let Global { json, quiet, verbose } = self.global;
        let progress = match (json, verbose) {
            // Bars and traces would overwrite one another.
            (false, true) => Progress::lines(),
            _ => Progress::auto(json, quiet),
        };
        Ok(progress.with_cancel(Cancel::on_signals(!json && !quiet)?))
    }

    /// Says something that was assumed or looks wrong: on standard error, or with `--json` among the
    /// result's notes.
    pub(super) fn note(&self, text: &str) {
        if !self.json() {
            eprintln!("note: {}", one_line(text));
        }
        self.notes.borrow_mut().push(text.to_owned());
    }

    /// What was noted so far.
    pub(super) fn notes(&self) -> Vec<String> {
        self.notes.borrow().clone()
    }

    /// For work of minutes that Ctrl-C ends at once, and whose standard output holds the result alone,
    /// with `--json` too: then no progress is shown.
    pub(super) fn progress_aside(&self) -> Progress {
        match self.global {
            Global { json: true, .. } => Progress::silent(),
            Global { verbose: true, .. } => Progress::lines(),
            Global { quiet, .. } => Progress::auto(false, quiet),
        }
    }

    /// Writes the result: `text` for people, `value` for machines.
    pub(super) fn result(&self, text: &str, value: &impl Serialize) -> Result<(), Error> {
        if self.json() {
            let line = serde_json::to_string(value).map_err(CliError::Json)?;
            return write_line(&json_printable(&line));
        }
        write_line(&printable(text.trim_end()))
    }
}

/// Checks that writing `output` replaces none of the files that are read, however they are named.
///
/// # Errors
/// [`CliError::Overwrites`] where it would.
pub(super) fn keeps_inputs(output: &Path, inputs: &[&PathBuf]) -> Result<(), Error> {
    // What isn't there yet is no input; an input that isn't there is its reader's to refuse.
    let Ok(found) = output.canonicalize() else { return Ok(()) };
    let replaced = |input: &&&PathBuf| input.canonicalize().is_ok_and(|input| input == found);
    match inputs.iter().find(replaced) {
        Some(input) => Err(CliError::Overwrites { input: input.to_path_buf() }.into()),
        None => Ok(()),
    }
}

/// Writes to standard output. Whoever closed the pipe has read enough.
fn write_line(line: &str) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(Error::io("write", Path::new("standard output"))),
    }
}

/// Sends `tracing` events to standard error.
pub(super) fn trace(verbose: bool) {
    if verbose {
        // Fails only when a subscriber is there already, which then does the same.
        let _ = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::DEBUG)
            .with_writer(io::stderr)
            .try_init();
    }
}

/// The arguments as a shell would have to be given them; the program by its bare name, because
/// where it was installed says nothing about the result.
fn command_line(args: &[OsString]) -> String {
    let mut words = vec![String::from("bitsback")];
    words.extend(args.iter().skip(1).map(|arg| quoted(&arg.to_string_lossy())));
    words.join(" ")
}

/// A word in single quotes if a shell would read it as anything else.
pub(super) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_is_no_input_whatever_it_is_called() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("model.onnx"), "m").unwrap();
        std::fs::write(path("old.bbk"), "o").unwrap();
        std::fs::create_dir(path("sub")).unwrap();
        let (model, data) = (path("model.onnx"), path("sub"));
        for output in ["new.bbk", "old.bbk", "none/new.bbk"] {
            assert!(keeps_inputs(&path(output), &[&model, &data]).is_ok(), "{output}");
        }
        #[cfg(unix)]
        std::os::unix::fs::symlink("model.onnx", path("link.bbk")).unwrap();
        let mut others = vec!["model.onnx", "./model.onnx", "sub/../model.onnx"];
        others.extend(cfg!(unix).then_some("link.bbk"));
        for output in others {
            let refused = keeps_inputs(&path(output), &[&data, &model]).unwrap_err();
            assert_eq!(refused.kind(), crate::error::Kind::Usage, "{output}");
            assert!(refused.to_text().contains("model.onnx"), "{output}");
        }
    }

    #[test]
    fn commands_can_be_pasted_into_a_shell() {
        let args = ["/usr/local/bin/bitsback", "compress", "my job.toml", "--out", "it's"];
        let args: Vec<OsString> = args.iter().map(OsString::from).collect();
        assert_eq!(command_line(&args), r"bitsback compress 'my job.toml' --out 'it'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
