//! What a point gives on the validation examples that a front is judged by, and what it costs.

use std::path::Path;

use super::Tracer;
use crate::cost::{Provenance, certified, estimate};
use crate::error::Error;
use crate::error::PipelineError;
use crate::job::{Job, TargetConfig};
use crate::pipeline::MODEL_FILE;
use crate::pipeline::finish::Model;
use crate::pipeline::stages::Trained;
use crate::select::chance::Chance;
use crate::select::point::{Count, Measured, Point};
use crate::train::evaluate::score;
use crate::verify;

impl Tracer<'_> {
    /// Measures a point, whose model is in `folder`.
    pub(super) fn measure(
        &self,
        job: &Job,
        trained: &Trained,
        model: &Model,
        folder: &Path,
    ) -> Result<Measured, Error> {
        let judged = self.run.prepared.judged();
        let inputs = model.compiled.input_quantization.quantize(&judged.inputs);
        let found = verify::evaluate(&model.bytes, &inputs, &judged.labels)?;
        let dense = score(&trained.dense, judged, self.context.device);
        let parsed = bitsback_runtime::Model::parse(&model.bytes).map_err(PipelineError::Parse)?;
        let TargetConfig { core, weights_ram_bytes } = job.target;
        let estimated = estimate::instructions(core, weights_ram_bytes, &parsed);
        let counted = match job.requirements.limit_time() || job.report.measure {
            true => certified::instructions(core, weights_ram_bytes, &folder.join(MODEL_FILE)),
            false => None,
        };
        Ok(Measured {
            errors: Count { examples: found.count as u64, errors: found.errors as u64 },
            classes: by_class(&found.confusion, judged.classes),
            chance: Some(Chance::new(&found.confusion)),
            error_rise_points: found.error_percent() - dense.error_percent,
            file_bytes: model.bytes.len() as u64,
            arena_bytes: parsed.arena_len() as u64,
            weights: parsed.ops().map(|step| step.parameters().weights as u64).sum(),
            macs: parsed.macs(),
            instructions: counted.unwrap_or(estimated),
            estimated,
        })
    }
}

/// Errors by class, from the confusion.
fn by_class(confusion: &[Vec<u32>], classes: usize) -> Vec<Count> {
    let class = |actual: usize| {
        let row = confusion.get(actual).map_or(&[][..], Vec::as_slice);
        let examples: u64 = row.iter().map(|&n| u64::from(n)).sum();
        let right = row.get(actual).copied().map_or(0, u64::from);
        Count { examples, errors: examples - right }
    };
    (0..classes).map(class).collect()
}

/// Points are compared by counts only where all have one: a count and an estimate don't compare.
pub(super) fn same_basis(points: &mut [Point]) {
    if points.iter().all(|p| p.measured.instructions.from == Provenance::Measured) {
        return;
    }
    for point in points {
        point.measured.instructions = point.measured.estimated;
    }
}

/// Leaves out points that are a gentler one of their sweep again, because groups are too large for
/// the plan to tell them apart: the numbers of both, from 1. A test that has the same outcome twice
/// stands as it stood once.
pub(super) fn drop_repeated(points: &mut Vec<Point>) -> Vec<(usize, usize)> {
    let mut dropped = Vec::new();
    points.dedup_by(|point, before| {
        let same = point.plan.temperature == before.plan.temperature
            && (&point.measured, &point.bits) == (&before.measured, &before.bits);
        if same {
            dropped.push((point.plan.index + 1, before.plan.index + 1));
        }
        same
    });
    dropped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::Instructions;
    use crate::select::point::tests::point;

    #[test]
    fn classes_are_rows() {
        let classes = by_class(&[vec![5, 1, 0], vec![0, 0, 0], vec![2, 0, 8]], 4);
        let pairs: Vec<(u64, u64)> = classes.iter().map(|c| (c.examples, c.errors)).collect();
        assert_eq!(pairs, [(6, 1), (0, 0), (10, 2), (0, 0)]);
    }

    #[test]
    fn a_model_is_shown_once() {
        let mut points = [point(0, 1, 9), point(1, 1, 9), point(2, 1, 8), point(3, 1, 8)].to_vec();
        points[3].plan.temperature = 2.0;
        assert_eq!(drop_repeated(&mut points), [(2, 1)]);
        assert_eq!(points.iter().map(|p| p.plan.index).collect::<Vec<_>>(), [0, 2, 3]);
    }

    #[test]
    fn counts_and_estimates_are_not_mixed() {
        let counted = Instructions::stored(7, Provenance::Measured);
        let mut points = [point(0, 1, 1), point(1, 1, 1)];
        points[0].measured.instructions = counted;
        same_basis(&mut points);
        assert!(points.iter().all(|p| p.measured.instructions.from == Provenance::Estimated));
        assert_eq!(points[0].measured.instructions.count, 64_000);
        points.iter_mut().for_each(|p| p.measured.instructions = counted);
        same_basis(&mut points);
        assert!(points.iter().all(|p| p.measured.instructions == counted));
    }
}
