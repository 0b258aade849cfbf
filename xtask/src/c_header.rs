//! `runtime/c/include/bitsback.h`: made from the sources of `runtime/c`.

use std::path::{Path, PathBuf};

use cbindgen::{Builder, Config};

use crate::error::XtaskError;

const CRATE: &str = "runtime/c";

/// Where the header is, in the checkout.
pub(crate) fn path(root: &Path) -> PathBuf {
    root.join(CRATE).join("include/bitsback.h")
}

/// The header's text, as the sources give it.
///
/// # Errors
/// When the sources or `cbindgen.toml` can't be understood.
pub(crate) fn generate(root: &Path) -> Result<String, XtaskError> {
    let folder = root.join(CRATE);
    let wrong = |problem: String| XtaskError::Header { path: path(root), problem };
    let config = Config::from_file(folder.join("cbindgen.toml")).map_err(wrong)?;
    let mut builder = Builder::new().with_config(config);
    for source in ["status.rs", "pointers.rs", "exports.rs", "watch.rs"] {
        builder = builder.with_src(folder.join("src").join(source));
    }
    let bindings = builder.generate().map_err(|error| wrong(error.to_string()))?;
    let mut text = Vec::new();
    bindings.write(&mut text);
    Ok(without_rust(&String::from_utf8_lossy(&text)))
}

/// Comments for C: what is markup in Rust's documentation becomes words. Declarations stay as they
/// are: there, two stars are a pointer to a pointer.
fn without_rust(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for line in text.lines() {
        let start = line.trim_start();
        if start == "// # Safety" {
            plain += "// The caller promises:";
        } else if ["//", "/*", "*"].iter().any(|mark| start.starts_with(mark)) {
            plain += &line.replace("[`", "").replace("`]", "").replace('`', "").replace("**", "");
        } else {
            plain += line;
        }
        plain.push('\n');
    }
    plain
}

/// The functions that a header declares, in order.
#[cfg(test)]
pub(crate) fn functions(header: &str) -> Vec<&str> {
    // A declaration begins a line with its type, and its name ends at a parenthesis.
    header
        .lines()
        .filter(|line| line.starts_with(|first: char| first.is_ascii_alphabetic()))
        .filter_map(|line| line.split_once('(').map(|(before, _)| before))
        .filter_map(|before| before.rsplit([' ', '*']).next())
        .filter(|name| name.starts_with("bitsback_"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_lose_rusts_markup_and_declarations_nothing() {
        let text = "/* Made by `me` */\n// A [`Thing`], **not** ended.\n// # Safety\nint f(const char **name, /* x */\n      char *(**g)(int));\n";
        let plain = "/* Made by me */\n// A Thing, not ended.\n// The caller promises:\nint f(const char **name, /* x */\n      char *(**g)(int));\n";
        assert_eq!(without_rust(text), plain);
    }

    #[test]
    fn functions_are_found_by_their_declarations() {
        let text = "// bitsback_no(x)\nint8_t *bitsback_a(void);\nBitsbackStatus bitsback_b(int x,\n    int y);\n#define bitsback_c(x)\ntypedef struct {\n  int bitsback_d;\n} E;\n";
        assert_eq!(functions(text), ["bitsback_a", "bitsback_b"]);
    }

    #[test]
    fn the_committed_header_is_what_the_sources_give() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let committed = std::fs::read_to_string(path(&root)).unwrap_or_default();
        let advice = "`cargo xtask c --header` writes it anew";
        assert!(committed == generate(&root).unwrap(), "bitsback.h is stale: {advice}");
    }
}
