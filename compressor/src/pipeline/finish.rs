//! What comes after training: bit widths, lowering, verification, and every file of the output.
//!
//! From here on everything is deterministic and quick, so a resumed job simply does it again.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::decide::{self, MARGINS_FILE};
use super::figures::{float_bytes, layers};
use super::left_out;
use super::pareto_front::ParetoFront;
use super::stages::Trained;
use super::verdict::Verdict;
use super::{
    DENSE_FOLDER, FRONT_FOLDER, GOLDEN_FOLDER, JOB_FILE, METRICS_FILE, MODEL_FILE, Outcome,
    RunContext,
};
use crate::compile::calibrate::{calibrate, plan};
use crate::compile::serialize::ModelInfo;
use crate::compile::{self, CompileOptions, Compiled, Head, widths};
use crate::error::{Error, PipelineError};
use crate::files;
use crate::golden;
use crate::graph::{Affine, Graph, Plan, Rows, lower};
use crate::job::Job;
use crate::ledger::{BITS_FILE, BitRecord, GROUPS_FILE, Ledger};
use crate::metrics;
use crate::prune::posterior_variance;
use crate::report::{self, Latency, Meta, REPORT_FILE, Report};
use crate::summary::{Figures, Origin, SUMMARY_FILE, Summary};
use crate::train::batch::Examples;
use crate::train::batches::in_integers;
use crate::train::evaluate::score;
use crate::train::quantized::{self, Activations, simulate::Simulation};
use crate::verify::{self, Verification};

/// How far rounding a bias may move an output, in steps of the output, where weights weren't trained in
/// integers.
const BIAS_TOLERANCE: f64 = 1.0 / 64.0;

/// Everything that finishing needs.
#[derive(Clone, Copy)]
pub(super) struct Input<'a> {
    pub(super) run: RunContext<'a>,
    pub(super) job: &'a Job,
    pub(super) trained: &'a Trained,
    pub(super) seconds: f64,
    /// Bits a weight that the front took from the job's.
    pub(super) narrower: u8,
    /// Files of metrics, in the order of time.
    pub(super) metrics: &'a [PathBuf],
    /// The front that the model was chosen from.
    pub(super) front: Option<&'a ParetoFront>,
}

/// The integer model and how it came about.
pub(super) struct Model {
    pub(super) compiled: Compiled,
    pub(super) bytes: Vec<u8>,
    pub(super) bits: Vec<BitRecord>,
    pub(super) verification: Verification,
}

impl Model {
    /// Every group's fate, and every layer's bits.
    pub(super) fn ledger(&self, trained: &Trained) -> Ledger {
        let mut groups = trained.pruned.groups.clone();
        left_out::mark(&mut groups, &self.compiled.left_out);
        Ledger { groups, bits: self.bits.clone() }
    }
}

/// Compiles the model and judges it; then writes everything, whether or not it is good enough.
pub(super) fn finish(input: &Input) -> Result<Outcome, Error> {
    let stage = input.run.progress.stage("integer model", 4);
    stage.set(0, "calibrating and choosing bit widths");
    let mut model = input.model()?;
    // Before anything is judged, as it takes bytes; outputs stay as they are.
    let watched = input.watch(&mut model)?;
    stage.set(1, "comparing with the dense network on validation");
    let verdict = Verdict::new(input, &model)?;
    let mut unmet = input.check(&model, &verdict)?;
    let decided = input.decide(&mut model)?;
    match &decided {
        Some(decided) => {
            unmet = unmet.and(decided.verdict.clone());
            decided.write_csv(input.run.out)?;
        }
        None => super::remove(&input.run.out.join(decide::MARGINS_FILE))?,
    }
    stage.set(2, "golden vectors");
    files::write_atomic(&input.run.out.join(MODEL_FILE), &model.bytes)?;
    let golden = input.golden(&model.bytes, input.run.out)?;
    stage.set(3, "test set and report");
    let ledger = model.ledger(input.trained);
    ledger.write_csv(input.run.out)?;
    let mut summary = input.summary(&model)?;
    let instructions = input.speed(&model)?;
    summary.instructions = Some(instructions);
    let classes = &input.run.prepared.dataset.classes;
    summary.chance = Some(verdict.summary(classes));
    summary.decision = decided.map(|decided| decided.summary);
    summary.sentinel = watched;
    for warning in verdict.warnings(classes) {
        input.run.progress.note(&format!("warning: {warning}"));
    }
    let json = serde_json::to_vec_pretty(&summary).map_err(PipelineError::Json)?;
    files::write_atomic(&input.run.out.join(SUMMARY_FILE), &json)?;
    let mut report = input.report(&summary, &model, ledger, golden)?;
    if let Err(unmet) = &unmet {
        report.meta.unmet = unmet.to_string();
    }
    report::write(&report, &input.run.out.join(REPORT_FILE))?;
    stage.finish(&format!("{} bytes", model.bytes.len()));
    Ok(Outcome { model: model.bytes, summary, verdict: unmet })
}

