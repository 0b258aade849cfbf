//! Which compiler builds for a bare-metal target, and with which flags.
//!
//! Three ways, tried in this order; the crates know nothing of them:
//! 1. rustup's prebuilt target of the active toolchain (`rustup target add`), plain cargo;
//! 2. a sysroot built by us (see `sysroot`) with the active toolchain and its `rust-src`, for
//!    targets that nobody prebuilds;
//! 3. the same with Debian's compiler, where rustup can fetch nothing.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use clap::ValueEnum;

use crate::error::XtaskError;
use crate::process;
use crate::sysroot;

/// Asking a compiler about itself takes milliseconds; rustup's proxy may take a second.
const ASK_LIMIT: Duration = Duration::from_secs(30);
/// `rustup target add` downloads about 30 MB. Where it can reach nothing it must give up soon.
const RUSTUP_LIMIT: Duration = Duration::from_secs(120);

const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CARGO: &str = "/usr/bin/cargo";

/// Where the compiler for firmware comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Via {
    /// rustup where it works, else Debian's packages.
    Auto,
    /// The active toolchain only.
    Rustup,
    /// Debian's compiler only, as on a machine without rustup's servers.
    Debian,
}

/// A compiler with its cargo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Compiler {
    pub(crate) rustc: PathBuf,
    pub(crate) cargo: PathBuf,
    /// `release` and `commit-hash` of `rustc -vV`: what a built sysroot belongs to.
    pub(crate) version: String,
    /// The compiler's own sysroot.
    pub(crate) sysroot: PathBuf,
}

/// How to call cargo for one target.
#[derive(Clone, Debug)]
pub(crate) struct Toolchain {
    target: String,
    compiler: Compiler,
    /// The sysroot that we built, and the linker to use with it; `None`: the compiler's own.
    built: Option<(PathBuf, PathBuf)>,
}

impl Toolchain {
    /// A cargo command that builds for the target, with `flags` for the compiler.
    pub(crate) fn cargo(&self, flags: &[String]) -> Command {
        let mut command = self.compiler.command();
        let mut rustflags: Vec<String> = Vec::new();
        if let Some((sysroot, linker)) = &self.built {
            rustflags.push(format!("--sysroot={}", sysroot.display()));
            if linker.ends_with("arm-none-eabi-ld") {
                rustflags.push("-Clinker-flavor=ld".to_owned());
            }
            command.env(self.variable("LINKER"), linker);
        }
        rustflags.extend_from_slice(flags);
        if !rustflags.is_empty() {
            command.env(self.variable("RUSTFLAGS"), rustflags.join(" "));
        }
        command
    }

    /// `CARGO_TARGET_<TARGET>_<KEY>`, as cargo reads it.
    fn variable(&self, key: &str) -> String {
        let target: String =
            self.target.chars().map(|c| if c.is_alphanumeric() { c } else { '_' }).collect();
        format!("CARGO_TARGET_{}_{key}", target.to_uppercase())
    }

    /// Whether rustup prebuilt the target, so that its other tools (clippy) work for it too.
    pub(crate) fn is_prebuilt(&self) -> bool {
        self.built.is_none()
    }

    /// For people: the compiler and where its `core` comes from.
    pub(crate) fn describe(&self) -> String {
        match &self.built {
            None => format!("rustc {}, prebuilt by rustup", self.compiler.release()),
            Some((sysroot, _)) => {
                format!("rustc {}, core built in {}", self.compiler.release(), sysroot.display())
            }
        }
    }
}

impl Compiler {
    /// The toolchain that runs us.
    pub(crate) fn active() -> Result<Self, XtaskError> {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
        Self::ask(PathBuf::from("rustc"), PathBuf::from(cargo))
    }

    /// Debian's compiler, if it is installed.
    pub(crate) fn debian() -> Option<Self> {
        let (rustc, cargo) = (PathBuf::from(DEBIAN_RUSTC), PathBuf::from(DEBIAN_CARGO));
        (rustc.is_file() && cargo.is_file()).then(|| Self::ask(rustc, cargo).ok())?
    }

