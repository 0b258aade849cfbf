//! Networks from PyTorch: what `cargo xtask bench pytorch` measured, and its section of the page.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::certificate::thousands;

/// The figures of an integer model.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Quantized {
    /// The error on the whole test set, computed by the runtime.
    pub(crate) error_percent: f64,
    /// The share of test examples that get the same class as by floats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) agreement_percent: Option<f64>,
    /// The whole `.bbk` file.
    pub(crate) file_bytes: u64,
    pub(crate) macs: u64,
}

/// A network that was trained elsewhere, and what one job made of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PytorchRow {
    pub(crate) network: String,
    /// The job's name in jobs/pytorch.
    pub(crate) job: String,
    /// The error of the ONNX file's floats, computed here.
    pub(crate) float_error_percent: f64,
    /// The error as PyTorch counts it.
    pub(crate) pytorch_error_percent: f64,
    /// The figures of `bitsback quantize`.
    pub(crate) int8: Quantized,
    /// The figures of `bitsback quantize --bits auto`.
    pub(crate) narrow: Quantized,
    /// The figures of `bitsback compress`.
    pub(crate) compressed: Quantized,
    /// Golden vectors that ran on each core.
    pub(crate) vectors: u64,
    /// Output bytes that differed there, by core.
    pub(crate) mismatches: BTreeMap<String, u64>,
    pub(crate) pytorch_seconds: f64,
    /// The seconds that the job took.
    pub(crate) seconds: f64,
    /// PyTorch's version.
    pub(crate) pytorch: String,
    pub(crate) seed: u64,
    pub(crate) command: String,
    pub(crate) date: String,
    pub(crate) machine: String,
}

impl PytorchRow {
    /// How many times smaller the file is than the int8 model's.
    pub(crate) fn bytes_ratio(&self) -> f64 {
        self.int8.file_bytes as f64 / self.compressed.file_bytes.max(1) as f64
    }

    /// How many times fewer multiply-accumulates it takes than the int8 model.
    pub(crate) fn macs_ratio(&self) -> f64 {
        self.int8.macs as f64 / self.compressed.macs.max(1) as f64
    }
}

const HEAD: &str = "
## Networks from PyTorch

Trained for two epochs of MNIST in PyTorch and exported (`tests/onnx/pytorch.py`). *int8* is what
`bitsback quantize` makes of the ONNX file without training, *narrow* the same with `--bits auto`;
*compressed* is the job of that name in `jobs/pytorch`, which starts from the trained weights: those
of the ONNX file, or of a .pt or .safetensors file (`-weights`). Errors are of all 10,000 test images,
of integer models by the runtime.

| job | floats % | int8 % | bytes | MACs | narrow % | bytes | compressed % | bytes | fewer | MACs | fewer | cores | date |
|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|---|
";

/// The section, or nothing where nothing was measured.
pub(super) fn section(rows: &[PytorchRow]) -> String {
    let Some(first) = rows.first() else { return String::new() };
    let mut text = HEAD.to_owned();
    for row in rows {
        let bytes = |figures: &Quantized| thousands(figures.file_bytes);
        text += &format!(
            "| {} | {:.2} | {:.2} | {} | {} | {:.2} | {} | {:.2} | {} | {:.1}× | {} | {:.1}× | {} | {} |\n",
            row.job,
            row.float_error_percent,
            row.int8.error_percent,
            bytes(&row.int8),
            thousands(row.int8.macs),
            row.narrow.error_percent,
            bytes(&row.narrow),
            row.compressed.error_percent,
            bytes(&row.compressed),
            row.bytes_ratio(),
            thousands(row.compressed.macs),
            row.macs_ratio(),
            cores(row),
            row.date.get(..10).unwrap_or(&row.date),
        );
    }
    let (command, machine, version) = (&first.command, &first.machine, &first.pytorch);
    text + &format!(
        "\nReproduce:\n\n```\ncargo xtask data mnist\n{command}\n```\n\nMachine: {machine}; PyTorch \
         {version}.\n"
    )
}

/// Vectors and differing bytes on each core.
fn cores(row: &PytorchRow) -> String {
    let names: Vec<&str> = row.mismatches.keys().map(String::as_str).collect();
    let differ: u64 = row.mismatches.values().sum();
    format!("{} vectors on {}: {differ} bytes differ", row.vectors, names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_how_much_less_there_is() {
        let figures = |error_percent, file_bytes, macs| Quantized {
            error_percent,
            agreement_percent: None,
            file_bytes,
            macs,
        };
        let row = PytorchRow {
            network: "resnet-8".into(),
            job: "resnet-8-weights".into(),
            float_error_percent: 0.8,
            pytorch_error_percent: 0.8,
            int8: figures(0.81, 90_000, 9_000_000),
            narrow: figures(0.9, 50_000, 9_000_000),
            compressed: figures(1.2, 9_000, 2_000_000),
            vectors: 100,
            mismatches: BTreeMap::from([("cortex-m4".into(), 0), ("cortex-m55".into(), 2)]),
            pytorch_seconds: 100.0,
            seconds: 200.0,
            pytorch: "2".into(),
            seed: 1,
            command: "cargo xtask bench pytorch --seed 1".into(),
            date: "2026-01-02T03:04:05Z".into(),
            machine: "a machine".into(),
        };
        let text = section(&[row]);
        let line = "| 1.20 | 9,000 | 10.0× | 2,000,000 | 4.5× | 100 vectors on cortex-m4, \
                    cortex-m55: 2 bytes differ | 2026-01-02 |";
        assert!(text.contains(line), "{text}");
        assert!(section(&[]).is_empty());
    }
}
