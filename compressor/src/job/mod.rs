//! The job file: one TOML file says what is compressed, how, and what must hold.
//!
//! Every key has a default, so an empty file is a job: the bundled digits through LeNet-300-100.
//! After [`Job::load`] returned, every key was known, of its type, and within its limits,
//! and the `[data]` keys fit their kind; after [`Job::resolve`], the network fits the
//! data and nothing is left to default. docs/JOB.md lists every key.

mod error;
mod limits;
mod locate;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::compile::disagreement;
use crate::compile::storage::SizeConfig;
use crate::cost::Core;
use crate::data::{DataConfig, Dataset, Normalization, NormalizationKind, Split};
use crate::files::{self, FileError};
use crate::graph::{Graph, Weights};
use crate::summary::Control;
use crate::weights::model;

pub use error::{JobError, Place};
pub use locate::Origin;

pub use crate::compile::calibrate::CalibrateConfig;
pub use crate::compile::widths::{BitRule, BitWidthConfig};
pub use crate::network::{LayerConfig, NetworkConfig, NetworkError, Output, Preset};
pub use crate::prune::{Order, PruneConfig};
pub use crate::report::ReportConfig;
pub use crate::select::{FrontConfig, Requirements};
pub use crate::sentinel::{SentinelConfig, SentinelProfile};
pub use crate::train::{
    AugmentConfig, Cost, FinetuneConfig, FromPosterior, LearningRates, PretrainConfig,
    QuantizeConfig, ShrinkConfig, VariationalConfig, WeightBits,
};
pub use crate::weights::{
    AssignError, FormatError, ModelError, PickleError, PretrainedModel, WeightsError,
};

/// Largest job file (1 MiB): a hundred times the longest that anybody would write.
pub const MAX_JOB_BYTES: u64 = 1 << 20;

/// Longest job name: it becomes part of file names.
pub const MAX_NAME: usize = 64;

/// Largest seed, 2^53 − 1: TOML's integers and JSON's numbers hold it exactly.
pub const MAX_SEED: u64 = (1 << 53) - 1;

/// A whole job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Job {
    /// Names the output; without it, the job file's name without its extension.
    pub name: String,
    /// Everything random follows from it.
    pub seed: u64,
    /// Which data.
    pub data: DataConfig,
    /// Which network.
    pub network: NetworkConfig,
    /// The deterministic network to start from.
    pub pretrain: PretrainConfig,
    /// The Bayesian pass.
    pub variational: VariationalConfig,
    /// Which groups go.
    pub prune: PruneConfig,
    /// Training of what is left.
    pub finetune: FinetuneConfig,
    /// Training of what is left in the device's integers.
    pub quantize: QuantizeConfig,
    /// Distorted copies of the training images.
    pub augment: AugmentConfig,
    /// How precisely weights are kept.
    pub bits: BitWidthConfig,
    /// The device.
    pub target: TargetConfig,
    /// How weights are stored.
    pub size: SizeConfig,
    /// Ranges of the activations.
    pub calibration: CalibrateConfig,
    /// Test vectors for the device.
    pub golden: GoldenConfig,
    /// What the model must meet.
    pub requirements: Requirements,
    /// The points among which those choose.
    pub front: FrontConfig,
    /// By what the device notices that the field has changed.
    pub sentinel: SentinelConfig,
    /// What the report's figures are for.
    pub report: ReportConfig,
    /// Where the job was read; not part of what it is.
    #[serde(skip)]
    pub origin: Origin,
}

impl Default for Job {
    fn default() -> Self {
        Self {
            name: String::from("model"),
            seed: 1,
            data: DataConfig::default(),
            network: NetworkConfig::default(),
            pretrain: PretrainConfig::default(),
            variational: VariationalConfig::default(),
            prune: PruneConfig::default(),
            finetune: FinetuneConfig::default(),
            quantize: QuantizeConfig::default(),
            augment: AugmentConfig::default(),
            bits: BitWidthConfig::default(),
            target: TargetConfig::default(),
            size: SizeConfig::default(),
            calibration: CalibrateConfig::default(),
            golden: GoldenConfig::default(),
            requirements: Requirements::default(),
            front: FrontConfig::default(),
            sentinel: SentinelConfig::default(),
            report: ReportConfig::default(),
            origin: Origin::default(),
        }
    }
}

/// `[target]`: the device that the model is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TargetConfig {
    /// Its core: weights are stored as this is fastest with, and instructions are of it.
    pub core: Core,
    /// RAM that its program gives for weights, which are unpacked into it once: as many as fit.
    pub weights_ram_bytes: u64,
}

