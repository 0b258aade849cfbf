//! The request to stop, made by Ctrl-C or by whoever ends processes.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{CliError, EXIT_INTERRUPTED};

/// A flag that a person raises and that loops poll. Cheap to clone; clones share the flag.
#[derive(Clone, Debug, Default)]
pub struct Cancel {
    requested: Arc<AtomicBool>,
}

impl Cancel {
    /// A flag that the first Ctrl-C raises; the second ends the process at once. SIGTERM, which
    /// systems send before they shut down, and SIGHUP, when a terminal closes, are the same, but a
    /// SIGHUP that is ignored (`nohup`) stays so. `announce`: say so on standard error.
    ///
    /// # Errors
    /// [`CliError::Signal`] if a handler can't be installed, or one already is: a process has
    /// room for one.
    pub fn on_signals(announce: bool) -> Result<Self, CliError> {
        let cancel = Self::default();
        let flag = cancel.clone();
        let stop = move || {
            if flag.requested() {
                // Whatever is half-written has another name than its final one, so nothing breaks.
                std::process::exit(i32::from(EXIT_INTERRUPTED));
            }
            flag.request();
            if announce {
                eprintln!("\nstopping after this step; press Ctrl-C again to stop at once");
            }
        };
        listen(stop.clone()).map_err(CliError::Signal)?;
        ctrlc::set_handler(stop).map_err(|error| CliError::Signal(io::Error::other(error)))?;
        Ok(cancel)
    }

    /// Raises the flag.
    pub fn request(&self) {
        self.requested.store(true, Ordering::Relaxed);
    }

    /// Whether the flag is up.
    pub fn requested(&self) -> bool {
        self.requested.load(Ordering::Relaxed)
    }
}

/// Calls `stop` at each SIGTERM and SIGHUP, on a thread of its own.
#[cfg(unix)]
fn listen(stop: impl Fn() + Send + 'static) -> io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGTERM};
    let mut wanted = vec![SIGTERM];
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    if !is_ignored(&status, SIGHUP) {
        wanted.push(SIGHUP);
    }
    let mut signals = signal_hook::iterator::Signals::new(wanted)?;
    let wait = move || signals.forever().for_each(|_| stop());
    std::thread::Builder::new().name("signals".to_owned()).spawn(wait).map(|_| ())
}

/// Elsewhere there is Ctrl-C alone.
#[cfg(not(unix))]
fn listen(_stop: impl Fn() + Send + 'static) -> io::Result<()> {
    Ok(())
}

/// Whether this process was started with a signal ignored, by what Linux says of its status.
#[cfg(unix)]
fn is_ignored(status: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (signal - 1) & 1 == 1
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_read_from_the_mask() {
        let status = "Name:\tbitsback\nSigIgn:\t0000000000001001\nSigCgt:\t0000000000000002\n";
        assert!(is_ignored(status, 1) && is_ignored(status, 13));
        assert!(!is_ignored(status, 2) && !is_ignored("", 1));
    }
}
