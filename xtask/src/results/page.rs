//! The page: tables a network, mean and spread over seeds, every run, and how to repeat it.

use std::collections::BTreeSet;

use super::row::is_as_the_job;
use super::{McuRow, Results, Row, TrainingRow, cost, decision, host, pytorch, sentinel, storage};
use crate::certificate::thousands;

const HEAD: &str = "\
<!-- Written by `cargo xtask results` from the JSON files in this folder. Don't edit. -->
# Results

Every number on this page was measured; the JSON files beside it hold them, and
`cargo xtask results` makes the page of those.

- **error**: of the integer model, computed by the runtime that runs on the device, on the whole
  test set, which decided nothing: thresholds, widths and early stopping are chosen on validation
  examples. *Dense error* is that of the float network that the job began with.
- **file**: the bytes of the whole `model.bbk`, header, graph, scales, biases and all.
  **Ratio**: 4 bytes a weight and bias of the dense network, by that.
- **MACs**: multiply-accumulates of one inference of the integer model.
- **M4**: test examples that an emulated Cortex-M4 ran, too, and how many output bytes differed
  from the host's. *Instr.* are its instructions for one inference, counted by QEMU with the kernels
  of the row's date: coded convolutions took several times as many before 2026-11-28. *With RAM* it has
  unpacked the weights once, as far as the file has coded ones.
- Means over seeds come with the sample standard deviation.

`bitsback` stands for `cargo run --release --`. Runs of one job with other seeds need a folder of
their own each (`--out`). A row is added, or replaced when the same command
is run again, by `cargo xtask results FOLDER`, where FOLDER is the job's output (`out/NAME`).
";

const MCU_HEAD: &str = "
## On microcontrollers

What one inference of the shapes that runtimes are compared by costs, all with int8 weights and
activations. Instructions are counted by QEMU (`-icount shift=0`): the same on every run, and **not
cycles**. *Load* is the check of the model, once after a reset. *Code* is flash without the model and
without start-up: of firmware that holds the operators and features that the model needs and whose
build has checked the model, and, *with checks*, of the same that checks it when it starts. *Stack* is the deepest of loading and inference, measured by paint. *Weights* lie
in rows or in pairs of rows, whichever takes fewer instructions; where another runtime is named
there, it was measured in the same run (`firmware-examples/peers`): `embedded-nn`, which has functions
and no model, operators alone; `microflow` compiles a model of TensorFlow Lite, LeNet-300-100, but has
no max pooling, and refuses the shapes that Keras computes in our files of convolutions. Instructions by
layer are in `mcu.json`; what a board's memory can't hold is missing. Reproduce with
`cargo xtask bench mcu --core all --peers --json > docs/results/mcu.json`.

| core | shape | weights, or runtime | instructions | per MAC | load | code | with checks | arena | stack |
|---|---|---|---:|---:|---:|---:|---:|---:|---:|
";

/// Written down once, from a run of TensorFlow Lite Micro that this repository can't repeat.
const PEERS: &str = "
For comparison, **measured elsewhere** with TFLM 2026-08 and CMSIS-NN (gcc -O2), on the same emulated
Cortex-M4, and not by the command above:

| shape | instructions | per MAC | code | arena |
|---|---:|---:|---:|---:|
| lenet-300-100 | 520,930 | 1.96 | 31,592 | 1,828 |
| lenet-5-20-50-500 | 5,523,080 | 2.41 | 43,692 | 16,244 |
| lenet-5-8-13-13 | 1,578,272 | 5.55 | 43,692 | 7,220 |
| ad-autoencoder | 582,855 | 2.21 | 31,592 | 2,580 |
| resnet-8 | 29,863,765 | 2.39 | 55,076 | 54,996 |

and on the emulated Cortex-M55: lenet-300-100 131,763, lenet-5-20-50-500 1,208,800, ad-autoencoder
149,900, resnet-8 4,912,035 instructions.
";

const TRAINING_HEAD: &str = "
## Training beside PyTorch

An epoch (55,000 examples) of variational training of the whole network: local
reparameterisation, normal-Jeffreys scales, KL, Adam, the same batch and number of threads. Both
take turns in one run; medians over its rounds, of a round's ratio, too. The examples are random
numbers: their values cost no time.

| network | batch | threads | epoch s | PyTorch | epoch s | ratio | date |
|---|---:|---:|---:|---|---:|---:|---|
";

