//! An error of any kind, as text, where there is no heap to put it in.

use core::error::Error;
use core::fmt::{self, Write};

use heapless::String;

/// Longest message, a line and a half of a terminal: it travels by value through every `?`.
/// What is longer is cut.
const MAX_MESSAGE_BYTES: usize = 112;

/// What `?` turns any error of a firmware's `run` into: its message.
pub struct Failure(String<MAX_MESSAGE_BYTES>);

impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut message = Cut(String::new());
        // `Cut` takes everything, so this can't fail.
        let _ = write!(message, "{error}");
        Self(message.0)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Keeps what fits and drops the rest.
struct Cut(String<MAX_MESSAGE_BYTES>);

impl Write for Cut {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for letter in text.chars() {
            if self.0.push(letter).is_err() {
                break;
            }
        }
        Ok(())
    }
}
