//! Text from files on its way to a terminal.
//!
//! Names in files are whatever their makers wrote: control characters could move the cursor, clear
//! the screen or hide what stands before them, and marks of direction could turn the rest of a line
//! around. Everything that is printed goes through [`printable`] or [`json_printable`].

use std::borrow::Cow;
use std::fmt::Write as _;

/// The text with such characters written as `\u{1b}`; line breaks stay.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    escaped(text, |out, c| {
        let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
    })
}

/// A line of JSON with such characters written as `\u009b`, which means the same to its readers.
pub(crate) fn json_printable(text: &str) -> Cow<'_, str> {
    escaped(text, |out, c| {
        for unit in c.encode_utf16(&mut [0; 2]) {
            let _ = write!(out, "\\u{unit:04x}");
        }
    })
}

/// A name as a word of a line: line breaks are written like other such characters.
pub(crate) fn one_line(text: &str) -> Cow<'_, str> {
    if text.contains('\n') {
        return Cow::Owned(printable(&text.replace('\n', "\\u{a}")).into_owned());
    }
    printable(text)
}

fn escaped(text: &str, write: impl Fn(&mut String, char)) -> Cow<'_, str> {
    if !text.chars().any(acts) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if acts(c) { write(&mut out, c) } else { out.push(c) }
    }
    Cow::Owned(out)
}

/// Whether a terminal does something else with a character than show it.
fn acts(c: char) -> bool {
    let directs = matches!(c,
        '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
    directs || (c.is_control() && c != '\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_on_a_terminal_is_shown_instead() {
        assert_eq!(printable("a\u{1b}[2Jb\r\u{9b}c"), "a\\u{1b}[2Jb\\u{d}\\u{9b}c");
        assert_eq!(printable("safe\u{202e}gpj"), "safe\\u{202e}gpj");
        assert_eq!(one_line("a\nb\r"), "a\\u{a}b\\u{d}");
        for plain in ["Grüße, 漢字, 🙂 – 1 × 2", "two\nlines", ""] {
            assert!(matches!(printable(plain), Cow::Borrowed(_)), "{plain}");
        }
    }

    #[test]
    fn json_means_the_same_after_it() {
        let text = "a\u{7f}b\u{9b}c\u{202e}d\u{e0041}";
        let line = serde_json::to_string(text).unwrap();
        let shown = json_printable(&line);
        assert!(!shown.chars().any(acts), "{shown}");
        assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), text);
    }
}