/// The page's text.
pub(super) fn render(results: &Results) -> String {
    let mut page = HEAD.to_owned();
    for (set, rows) in &results.sets {
        for rows in rows.chunk_by(|a, b| a.network == b.network) {
            page += &section(set, rows);
        }
    }
    page += &pytorch::section(&results.pytorch);
    page += &decision::section(&results.decision);
    page += &sentinel::section(&results.sentinel);
    page += &storage::section(&results.storage);
    page += &host::section(&results.host);
    page += &cost::section(&results.cost);
    if !results.mcu.is_empty() {
        page += MCU_HEAD;
        page.extend(results.mcu.iter().map(mcu_line));
        page += PEERS;
    }
    page + &training(&results.training)
}

/// Training speed, or nothing where it was not measured.
fn training(rows: &[TrainingRow]) -> String {
    let Some(first) = rows.first() else { return String::new() };
    let mut text = TRAINING_HEAD.to_owned();
    for row in rows {
        let date = row.date.split('T').next().unwrap_or(&row.date);
        text += &format!(
            "| {} | {} | {} | {:.2} | {} | {:.2} | {:.2} | {date} |\n",
            row.network,
            row.batch,
            row.threads,
            row.epoch_seconds,
            row.pytorch,
            row.pytorch_epoch_seconds,
            row.ratio
        );
    }
    let (command, machine) = (&first.command, &first.machine);
    text + &format!("\nReproduce:\n\n```\n{command}\n```\n\nMachine: {machine}.\n")
}

/// The means of every job but the controls in one short table, for the README.
pub(super) fn overview(results: &Results) -> String {
    let mut text = "| job | error % | dense error % | file bytes | smaller | MACs |\n\
                    |---|---:|---:|---:|---:|---:|\n"
        .to_owned();
    let groups = results.sets.values().flat_map(|rows| groups(rows));
    for group in groups.filter(|group| !group.iter().any(Row::is_control)) {
        let Some(first) = group.first() else { continue };
        let of =
            |value: fn(&Row) -> Option<f64>| group.iter().filter_map(value).collect::<Vec<_>>();
        let mean = |value: fn(&Row) -> Option<f64>, places| match of(value).as_slice() {
            [] => "–".to_owned(),
            values => spread(&[values.iter().sum::<f64>() / values.len() as f64], places),
        };
        text += &format!(
            "| {} | {} | {} | {} | {}× | {} |\n",
            job(first),
            spread(&of(|row| Some(row.error_percent)), 2),
            mean(|row| row.dense_error_percent, 2),
            mean(|row| Some(row.file_bytes as f64), 0),
            mean(|row| Some(row.ratio), 0),
            mean(|row| Some(row.macs as f64), 0),
        );
    }
    text
}

/// Runs that differ by their seed alone; rows are sorted, so that those are neighbours.
fn groups(rows: &[Row]) -> impl Iterator<Item = &[Row]> {
    rows.chunk_by(|a, b| {
        let same = a.network == b.network && a.prior == b.prior && a.recipe() == b.recipe();
        same && a.data_label() == b.data_label()
    })
}

/// One network on one data set.
fn section(set: &str, rows: &[Row]) -> String {
    let network = rows.first().map_or("", |row| &row.network);
    let mut text = format!(
        "\n## {network} on {set}\n\n\
         | prior | job | seeds | error % | dense error % | file | ratio | MACs | Instr. with RAM |\n\
         |---|---|---:|---:|---:|---:|---:|---:|---:|\n"
    );
    for group in groups(rows) {
        let Some(first) = group.first() else { continue };
        text += &format!("| {} | {} | {} |\n", first.method(), job(first), means(group));
    }
    text += "\nEvery run:\n\n\
             | prior | seed | error % | dense error % | file | float | ratio | MACs | Instr. | with RAM | M4 | date |\n\
             |---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|---|\n";
    text.extend(rows.iter().map(line));
    text.extend(rows.iter().filter(|row| !row.front.is_empty()).map(front));
    let notes: BTreeSet<&str> = rows.iter().filter_map(|row| row.data_note.as_deref()).collect();
    for (label, meaning) in notes.iter().filter_map(|note| note.split_once('\n')) {
        text += &format!("\n*{label}*: {}\n", meaning.trim());
    }
    text += "\nReproduce:\n\n```\n";
    if set != "digits" {
        text += &format!("cargo xtask data {set}\n");
    }
    let mut seen = BTreeSet::new();
    for row in rows.iter().filter(|row| seen.insert(&row.command)) {
        text += &format!("{}\n", row.command);
    }
    text += "```\n";
    let machines: BTreeSet<&str> = rows.iter().filter_map(|row| row.machine.as_deref()).collect();
    if !machines.is_empty() {
        let machines: Vec<&str> = machines.into_iter().collect();
        text += &format!("\nMachine: {}.\n", machines.join("; "));
    }
    text
}

