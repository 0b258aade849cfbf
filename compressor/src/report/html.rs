//! Text into HTML.

use std::fmt::{self, Display, Write};

/// Shows a value with everything escaped that means something to HTML or SVG, inside and outside
/// of quoted attributes.
pub(super) struct Escaped<T>(T);

/// Escapes a value from outside. Every string that isn't a literal of this module goes through it.
pub(super) fn esc<T: Display>(value: T) -> Escaped<T> {
    Escaped(value)
}

impl<T: Display> Display for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaper(f), "{}", self.0)
    }
}

/// Replaces characters on their way through.
struct Escaper<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl Write for Escaper<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.find(['&', '<', '>', '"', '\'']) {
            let (before, special) = rest.split_at(at);
            self.0.write_str(before)?;
            self.0.write_str(match special.as_bytes().first() {
                Some(b'&') => "&amp;",
                Some(b'<') => "&lt;",
                Some(b'>') => "&gt;",
                Some(b'"') => "&quot;",
                _ => "&#39;",
            })?;
            rest = special.get(1..).unwrap_or("");
        }
        self.0.write_str(rest)
    }
}

/// A section with a heading that can be linked to.
pub(super) fn section(id: &str, title: &str, body: &str) -> String {
    format!("<section id=\"{id}\">\n<h2>{title}</h2>\n{body}\n</section>\n")
}

/// A paragraph in the muted colour.
pub(super) fn remark(text: &str) -> String {
    format!("<p class=\"remark\">{text}</p>\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_becomes_text() {
        assert_eq!(
            esc("<b a=\"x\" c='y'>&amp;</b>").to_string(),
            "&lt;b a=&quot;x&quot; c=&#39;y&#39;&gt;&amp;amp;&lt;/b&gt;"
        );
        assert_eq!(esc("ünï – ok").to_string(), "ünï – ok");
    }

    proptest::proptest! {
        #[test]
        fn nothing_special_gets_through(text in ".*") {
            let safe = esc(&text).to_string();
            proptest::prop_assert!(!safe.contains(['<', '>', '"', '\'']));
            let back = safe
                .replace("&lt;", "<")
                .replace("&gt;", ">")
                .replace("&quot;", "\"")
                .replace("&#39;", "'")
                .replace("&amp;", "&");
            proptest::prop_assert_eq!(back, text);
        }
    }
}
