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
    for source in ["status.rs", "pointers.rs", "exports.rs"] {
        builder = builder.with_src(folder.join("src").join(source));
    }
    let bindings = builder.generate().map_err(|error| wrong(error.to_string()))?;
    let mut text = Vec::new();
    bindings.write(&mut text);
    Ok(without_rust(&String::from_utf8_lossy(&text)))
}

/// Comments for C: what is markup in Rust's documentation becomes words.
fn without_rust(text: &str) -> String {
    let text = text.replace("// # Safety\n", "// The caller promises:\n");
    text.replace("[`", "").replace("`]", "").replace('`', "").replace("**", "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_header_is_what_the_sources_give() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let committed = std::fs::read_to_string(path(&root)).unwrap_or_default();
        let advice = "`cargo xtask c --header` writes it anew";
        assert!(committed == generate(&root).unwrap(), "bitsback.h is stale: {advice}");
    }
}