/// `[golden]`: inputs with their expected outputs, for conformance on the device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GoldenConfig {
    /// Test examples; all, if there are fewer.
    pub vectors: usize,
}

impl Default for GoldenConfig {
    fn default() -> Self {
        Self { vectors: 32 }
    }
}

/// A job that fits its data, with nothing left to default.
#[derive(Clone, Debug, PartialEq)]
pub struct ResolvedJob {
    /// The job; written as TOML ([`Job::to_toml`]) it loads back identical.
    pub job: Job,
    /// The network with every size.
    pub structure: Graph<()>,
    /// The same with its weights, if the job names a model file.
    pub pretrained: Option<PretrainedModel>,
    /// The division of the data.
    pub split: Split,
}

impl Job {
    /// Reads and checks a job file. Relative paths are joined with the folder of the job file.
    ///
    /// # Errors
    /// The first thing that is wrong, with the file, the line, the key, and what to do.
    pub fn load(path: &Path) -> Result<Self, JobError> {
        let bytes = files::read(path, MAX_JOB_BYTES)?;
        let text = str::from_utf8(&bytes).map_err(|error| JobError::Encoding {
            path: path.to_owned(),
            byte: error.valid_up_to(),
        })?;
        let mut job = Self::parse(path, text)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        for file in job.data.paths_mut().chain(job.network.paths_mut()) {
            *file = folder.join(&*file);
        }
        Ok(job)
    }

    /// Parses and checks the text of a job file; `path` names it in messages, and paths stay as
    /// they are.
    ///
    /// # Errors
    /// As [`Job::load`].
    pub fn parse(path: &Path, text: &str) -> Result<Self, JobError> {
        let origin = Origin::read(path, text)?;
        let mut job: Self = toml::from_str(text).map_err(|error| origin.explain(text, &error))?;
        if !origin.has("name")
            && let Some(stem) = path.file_stem()
        {
            job.name = stem.to_string_lossy().into_owned();
        }
        job.origin = origin;
        job.check()?;
        Ok(job)
    }

