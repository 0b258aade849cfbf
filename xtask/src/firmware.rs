//! Building a program of `firmware-examples/` for a board.

use std::fs;
use std::path::{Path, PathBuf};

use crate::boards::Board;
use crate::error::XtaskError;
use crate::paths;
use crate::process;
use crate::toolchain::{self, Toolchain, Via};

/// A cold build compiles the start-up crates and their macros; a minute or two at most.
const BUILD_LIMIT: std::time::Duration = std::time::Duration::from_secs(900);

/// A program to build.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Program<'a> {
    /// The package, whose binary has the same name.
    pub(crate) package: &'a str,
    /// The folder of its workspace below `firmware-examples`; empty for that one itself.
    pub(crate) workspace: &'a str,
    /// The features to build it with.
    pub(crate) features: &'a [&'a str],
    /// Whether its default features are left out.
    pub(crate) is_lean: bool,
    /// The model that it includes at build time.
    pub(crate) model: Option<&'a Path>,
    /// Bytes for unpacked weights, where that isn't all that they take.
    pub(crate) weights_ram: Option<u64>,
    /// Whether it has the portable kernels, whatever the core can do.
    pub(crate) is_portable: bool,
}

/// Has the runtime built with its portable kernels; see `runtime/build.rs`.
pub(crate) const PORTABLE: (&str, &str) = ("BITSBACK_ISA", "portable");

/// Says how much memory a program has for unpacked weights.
const WEIGHTS_RAM: &str = "BITSBACK_WEIGHTS_RAM";

/// Builds `package` for `board`, preparing the toolchain if it must, and returns the ELF file.
/// Progress goes to standard error, so that `--json` output stays clean.
pub(crate) fn build(root: &Path, board: &Board, package: &str) -> Result<PathBuf, XtaskError> {
    build_program(root, board, Program { package, ..Program::default() })
}

/// As [`build`], with features and a model.
pub(crate) fn build_program(
    root: &Path,
    board: &Board,
    program: Program<'_>,
) -> Result<PathBuf, XtaskError> {
    let mut say = |line: &str| eprintln!("  {line}");
    let toolchain = toolchain::ensure(board.target, Via::Auto, &paths::cache(root), &mut say)?;
    compile(root, board, program, &toolchain)
}

/// Lints firmware for `board` with warnings denied: a package, or all that are for every board. Debian's compiler comes without clippy:
/// false when there was nothing to lint with.
pub(crate) fn lint(root: &Path, board: &Board, package: Option<&str>) -> Result<bool, XtaskError> {
    let mut say = |line: &str| eprintln!("  {line}");
    let toolchain = toolchain::ensure(board.target, Via::Auto, &paths::cache(root), &mut say)?;
    if !toolchain.is_prebuilt() {
        return Ok(false);
    }
    let mut command = toolchain.cargo(&[]);
    command
        .args(["clippy", "--release", "--quiet", "--target", board.target, "--target-dir"])
        .arg(paths::firmware_target(root))
        .args(package.iter().flat_map(|name| ["--package", name]))
        .args(["--", "-D", "warnings"])
        .current_dir(root.join("firmware-examples"));
    process::read(&mut command, BUILD_LIMIT).map(|_| true)
}

fn compile(
    root: &Path,
    board: &Board,
    program: Program<'_>,
    toolchain: &Toolchain,
) -> Result<PathBuf, XtaskError> {
    let output = paths::firmware_target(root);
    let flags: Vec<String> =
        board.target_cpu.iter().map(|cpu| format!("-Ctarget-cpu={cpu}")).collect();
    let mut command = toolchain.cargo(&flags);
    command
        .args(["build", "--release", "--quiet", "--package", program.package])
        .args(["--features", &program.features.join(",")])
        .args(["--target", board.target, "--target-dir"])
        .arg(&output)
        .current_dir(root.join("firmware-examples").join(program.workspace));
    if program.is_lean {
        command.arg("--no-default-features");
    }
    if board.is_for_speed {
        command.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "3");
    }
    if program.is_portable {
        command.env(PORTABLE.0, PORTABLE.1);
    }
    if let Some(model) = program.model {
        command.env("BITSBACK_MODEL", model);
    }
    command.env_remove(WEIGHTS_RAM);
    if let Some(bytes) = program.weights_ram {
        command.env(WEIGHTS_RAM, bytes.to_string());
    }
    process::read(&mut command, BUILD_LIMIT)?;

    // Boards of one target share cargo's output file; a copy a core keeps them apart.
    let built = output.join(board.target).join("release").join(program.package);
    let folder = output.join("elf").join(board.core);
    let elf = folder.join(program.package);
    fs::create_dir_all(&folder).map_err(|source| XtaskError::File {
        action: "create",
        path: folder.clone(),
        source,
    })?;
    fs::copy(&built, &elf).map_err(|source| XtaskError::File {
        action: "copy",
        path: built.clone(),
        source,
    })?;
    Ok(elf)
}