/// Number, means and spreads of the runs of one recipe, as columns.
fn means(group: &[Row]) -> String {
    let over = |value: fn(&Row) -> f64, places: usize| {
        spread(&group.iter().map(value).collect::<Vec<_>>(), places)
    };
    let dense: Vec<f64> = group.iter().filter_map(|row| row.dense_error_percent).collect();
    let unpacked = group.iter().filter_map(|row| row.mcu_unpacked_instructions);
    let unpacked: Vec<f64> = unpacked.map(|count| count as f64).collect();
    format!(
        "{} | {} | {} | {} | {}× | {} | {}",
        group.len(),
        over(|row| row.error_percent, 2),
        spread(&dense, 2),
        over(|row| row.file_bytes as f64, 0),
        over(|row| row.ratio, 1),
        over(|row| row.macs as f64, 0),
        spread(&unpacked, 0),
    )
}

/// The job file, or for other commands the command.
fn job(row: &Row) -> String {
    let recipe = row.recipe();
    format!("`{}`{}", recipe.strip_prefix("bitsback compress ").unwrap_or(&recipe), data(row))
}

/// What was done to the data, behind something else.
fn data(row: &Row) -> String {
    match row.data_label() {
        "" => String::new(),
        label => format!(" ({label})"),
    }
}

fn line(row: &Row) -> String {
    let mcu = match (row.mcu_vectors, row.mcu_mismatches) {
        (Some(vectors), Some(mismatches)) => {
            format!("{} run, {} bytes differ", thousands(vectors), thousands(mismatches))
        }
        _ => "–".to_owned(),
    };
    format!(
        "| {}{} | {} | {:.2} | {} | {} | {} | {:.1}× | {} | {} | {} | {mcu} | {} |\n",
        row.method(),
        data(row),
        row.seed,
        row.error_percent,
        row.dense_error_percent.map_or("–".to_owned(), |error| format!("{error:.2}")),
        thousands(row.file_bytes),
        thousands(row.float_bytes),
        row.ratio,
        thousands(row.macs),
        row.mcu_instructions.map_or("–".to_owned(), thousands),
        row.mcu_unpacked_instructions.map_or("–".to_owned(), thousands),
        row.date.get(..10).unwrap_or(&row.date),
    )
}

/// The points that a model was chosen from, and the dense network.
fn front(row: &Row) -> String {
    let varies = row.front.iter().any(|point| !is_as_the_job(&point.temperature));
    let if_varies = |cell: &str| if varies { cell.to_owned() } else { String::new() };
    let mut text = format!(
        "\nThe front of `{}`, seed {}; the dense network is the float one:\n\n\
         | point |{} error % | validation error % | file | ratio | MACs | |\n\
         |---|{}---:|---:|---:|---:|---:|---|\n",
        row.recipe(),
        row.seed,
        if_varies(" KL temperature |"),
        if_varies("---:|"),
    );
    if let Some(dense) = row.dense_error_percent {
        text += &format!(
            "| dense |{} {dense:.2} | | {} | 1.0× | | |\n",
            if_varies(" |"),
            thousands(row.float_bytes)
        );
    }
    for (index, point) in row.front.iter().enumerate() {
        text += &format!(
            "| {} |{} {:.2} | {:.2} | {} | {:.1}× | {} | {} |\n",
            index + 1,
            if_varies(&format!(" × {} |", point.temperature)),
            point.test_error_percent,
            point.validation_error_percent,
            thousands(point.file_bytes),
            row.float_bytes as f64 / point.file_bytes.max(1) as f64,
            thousands(point.macs),
            if point.chosen { "chosen" } else { "" }
        );
    }
    text
}

fn mcu_line(row: &McuRow) -> String {
    let kind = row.runtime.as_deref().or(row.layout.as_deref()).unwrap_or("–");
    let per_mac = row.instructions as f64 / row.macs.max(1) as f64;
    let instructions = thousands(row.instructions);
    let or_dash = |number: Option<u64>| number.map_or("–".to_owned(), thousands);
    let [load, code, checked, arena] =
        [row.load_instructions, row.code_bytes, row.checked_code_bytes, row.arena_bytes]
            .map(or_dash);
    format!(
        "| {} | {} | {kind} | {instructions} | {per_mac:.2} | {load} | {code} | {checked} | {arena} | {} |\n",
        row.core,
        row.shape,
        thousands(row.stack_bytes)
    )
}

