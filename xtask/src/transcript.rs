//! Expected output beside its program: compared, or on request written anew.

use std::fs;
use std::path::Path;

use crate::error::XtaskError;
use crate::files;

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
    check(path, &fs::read_to_string(path).map_err(failed("read"))?, printed, again)
}

/// The marks before and after a transcript in a page.
const BLOCK_START: &str = "<!-- transcript -->\n```text\n";
const BLOCK_END: &str = "```\n<!-- /transcript -->";

/// As [`compare`], with the part of a page between the marks.
///
/// # Errors
/// As [`compare`], and when there are no marks.
pub(crate) fn compare_block(
    page: &Path,
    printed: &str,
    bless: bool,
    again: &str,
) -> Result<(), XtaskError> {
    let text = files::read_text(page)?;
    let Some([before, expected, after]) = parts(&text) else {
        let (diff, bless) = (": it has no marks".to_owned(), again.to_owned());
        return Err(XtaskError::Transcript { path: page.to_path_buf(), diff, bless });
    };
    match bless {
        true => compare(page, &format!("{before}{printed}{after}"), bless, again),
        false => check(page, expected, printed, again),
    }
}

/// What is before a page's transcript, the transcript, and what is behind it; the marks belong to the others.
fn parts(text: &str) -> Option<[&str; 3]> {
    let (before, _) = text.split_once(BLOCK_START)?;
    let (before, rest) = text.split_at(before.len() + BLOCK_START.len());
    let (inside, _) = rest.split_once(BLOCK_END)?;
    let (inside, after) = rest.split_at(inside.len());
    Some([before, inside, after])
}

fn check(path: &Path, expected: &str, printed: &str, again: &str) -> Result<(), XtaskError> {
    if expected == printed {
        println!("as in {}", path.display());
        return Ok(());
    }
    Err(XtaskError::Transcript {
        path: path.to_path_buf(),
        diff: difference(expected, printed),
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
    fn a_transcript_is_compared_and_written_between_its_marks() {
        let folder = tempfile::tempdir().unwrap();
        let page = folder.path().join("README.md");
        let text = |inside: &str| format!("# Page\n{BLOCK_START}{inside}{BLOCK_END}\nmore\n");
        fs::write(&page, text("old\n")).unwrap();
        assert!(compare_block(&page, "old\n", false, "again").is_ok());
        let error = compare_block(&page, "new\n", false, "again").unwrap_err().to_string();
        assert!(error.contains("expected old") && error.contains("again"), "{error}");
        compare_block(&page, "new\n", true, "again").unwrap();
        assert_eq!(fs::read_to_string(&page).unwrap(), text("new\n"));
        fs::write(&page, "no marks").unwrap();
        for bless in [false, true] {
            let error = compare_block(&page, "new\n", bless, "again").unwrap_err();
            assert!(error.to_string().contains("no marks"), "{error}");
        }
    }

    #[test]
    fn the_first_differing_line_is_shown() {
        let text = difference("a\nb\n", "a\nc\n");
        assert!(text.contains("line 2") && text.contains("expected b") && text.contains("c"));
        assert!(difference("a\n", "a\nb\n").contains("(nothing)"));
        assert!(difference("a\n", "a").contains("line ends"));
    }
}
