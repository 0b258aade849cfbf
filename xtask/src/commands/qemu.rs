//! `cargo xtask qemu`: golden vectors and examples on emulated cores.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bitsback_runtime::{Features, Model};

use crate::boards::{self, Board};
use crate::budget;
use crate::conformance::{self, Build, Outcome};
use crate::error::XtaskError;
use crate::exits;
use crate::firmware;
use crate::golden::{self, Golden};
use crate::paths;
use crate::qemu;
use crate::transcript;
use crate::update;

/// How long an example may run.
const EXAMPLE_LIMIT: Duration = Duration::from_secs(120);
/// Cores with kernels of each kind, which run without any feature of the runtime, too.
const LEAN_CORES: [&str; 3] = ["cortex-m4", "cortex-m0-large", "cortex-m55"];
/// The core that runs the portable kernels.
const PORTABLE_CORE: &str = "riscv32imc";
/// The core that transcripts are made on.
const EXAMPLE_CORE: &str = "cortex-m4";

/// Run a model's golden vectors on emulated cores, bit for bit.
///
/// Builds the conformance firmware, flashes the model to the board's model slot, feeds every
/// vector and compares every output byte; some vectors are compared once more with the file at each
/// distance from a word's beginning, and with its parts moved. Without --model, all committed models (tests/golden).
/// Prints a table, or with --json one object a model and core with the keys core, isa, model, ran,
/// vectors, places, mismatches, instructions, arena_bytes, stack_bytes, unpacked_instructions, weights_ram_bytes
/// (and reason where it did not run). The last two are with weights unpacked once, into all the memory that
/// they take or an eighth of the board's for arenas; half of that and none give the same outputs.
///
/// Exit codes: 0 all equal, 1 a byte differs, a run failed or a kernel takes more instructions than
/// it may, 3 QEMU or a toolchain is missing.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The model file.
    #[arg(long, value_name = "FILE", requires = "golden")]
    model: Option<PathBuf>,
    /// The folder with its inputs.i8, outputs.i8 and golden.json.
    #[arg(long, value_name = "DIR", requires = "model")]
    golden: Option<PathBuf>,
    /// The core, or `all`.
    #[arg(long, default_value = "cortex-m4")]
    core: String,
    /// Use the first N vectors only.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Stop a run after so many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    timeout: u64,
    /// Leave every feature of the runtime out, and the models that need one.
    #[arg(long)]
    lean: bool,
    /// Build the runtime with its portable kernels, whatever the core can do.
    #[arg(long, conflicts_with = "lean")]
    portable: bool,
    /// Print JSON, one object a line.
    #[arg(long)]
    json: bool,
    /// Instead: run an example of firmware-examples and compare with its transcript.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["model", "golden"])]
    example: Option<String>,
    /// Instead: check that errors, panics and faults of a firmware are seen on the cores.
    #[arg(long, conflicts_with_all = ["model", "golden", "example"])]
    self_test: bool,
    /// With --example: write the transcript anew.
    #[arg(long, requires = "example")]
    bless: bool,
}

pub(crate) fn run(args: &Args) -> Result<(), XtaskError> {
    let root = paths::root()?;
    if let Some(example) = &args.example {
        return run_example(&root, example, args.bless);
    }
    let boards = boards::select(&args.core)?;
    if args.self_test {
        return boards.iter().try_for_each(|board| exits::check(&root, board));
    }
    let models = match (&args.model, &args.golden) {
        (Some(model), Some(folder)) => vec![Golden::read(model, folder)?],
        _ => golden::committed(&root.join("tests/golden"))?,
    };
    let models = if args.lean { lean(models) } else { models };
    run_models(&root, &boards, &models, args)
}

/// The step of `cargo xtask test`: the examples, updates of a device, the exits and every committed model, on every
/// board.
pub(crate) fn run_all(root: &Path) -> Result<(), XtaskError> {
    run_example(root, "classify", false)?;
    update::boards().into_iter().try_for_each(|board| update::check(root, board, false))?;
    let boards = boards::select(boards::ALL)?;
    boards.iter().try_for_each(|board| exits::check(root, board))?;
    let args = Args::usual();
    let models = golden::committed(&root.join("tests/golden"))?;
    run_models(root, &boards, &models, &args)?;
    println!("without any feature of the runtime:");
    let boards: Vec<_> =
        LEAN_CORES.iter().map(|core| boards::select(core)).collect::<Result<Vec<_>, _>>()?.concat();
    run_models(root, &boards, &lean(models), &Args { lean: true, ..args })
}

/// All committed models with the portable kernels, on a core that has kernels of its own.
pub(crate) fn run_portable(root: &Path) -> Result<(), XtaskError> {
    let args = Args { core: PORTABLE_CORE.to_owned(), portable: true, ..Args::usual() };
    let models = golden::committed(&root.join("tests/golden"))?;
    run_models(root, &boards::select(&args.core)?, &models, &args)
}

