//! The request to stop, made by Ctrl-C.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{CliError, EXIT_INTERRUPTED};

/// A flag that a person raises and that loops poll. Cheap to clone; clones share the flag.
#[derive(Clone, Debug, Default)]
pub struct Cancel {
    requested: Arc<AtomicBool>,
}

impl Cancel {
    /// A flag that the first Ctrl-C raises; the second ends the process at once. `announce`: say
    /// so on standard error.
    ///
    /// # Errors
    /// [`CliError::Signal`] if a handler can't be installed, or one already is: a process has
    /// room for one.
    pub fn on_ctrl_c(announce: bool) -> Result<Self, CliError> {
        let cancel = Self::default();
        let flag = cancel.clone();
        ctrlc::set_handler(move || {
            if flag.requested() {
                // Whatever is half-written has another name than its final one, so nothing breaks.
                std::process::exit(i32::from(EXIT_INTERRUPTED));
            }
            flag.request();
            if announce {
                eprintln!("\nstopping after this step; press Ctrl-C again to stop at once");
            }
        })
        .map_err(CliError::Signal)?;
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