    /// Checks the limits of every number and what keys demand of each other.
    ///
    /// # Errors
    /// The first key that is wrong.
    pub fn check(&self) -> Result<(), JobError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let starts = self.name.starts_with(|c: char| c.is_ascii_alphanumeric());
        if !starts || !self.name.chars().all(plain) || self.name.len() > MAX_NAME {
            return Err(JobError::Name { place: self.place("name"), name: self.name.clone() });
        }
        for (key, seed) in [("seed", Some(self.seed)), ("data.split_seed", self.data.split_seed)] {
            if let Some(seed) = seed
                && seed > MAX_SEED
            {
                let allowed = format!("0 … {MAX_SEED}");
                let (place, key) = (self.place(key), key.to_owned());
                return Err(JobError::Range { place, key, value: seed.to_string(), allowed });
            }
        }
        if let Some(broken) = limits::first_broken(self) {
            let place = self.place(&broken.key);
            let limits::Broken { key, value, allowed } = broken;
            return Err(JobError::Range { place, key, value, allowed });
        }
        if self.bits.least > self.bits.most {
            let (least, most) = (self.bits.least, self.bits.most);
            return Err(JobError::Bits { place: self.place("bits.least"), least, most });
        }
        if let Some(key) = self.size.contradiction() {
            let key = format!("size.{key}");
            return Err(JobError::Limit { place: self.place(&key), key });
        }
        let points = self.variational.temperature.as_deref().unwrap_or_default();
        let falls = points.iter().zip(points.iter().skip(1)).position(|(a, b)| b.0 < a.0);
        if let Some(before) = falls {
            let key = String::from("variational.temperature");
            return Err(JobError::NotAscending {
                place: self.place(&format!("{key}[{}]", before + 1)),
                key,
                index: before + 1,
            });
        }
        self.check_temperatures()?;
        self.check_price()?;
        self.check_scores()?;
        self.data.check().map_err(|source| self.data_error(source))?;
        self.network.layers().map_err(|source| self.network_error(source))?;
        Ok(())
    }

    /// Fits the job to its data: every size inferred, every default stated, paths absolute.
    ///
    /// # Errors
    /// When the network doesn't fit the data, with the layer, what arrives there and what it needs.
    pub fn resolve(&self, dataset: &Dataset) -> Result<ResolvedJob, JobError> {
        let classes = dataset.classes.len();
        let failed = |source| self.network_error(source);
        let pretrained = self.pretrained(dataset)?;
        let structure = match &pretrained {
            Some(model) => model.network.structure(),
            None => self.network.infer(dataset.shape, classes).map_err(failed)?,
        };
        self.check_per_layer(structure.layers().count())?;
        self.check_per_class(classes)?;
        let seed = self.data.split_seed.unwrap_or(self.seed);
        let split = Split::new(dataset, &self.data, seed).map_err(|e| self.data_error(e))?;
        let mut job = self.clone();
        job.network = self.network.resolve(classes).map_err(failed)?;
        job.data = self.data.resolve(dataset, &split, self.network.is_given(), self.seed);
        job.pace(dataset, &split, structure.weights().iter().map(Weights::len).sum());
        for file in job.data.paths_mut().chain(job.network.paths_mut()) {
            *file = absolute(file)?;
        }
        Ok(ResolvedJob { job, structure, pretrained, split })
    }

    /// States what follows from the numbers of examples and weights: batches, epochs, the KL's
    /// temperature, and the rise of the error.
    fn pace(&mut self, dataset: &Dataset, split: &Split, weights: usize) {
        let examples = split.train.len();
        let pace = self.pretrain.pace(examples);
        (self.pretrain.batch, self.pretrain.epochs) = (Some(pace.batch), Some(pace.epochs));
        self.variational = self.variational.resolve_for(examples, weights);
        let pace = self.finetune.pace(examples);
        (self.finetune.batch, self.finetune.epochs) = (Some(pace.batch), Some(pace.epochs));
        self.quantize =
            self.quantize.resolve(examples, self.traces_front(), self.variational.has_kl());
        let mut counts = vec![0u32; dataset.classes.len()];
        for &example in &split.validation {
            let class = dataset.labels.get(example as usize).map_or(0, |&class| class as usize);
            if let Some(count) = counts.get_mut(class) {
                *count += 1;
            }
        }
        let judges = |&count: &u32| {
            let [deciding, promised, _] = self.requirements.shares(count as usize);
            if self.requirements.promises() { promised } else { deciding }
        };
        let judged = counts.iter().map(judges).sum();
        self.requirements = self.requirements.resolve(judged);
    }

    /// Fits the pretrained network to the data, where its file says which its inputs are: the data must be
    /// normalised to these, or to all of them divided by one number, which its first layers' weights then take.
    ///
    /// # Errors
    /// [`JobError::Inputs`], with the normalisations that would do.
    pub fn fit_inputs(
        &self,
        pretrained: &mut PretrainedModel,
        dataset: &Dataset,
        normalization: &Normalization,
        training: &[u32],
    ) -> Result<(), JobError> {
        let Some(model) = pretrained.inputs else { return Ok(()) };
        let Some(found) = disagreement(model, dataset, normalization, training) else {
            return Ok(());
        };
        let mut fitting = Vec::new();
        for kind in NormalizationKind::ALL {
            let Ok(fitted) = Normalization::fit(kind, dataset, training) else { continue };
            if disagreement(model, dataset, &fitted, training).is_some() {
                continue;
            }
            // Not where training would get the large numbers.
            let factor = fitted.multiple_of(normalization).filter(|factor| *factor > 1.0);
            if factor.is_some_and(|factor| pretrained.divide_inputs(factor)) {
                return Ok(());
            }
            fitting.push(kind);
        }
        let place = self.place("data.normalization");
        Err(JobError::Inputs { place, model, found, fitting })
    }

    /// The network of the model file, if there is one.
    fn pretrained(&self, dataset: &Dataset) -> Result<Option<PretrainedModel>, JobError> {
        let Some(path) = &self.network.model else { return Ok(None) };
        let model =
            model::load(path, self.network.input_layout, dataset.shape, dataset.classes.len());
        model.map(Some).map_err(|source| JobError::Model {
            place: self.place("network.model"),
            source: Box::new(source),
        })
    }

    /// Checks the factors of a front's temperatures.
    fn check_temperatures(&self) -> Result<(), JobError> {
        let key = String::from("front.temperatures");
        let factors = &self.front.temperatures;
        let found = factors.len();
        if !(1..=limits::MAX_TEMPERATURES).contains(&found) {
            return Err(JobError::TemperatureCount { place: self.place(&key), key, found });
        }
        if let Some(before) = factors.windows(2).position(|pair| pair[1] <= pair[0]) {
            let index = before + 1;
            let place = self.place(&format!("{key}[{index}]"));
            return Err(JobError::TemperatureOrder { place, key, index });
        }
        if !self.front.is_as_the_job() && !self.variational.has_kl() {
            return Err(JobError::NoTemperature { place: self.place(&key), key });
        }
        Ok(())
    }

    /// Checks that there is one price for what groups cost.
    fn check_price(&self) -> Result<(), JobError> {
        let VariationalConfig { cost, shrink, .. } = &self.variational;
        if *cost != Cost::None && shrink.loss_rise.as_ref().is_some_and(|rises| rises.len() > 1) {
            let key = String::from("variational.shrink.loss_rise");
            return Err(JobError::OnePrice { place: self.place(&key), key });
        }
        Ok(())
    }

    /// Checks that there are scores where the model is to abstain by them, or nothing else is watched.
    fn check_scores(&self) -> Result<(), JobError> {
        let abstains = self.requirements.accepted_error_percent.is_some();
        let watches = self.sentinel.profile == SentinelProfile::Quiet;
        let wants =
            [("requirements.accepted_error_percent", abstains), ("sentinel.profile", watches)];
        let wanted = wants.into_iter().find(|(_, wants)| *wants);
        if let (Some((key, _)), Output::Argmax) = (wanted, self.network.output) {
            let key = String::from(key);
            return Err(JobError::NoScores { place: self.place(&key), key });
        }
        Ok(())
    }

    /// Checks the lists that have one value per layer with weights.
    fn check_per_layer(&self, layers: usize) -> Result<(), JobError> {
        let scale_weight = self.variational.scale_weight.len();
        let loss_rise = self.variational.shrink.loss_rise.as_ref().map_or(1, Vec::len);
        // Where the posterior says, there is a width for each.
        let bits = match &self.quantize.bits {
            Some(WeightBits::Given(bits)) => bits.len(),
            Some(WeightBits::FromPosterior(_)) | None => layers.max(1),
        };
        for (key, found, fits) in [
            ("variational.scale_weight", scale_weight, scale_weight <= layers),
            ("variational.shrink.loss_rise", loss_rise, [1, layers].contains(&loss_rise)),
            ("quantize.bits", bits, (1..=layers).contains(&bits)),
        ] {
            if !fits {
                let (place, key) = (self.place(key), key.to_owned());
                return Err(JobError::PerLayer { place, key, found, layers });
            }
        }
        Ok(())
    }

    /// Checks the list that has one value per class.
    fn check_per_class(&self, classes: usize) -> Result<(), JobError> {
        let found = self.requirements.class_error_percent.len();
        if found <= 1 || found == classes {
            return Ok(());
        }
        let key = String::from("requirements.class_error_percent");
        Err(JobError::PerClass { place: self.place(&key), key, found, classes })
    }

    /// Whether the model is chosen from a front, be it of one point.
    pub fn traces_front(&self) -> bool {
        self.points() > 1 || !self.front.is_as_the_job() || self.requirements.need_front()
    }

    /// How many points are traced at each temperature; 1 is the job as it stands.
    pub fn points(&self) -> u32 {
        self.front.count(self.requirements.need_front())
    }

    /// Which control of the method this job is, if it is one.
    pub fn control(&self) -> Option<Control> {
        match self.variational.shrink.order {
            _ if !self.variational.is_bayesian() => Some(Control::NoBayesianStage),
            Order::Magnitude => Some(Control::OrderByMagnitude),
            Order::Posterior => None,
        }
    }

    /// The job as TOML, with every value stated.
    ///
    /// # Errors
    /// [`JobError::Write`] when a value can't be written, such as a path that is no Unicode text.
    pub fn to_toml(&self) -> Result<String, JobError> {
        toml::to_string(self).map_err(|source| JobError::Write { source })
    }

    /// Says where in the job file the data's error comes from.
    pub fn data_error(&self, source: crate::data::DataError) -> JobError {
        let key = source.key().map(|key| format!("data.{key}"));
        let place = self.place(key.as_deref().unwrap_or("data"));
        JobError::Data { place, source }
    }

    fn network_error(&self, source: crate::network::NetworkError) -> JobError {
        let mut key = String::from("network");
        // A preset's layers are in no file.
        if let (Some(layer), false) = (source.layer(), self.network.layers.is_empty()) {
            key = format!("network.layers[{layer}]");
            if let Some(inner) = source.key() {
                key = format!("{key}.{inner}");
            }
        }
        JobError::Network { place: self.place(&key), key, source: Box::new(source) }
    }

    fn place(&self, key: &str) -> Place {
        self.origin.place(key)
    }
}

fn absolute(path: &Path) -> Result<PathBuf, JobError> {
    let read = |source| FileError::Read { path: path.to_owned(), source };
    Ok(std::path::absolute(path).map_err(read)?)
}

#[cfg(test)]
mod documentation;
#[cfg(test)]
mod tests;
