//! Running other programs: captured or shown, always with an end.

use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::error::XtaskError;

/// How often a running child is looked at. QEMU runs of a second should not wait longer.
const POLL: Duration = Duration::from_millis(20);

/// What a finished program left.
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    /// Both streams, for a message.
    pub(crate) fn output(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// Runs `command` with its output captured and no input, for `limit` at most.
///
/// # Errors
/// When it cannot start or does not end in time; a bad exit code is the caller's to judge.
pub(crate) fn capture(command: &mut Command, limit: Duration) -> Result<Finished, XtaskError> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = spawn(command)?;
    let stdout = drain(child.stdout.take());
    let stderr = drain(child.stderr.take());
    let ended = wait(&mut child, limit, command)?;
    let (stdout, stderr) = (text(stdout), text(stderr));
    match ended {
        Some(status) => Ok(Finished { status, stdout, stderr }),
        None => Err(XtaskError::Timeout {
            command: show(command),
            seconds: limit.as_secs(),
            output: stdout + &stderr,
        }),
    }
}

/// As [`capture`], and a bad exit code is an error too. Returns what went to standard output.
pub(crate) fn read(command: &mut Command, limit: Duration) -> Result<String, XtaskError> {
    let finished = capture(command, limit)?;
    if finished.status.success() {
        return Ok(finished.stdout);
    }
    Err(XtaskError::Command {
        command: show(command),
        status: finished.status.to_string(),
        output: finished.output(),
    })
}

/// Runs `command` with its output on standard error as it comes, and no input, for `limit` at most.
///
/// # Errors
/// As [`read`]; what it printed has been seen.
pub(crate) fn watch(command: &mut Command, limit: Duration) -> Result<(), XtaskError> {
    let error = || Stdio::from(std::io::stderr());
    let mut child = spawn(command.stdin(Stdio::null()).stdout(error()).stderr(error()))?;
    let output = String::new();
    match wait(&mut child, limit, command)? {
        Some(status) if status.success() => Ok(()),
        Some(status) => {
            Err(XtaskError::Command { command: show(command), status: status.to_string(), output })
        }
        None => {
            let seconds = limit.as_secs();
            Err(XtaskError::Timeout { command: show(command), seconds, output })
        }
    }
}

/// Runs `command` with its output on this terminal and no input.
pub(crate) fn show_and_check(command: &mut Command) -> Result<(), XtaskError> {
    let status = spawn(command.stdin(Stdio::null()))?
        .wait()
        .map_err(|source| XtaskError::Spawn { program: program(command), source })?;
    if status.success() {
        return Ok(());
    }
    Err(XtaskError::Command {
        command: show(command),
        status: status.to_string(),
        output: String::new(),
    })
}

/// The first file called `name` in the folders of `PATH`.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// The command line as a person would type it.
pub(crate) fn show(command: &Command) -> String {
    let mut line = program(command);
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
    }
    line
}

fn program(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

fn spawn(command: &mut Command) -> Result<Child, XtaskError> {
    command.spawn().map_err(|source| XtaskError::Spawn { program: program(command), source })
}

/// Waits for the child; `None` when it had to be stopped.
fn wait(
    child: &mut Child,
    limit: Duration,
    command: &Command,
) -> Result<Option<ExitStatus>, XtaskError> {
    let failed = |source| XtaskError::Spawn { program: program(command), source };
    let end = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            return Ok(Some(status));
        }
        if Instant::now() >= end {
            child.kill().map_err(failed)?;
            child.wait().map_err(failed)?;
            return Ok(None);
        }
        thread::sleep(POLL);
    }
}

/// Reads a stream to its end beside the child, so that a full pipe never blocks it.
fn drain<R: Read + Send + 'static>(stream: Option<R>) -> Option<JoinHandle<Vec<u8>>> {
    stream.map(|mut stream| {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            // A broken pipe ends the text; what came before it is still worth showing.
            let _ = stream.read_to_end(&mut bytes);
            bytes
        })
    })
}

fn text(reader: Option<JoinHandle<Vec<u8>>>) -> String {
    let bytes = reader.and_then(|reader| reader.join().ok()).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn captures_both_streams_and_the_status() {
        let finished =
            capture(&mut shell("echo out; echo err >&2; exit 7"), Duration::from_secs(10)).unwrap();
        assert_eq!(finished.status.code(), Some(7));
        assert_eq!((finished.stdout.as_str(), finished.stderr.as_str()), ("out\n", "err\n"));
    }

    #[test]
    fn stops_what_does_not_end() {
        let error = capture(&mut shell("exec sleep 60"), Duration::from_millis(50)).map(|_| ());
        assert!(matches!(error, Err(XtaskError::Timeout { .. })));
    }

    #[test]
    fn a_bad_exit_code_is_an_error_with_the_output() {
        let error = read(&mut shell("echo why; exit 3"), Duration::from_secs(10)).unwrap_err();
        assert!(matches!(&error, XtaskError::Command { .. }));
        assert!(error.to_string().contains("why"));
    }

    #[test]
    fn what_is_watched_has_an_end_and_a_status() {
        assert!(watch(&mut shell("true"), Duration::from_secs(10)).is_ok());
        let error = watch(&mut shell("exit 3"), Duration::from_secs(10)).unwrap_err();
        assert!(error.to_string().contains('3'), "{error}");
        let error = watch(&mut shell("exec sleep 60"), Duration::from_millis(50)).unwrap_err();
        assert!(matches!(error, XtaskError::Timeout { seconds: 0, .. }));
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = read(&mut Command::new("no-such-program-here"), POLL).unwrap_err();
        assert!(error.to_string().contains("no-such-program-here"));
    }
}