impl Input<'_> {
    /// The integer model, verified on validation.
    pub(super) fn model(&self) -> Result<Model, Error> {
        let variance = posterior_variance(&self.trained.pruned.posterior)?;
        let (weights, mut bits, activations, bias_tolerance) = match &self.trained.quantized {
            Some(quantized) => {
                let weights = quantized.integers();
                let bits = quantized.records(&weights, &variance);
                let tolerance = f64::from(self.job.quantize.bias_tolerance);
                (weights, bits, quantized.activations.clone(), tolerance)
            }
            None => {
                let activations = self.activations()?;
                let (weights, bits) = self.widths(&variance, &activations)?;
                (weights, bits, activations, BIAS_TOLERANCE)
            }
        };
        if self.trained.quantized.is_none() {
            self.effects(&weights, &mut bits);
        }
        if self.narrower > 0 {
            let what =
                if self.trained.quantized.is_some() { "[quantize] bits" } else { "[bits] most" };
            for record in &mut bits {
                record.rule += &format!("; [front] took up to {} from {what}", self.narrower);
            }
        }
        if self.job.variational.is_bound() {
            for (record, layer) in
                bits.iter_mut().zip(self.trained.pruned.posterior.graph.parameters())
            {
                let nats = layer.description_length_nats;
                record.description_bits = Some(nats / std::f64::consts::LN_2);
            }
        }
        let (compiled, bytes) = self.emit(&weights, &activations, bias_tolerance)?;
        let Examples { inputs, labels, .. } = &self.run.prepared.validation;
        let verification =
            verify::verify(&bytes, &compiled, &self.trained.network, inputs, labels)?;
        if self.trained.quantized.is_some() {
            self.check_simulation(&weights, &activations, bias_tolerance, &verification)?;
        }
        Ok(Model { compiled, bytes, bits, verification })
    }

    /// What rounding each layer by itself does to the loss on validation.
    fn effects(&self, weights: &[Rows], bits: &mut [BitRecord]) {
        let mut network = self.trained.network.clone();
        let loss = |network: &Graph<Affine>| {
            score(network, &self.run.prepared.validation, self.run.device).loss
        };
        let before = loss(&network);
        for (layer, (integers, record)) in weights.iter().zip(bits).enumerate() {
            let Some(affine) = network.parameters_mut().nth(layer) else { continue };
            let kept = std::mem::replace(&mut affine.weight, integers.dequantized());
            record.effect = Some(loss(&network) - before);
            if let Some(affine) = network.parameters_mut().nth(layer) {
                affine.weight = kept;
            }
        }
    }

    /// What training saw must be what the device computes, to the image.
    fn check_simulation(
        &self,
        weights: &[Rows],
        activations: &Activations,
        bias_tolerance: f64,
        verification: &Verification,
    ) -> Result<(), Error> {
        let network = &self.trained.network;
        let input = self.run.prepared.input_quantization(self.job);
        let simulation = Simulation::new(network, weights, activations, &input, bias_tolerance)?
            .with_head(self.head())?;
        let validation = in_integers(&self.run.prepared.validation, &input);
        let simulated = quantized::score(&simulation, &validation, self.run.device);
        let (simulated, found) = (simulated.error_percent, verification.integer_error_percent);
        if simulated == found {
            return Ok(());
        }
        Err(PipelineError::Simulation { simulated, found }.into())
    }

    /// Widths from the posterior, widened until validation is content.
    fn widths(
        &self,
        variance: &[Vec<f32>],
        activations: &Activations,
    ) -> Result<(Vec<Rows>, Vec<BitRecord>), Error> {
        let (network, validation) = (&self.trained.network, &self.run.prepared.validation);
        let config = &self.job.bits;
        let per_channel = self.job.quantize.per_channel;
        let (mut weights, mut bits) = widths::choose(network, variance, config, per_channel)?;
        let target =
            score(network, validation, self.run.device).error_percent + config.tolerance_points;
        widths::raise_until(network, &mut weights, &mut bits, config, target, |weights| {
            let (compiled, bytes) = self.emit(weights, activations, BIAS_TOLERANCE)?;
            self.integer_error(&compiled, &bytes, validation)
        })?;
        Ok((weights, bits))
    }

    /// Ranges of the activations, from training examples.
    fn activations(&self) -> Result<Activations, Error> {
        let config = &self.job.calibration;
        let sample = self.run.prepared.train.sample(config.examples, self.job.seed);
        let input = self.run.prepared.input_quantization(self.job);
        Ok(calibrate(&self.trained.network, &sample.inputs, &input, config.method)?)
    }

    /// What the file says besides.
    pub(super) fn info(&self) -> ModelInfo {
        let classes = &self.run.prepared.dataset.classes;
        let numbers = classes.iter().enumerate().all(|(i, name)| *name == i.to_string());
        ModelInfo {
            name: self.job.name.clone(),
            classes: if numbers { Vec::new() } else { classes.clone() },
            op_names: false,
        }
    }

    /// What the device answers with.
    pub(super) fn head(&self) -> Head {
        self.job.network.output.into()
    }

    /// Lowers and serialises.
    fn emit(
        &self,
        weights: &[Rows],
        activations: &Activations,
        bias_tolerance: f64,
    ) -> Result<(Compiled, Vec<u8>), Error> {
        let network = &self.trained.network;
        let input = self.run.prepared.input_quantization(self.job);
        let rows = network.layers().map(|node| node.output).zip(weights.iter().cloned()).collect();
        let plan = plan(network, activations.clone(), &input);
        let mut integers = lower(network, &Plan { rows, bias_tolerance, ..plan })?;
        compile::append_head(&mut integers, self.head());
        let options = CompileOptions {
            size: Some(self.size()),
            core: self.job.target.core,
            weights_ram_bytes: self.job.target.weights_ram_bytes,
            ..CompileOptions::default()
        };
        let (bytes, compiled) = compile::write(&integers, &input, &options, &self.info())?;
        Ok((compiled, bytes))
    }

    /// Error in percent of the integer runtime.
    fn integer_error(
        &self,
        compiled: &Compiled,
        bytes: &[u8],
        on: &Examples,
    ) -> Result<f64, Error> {
        let inputs = compiled.input_quantization.quantize(&on.inputs);
        Ok(verify::evaluate(bytes, &inputs, &on.labels)?.error_percent())
    }

    /// Writes golden vectors of a model beside it in `folder`.
    pub(super) fn golden(&self, bytes: &[u8], folder: &Path) -> Result<golden::Golden, Error> {
        let folder = folder.join(GOLDEN_FOLDER);
        std::fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        let test = &self.run.prepared.split.test;
        let chosen = &test[..self.job.golden.vectors.min(test.len())];
        // The device's own way from raw data to its input.
        let inputs = verify::quantized_inputs(bytes, &self.run.prepared.dataset, chosen)?;
        Ok(golden::write(&folder, bytes, &inputs)?)
    }

    fn summary(&self, model: &Model) -> Result<Summary, Error> {
        let test = self.run.prepared.test();
        let (dense, network) = (&self.trained.dense, &self.trained.network);
        let before = Figures {
            error_percent: score(dense, &test, self.run.device).error_percent,
            file_bytes: float_bytes(dense),
            macs: dense.macs().iter().sum(),
            arena_bytes: None,
        };
        let parsed = bitsback_runtime::Model::parse(&model.bytes).map_err(PipelineError::Parse)?;
        let split = &self.run.prepared.split.test;
        let raw = verify::quantized_inputs(&model.bytes, &self.run.prepared.dataset, split)?;
        let after = Figures {
            error_percent: verify::evaluate(&model.bytes, &raw, &test.labels)?.error_percent(),
            file_bytes: model.bytes.len() as u64,
            macs: parsed.macs(),
            arena_bytes: Some(parsed.arena_len() as u64),
        };
        let origin = Origin {
            network: self.job.name.clone(),
            prior: self.job.variational.prior,
            control: self.job.control(),
            seed: self.job.seed,
            command: self.run.options.command.clone(),
            date: crate::progress::date(SystemTime::now()),
        };
        let layers = layers(dense, network, &parsed, &model.compiled, &model.bits);
        let mut summary = Summary::new(origin, test.len() as u64, before, after, layers);
        let left_out = &model.compiled.left_out;
        summary.data_note.clone_from(&self.run.prepared.note);
        summary.input_part = network.input_part();
        summary.left_out = (!left_out.layers.is_empty()).then(|| left_out.clone());
        summary.front = self.front.map(|front| front.summary(self.job, &self.run)).transpose()?;
        Ok(summary)
    }

    fn report(
        &self,
        summary: &Summary,
        model: &Model,
        ledger: Ledger,
        golden: golden::Golden,
    ) -> Result<Report, Error> {
        let v = &model.verification;
        let verification = format!(
            "On {} validation examples the integer model and the float network it was made from \
             agree on {}; their errors are {:.2} % and {:.2} %. The largest difference of a logit \
             is {:.3}. {} golden vectors hold the runtime's outputs bit for bit.",
            v.count,
            v.agreeing,
            v.integer_error_percent,
            v.float_error_percent,
            v.largest_difference,
            golden.vectors
        );
        let nats = self.trained.pruned.description_length_nats;
        let files = [
            (MODEL_FILE, "the model, as the device takes it"),
            (GOLDEN_FOLDER, "inputs and expected outputs for conformance"),
            (JOB_FILE, "the job with every default and seed stated"),
            (METRICS_FILE, "what training measured, one JSON object a line"),
            (GROUPS_FILE, "every group: importance, threshold, fate, rule and effect"),
            (BITS_FILE, "every layer's bits and the variance behind them"),
            (
                MARGINS_FILE,
                "every margin that was tested: what is accepted, and how much of it is wrong",
            ),
            (SUMMARY_FILE, "the figures of this page"),
            (DENSE_FOLDER, "the dense network in plain 8 bits, to be compared on the device"),
            (FRONT_FOLDER, "every point of the front: model, ledger, metrics and figures"),
        ];
        let speed = summary.instructions.as_ref();
        let is_there = |name: &str| match name {
            FRONT_FOLDER => self.front.is_some(),
            DENSE_FOLDER => speed.is_some_and(|speed| speed.dense.is_some()),
            MARGINS_FILE => summary.decision.is_some(),
            _ => true,
        };
        let files = files.iter().filter(|(name, _)| is_there(name));
        let meta = Meta {
            data: self.run.prepared.describe(self.job),
            device: self.run.options.device.name().to_owned(),
            machine: Meta::this_machine(),
            seconds: self.seconds,
            description_length_nats: self.job.variational.is_bound().then_some(nats),
            verification,
            unmet: String::new(),
            files: files.map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect(),
        };
        let curves = metrics::read_all(self.metrics)?;
        let megahertz = self.job.report.megahertz;
        Ok(Report {
            config: self.job.report.clone(),
            latencies: speed.map_or_else(Vec::new, |speed| Latency::all(speed, megahertz)),
            summary: summary.clone(),
            curves,
            ledger,
            job_toml: self.run.job_toml.to_owned(),
            meta,
        })
    }
}
