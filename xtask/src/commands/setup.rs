//! `cargo xtask setup`: find or install what firmware builds need.

use std::path::Path;

use serde::Serialize;

use crate::boards;
use crate::error::XtaskError;
use crate::packages::{self, Need, PROGRAMS, Program};
use crate::paths;
use crate::toolchain::{self, Compiler, Toolchain, Via};

/// Find or install what firmware builds need.
///
/// For each Rust target: the installed one, else `rustup target add`, else a `core` built once
/// from a compiler's source (rustup's rust-src, or Debian's rustc-web and rust-web-src) into the
/// user's cache. For QEMU: the installed one, else Debian's packages (as root or with sudo).
/// Everything done is said, line by line; a second run finds everything and changes nothing.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Change nothing; report, and exit with 3 if something is missing.
    #[arg(long)]
    check: bool,
    /// A Rust target to prepare (may be repeated); all that the boards need when left out.
    #[arg(long = "target", value_name = "TARGET")]
    targets: Vec<String>,
    /// Where the compiler comes from.
    #[arg(long, value_enum, default_value = "auto")]
    via: Via,
    /// Install the optional programs too.
    #[arg(long)]
    optional: bool,
    /// Print one JSON object instead of lines.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    ready: bool,
    items: Vec<Item>,
}

#[derive(Serialize)]
struct Item {
    name: String,
    state: State,
    detail: String,
    required: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Present,
    Installed,
    Missing,
}

pub(crate) fn run(args: &Args) -> Result<(), XtaskError> {
    let root = paths::root()?;
    let mut needs = vec![Need::Targets, Need::Emulators];
    if args.optional {
        needs.push(Need::CCompiler);
    }
    let report = prepare(args, &needs, PROGRAMS.iter().collect(), &paths::cache(&root))?;
    finish(args, &report)
}

/// Finds or installs what `needs` name, and nothing else.
pub(crate) fn ensure(needs: &[Need]) -> Result<(), XtaskError> {
    let args = Args { check: false, targets: vec![], via: Via::Auto, optional: true, json: false };
    let programs = PROGRAMS.iter().filter(|program| needs.contains(&program.need)).collect();
    finish(&args, &prepare(&args, needs, programs, &paths::cache(&paths::root()?))?)
}

/// Prints the report for machines; an error when something needed is missing.
fn finish(args: &Args, report: &Report) -> Result<(), XtaskError> {
    if args.json {
        println!("{}", serde_json::json!(report));
    }
    let missing: Vec<&str> = report
        .items
        .iter()
        .filter(|item| item.required && item.state == State::Missing)
        .map(|item| item.name.as_str())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(XtaskError::Missing { what: missing.join(", ") })
}

/// Reports on `programs` and, where `needs` say so, on targets; installs what is needed and missing.
fn prepare(
    args: &Args,
    needs: &[Need],
    programs: Vec<&Program>,
    cache: &Path,
) -> Result<Report, XtaskError> {
    let mut say = |line: &str| {
        if !args.json {
            println!("  {line}");
        }
    };
    let mut items = find_programs(args, needs, &programs, &mut say);
    let targets: Vec<String> = match args.targets.as_slice() {
        _ if !needs.contains(&Need::Targets) => Vec::new(),
        [] => boards::targets().into_iter().map(str::to_owned).collect(),
        chosen => chosen.to_vec(),
    };
    for target in targets {
        items.push(prepare_target(args, &target, cache, &mut say));
    }
    if !args.json {
        for item in &items {
            println!("{:<10} {:<30} {}", item.state.name(), item.name, item.detail);
        }
    }
    let ready = items.iter().all(|item| !item.required || item.state != State::Missing);
    Ok(Report { ready, items })
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Installed => "installed",
            Self::Missing => "MISSING",
        }
    }
}

/// QEMU and the other programs; what is missing is installed in one go.
fn find_programs(
    args: &Args,
    needs: &[Need],
    programs: &[&Program],
    say: &mut dyn FnMut(&str),
) -> Vec<Item> {
    let before: Vec<bool> = programs.iter().map(|program| program.is_installed()).collect();
    let wanted: Vec<&str> = programs
        .iter()
        .zip(&before)
        .filter(|(program, present)| !**present && needs.contains(&program.need))
        .flat_map(|(program, _)| program.packages.iter().copied())
        .collect();
    let failure =
        if args.check || wanted.is_empty() { None } else { packages::install(&wanted, say).err() };
    let item = |(program, present): (&&Program, bool)| {
        let required = needs.contains(&program.need);
        let state = match (present, program.is_installed()) {
            (true, _) => State::Present,
            (false, true) => State::Installed,
            (false, false) => State::Missing,
        };
        let mut detail = program.purpose.to_owned();
        if state == State::Missing {
            let packages = program.packages.join(" ");
            detail += &match &failure {
                Some(error) => format!("; {error}"),
                None if required => format!("; Debian: {packages}"),
                None => format!("; optional (--optional installs it); Debian: {packages}"),
            };
        }
        Item { name: program.name.to_owned(), state, detail, required }
    };
    programs.iter().zip(before).map(item).collect()
}

fn prepare_target(args: &Args, target: &str, cache: &Path, say: &mut dyn FnMut(&str)) -> Item {
    let item = |state, detail| Item { name: target.to_owned(), state, detail, required: true };
    let missing = match toolchain::find(target, args.via, cache) {
        Ok(toolchain) => return item(State::Present, toolchain.describe()),
        Err(error) => error,
    };
    if args.check {
        return item(State::Missing, missing.to_string());
    }
    match install_target(target, args.via, cache, say) {
        Ok(toolchain) => item(State::Installed, toolchain.describe()),
        Err(error) => item(State::Missing, error.to_string()),
    }
}

/// The ways that need no root first, then Debian's compiler and a sysroot built with it.
fn install_target(
    target: &str,
    via: Via,
    cache: &Path,
    say: &mut dyn FnMut(&str),
) -> Result<Toolchain, XtaskError> {
    match toolchain::ensure(target, via, cache, say) {
        Err(XtaskError::NoToolchain { .. }) if via != Via::Rustup && !has_debian_compiler() => {
            let mut wanted = packages::COMPILER.to_vec();
            if toolchain::linker(target).is_err() {
                wanted.push(packages::LINKER);
            }
            packages::install(&wanted, say)?;
            toolchain::ensure(target, Via::Debian, cache, say)
        }
        Err(XtaskError::NoLinker { .. }) => {
            packages::install(&[packages::LINKER], say)?;
            toolchain::ensure(target, via, cache, say)
        }
        other => other,
    }
}

fn has_debian_compiler() -> bool {
    Compiler::debian().is_some_and(|debian| debian.has_source())
}
