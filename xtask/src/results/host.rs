//! Inference on hosts: what `cargo xtask bench host` measured, and its section of the page.

use serde::{Deserialize, Serialize};

/// One network, by our engine and by ONNX Runtime.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HostRow {
    pub(crate) network: String,
    /// Of a finished job's model on its test set, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error_percent: Option<f64>,
    /// What a reader must know of the network, or of the data that its error is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<String>,
    /// Examples at once.
    pub(crate) batch: usize,
    pub(crate) threads: usize,
    pub(crate) rounds: u16,
    /// Of an inference of ours.
    pub(crate) macs: u64,
    /// An example's, of ours: the median over rounds, as the others.
    pub(crate) seconds: f64,
    /// Of ONNX Runtime with floats.
    pub(crate) float_seconds: f64,
    /// Of ONNX Runtime with the integers.
    pub(crate) qdq_seconds: f64,
    /// The faster one's of these, by ours: the median over rounds, too.
    pub(crate) ratio: f64,
    pub(crate) onnxruntime: String,
    /// The kernels that ours ran with.
    pub(crate) kernels: String,
    pub(crate) command: String,
    pub(crate) date: String,
    pub(crate) machine: String,
}

impl HostRow {
    /// How many times longer ONNX Runtime takes with floats.
    pub(crate) fn float_ratio(&self) -> f64 {
        self.float_seconds / self.seconds
    }

    /// The network, with the error of one that was trained, and what must be known of it.
    pub(crate) fn title(&self) -> String {
        let error = self.error_percent.map(|error| format!("{error:.2} % wrong"));
        let parts = [Some(self.network.clone()), error, self.note.clone()];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

/// The note of a shape that is only known from a paper.
pub(crate) const DRAWN: &str = "a paper's shape, weights drawn";
const DRAWN_MEANS: &str = "
*a paper's shape, weights drawn*: what Louizos, Ullrich and Welling (2017) report to be left of a VGG-16 in its
full width by their two priors, normal-Jeffreys (`gnj`) and horseshoe (`ghs`). Nobody trained these here: only the
numbers of filters and neurons are theirs.
";
const HEAD: &str = "
## On hosts

What an example costs our engine and ONNX Runtime on the CPU: the same network, exported with floats
and with its integers (QDQ), timed in turn; medians over rounds. *Than floats* is the ratio of these times; *than both*
is the better one of ONNX Runtime's, by ours, in one round. A *coded* network, and a job's with its error, is
compressed, and compared with the dense one that it was made of. Networks without an error have random weights, whose values
cost no time. Times are a clock's.

| network | batch | threads | µs | ONNX Runtime, floats | QDQ | faster than floats | than both | date |
|---|---:|---:|---:|---:|---:|---:|---:|---|
";

/// The section, or nothing where nothing was measured.
pub(super) fn section(rows: &[HostRow]) -> String {
    let Some(first) = rows.first() else { return String::new() };
    let mut text = HEAD.to_owned();
    for row in rows {
        text += &format!(
            "| {} | {} | {} | {:.1} | {:.1} | {:.1} | {:.2}× | {:.2}× | {} |\n",
            row.title(),
            row.batch,
            row.threads,
            row.seconds * 1e6,
            row.float_seconds * 1e6,
            row.qdq_seconds * 1e6,
            row.float_ratio(),
            row.ratio,
            row.date.get(..10).unwrap_or(&row.date),
        );
    }
    if rows.iter().any(|row| row.note.as_deref() == Some(DRAWN)) {
        text += DRAWN_MEANS;
    }
    let HostRow { command, machine, onnxruntime, kernels, .. } = first;
    text + &format!(
        "\nReproduce:\n\n```\n{command} --keep\n```\n\nMachine: {machine}; our kernels: {kernels}; ONNX \
         Runtime {onnxruntime}.\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::slice;

    #[test]
    fn a_row_shows_microseconds() {
        let row = HostRow {
            network: "net".into(),
            error_percent: None,
            note: None,
            batch: 64,
            threads: 1,
            rounds: 3,
            macs: 1000,
            seconds: 25e-6,
            float_seconds: 75e-6,
            qdq_seconds: 50e-6,
            ratio: 2.0,
            onnxruntime: "1.2.3".into(),
            kernels: "avx2".into(),
            command: "cargo xtask bench host".into(),
            date: "2026-01-02T03:04:05Z".into(),
            machine: "a machine".into(),
        };
        let trained = HostRow { error_percent: Some(0.914), ..row.clone() };
        assert!(section(slice::from_ref(&trained)).contains("| net, 0.91 % wrong | 64 |"));
        let noted = HostRow { note: Some("from JPEG files".into()), ..trained };
        let text = section(slice::from_ref(&noted));
        assert!(text.contains("| net, 0.91 % wrong, from JPEG files | 64 |"), "{text}");
        assert!(!text.contains(DRAWN_MEANS));
        let drawn = HostRow { note: Some(DRAWN.into()), ..noted };
        assert!(DRAWN_MEANS.contains(DRAWN) && section(&[drawn]).contains(DRAWN_MEANS));
        let text = section(&[row]);
        assert!(
            text.contains("| net | 64 | 1 | 25.0 | 75.0 | 50.0 | 3.00× | 2.00× | 2026-01-02 |"),
            "{text}"
        );
        assert!(text.contains("avx2; ONNX Runtime 1.2.3"), "{text}");
        assert!(section(&[]).is_empty());
    }
}
