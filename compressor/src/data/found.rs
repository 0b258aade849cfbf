//! Sizes and names as messages show them.

use std::fmt;

use crate::numbers::Shape;

/// A list of sizes as people write it: `60000 × 28 × 28`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found(pub Vec<usize>);

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("a single value");
        }
        for (i, size) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { " × " };
            write!(f, "{separator}{size}")?;
        }
        Ok(())
    }
}

pub(super) fn show(shape: Shape) -> Found {
    match shape {
        Shape::Flat(n) => Found(vec![n]),
        Shape::Image { height, width, channels } => Found(vec![height, width, channels]),
    }
}

/// Names in words, at most ten of them.
pub(crate) fn list(names: &[impl AsRef<str>]) -> String {
    const SHOWN: usize = 10;
    let quoted = |name: &dyn AsRef<str>| format!("`{}`", name.as_ref());
    let mut text: Vec<String> = names.iter().take(SHOWN).map(|name| quoted(name)).collect();
    if names.len() > SHOWN {
        text.push(format!("{} more", names.len() - SHOWN));
    }
    if text.is_empty() { "none".to_owned() } else { text.join(", ") }
}
