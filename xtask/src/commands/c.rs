//! `cargo xtask c`: the static library and header for C, and the example that proves them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bitsback_runtime::Header;

use crate::boards::{self, BOARDS, Board};
use crate::error::XtaskError;
use crate::toolchain::{self, Via};
use crate::{c_header, files, paths, process, qemu, transcript};

/// A cold build compiles a handful of crates, with link-time optimisation.
const BUILD_LIMIT: Duration = Duration::from_secs(900);
/// The example classifies four digits.
const RUN_LIMIT: Duration = Duration::from_secs(60);
/// The core that the example has a linker script for.
const EXAMPLE_CORE: &str = "cortex-m4";
const EXAMPLE: &str = "firmware-examples/c";
const MODEL: &str = "tests/golden/digits/model.bbk";
/// The same with a margin.
const UNSURE: &str = "tests/golden/unsure/model.bbk";
/// The same with a sentinel.
const WATCHED: &str = "tests/golden/watched/model.bbk";
const DOCUMENT: &str = "docs/from-c.md";
const GCC: &str = "arm-none-eabi-gcc";
const GPP: &str = "arm-none-eabi-g++";
/// Compiler, standard and program: each gives the same transcript.
const PROGRAMS: [(&str, &str, &str); 4] = [
    (GCC, "c99", "main.c"),
    (GCC, "c11", "main.c"),
    (GPP, "c++11", "main.cpp"),
    (GPP, "c++20", "main.cpp"),
];
/// What gcc is to say of them: everything, and as errors.
const WARNINGS: [&str; 3] = ["-Wall", "-Wextra", "-Werror"];
/// The same of what isn't a board's start, where a table of functions is one of addresses.
const PEDANTIC: &str = "-Wpedantic";
/// For C++ without its library, which bare-metal packages may lack.
const CPP: [&str; 2] = ["-fno-exceptions", "-fno-rtti"];
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
    /// Then build the programs of firmware-examples/c with arm-none-eabi-gcc as C99 and C11 and as
    /// C++11 and C++20, run them on an emulated Cortex-M4, and compare with their transcript; link one
    /// once more in a way that fails if anything can panic; compile the snippets of docs/from-c.md.
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
        files::write(&path, c_header::generate(&root)?.as_bytes())?;
        println!("wrote {}", path.display());
        return Ok(());
    }
    let kinds = args.model.as_deref().map(kinds).transpose()?;
    let header = args.out.join("bitsback.h");
    for board in boards::select(&args.core)? {
        let library = library(&root, board, Flavour { kinds, no_panic: false })?;
        let folder = args.out.join(board.core);
        files::create(&folder)?;
        let place = folder.join("libbitsback.a");
        files::copy(&library, &place)?;
        println!("{:<12} {}", board.core, place.display());
    }
    files::copy(&c_header::path(&root), &header)?;
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

/// Builds, links and runs the example in each language.
fn example(root: &Path, bless: bool) -> Result<(), XtaskError> {
    let Some(board) = boards::select(EXAMPLE_CORE)?.first().copied() else { return Ok(()) };
    for compiler in [GCC, GPP] {
        if process::find_program(compiler).is_none() {
            return Err(XtaskError::Missing { what: compiler.to_owned() });
        }
    }
    if !qemu::is_installed(board) {
        return Err(XtaskError::Missing { what: board.emulator.to_owned() });
    }
    let folder = paths::firmware_target(root).join("c");
    files::create(&folder)?;
    let object = folder.join("main.o");
    let checked = library(root, board, Flavour { no_panic: true, kinds: None })?;
    compile(root, PROGRAMS[0], &object)?;
    link(root, &object, &checked, &folder.join("no-panic.elf"))?;
    println!("{EXAMPLE}: links without a path to a panic");
    let library = library(root, board, Flavour::default())?;
    for program in PROGRAMS {
        let (_, standard, source) = program;
        let elf = folder.join(format!("{standard}.elf"));
        compile(root, program, &object)?;
        link(root, &object, &library, &elf)?;
        let run = qemu::Run { elf: &elf, folder: &folder, model: None, limit: RUN_LIMIT };
        let finished = qemu::run(board, &run)?;
        if !finished.status.success() {
            return Err(XtaskError::Command {
                command: format!("{EXAMPLE}/{source} as {standard} on {}", board.core),
                status: finished.status.to_string(),
                output: finished.output(),
            });
        }
        let path = root.join(EXAMPLE).join("classify.out");
        let bless = bless && program == PROGRAMS[0];
        transcript::compare(&path, &finished.stdout, bless, "cargo xtask c --run --bless")?;
        println!("{EXAMPLE}/{source} as {standard}");
    }
    snippets(root, &folder)
}

