//! What an inference takes on the device, before and after: the dense network is compiled, too, in plain 8
//! bits and for the fewest instructions, and known in the same way as the model.

use std::path::Path;

use super::finish::{Input, Model};
use super::pareto_front::ParetoFront;
use super::{Counted, DENSE_FOLDER, MODEL_FILE};
use crate::compile::calibrate::{calibrate, plan};
use crate::compile::{self, CompileOptions, Goal, SizeConfig};
use crate::cost::{Instructions, certified, estimate};
use crate::error::{Error, PipelineError};
use crate::files;
use crate::graph::lower;
use crate::job::TargetConfig;
use crate::summary::Speed;

impl Input<'_> {
    /// Instructions of both networks. The dense one is written into a folder of its own; where it has no
    /// integer form, that is noted.
    pub(super) fn speed(&self, model: &Model) -> Result<Speed, Error> {
        let compressed = match self.front.and_then(ParetoFront::point) {
            Some(point) => point.measured.instructions,
            None => self.instructions(Counted::Model, self.run.out, &model.bytes)?,
        };
        let folder = self.run.out.join(DENSE_FOLDER);
        let dense = match self.dense() {
            Ok(bytes) => {
                std::fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
                files::write_atomic(&folder.join(MODEL_FILE), &bytes)?;
                self.golden(&bytes, &folder)?;
                Some(self.instructions(Counted::Dense, &folder, &bytes)?)
            }
            Err(error) => {
                super::remove_folder(&folder)?;
                self.run.progress.note(&format!(
                    "warning: instructions of the dense network aren't known, as it has no integer form: \
                     {error}"
                ));
                None
            }
        };
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

    /// Instructions of a network in `folder`: counted if the job asks for it, or estimated.
    fn instructions(
        &self,
        what: Counted,
        folder: &Path,
        bytes: &[u8],
    ) -> Result<Instructions, Error> {
        let TargetConfig { core, weights_ram_bytes } = self.job.target;
        let counted = match self.job.report.measure {
            true => certified::instructions(core, weights_ram_bytes, &folder.join(MODEL_FILE)),
            false => (self.run.count)(what, folder),
        };
        let parsed = bitsback_runtime::Model::parse(bytes).map_err(PipelineError::Parse)?;
        Ok(counted.unwrap_or_else(|| estimate::instructions(core, weights_ram_bytes, &parsed)))
    }
}
