//! Expected output beside its program: compared, or on request written anew.

use std::fs;
use std::path::Path;

use crate::error::XtaskError;

/// Compares what a program printed with the file, or with `bless` writes the file; `again` is the
/// command that would do that.
///
/// # Errors
/// When they differ, with the first line that does; or when the file can't be read or written.
pub(crate) fn compare(
    path: &Path,
    printed: &str,
    bless: bool,
    again: &str,
) -> Result<(), XtaskError> {
    let failed = |action| {
        let path = path.to_path_buf();
        move |source| XtaskError::File { action, path, source }
    };
    if bless {
        fs::write(path, printed).map_err(failed("write"))?;
        println!("wrote {}", path.display());
        return Ok(());
    }
    let expected = fs::read_to_string(path).map_err(failed("read"))?;
    if expected == printed {
        println!("as in {}", path.display());
        return Ok(());
    }
    Err(XtaskError::Transcript {
        path: path.to_path_buf(),
        diff: difference(&expected, printed),
        bless: again.to_owned(),
    })
}

/// The first line that differs, for a message.
fn difference(expected: &str, found: &str) -> String {
    let (mut left, mut right) = (expected.lines(), found.lines());
    let mut number = 1;
    loop {
        match (left.next(), right.next()) {
            (Some(a), Some(b)) if a == b => number += 1,
            (None, None) => return ": only in line ends".to_owned(),
            (a, b) => {
                let (a, b) = (a.unwrap_or("(nothing)"), b.unwrap_or("(nothing)"));
                return format!(", line {number}:\n  expected {a}\n  printed  {b}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_differing_line_is_shown() {
        let text = difference("a\nb\n", "a\nc\n");
        assert!(text.contains("line 2") && text.contains("expected b") && text.contains("c"));
        assert!(difference("a\n", "a\nb\n").contains("(nothing)"));
        assert!(difference("a\n", "a").contains("line ends"));
    }
}
