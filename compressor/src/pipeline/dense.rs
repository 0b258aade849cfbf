//! What an inference takes on the device, before and after: the dense network is compiled, too, in plain 8
//! bits and for the fewest instructions, and known in the same way as the model.

use std::path::Path;

use super::finish::{Input, Model};
use super::pareto_front::ParetoFront;
use super::{Counted, DENSE_FOLDER, MODEL_FILE};
use crate::compile::calibrate::{calibrate, plan};
use crate::compile::{self, CompileOptions, Goal, SizeConfig};
use crate::cost::{Instructions, Provenance, certified, estimate};
use crate::error::{Error, PipelineError};
use crate::files;
use crate::graph::lower;
use crate::job::TargetConfig;
use crate::select::point::Measured;
use crate::summary::Speed;

impl Input<'_> {
    /// Instructions of both networks, by the same means. The dense one is written into a folder of its own; where
    /// it has no integer form, that is noted.
    pub(super) fn speed(&self, model: &Model) -> Result<Speed, Error> {
        let compressed = match self.front.and_then(ParetoFront::point) {
            Some(point) => Known::of_point(&point.measured),
            None => {
                let counted = self.count(Counted::Model, self.run.out);
                Known { counted, estimated: self.estimate(&model.bytes)? }
            }
        };
        let folder = self.run.out.join(DENSE_FOLDER);
        let dense = match self.dense() {
            Ok(bytes) => {
                std::fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
                files::write_atomic(&folder.join(MODEL_FILE), &bytes)?;
                self.golden(&bytes, &folder)?;
                // A count that nothing is compared with takes a minute for nothing.
                let count = || self.count(Counted::Dense, &folder);
                let counted = compressed.counted.and_then(|_| count());
                Some(Known { counted, estimated: self.estimate(&bytes)? })
            }
            Err(error) => {
                super::remove(&folder)?;
                self.run.progress.note(&format!(
                    "warning: instructions of the dense network aren't known, as it has no integer form: \
                     {error}"
                ));
                None
            }
        };
        let (compressed, dense) = compressed.beside(dense);
        Ok(Speed { core: self.job.target.core, dense, compressed })
    }

    /// The dense network as a file: all weights of 8 bits, as the target's core takes them fastest.
    fn dense(&self) -> Result<Vec<u8>, Error> {
        let (network, job, prepared) = (&self.trained.dense, self.job, self.run.prepared);
        let input = prepared.input_quantization(job);
        let sample = prepared.train.sample(job.calibration.examples, job.seed);
        let activations = calibrate(network, &sample.inputs, &input, job.calibration.method)?;
        let mut integers = lower(network, &plan(network, activations, &input))?;
        compile::append_head(&mut integers, self.head());
        let size = SizeConfig { goal: Goal::Instructions, ..SizeConfig::default() };
        let options =
            CompileOptions { size: Some(size), core: job.target.core, ..CompileOptions::default() };
        Ok(compile::write(&integers, &input, &options, &self.info())?.0)
    }

    /// Counts instructions of a network in `folder`: as the job asks, as the points of a front were, or
    /// as the caller does.
    fn count(&self, what: Counted, folder: &Path) -> Option<Instructions> {
        let TargetConfig { core, weights_ram_bytes } = self.job.target;
        match self.job.report.measure || self.front.is_some() {
            true => certified::instructions(core, weights_ram_bytes, &folder.join(MODEL_FILE)),
            false => (self.run.count)(what, folder),
        }
    }

    fn estimate(&self, bytes: &[u8]) -> Result<Instructions, Error> {
        let TargetConfig { core, weights_ram_bytes } = self.job.target;
        let parsed = bitsback_runtime::Model::parse(bytes).map_err(PipelineError::Parse)?;
        Ok(estimate::instructions(core, weights_ram_bytes, &parsed))
    }
}

/// What is known of a network's instructions.
#[derive(Clone, Copy)]
struct Known {
    counted: Option<Instructions>,
    estimated: Instructions,
}

impl Known {
    /// Of a front's point, which is known as all points of it are.
    fn of_point(point: &Measured) -> Self {
        let Measured { instructions, estimated, .. } = *point;
        let counted = (instructions.from == Provenance::Measured).then_some(instructions);
        Self { counted, estimated }
    }

    /// Of both networks what compares: counts where there are all, else estimates.
    fn beside(self, dense: Option<Self>) -> (Instructions, Option<Instructions>) {
        let counted = match dense {
            Some(dense) => self.counted.zip(dense.counted.map(Some)),
            None => self.counted.map(|counted| (counted, None)),
        };
        counted.unwrap_or((self.estimated, dense.map(|dense| dense.estimated)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::select::point::tests::point;

    fn known(counted: Option<u64>, estimated: u64) -> Known {
        Known {
            counted: counted.map(|count| Instructions::stored(count, Provenance::Measured)),
            estimated: Instructions::stored(estimated, Provenance::Estimated),
        }
    }

    #[test]
    fn a_count_is_never_beside_an_estimate() {
        let both = |model: Known, dense: Option<Known>| {
            let (model, dense) = model.beside(dense);
            assert!(dense.is_none_or(|dense| dense.from == model.from));
            (model.count, dense.map(|dense| dense.count))
        };
        assert_eq!(both(known(Some(3), 4), Some(known(Some(9), 8))), (3, Some(9)));
        assert_eq!(both(known(Some(3), 4), Some(known(None, 8))), (4, Some(8)));
        assert_eq!(both(known(None, 4), Some(known(Some(9), 8))), (4, Some(8)));
        assert_eq!(
            (both(known(Some(3), 4), None), both(known(None, 4), None)),
            ((3, None), (4, None))
        );
    }

    #[test]
    fn points_that_were_counted_are_told_from_those_that_were_not() {
        let mut measured = point(0, 1, 1).measured;
        measured.instructions = measured.estimated;
        assert_eq!(Known::of_point(&measured).counted, None);
        measured.instructions = Instructions::stored(7, Provenance::Measured);
        let known = Known::of_point(&measured);
        assert_eq!(
            (known.counted, known.estimated),
            (Some(measured.instructions), measured.estimated)
        );
    }
}
