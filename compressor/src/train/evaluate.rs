//! Logits, loss and error of a deterministic network on many examples.

use burn::tensor::{Device, Tensor};

use super::batch::Examples;
use super::forward::{Deterministic, forward};
use crate::graph::tensor::{Value, values};
use crate::graph::{Affine, Graph};

/// Examples per forward pass: large enough for the products to dominate, small enough for caches.
const CHUNK: usize = 250;

/// Mean cross-entropy and error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Score {
    /// Mean cross-entropy in nats.
    pub loss: f64,
    /// Share of wrong answers in percent.
    pub error_percent: f64,
}

/// Logits of every example, row by row.
pub(crate) fn logits(network: &Graph<Affine>, examples: &Examples, device: &Device) -> Vec<f32> {
    let device = device.clone().without_autodiff();
    batched(examples, &device, || {
        let mut layers = Deterministic::new(network, None, &device);
        move |x| forward(network, x, &mut layers)
    })
}

/// Logits of every example, row by row, from the forward pass that `start` makes for each thread.
pub(super) fn batched<F: FnMut(Value) -> Tensor<2>>(
    examples: &Examples,
    device: &Device,
    start: impl Fn() -> F + Sync,
) -> Vec<f32> {
    let chunks: Vec<usize> = (0..examples.len()).step_by(CHUNK).collect();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let per_thread = chunks.len().div_ceil(threads).max(1);
    let run = |starts: &[usize]| {
        let mut forward = start();
        let mut out = Vec::new();
        for from in starts {
            let inputs = examples.range(*from, (from + CHUNK).min(examples.len())).to_vec();
            out.extend(values(forward(Value::from_examples(inputs, examples.shape, device))));
        }
        out
    };
    let run = &run;
    let parts: Vec<Vec<f32>> = std::thread::scope(|scope| {
        let handles: Vec<_> =
            chunks.chunks(per_thread).map(|starts| scope.spawn(move || run(starts))).collect();
        handles.into_iter().map(|h| h.join().unwrap_or_default()).collect()
    });
    parts.concat()
}

/// Loss and error of `network` on `examples`.
pub(crate) fn score(network: &Graph<Affine>, examples: &Examples, device: &Device) -> Score {
    score_logits(&logits(network, examples, device), &examples.labels, examples.classes)
}

/// Loss and error of given logits.
pub(crate) fn score_logits(logits: &[f32], labels: &[u32], classes: usize) -> Score {
    let (mut loss, mut wrong) = (0.0, 0usize);
    for (row, label) in logits.chunks_exact(classes.max(1)).zip(labels) {
        let label = *label as usize;
        let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = row.iter().map(|x| f64::from(x - largest).exp()).sum();
        let of_label = row.get(label).copied().unwrap_or(f32::NEG_INFINITY);
        loss += sum.ln() - f64::from(of_label - largest);
        let best = row.iter().position(|x| *x == largest);
        wrong += usize::from(best != Some(label));
    }
    let n = labels.len().max(1) as f64;
    Score { loss: loss / n, error_percent: 100.0 * wrong as f64 / n }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn score_counts_errors_and_cross_entropy() {
        let s = score_logits(&[0.0, 0.0, 3.0, 0.0], &[0, 1], 2);
        assert_eq!(s.error_percent, 50.0);
        let expected = (2.0_f64.ln() + (3.0_f64.exp() + 1.0).ln()) / 2.0;
        assert!((s.loss - expected).abs() < 1e-6);
    }
}