/// `mean ± deviation`; of one value, the value.
fn spread(values: &[f64], places: usize) -> String {
    let show = |x: f64| match places {
        0 => thousands(x.round() as u64),
        _ => format!("{x:.places$}"),
    };
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    match values {
        [] => "–".to_owned(),
        [one] => show(*one),
        _ => {
            let squares: f64 = values.iter().map(|x| (x - mean) * (x - mean)).sum();
            format!("{} ± {}", show(mean), show((squares / (n - 1.0)).sqrt()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::row::FrontPoint;
    use super::super::tests::row;
    use super::super::{Finished, MCU_SET};
    use super::*;

    #[test]
    fn spreads() {
        assert_eq!(spread(&[], 2), "–");
        assert_eq!(spread(&[1.5], 2), "1.50");
        assert_eq!(spread(&[1.0, 3.0], 2), "2.00 ± 1.41");
        assert_eq!(spread(&[1000.0, 3000.0], 0), "2,000 ± 1,414");
    }

    #[test]
    fn thousands_are_parted() {
        let texts = [0, 999, 1000, 1_234_567].map(thousands);
        assert_eq!(texts, ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn seeds_of_a_job_are_averaged_and_each_run_is_listed() {
        let mut results = Results::default();
        for (seed, error) in [(1, 1.0), (2, 3.0)] {
            let point = FrontPoint {
                temperature: 1.0,
                test_error_percent: error,
                validation_error_percent: 0.5,
                file_bytes: 1_000,
                macs: 12_345,
                chosen: true,
            };
            let front = if seed == 1 { vec![point] } else { Vec::new() };
            let row = Row { front, ..row(seed, error) };
            results.add(Finished { row, set: "mnist".into() });
        }
        let page = results.page();
        assert!(page.contains("## lenet-5 on mnist"), "{page}");
        assert!(page.contains("| horseshoe | `jobs/lenet-5.toml` | 2 | 2.00 ± 1.41 |"), "{page}");
        assert!(
            page.contains("| horseshoe | 2 | 3.00 | 0.90 | 1,000 | 20,000 | 20.0× |"),
            "{page}"
        );
        assert!(page.contains("bitsback compress jobs/lenet-5.toml --seed 2\n"), "{page}");
        assert!(page.contains("| dense | 0.90 | | 20,000 | 1.0× | | |\n| 1 | 1.00 |"), "{page}");
        assert_eq!(page.matches("The front of").count(), 1, "{page}");
        assert!(!page.contains("KL temperature"), "{page}");
        results.sets.values_mut().flatten().for_each(|row| {
            row.front.iter_mut().for_each(|point| point.temperature = 0.5);
        });
        let line = "| dense | | 0.90 | | 20,000 | 1.0× | | |\n| 1 | × 0.5 | 1.00 |";
        assert!(results.page().contains(line), "{}", results.page());
        assert!(page.contains("Machine: a machine."), "{page}");
        assert!(!page.contains("microcontrollers"), "{page}");
    }

    #[test]
    fn data_that_are_not_as_published_are_told_in_every_table() {
        let mut results = Results::default();
        let data_note = Some("from JPEG files\nNot the authors' pixels.".to_owned());
        for row in [row(1, 1.0), Row { data_note, ..row(1, 3.0) }] {
            results.add(Finished { row, set: "cifar-10".into() });
        }
        let page = results.page();
        for text in [
            "| horseshoe | `jobs/lenet-5.toml` | 1 | 1.00 |",
            "| horseshoe | `jobs/lenet-5.toml` (from JPEG files) | 1 | 3.00 |",
            "| horseshoe (from JPEG files) | 1 | 3.00 |",
            "\n*from JPEG files*: Not the authors' pixels.\n",
        ] {
            assert!(page.contains(text), "{text}\n{page}");
        }
        assert!(overview(&results).contains("toml` (from JPEG files) | 3.00"));
    }

    #[test]
    fn a_benchmark_gets_its_table() {
        let folder = tempfile::tempdir().unwrap();
        let text = r#"[{"core": "cortex-m4", "shape": "digits", "layout": "pairs", "macs": 4567,
            "model_bytes": 9, "instructions": 4567, "load_instructions": 1000, "code_bytes": 9876,
            "checked_code_bytes": 12345, "arena_bytes": 74, "stack_bytes": 1200, "layers": []}]"#;
        std::fs::write(folder.path().join(format!("{MCU_SET}.json")), text).unwrap();
        let page = Results::load(folder.path()).unwrap().page();
        const LINE: &str =
            "| cortex-m4 | digits | pairs | 4,567 | 1.00 | 1,000 | 9,876 | 12,345 | 74 | 1,200 |";
        assert!(page.contains(LINE), "{page}");
        assert!(page.contains("measured elsewhere"), "{page}");
    }
}
