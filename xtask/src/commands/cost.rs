//! `cargo xtask bench cost`: what the compressor predicts of layers, beside what they take.

use super::training;
use crate::certificate::thousands;
use crate::costs::{self, Counted, fit};
use crate::error::XtaskError;
use crate::prediction::Table;
use crate::prediction::cores::Core;
use crate::prediction::path::Path;
use crate::results::{COST_SET, CostRow, Missed};
use crate::{files, paths};

/// Where the table is that predictions are made with.
const TABLE: &str = "compressor/src/cost/prediction/constants.tsv";
/// Layers of each path that costs are solved from: some times as many as it has counts.
const FITTED: usize = 250;
/// Seed of those: another than those of layers that are compared, which are small numbers.
const FITTED_SEED: u64 = 1004;
/// Shares of errors that are told.
const CLOSE: f64 = 0.1;
const NEAR: f64 = 0.25;
/// With --check, the least percent of a core's layers that are predicted within [`CLOSE`], and the
/// largest error of one.
const LEAST_CLOSE: f64 = 90.0;
const LARGEST: f64 = 0.5;
/// Layers of each path that `cargo xtask test` draws.
const CHECKED: usize = 1;

/// Compare predicted instructions with counted ones, over layers drawn by chance.
///
/// Layers of every kind, width and layout are drawn, the same for the same seed, and run in some seconds on
/// each emulated core. The share that is predicted within a tenth is told, and the worst. With --fit,
/// other layers are counted first, and the costs of each path through the kernels are solved from
/// them, by least squares, and written to compressor/src/cost/prediction/constants.tsv: after a change of
/// kernels. With --check, it fails where fewer than 90 % of a core's layers are predicted within a tenth, or
/// one is off by more than 50 %.
///
/// Exit codes: 0 compared, 1 failed, 2 wrong usage, 3 QEMU or a toolchain is missing.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The core (may be repeated) [default: each whose instructions others are predicted by].
    #[arg(long = "core", value_name = "CORE")]
    cores: Vec<Core>,
    /// Layers of each path.
    #[arg(long, value_name = "COUNT", default_value_t = 5)]
    each: usize,
    /// The layers' seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Solve for the costs first.
    #[arg(long)]
    fit: bool,
    /// Layers of each path that costs are solved from.
    #[arg(long, value_name = "COUNT", default_value_t = FITTED)]
    from: usize,
    /// Fail where predictions are far off.
    #[arg(long)]
    check: bool,
    /// How many of the worst to show.
    #[arg(long, value_name = "COUNT", default_value_t = 10)]
    worst: usize,
    /// Print a JSON array of rows.
    #[arg(long)]
    json: bool,
    /// Keep the rows in docs/results/cost.json and make the page anew.
    #[arg(long, conflicts_with_all = ["cores", "seed"])]
    keep: bool,
}

/// As with --check, a few layers of each path on every core.
pub(crate) fn check() -> Result<(), XtaskError> {
    run(&Args {
        cores: Vec::new(),
        each: CHECKED,
        seed: 1,
        fit: false,
        from: FITTED,
        check: true,
        worst: 1,
        json: false,
        keep: false,
    })
}

pub(crate) fn run(args: &Args) -> Result<(), XtaskError> {
    let root = paths::root()?;
    let path = root.join(TABLE);
    let mut table = Table::parse(&files::read_text(&path)?);
    let models = costs::draw(args.seed, args.each)?;
    let others = if args.fit { costs::draw(FITTED_SEED, args.from)? } else { Vec::new() };
    let counted = Core::ALL.into_iter().filter(|core| core.counted() == *core);
    let cores = if args.cores.is_empty() { counted.collect() } else { args.cores.clone() };
    let mut rows = Vec::new();
    for core in cores {
        eprintln!("  {} layers on {core}", models.len() + others.len());
        let elf = costs::build(&root, costs::board(core)?)?;
        if args.fit && core.counted() == core {
            solve(&mut table, core, &costs::count(&elf, core, &others)?);
            files::write(&path, table.text().as_bytes())?;
        }
        let counted = costs::count(&elf, core, &models)?;
        let row = row(&table, core, &counted, args)?;
        if !args.json {
            print!("{}", text(&row));
        }
        rows.push(row);
    }
    if args.json {
        println!("{:#}", serde_json::json!(rows));
    }
    if args.check {
        rows.iter().try_for_each(are_close)?;
    }
    if args.keep { super::results::keep(&root, COST_SET, &rows) } else { Ok(()) }
}

