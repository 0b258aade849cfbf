//! Where results go.

use std::cell::RefCell;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

use super::Global;
use crate::error::{CliError, Error};
use crate::progress::{Cancel, Progress};

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

    /// For long work: progress is shown, and Ctrl-C ends it in order.
    pub(super) fn progress(&self) -> Result<Progress, Error> {
        let Global { json, quiet, verbose } = self.global;
        let progress = match (json, verbose) {
            // Bars and traces would overwrite one another.
            (false, true) => Progress::lines(),
            _ => Progress::auto(json, quiet),
        };
        Ok(progress.with_cancel(Cancel::on_ctrl_c(!json && !quiet)?))
    }

    /// Says something that was assumed or looks wrong: on standard error, or with `--json` among the
    /// result's notes.
    pub(super) fn note(&self, text: &str) {
        if !self.json() {
            eprintln!("note: {text}");
        }
        self.notes.borrow_mut().push(text.to_owned());
    }

    /// What was noted so far.
    pub(super) fn notes(&self) -> Vec<String> {
        self.notes.borrow().clone()
    }

    /// Writes the result: `text` for people, `value` for machines.
    pub(super) fn result(&self, text: &str, value: &impl Serialize) -> Result<(), Error> {
        if self.json() {
            let line = serde_json::to_string(value).map_err(CliError::Json)?;
            return write_line(&line);
        }
        write_line(text.trim_end())
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
    fn commands_can_be_pasted_into_a_shell() {
        let args = ["/usr/local/bin/bitsback", "compress", "my job.toml", "--out", "it's"];
        let args: Vec<OsString> = args.iter().map(OsString::from).collect();
        assert_eq!(command_line(&args), r"bitsback compress 'my job.toml' --out 'it'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
