//! `cargo xtask c`: the static library and header for C, and the example that proves them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bitsback_runtime::Header;

use crate::boards::{self, BOARDS, Board};
use crate::error::XtaskError;
use crate::toolchain::{self, Via};
use crate::{c_header, paths, process, qemu, transcript};

/// A cold build compiles a handful of crates, with link-time optimisation.
const BUILD_LIMIT: Duration = Duration::from_secs(900);
/// The example classifies four digits.
const RUN_LIMIT: Duration = Duration::from_secs(60);
/// The core that the example has a linker script for.
const EXAMPLE_CORE: &str = "cortex-m4";
const EXAMPLE: &str = "firmware-examples/c";
const MODEL: &str = "tests/golden/digits/model.bbk";
const GCC: &str = "arm-none-eabi-gcc";
/// gcc's words for that core.
const GCC_CPU: [&str; 4] = ["-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"];

/// Build libbitsback.a and bitsback.h for C.
///
/// Writes OUT/CORE/libbitsback.a and OUT/bitsback.h. The library holds every operator; with
/// --model it holds those of that model only, and refuses others with a code.
///
/// Exit codes: 0 done, 1 failed, 3 gcc, QEMU or a toolchain is missing.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The core, or `all`.
    #[arg(long, default_value = EXAMPLE_CORE)]
    core: String,
    /// A model whose operators the library is to hold, and no others.
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Where to write library and header.
    #[arg(long, value_name = "DIR", default_value = "out/c")]
    out: PathBuf,
    /// Instead: write runtime/c/include/bitsback.h anew.
    #[arg(long, conflicts_with_all = ["core", "model", "out", "run"])]
    header: bool,
    /// Then build firmware-examples/c with arm-none-eabi-gcc, run it on an emulated Cortex-M4, and
    /// compare with its transcript; link it once more in a way that fails if anything can panic.
    #[arg(long)]
    run: bool,
    /// With --run: write the transcript anew.
    #[arg(long, requires = "run")]
    bless: bool,
}

pub(crate) fn run(args: &Args) -> Result<(), XtaskError> {
    let root = paths::root()?;
    if args.header {
        let path = c_header::path(&root);
        write(&path, c_header::generate(&root)?.as_bytes())?;
        println!("wrote {}", path.display());
        return Ok(());
    }
    let kinds = args.model.as_deref().map(kinds).transpose()?;
    let header = args.out.join("bitsback.h");
    for board in boards::select(&args.core)? {
        let library = library(&root, board, Flavour { kinds, no_panic: false })?;
        let folder = args.out.join(board.core);
        create(&folder)?;
        let place = folder.join("libbitsback.a");
        copy(&library, &place)?;
        println!("{:<12} {}", board.core, place.display());
    }
    copy(&c_header::path(&root), &header)?;
    println!("{:<12} {}", "header", header.display());
    if args.run { example(&root, args.bless) } else { Ok(()) }
}

/// The step of `cargo xtask test`: the library for every core, the example on the Cortex-M4.
pub(crate) fn check(root: &Path) -> Result<(), XtaskError> {
    for board in BOARDS {
        library(root, board, Flavour::default())?;
        println!("{:<12} libbitsback.a", board.core);
    }
    example(root, false)
}

/// What a library is built for.
#[derive(Clone, Copy, Default)]
struct Flavour {
    /// Operators; all when left out.
    kinds: Option<u32>,
    /// Whether a program that links it proves that nothing panics.
    no_panic: bool,
}