    fn ask(rustc: PathBuf, cargo: PathBuf) -> Result<Self, XtaskError> {
        let verbose = process::read(Command::new(&rustc).arg("-vV"), ASK_LIMIT)?;
        let field = |name: &str| {
            verbose.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("unknown").trim()
        };
        let version = format!("{}-{}", field("release:"), field("commit-hash:"));
        let sysroot = process::read(Command::new(&rustc).args(["--print", "sysroot"]), ASK_LIMIT)?;
        Ok(Self { rustc, cargo, version, sysroot: PathBuf::from(sysroot.trim()) })
    }

    /// A cargo command that uses this compiler and none of the caller's build settings.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.cargo);
        for inherited in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET", "RUSTC"] {
            command.env_remove(inherited);
        }
        if self.rustc.is_absolute() {
            command.env("RUSTC", &self.rustc);
        }
        command
    }

    pub(crate) fn has_target(&self, target: &str) -> bool {
        self.sysroot.join("lib/rustlib").join(target).join("lib").is_dir()
    }

    /// Whether the standard library's source is there, so that a sysroot can be built.
    pub(crate) fn has_source(&self) -> bool {
        self.sysroot.join("lib/rustlib/src/rust/library/core/src/lib.rs").is_file()
    }

    fn release(&self) -> &str {
        self.version.split('-').next().unwrap_or(&self.version)
    }
}

/// Finds a toolchain that is ready for `target`, without changing anything.
///
/// # Errors
/// [`XtaskError::NoToolchain`] when there is none yet.
pub(crate) fn find(target: &str, via: Via, cache: &Path) -> Result<Toolchain, XtaskError> {
    let mut tried = Vec::new();
    for compiler in compilers(via)? {
        if compiler.has_target(target) {
            return Ok(Toolchain { target: target.to_owned(), compiler, built: None });
        }
        if let Some(sysroot) = sysroot::find(&compiler, target, cache) {
            let linker = linker(target)?;
            let built = Some((sysroot, linker));
            return Ok(Toolchain { target: target.to_owned(), compiler, built });
        }
        tried.push(format!("rustc {} has none", compiler.release()));
    }
    if tried.is_empty() {
        tried.push("no compiler is installed".to_owned());
    }
    Err(XtaskError::NoToolchain { target: target.to_owned(), tried: tried.join(", ") })
}

/// As [`find`], and makes one ready if there is none: asks rustup, then builds a sysroot with a
/// compiler whose source is there. Installs no system package. `say` hears what is done.
pub(crate) fn ensure(
    target: &str,
    via: Via,
    cache: &Path,
    say: &mut dyn FnMut(&str),
) -> Result<Toolchain, XtaskError> {
    if let Ok(found) = find(target, via, cache) {
        return Ok(found);
    }
    if via != Via::Debian && rustup(&["target", "add", target], say) {
        return find(target, via, cache);
    }
    let mut with_source = compilers(via)?.into_iter().find(Compiler::has_source);
    if with_source.is_none() && via != Via::Debian && rustup(&["component", "add", "rust-src"], say)
    {
        with_source = compilers(via)?.into_iter().find(Compiler::has_source);
    }
    let Some(compiler) = with_source else {
        return Err(XtaskError::NoToolchain {
            target: target.to_owned(),
            tried: "rustup gives none, and no compiler has its library's source".to_owned(),
        });
    };
    say(&format!("building core for {target} with rustc {}", compiler.release()));
    sysroot::build(&compiler, target, cache)?;
    find(target, via, cache)
}

/// The compilers to consider, the preferred first.
fn compilers(via: Via) -> Result<Vec<Compiler>, XtaskError> {
    Ok(match via {
        Via::Rustup => vec![Compiler::active()?],
        Via::Debian => Compiler::debian().into_iter().collect(),
        Via::Auto => Compiler::active().into_iter().chain(Compiler::debian()).collect(),
    })
}