/// A compiler with the words that all of its calls have.
fn compiler(root: &Path, (compiler, standard, _): (&str, &str, &str)) -> Command {
    let mut command = Command::new(compiler);
    command
        .args(GCC_CPU)
        .args(["-O2", &format!("-std={standard}")])
        .args(WARNINGS)
        .args((compiler == GPP).then_some(CPP).into_iter().flatten())
        .arg(format!("-I{}", root.join("runtime/c/include").display()))
        .current_dir(root.join(EXAMPLE));
    command
}

/// Compiles a program with every warning as an error.
fn compile(root: &Path, program: (&str, &str, &str), object: &Path) -> Result<(), XtaskError> {
    let mut command = compiler(root, program);
    command.args([PEDANTIC, "-c", program.2, "-o"]).arg(object);
    process::read(&mut command, BUILD_LIMIT).map(|_| ())
}

/// Links a program with the library, the model and what starts it.
fn link(root: &Path, object: &Path, library: &Path, elf: &Path) -> Result<(), XtaskError> {
    let mut command = compiler(root, PROGRAMS[1]);
    command
        .arg("--specs=rdimon.specs")
        .arg("-Wl,--gc-sections,--no-warn-rwx-segments,-z,noexecstack")
        .arg(format!("-DMODEL=\"{}\"", root.join(MODEL).display()))
        .arg(format!("-DUNSURE=\"{}\"", root.join(UNSURE).display()))
        .arg(format!("-DWATCHED=\"{}\"", root.join(WATCHED).display()))
        .args(["-T", "mps2-an386.ld", "start.c", "model.S"])
        .args([object, library])
        .arg("-o")
        .arg(elf);
    process::read(&mut command, BUILD_LIMIT).map(|_| ())
}

/// Compiles what `docs/from-c.md` shows of C, in each language.
fn snippets(root: &Path, folder: &Path) -> Result<(), XtaskError> {
    let path = root.join(DOCUMENT);
    let text = files::read_text(&path)?;
    let found = snippets_of(&text);
    if found.is_empty() {
        return Err(XtaskError::Missing { what: format!("code in C in {}", path.display()) });
    }
    for (number, snippet) in found.iter().enumerate() {
        for program in PROGRAMS {
            let name = if program.0 == GPP { "snippet.cpp" } else { "snippet.c" };
            let source = folder.join(name);
            files::write(&source, snippet.as_bytes())?;
            let mut command = compiler(root, program);
            command.args([PEDANTIC, "-fsyntax-only"]).arg(&source);
            process::read(&mut command, BUILD_LIMIT)?;
        }
        println!("{DOCUMENT}: snippet {} compiles", number + 1);
    }
    Ok(())
}

/// What stands between "```c" and "```".
fn snippets_of(text: &str) -> Vec<&str> {
    let begun = text.split("\n```c\n").skip(1);
    begun.filter_map(|rest| rest.split_once("\n```")).map(|(snippet, _)| snippet).collect()
}

/// The operators that a model uses.
fn kinds(model: &Path) -> Result<u32, XtaskError> {
    let bytes = files::read(model)?;
    Header::read(&bytes).map(|header| header.op_kinds).ok_or_else(|| XtaskError::Golden {
        path: model.to_path_buf(),
        problem: "not a .bbk model".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
    }

    #[test]
    fn both_programs_call_every_function_of_the_header() {
        let header = fs::read_to_string(c_header::path(&root())).unwrap();
        let functions = c_header::functions(&header);
        assert!(functions.len() > 10, "{functions:?}");
        for (_, _, source) in PROGRAMS {
            let text = fs::read_to_string(root().join(EXAMPLE).join(source)).unwrap();
            for function in &functions {
                assert!(text.contains(&format!("{function}(")), "{source} never calls {function}");
            }
        }
    }

    #[test]
    fn snippets_end_where_their_fences_do() {
        let text = "a\n```c\nint x;\n```\n```\nno\n```\n\n```c\nint y;\nint z;\n```\n";
        assert_eq!(snippets_of(text), ["int x;", "int y;\nint z;"]);
    }

    #[test]
    fn the_page_shows_the_transcript() {
        let page = fs::read_to_string(root().join(DOCUMENT)).unwrap();
        let transcript = fs::read_to_string(root().join(EXAMPLE).join("classify.out")).unwrap();
        assert!(page.contains(&format!("```text\n{transcript}```")), "{DOCUMENT} is stale");
    }
}
