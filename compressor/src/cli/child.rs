//! Other programs that take minutes: what they say on the way is shown.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::progress::Stage;

/// How often the last words are shown.
const INTERVAL: Duration = Duration::from_millis(200);

/// Runs a program to its end, as [`Command::output`] does; `stage` shows `start`, and then the last
/// line of its standard error.
///
/// # Errors
/// When it can't be started or waited for.
pub(super) fn output(command: &mut Command, stage: &Stage, start: &str) -> std::io::Result<Output> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let last = Mutex::new(start.to_owned());
    let shown = || last.lock().unwrap_or_else(PoisonError::into_inner).clone();
    std::thread::scope(|scope| {
        let stdout = scope.spawn(|| {
            let mut all = Vec::new();
            // What came before an error is still worth having.
            let _ = out.map(|mut out| out.read_to_end(&mut all));
            all
        });
        let stderr = scope.spawn(|| {
            let mut all = Vec::new();
            for line in err.into_iter().flat_map(|err| BufReader::new(err).split(b'\n')) {
                let Ok(line) = line else { break };
                let words = String::from_utf8_lossy(&line).trim().to_owned();
                if !words.is_empty() {
                    *last.lock().unwrap_or_else(PoisonError::into_inner) = words;
                }
                all.extend(line);
                all.push(b'\n');
            }
            all
        });
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            stage.set(0, &shown());
            std::thread::sleep(INTERVAL);
        };
        let (stdout, stderr) =
            (stdout.join().unwrap_or_default(), stderr.join().unwrap_or_default());
        Ok(Output { status, stdout, stderr })
    })
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::progress::Progress;

    #[test]
    fn both_streams_and_the_code_come_back() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo building >&2; echo result; echo done >&2; exit 5"]);
        let stage = Progress::silent().stage("a", 0);
        let output = output(&mut command, &stage, "starting").unwrap();
        assert_eq!(output.status.code(), Some(5));
        assert_eq!(
            (&output.stdout[..], &output.stderr[..]),
            (&b"result\n"[..], &b"building\ndone\n"[..])
        );
    }

    #[test]
    fn what_isn_t_there_is_an_error() {
        let stage = Progress::silent().stage("a", 0);
        assert!(output(&mut Command::new("/no/such/program"), &stage, "").is_err());
    }
}
