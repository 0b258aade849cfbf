//! Building `core` and `alloc` for a target that nobody prebuilt, once, into a cache.
//!
//! The compiler builds them from its own source as a stable compiler would have shipped them;
//! afterwards the project's firmware builds with that compiler as plain stable Rust. A sysroot
//! is keyed by the compiler's version and commit, so a new compiler gets a new one.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::XtaskError;
use crate::process;
use crate::toolchain::Compiler;

/// Counts up when this recipe changes, so that sysroots built by an older one are not used.
const RECIPE: u32 = 1;
/// About a minute of CPU; an emulated or busy machine may take ten times as long.
const BUILD_LIMIT: Duration = Duration::from_secs(1_200);

const MANIFEST: &str = "\
[package]
name = \"sysroot\"
version = \"0.0.0\"
edition = \"2021\"
[lib]
path = \"lib.rs\"
[workspace]
";

/// The libraries that firmware links.
const LIBRARIES: [&str; 3] = ["core", "alloc", "compiler_builtins"];

/// The cached sysroot of `compiler` that holds `target`, if there is one.
pub(crate) fn find(compiler: &Compiler, target: &str, cache: &Path) -> Option<PathBuf> {
    let sysroot = location(compiler, target, cache);
    library_folder(&sysroot, target).is_dir().then_some(sysroot)
}

/// Builds the sysroot and moves it to its place in one step, so that an interrupted build leaves
/// nothing that looks finished, and two builds at once do not disturb each other.
pub(crate) fn build(compiler: &Compiler, target: &str, cache: &Path) -> Result<(), XtaskError> {
    let place = location(compiler, target, cache);
    let parent = place.parent().unwrap_or(cache);
    fs::create_dir_all(parent).map_err(file("create", parent))?;
    let work = tempfile::tempdir_in(parent).map_err(file("create a folder in", parent))?;
    let crate_folder = work.path().join("crate");
    fs::create_dir(&crate_folder).map_err(file("create", &crate_folder))?;
    let manifest = crate_folder.join("Cargo.toml");
    let source = crate_folder.join("lib.rs");
    fs::write(&manifest, MANIFEST).map_err(file("write", &manifest))?;
    fs::write(&source, "#![no_std]\n").map_err(file("write", &source))?;

    let output = work.path().join("build");
    let mut command = compiler.command();
    command
        .args(["build", "--release", "-Zbuild-std=core,alloc", "--target", target])
        .current_dir(&crate_folder)
        .env("CARGO_TARGET_DIR", &output)
        // The standard library's own build is the one that may use unstable features.
        .env("RUSTC_BOOTSTRAP", "1")
        // Without bitcode in the libraries, link-time optimisation of the firmware fails.
        .env("RUSTFLAGS", "-Cembed-bitcode=yes");
    process::read(&mut command, BUILD_LIMIT)?;

    let sysroot = work.path().join("sysroot");
    let libraries = library_folder(&sysroot, target);
    fs::create_dir_all(&libraries).map_err(file("create", &libraries))?;
    let copied = copy_libraries(&output.join(target).join("release/deps"), &libraries)?;
    if copied != LIBRARIES.len() {
        return Err(XtaskError::Missing {
            what: format!("core, alloc or compiler_builtins for {target} after its build"),
        });
    }
    match fs::rename(&sysroot, &place) {
        // Another build was faster; its sysroot is as good as ours.
        Err(_) if find(compiler, target, cache).is_some() => Ok(()),
        other => other.map_err(file("move the sysroot to", &place)),
    }
}

fn location(compiler: &Compiler, target: &str, cache: &Path) -> PathBuf {
    cache.join("sysroots").join(format!("{}-{RECIPE}", compiler.version)).join(target)
}

fn library_folder(sysroot: &Path, target: &str) -> PathBuf {
    sysroot.join("lib/rustlib").join(target).join("lib")
}

/// Copies the finished libraries out of cargo's folder; returns how many there were.
fn copy_libraries(from: &Path, to: &Path) -> Result<usize, XtaskError> {
    let mut copied = 0;
    for entry in fs::read_dir(from).map_err(file("read", from))? {
        let path = entry.map_err(file("read", from))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let wanted = LIBRARIES.iter().any(|library| name.starts_with(&format!("lib{library}-")));
        if wanted && name.ends_with(".rlib") {
            let target = to.join(&name);
            fs::copy(&path, &target).map_err(file("copy to", &target))?;
            copied += 1;
        }
    }
    Ok(copied)
}

fn file(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> XtaskError {
    let path = path.to_path_buf();
    move |source| XtaskError::File { action, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiler(version: &str) -> Compiler {
        Compiler {
            rustc: PathBuf::from("rustc"),
            cargo: PathBuf::from("cargo"),
            version: version.to_owned(),
            sysroot: PathBuf::from("/nonexistent"),
        }
    }

    #[test]
    fn another_compiler_finds_no_sysroot_of_this_one() {
        let cache = tempfile::tempdir().unwrap();
        let old = compiler("1.0.0-abc");
        let place = location(&old, "t", cache.path());
        fs::create_dir_all(library_folder(&place, "t")).unwrap();
        assert_eq!(find(&old, "t", cache.path()), Some(place));
        assert_eq!(find(&compiler("1.0.0-def"), "t", cache.path()), None);
        assert_eq!(find(&old, "u", cache.path()), None);
    }

    #[test]
    fn only_the_finished_libraries_are_copied() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for name in ["libcore-1.rlib", "libcore-1.rmeta", "liballoc-2.rlib", "libsysroot-3.rlib"] {
            fs::write(from.path().join(name), name).unwrap();
        }
        assert_eq!(copy_libraries(from.path(), to.path()).unwrap(), 2);
        assert!(to.path().join("libcore-1.rlib").is_file());
        assert!(!to.path().join("libsysroot-3.rlib").exists());
    }
}
