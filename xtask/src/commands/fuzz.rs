//! `cargo xtask fuzz`: models changed by chance, on emulated cores and on this host.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::boards::{self, Board};
use crate::error::XtaskError;
use crate::mutants::{self, Batch};
use crate::paths;

/// One core for each way of loading words: any address, none but a word's, and none that faults.
const CORES: [&str; 3] = ["cortex-m4", "cortex-m0-large", "riscv32imc"];

/// Batches that are run at least: some seconds of each core.
const BATCHES: u64 = 4;

/// Change models by chance and compare what becomes of them on emulated cores and on this host.
///
/// A batch is some thousand files, made of tests/golden and the fuzz targets' corpus by these targets'
/// own changes: most are models, which are run, the rest must be refused. A file of which a core
/// makes something else, or at which it stops, is written to out/fuzz. Some batches are run, as by
/// `cargo xtask test`; with --seconds, one follows the other for as long.
///
/// Exit codes: 0 all alike, 1 a file differs, 3 QEMU or a toolchain is missing.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The core (may be repeated), or `all`; one of each kind when left out.
    #[arg(long = "core", value_name = "CORE")]
    cores: Vec<String>,
    /// Go on for so many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    seconds: u64,
    /// The first batch's seed; the next ones follow.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

pub(crate) fn run(args: &Args) -> Result<(), XtaskError> {
    let root = paths::root()?;
    let chosen: Vec<&str> = match args.cores.as_slice() {
        [] => CORES.to_vec(),
        cores => cores.iter().map(String::as_str).collect(),
    };
    compare(&root, &chosen, args.seed, Duration::from_secs(args.seconds))
}

/// The step of `cargo xtask test`.
pub(crate) fn check(root: &Path) -> Result<(), XtaskError> {
    compare(root, &CORES, 1, Duration::ZERO)
}

/// Batch after batch until the time is over, at least [`BATCHES`].
fn compare(root: &Path, cores: &[&str], seed: u64, time: Duration) -> Result<(), XtaskError> {
    let boards: Vec<&Board> =
        cores.iter().map(|core| boards::select(core)).collect::<Result<Vec<_>, _>>()?.concat();
    let elfs = boards.iter().map(|board| mutants::build(root, board));
    let elfs = elfs.collect::<Result<Vec<_>, _>>()?;
    let corpus = mutants::corpus(root)?;
    let least = |of: fn(&Board) -> usize| boards.iter().map(|board| of(board)).min();
    let slot = least(|board| board.model_slot.length as usize).unwrap_or_default();
    let arena = least(|board| board.arena_bytes).unwrap_or_default();
    let start = Instant::now();
    for (number, seed) in (1..).zip(seed..) {
        let batch = Batch::new(seed, &corpus, [slot, arena]);
        for (board, elf) in boards.iter().zip(&elfs) {
            let began = Instant::now();
            mutants::run(elf, board, &batch, &root.join("out/fuzz"))?;
            println!(
                "{:<15} seed {seed}: {} files, {} of them models, as on this host ({:.0} s)",
                board.core,
                batch.len(),
                batch.accepted,
                began.elapsed().as_secs_f64()
            );
        }
        if number >= BATCHES && start.elapsed() >= time {
            break;
        }
    }
    Ok(())
}