/// Builds the library; returns cargo's file.
fn library(root: &Path, board: &Board, flavour: Flavour) -> Result<PathBuf, XtaskError> {
    let mut say = |line: &str| eprintln!("  {line}");
    let toolchain = toolchain::ensure(board.target, Via::Auto, &paths::cache(root), &mut say)?;
    let flags: Vec<String> =
        board.target_cpu.iter().map(|cpu| format!("-Ctarget-cpu={cpu}")).collect();
    let output = paths::firmware_target(root);
    let mut command = toolchain.cargo(&flags);
    command
        .args(["rustc", "--profile", "device", "--quiet", "--package", "bitsback-c"])
        .args(["--crate-type", "staticlib", "--target", board.target, "--target-dir"])
        .arg(&output)
        .args(flavour.no_panic.then_some("--features=no-panic"))
        .current_dir(root);
    if let Some(kinds) = flavour.kinds {
        command.env("BITSBACK_OP_KINDS", kinds.to_string());
    }
    process::read(&mut command, BUILD_LIMIT)?;
    Ok(output.join(board.target).join("device/libbitsback_c.a"))
}

/// Builds, links and runs the example.
fn example(root: &Path, bless: bool) -> Result<(), XtaskError> {
    let Some(board) = boards::select(EXAMPLE_CORE)?.first().copied() else { return Ok(()) };
    if process::find_program(GCC).is_none() {
        return Err(XtaskError::Missing { what: GCC.to_owned() });
    }
    if !qemu::is_installed(board) {
        return Err(XtaskError::Missing { what: board.emulator.to_owned() });
    }
    let folder = paths::firmware_target(root).join("c");
    create(&folder)?;
    link(root, &folder.join("no-panic.elf"), &Flavour { no_panic: true, kinds: None }, board)?;
    println!("{EXAMPLE}: links without a path to a panic");
    let elf = folder.join("classify.elf");
    link(root, &elf, &Flavour::default(), board)?;
    let run = qemu::Run { elf: &elf, folder: &folder, model: None, limit: RUN_LIMIT };
    let finished = qemu::run(board, &run)?;
    if !finished.status.success() {
        return Err(XtaskError::Command {
            command: format!("{EXAMPLE} on {}", board.core),
            status: finished.status.to_string(),
            output: finished.output(),
        });
    }
    let path = root.join(EXAMPLE).join("classify.out");
    transcript::compare(&path, &finished.stdout, bless, "cargo xtask c --run --bless")
}

/// Compiles the example with every warning as an error and links it with the library.
fn link(root: &Path, elf: &Path, flavour: &Flavour, board: &Board) -> Result<(), XtaskError> {
    let library = library(root, board, *flavour)?;
    let folder = root.join(EXAMPLE);
    let mut command = Command::new(GCC);
    command
        .args(GCC_CPU)
        .args(["-O2", "-std=c11", "-Wall", "-Wextra", "-Werror", "--specs=rdimon.specs"])
        .arg("-Wl,--gc-sections,--no-warn-rwx-segments,-z,noexecstack")
        .arg(format!("-DMODEL=\"{}\"", root.join(MODEL).display()))
        .arg(format!("-I{}", root.join("runtime/c/include").display()))
        .args(["-T", "mps2-an386.ld", "main.c", "start.c", "model.S"])
        .arg(library)
        .arg("-o")
        .arg(elf)
        .current_dir(folder);
    process::read(&mut command, BUILD_LIMIT).map(|_| ())
}

/// The operators that a model uses.
fn kinds(model: &Path) -> Result<u32, XtaskError> {
    let bytes = fs::read(model).map_err(|source| XtaskError::File {
        action: "read",
        path: model.to_path_buf(),
        source,
    })?;
    Header::read(&bytes).map(|header| header.op_kinds).ok_or_else(|| XtaskError::Golden {
        path: model.to_path_buf(),
        problem: "not a .bbk model".to_owned(),
    })
}

fn create(folder: &Path) -> Result<(), XtaskError> {
    fs::create_dir_all(folder).map_err(|source| XtaskError::File {
        action: "create",
        path: folder.to_path_buf(),
        source,
    })
}

fn copy(from: &Path, to: &Path) -> Result<(), XtaskError> {
    fs::copy(from, to).map(|_| ()).map_err(|source| XtaskError::File {
        action: "copy",
        path: from.to_path_buf(),
        source,
    })
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), XtaskError> {
    fs::write(path, bytes).map_err(|source| XtaskError::File {
        action: "write",
        path: path.to_path_buf(),
        source,
    })
}