impl Args {
    /// Every committed model on every core.
    fn usual() -> Self {
        Self {
            model: None,
            golden: None,
            core: boards::ALL.to_owned(),
            limit: None,
            timeout: 900,
            lean: false,
            portable: false,
            json: false,
            example: None,
            self_test: false,
            bless: false,
        }
    }

    fn build(&self) -> Build {
        match (self.lean, self.portable) {
            (true, _) => Build::Lean,
            (_, true) => Build::Portable,
            _ => Build::Whole,
        }
    }
}

/// The models that need no feature of the runtime.
fn lean(mut models: Vec<Golden>) -> Vec<Golden> {
    models.retain(|golden| {
        Model::parse(&golden.model).is_ok_and(|model| model.features() == Features::default())
    });
    models
}

fn run_models(
    root: &Path,
    boards: &[&'static Board],
    models: &[Golden],
    args: &Args,
) -> Result<(), XtaskError> {
    let (mut mismatches, mut over) = (0, Ok(()));
    if !args.json {
        println!("{}", header());
    }
    for board in boards {
        let elf = match conformance::build(root, board, args.build()) {
            Err(error) if args.json && error.is_missing() => {
                for model in models {
                    println!("{}", serde_json::json!(Outcome::missing(board, model, &error)));
                }
                return Err(error);
            }
            other => other?,
        };
        let mut deepest = None;
        for model in models {
            let outcome = conformance::run(&elf, board, model, args.limit, args.timeout)?;
            check_kernels(&outcome, args.portable)?;
            mismatches += outcome.mismatches;
            deepest = deepest.max(outcome.ran.then_some(outcome.stack_bytes));
            if args.json {
                println!("{}", serde_json::json!(outcome));
            } else {
                println!("{}", row(&outcome));
            }
            over = over.and(budget::check(&outcome));
        }
        if let (Some(deepest), false) = (deepest, args.json) {
            println!("{:<15} deepest stack of all, loading included: {deepest} bytes", board.core);
        }
    }
    if mismatches > 0 {
        return Err(XtaskError::Mismatches { mismatches });
    }
    over
}

/// Refuses portable kernels where others were to run, and others where they were.
fn check_kernels(outcome: &Outcome, portable: bool) -> Result<(), XtaskError> {
    if !outcome.ran || (outcome.isa == firmware::PORTABLE.1) == portable {
        return Ok(());
    }
    Err(XtaskError::Kernels { core: outcome.core, isa: outcome.isa.clone() })
}

fn header() -> String {
    format!(
        "{:<15} {:<8} {:<24} {:>8} {:>6} {:>10} {:>13} {:>8} {:>6} {:>13} {:>8}",
        "core",
        "kernels",
        "model",
        "vectors",
        "places",
        "mismatches",
        "instructions*",
        "arena",
        "stack",
        "unpacked*",
        "weights"
    ) + "\n* mean per inference, counted by QEMU: not cycles"
}

fn row(outcome: &Outcome) -> String {
    if let Some(reason) = &outcome.reason {
        return format!(
            "{:<15} {:<8} {:<24} did not run: {reason}",
            outcome.core, "", outcome.model
        );
    }
    let mut line = format!(
        "{:<15} {:<8} {:<24} {:>8} {:>6} {:>10} {:>13} {:>8} {:>6} {:>13} {:>8}",
        outcome.core,
        outcome.isa,
        outcome.model,
        outcome.vectors,
        outcome.places,
        outcome.mismatches,
        outcome.instructions,
        outcome.arena_bytes,
        outcome.stack_bytes,
        outcome.unpacked_instructions,
        outcome.weights_ram_bytes
    );
    if let Some(first) = &outcome.first_mismatch {
        line += &format!("\n  {first}");
    }
    line
}

/// Runs an example and compares what it prints with `NAME.out` beside its source.
fn run_example(root: &Path, name: &str, bless: bool) -> Result<(), XtaskError> {
    let board = boards::select(EXAMPLE_CORE)?[0];
    if !qemu::is_installed(board) {
        return Err(XtaskError::Missing { what: board.emulator.to_owned() });
    }
    let folder = root.join("firmware-examples").join(name);
    let elf = firmware::build(root, board, name)?;
    let run = qemu::Run { elf: &elf, folder: &folder, model: None, limit: EXAMPLE_LIMIT };
    let finished = qemu::run(board, &run)?;
    if !finished.status.success() {
        return Err(XtaskError::Command {
            command: format!("{name} on {}", board.core),
            status: finished.status.to_string(),
            output: finished.output(),
        });
    }
    let path = folder.join(format!("{name}.out"));
    let again = format!("cargo xtask qemu --example {name} --bless");
    transcript::compare(&path, &finished.stdout, bless, &again)
}