/// Runs rustup; false when it is missing or fails, which the caller has another way for.
fn rustup(arguments: &[&str], say: &mut dyn FnMut(&str)) -> bool {
    let Some(program) = process::find_program("rustup") else { return false };
    let mut command = Command::new(program);
    command.args(arguments);
    let line = format!("rustup {}", arguments.join(" "));
    match process::read(&mut command, RUSTUP_LIMIT) {
        Ok(_) => {
            say(&line);
            true
        }
        Err(XtaskError::Command { output, .. }) => {
            let reason = output.lines().find(|line| line.starts_with("error")).unwrap_or("failed");
            say(&format!("{line}: {reason}"));
            false
        }
        Err(error) => {
            say(&error.to_string());
            false
        }
    }
}

/// A linker for a sysroot of our own, which has none of its own beside it.
pub(crate) fn linker(target: &str) -> Result<PathBuf, XtaskError> {
    let rustup_home = env::var_os("RUSTUP_HOME").map(PathBuf::from);
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".rustup"));
    let toolchains = rustup_home.or_else(home).map(|folder| folder.join("toolchains"));
    let bundled = toolchains.and_then(|folder| rust_lld(&folder));
    let on_path = || {
        let gnu = target.starts_with("thumb") || target.starts_with("arm");
        ["rust-lld", "ld.lld"]
            .into_iter()
            .chain(gnu.then_some("arm-none-eabi-ld"))
            .find_map(process::find_program)
    };
    bundled.or_else(on_path).ok_or_else(|| XtaskError::NoLinker { target: target.to_owned() })
}

/// The linker that every rustup toolchain carries, in the first toolchain by name.
fn rust_lld(toolchains: &Path) -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = folders(toolchains)
        .flat_map(|toolchain| folders(&toolchain.join("lib/rustlib")).collect::<Vec<_>>())
        .map(|host| host.join("bin/rust-lld"))
        .filter(|file| file.is_file())
        .collect();
    found.sort();
    found.into_iter().next()
}

fn folders(parent: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = std::fs::read_dir(parent).into_iter().flatten();
    entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiler() -> Compiler {
        Compiler {
            rustc: PathBuf::from("/usr/bin/rustc"),
            cargo: PathBuf::from("/usr/bin/cargo"),
            version: "1.96.0-abc".to_owned(),
            sysroot: PathBuf::from("/nonexistent"),
        }
    }

    fn environment(command: &Command, key: &str) -> Option<String> {
        command
            .get_envs()
            .find(|(name, _)| *name == key)
            .and_then(|(_, value)| value.map(|value| value.to_string_lossy().into_owned()))
    }

    #[test]
    fn a_prebuilt_target_needs_no_flags() {
        let toolchain = Toolchain {
            target: "thumbv8m.main-none-eabihf".to_owned(),
            compiler: compiler(),
            built: None,
        };
        let command = toolchain.cargo(&[]);
        let key = "CARGO_TARGET_THUMBV8M_MAIN_NONE_EABIHF_RUSTFLAGS";
        assert_eq!(environment(&command, key), None);
        let command = toolchain.cargo(&["-Ctarget-cpu=cortex-m55".to_owned()]);
        assert_eq!(environment(&command, key).as_deref(), Some("-Ctarget-cpu=cortex-m55"));
    }

    #[test]
    fn a_built_sysroot_brings_its_path_and_linker() {
        let toolchain = Toolchain {
            target: "armv5te-none-eabi".to_owned(),
            compiler: compiler(),
            built: Some((PathBuf::from("/s"), PathBuf::from("/b/arm-none-eabi-ld"))),
        };
        let command = toolchain.cargo(&[]);
        assert_eq!(
            environment(&command, "CARGO_TARGET_ARMV5TE_NONE_EABI_RUSTFLAGS").as_deref(),
            Some("--sysroot=/s -Clinker-flavor=ld")
        );
        assert_eq!(
            environment(&command, "CARGO_TARGET_ARMV5TE_NONE_EABI_LINKER").as_deref(),
            Some("/b/arm-none-eabi-ld")
        );
    }

    #[test]
    fn an_unknown_target_names_what_was_tried() {
        let cache = tempfile::tempdir().unwrap();
        let error = find("no-such-target", Via::Rustup, cache.path()).unwrap_err().to_string();
        assert!(error.contains("no-such-target") && error.contains("rustc"), "{error}");
    }
}