/// Whether a core's predictions are as close as --check asks.
fn are_close(row: &CostRow) -> Result<(), XtaskError> {
    let worst = row.worst.first().map_or(0.0, Missed::error);
    if row.within_10_percent >= LEAST_CLOSE && worst <= LARGEST {
        return Ok(());
    }
    Err(XtaskError::Predictions {
        core: row.core.clone(),
        close: row.within_10_percent,
        layer: row.worst.first().map(|layer| layer.layer.clone()).unwrap_or_default(),
        percent: (100.0 * worst).round(),
    })
}

/// Takes the costs of every path from layers that were counted.
fn solve(table: &mut Table, core: Core, counted: &[Counted]) {
    for path in Path::all().into_iter().filter(|path| path.costs() == *path) {
        let layers: Vec<&Counted> =
            counted.iter().filter(|counted| counted.layer.path.costs() == path).collect();
        table.set(core, path, fit::costs(&layers));
    }
}

/// Predictions of a core's layers beside their counts.
fn row(table: &Table, core: Core, counted: &[Counted], args: &Args) -> Result<CostRow, XtaskError> {
    let mut missed: Vec<Missed> = counted
        .iter()
        .map(|counted| Missed {
            layer: counted.shape.clone(),
            counted: counted.instructions,
            predicted: table.instructions(core, &counted.layer).round() as u64,
        })
        .collect();
    missed.sort_by(|a, b| b.error().total_cmp(&a.error()));
    let within = |most: f64| {
        let share = missed.iter().filter(|layer| layer.error() <= most).count();
        (1000.0 * share as f64 / missed.len().max(1) as f64).round() / 10.0
    };
    let sum = |of: fn(&Missed) -> u64| missed.iter().map(of).sum::<u64>() as f64;
    let ratio = sum(|layer| layer.predicted) / sum(|layer| layer.counted).max(1.0);
    Ok(CostRow {
        core: core.name().to_owned(),
        layers: missed.len(),
        within_10_percent: within(CLOSE),
        within_25_percent: within(NEAR),
        sum_ratio: (1000.0 * ratio).round() / 1000.0,
        worst: missed.into_iter().take(args.worst.max(1)).collect(),
        seed: args.seed,
        command: "cargo xtask bench cost --keep".to_owned(),
        date: training::date()?,
        machine: super::results::machine(),
    })
}

fn text(row: &CostRow) -> String {
    let mut text = format!(
        "{:<12} {} layers: {} % within a tenth, {} % within a quarter; all together {} times\n",
        row.core, row.layers, row.within_10_percent, row.within_25_percent, row.sum_ratio
    );
    for layer in &row.worst {
        text += &format!(
            "  {:>11} counted, {:>11} predicted  {}\n",
            thousands(layer.counted),
            thousands(layer.predicted),
            layer.layer
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn predictions_that_are_far_off_fail() {
        let row = |close: f64, predicted: u64| CostRow {
            core: "cortex-m4".to_owned(),
            layers: 57,
            within_10_percent: close,
            within_25_percent: 100.0,
            sum_ratio: 1.0,
            worst: vec![Missed {
                layer: "dense-bytes 4 → 2".to_owned(), counted: 1000, predicted
            }],
            seed: 1,
            command: "cargo xtask bench cost".to_owned(),
            date: "2026-11-30T01:02:03Z".to_owned(),
            machine: "a machine".to_owned(),
        };
        assert!(are_close(&row(LEAST_CLOSE, 1500)).is_ok());
        let few = are_close(&row(LEAST_CLOSE - 0.1, 1000)).unwrap_err().to_string();
        assert!(few.contains("cortex-m4: 89.9 %"), "{few}");
        let far = are_close(&row(100.0, 1700)).unwrap_err().to_string();
        assert!(far.contains("dense-bytes 4 → 2 by 70 %") && far.contains("--fit"), "{far}");
    }
}
