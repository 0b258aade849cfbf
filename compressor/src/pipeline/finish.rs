//! What comes after training: bit widths, lowering, verification, and every file of the output.
//!
//! From here on everything is deterministic and quick, so a resumed job simply does it again.

use std::path::Path;
use std::time::SystemTime;

use super::stages::Trained;
use super::{
    GOLDEN_FOLDER, JOB_FILE, METRICS_FILE, MODEL_FILE, PipelineError, Prepared, RunOptions,
};
use crate::bit_width::{self, IntegerWeights};
use crate::calibrate::{Activations, calibrate};
use crate::error::Error;
use crate::files;
use crate::golden;
use crate::job::Job;
use crate::ledger::{BITS_FILE, BitRecord, GROUPS_FILE, Ledger};
use crate::lower::{Graph, Head, LowerOptions, lower};
use crate::metrics;
use crate::network::{FloatNetwork, Layer, Output, Shape, Topology};
use crate::progress::Progress;
use crate::prune::weights::posterior_variance;
use crate::report::{self, Latency, Meta, REPORT_FILE, Report};
use crate::serialize::{ModelInfo, serialize};
use crate::shapes;
use crate::summary::{Figures, LayerSummary, Origin, SUMMARY_FILE, Summary};
use crate::train::batch::Examples;
use crate::train::evaluate::score;
use crate::train::lessons::in_integers;
use crate::train::quantized::{self, simulate::Simulation};
use crate::verify::{self, Verification};

/// Everything that finishing needs.
pub(super) struct Input<'a> {
    pub(super) job: &'a Job,
    pub(super) job_toml: &'a str,
    pub(super) prepared: &'a Prepared,
    pub(super) trained: &'a Trained,
    pub(super) device: &'a burn::tensor::Device,
    pub(super) options: &'a RunOptions,
    pub(super) seconds: f64,
    pub(super) out: &'a Path,
    pub(super) progress: &'a Progress,
}

/// The integer model and how it came about.
struct Model {
    graph: Graph,
    bytes: Vec<u8>,
    bits: Vec<BitRecord>,
    verification: Verification,
}

/// Writes everything and returns the figures.
pub(super) fn finish(input: &Input) -> Result<Summary, Error> {
    let stage = input.progress.stage("integer model", 4);
    stage.set(0, "calibrating and choosing bit widths");
    let model = input.model()?;
    stage.set(1, "comparing with the dense network on validation");
    let requirement = input.check(&model);
    stage.set(2, "golden vectors");
    files::write_atomic(&input.out.join(MODEL_FILE), &model.bytes)?;
    let golden = input.golden(&model)?;
    stage.set(3, "test set and report");
    let ledger = Ledger { groups: input.trained.pruned.groups.clone(), bits: model.bits.clone() };
    ledger.write_csv(input.out)?;
    let summary = input.summary(&model)?;
    let json = serde_json::to_vec_pretty(&summary).map_err(PipelineError::Json)?;
    files::write_atomic(&input.out.join(SUMMARY_FILE), &json)?;
    let mut report = input.report(&summary, &model, ledger, golden)?;
    if let Err(error) = &requirement {
        report.meta.unmet = error.message();
    }
    report::write(&report, &input.out.join(REPORT_FILE))?;
    stage.finish(&format!("{} bytes", model.bytes.len()));
    // The files are there to be looked at, whether or not the model is good enough.
    requirement.map(|()| summary)
}

impl Input<'_> {
    fn model(&self) -> Result<Model, Error> {
        let variance = posterior_variance(&self.trained.pruned.posterior)?;
        let (weights, bits, activations, bias_tolerance) = match &self.trained.quantized {
            Some(quantized) => {
                let widths = self.job.quantize.widths(quantized.network.affine.len());
                let weights = quantized.integers(&widths);
                let bits = bit_width::learned(&quantized.network, &weights, &variance);
                let tolerance = f64::from(self.job.quantize.bias_tolerance);
                (weights, bits, quantized.activations.clone(), tolerance)
            }
            None => {
                let activations = self.activations()?;
                let (weights, bits) = self.widths(&variance, &activations)?;
                (weights, bits, activations, LowerOptions::default().bias_tolerance)
            }
        };
        let (graph, bytes) = self.emit(&weights, &activations, bias_tolerance)?;
        let Examples { inputs, labels, .. } = &self.prepared.validation;
        let verification = verify::verify(&bytes, &graph, &self.trained.network, inputs, labels)?;
        if self.trained.quantized.is_some() {
            self.check_simulation(&weights, &activations, bias_tolerance, &verification)?;
        }
        Ok(Model { graph, bytes, bits, verification })
    }

    /// What training saw must be what the device computes, to the image.
    fn check_simulation(
        &self,
        weights: &[IntegerWeights],
        activations: &Activations,
        bias_tolerance: f64,
        verification: &Verification,
    ) -> Result<(), Error> {
        let network = &self.trained.network;
        let simulation = Simulation::new(network, weights, activations, bias_tolerance)
            .map_err(crate::train::TrainError::from)?;
        let validation = in_integers(&self.prepared.validation, &activations.input);
        let simulated = quantized::score(weights, &simulation, &validation, self.device);
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
    ) -> Result<(Vec<IntegerWeights>, Vec<BitRecord>), Error> {
        let (network, validation) = (&self.trained.network, &self.prepared.validation);
        let config = &self.job.bits;
        let (mut weights, mut bits) = bit_width::choose(network, variance, config)?;
        let target =
            score(network, validation, self.device).error_percent + config.tolerance_points;
        let tolerance = LowerOptions::default().bias_tolerance;
        bit_width::raise_until(network, &mut weights, &mut bits, config, target, |weights| {
            let (graph, bytes) = self.emit(weights, activations, tolerance)?;
            self.integer_error(&graph, &bytes, validation)
        })?;
        Ok((weights, bits))
    }

    /// Ranges of the activations, from training examples.
    fn activations(&self) -> Result<Activations, Error> {
        let config = &self.job.calibration;
        let sample = self.prepared.train.sample(config.examples, self.job.seed);
        let input = self.prepared.input_quantization(self.job);
        Ok(calibrate(&self.trained.network, &sample.inputs, input, config.method)?)
    }

    /// Lowers and serialises.
    fn emit(
        &self,
        weights: &[IntegerWeights],
        activations: &Activations,
        bias_tolerance: f64,
    ) -> Result<(Graph, Vec<u8>), Error> {
        let head = match self.job.network.output {
            Output::Logits => Head::Logits,
            Output::Softmax => Head::Softmax,
            Output::Argmax => Head::Argmax,
        };
        let goal = Some(self.job.size.goal);
        let options = LowerOptions { head, bias_tolerance, goal };
        let graph = lower(&self.trained.network, weights, activations, &options)?;
        let classes = &self.prepared.dataset.classes;
        let numbers = classes.iter().enumerate().all(|(i, name)| *name == i.to_string());
        let info = ModelInfo {
            name: self.job.name.clone(),
            classes: if numbers { Vec::new() } else { classes.clone() },
            op_names: false,
        };
        let bytes = serialize(&graph, &info)?;
        Ok((graph, bytes))
    }

    /// Error in percent of the integer runtime.
    fn integer_error(&self, graph: &Graph, bytes: &[u8], on: &Examples) -> Result<f64, Error> {
        let inputs = graph.input_quantization.quantize(&on.inputs);
        Ok(verify::evaluate(bytes, &inputs, &on.labels)?.error_percent())
    }

    /// Whether validation finds the model good enough.
    fn check(&self, model: &Model) -> Result<(), Error> {
        let dense = score(&self.trained.dense, &self.prepared.validation, self.device);
        let found = model.verification.integer_error_percent;
        let rise = found - dense.error_percent;
        let allowed = self.job.requirements.error_rise_points;
        if rise <= allowed {
            return Ok(());
        }
        Err(PipelineError::Requirement { found, rise, allowed }.into())
    }

    fn golden(&self, model: &Model) -> Result<golden::Golden, Error> {
        let folder = self.out.join(GOLDEN_FOLDER);
        std::fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        let test = &self.prepared.split.test;
        let chosen = &test[..self.job.golden.vectors.min(test.len())];
        // The device's own way from raw data to its input.
        let inputs = verify::quantized_inputs(&model.bytes, &self.prepared.dataset, chosen)?;
        Ok(golden::write(&folder, &model.bytes, &inputs)?)
    }

    fn summary(&self, model: &Model) -> Result<Summary, Error> {
        let test = self.prepared.test();
        let (dense, network) = (&self.trained.dense, &self.trained.network);
        let before = Figures {
            error_percent: score(dense, &test, self.device).error_percent,
            file_bytes: float_bytes(dense),
            macs: macs(&dense.topology)?.iter().sum(),
            arena_bytes: None,
        };
        let parsed = bitsback_runtime::Model::parse(&model.bytes).map_err(PipelineError::Parse)?;
        let split = &self.prepared.split.test;
        let raw = verify::quantized_inputs(&model.bytes, &self.prepared.dataset, split)?;
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
            command: self.options.command.clone(),
            date: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        };
        let layers = layers(dense, network, &parsed, &model.graph, &model.bits)?;
        Ok(Summary::new(origin, test.len() as u64, before, after, layers))
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
        let tempered = !self.job.variational.is_bayesian()
            || self.job.variational.scale_weight.iter().any(|w| *w != 1.0)
            || self.job.variational.temperature_at(self.job.variational.epochs as f32) != 1.0;
        let nats = self.trained.pruned.description_length_nats;
        let files = [
            (MODEL_FILE, "the model, as the device takes it"),
            (GOLDEN_FOLDER, "inputs and expected outputs for conformance"),
            (JOB_FILE, "the job with every default and seed stated"),
            (METRICS_FILE, "what training measured, one JSON object a line"),
            (GROUPS_FILE, "every group, its importance, its threshold, its fate and why"),
            (BITS_FILE, "every layer's bits and the variance behind them"),
            (SUMMARY_FILE, "the figures of this page"),
        ];
        let meta = Meta {
            data: self.prepared.describe(self.job),
            device: self.options.device.name().to_owned(),
            machine: Meta::this_machine(),
            seconds: self.seconds,
            description_length_nats: (!tempered).then_some(nats),
            verification,
            unmet: String::new(),
            files: files.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect(),
        };
        Ok(Report {
            latencies: vec![Latency::estimate_cortex_m4(&summary.layers)],
            summary: summary.clone(),
            curves: metrics::read(&self.out.join(METRICS_FILE))?,
            ledger,
            job_toml: self.job_toml.to_owned(),
            meta,
        })
    }
}

/// 4 bytes a weight and bias.
fn float_bytes(network: &FloatNetwork) -> u64 {
    network.affine.iter().map(|a| 4 * (a.weight.len() + a.bias.len()) as u64).sum()
}

/// Multiply-accumulates of each affine layer.
fn macs(topology: &Topology) -> Result<Vec<u64>, Error> {
    let shapes = shapes::infer(topology).map_err(crate::prune::PruneError::from)?;
    let mut all = Vec::new();
    for (i, layer) in topology.layers.iter().enumerate() {
        match layer {
            Layer::Dense { inputs, outputs } => all.push((inputs * outputs) as u64),
            Layer::Conv2d { channels, kernel, .. } => {
                let window = kernel[0] * kernel[1] * channels;
                let outputs = shapes.get(i + 1).copied().map_or(0, Shape::len);
                all.push((window * outputs) as u64);
            }
            Layer::DepthwiseConv2d { kernel, .. } => {
                let outputs = shapes.get(i + 1).copied().map_or(0, Shape::len);
                all.push((kernel[0] * kernel[1] * outputs) as u64);
            }
            _ => {}
        }
    }
    Ok(all)
}

fn layers(
    dense: &FloatNetwork,
    network: &FloatNetwork,
    parsed: &bitsback_runtime::Model,
    graph: &Graph,
    bits: &[BitRecord],
) -> Result<Vec<LayerSummary>, Error> {
    let (before, after) = (macs(&dense.topology)?, macs(&network.topology)?);
    let shapes = dense.topology.affine_layers().zip(network.topology.affine_layers());
    let mut all = Vec::new();
    for (i, (old, new)) in shapes.enumerate() {
        let name = dense.topology.affine_name(i);
        let steps = parsed.ops().zip(&graph.notes);
        let file_bytes = steps
            .filter(|(_, note)| note.name == name)
            .map(|(step, _)| {
                let p = step.parameters();
                (p.weight_bytes + p.bias_bytes + p.requantization_bytes) as u64
            })
            .sum();
        all.push(LayerSummary {
            op: shapes::kind(old).to_owned(),
            shape_before: weight_shape(old),
            shape_after: weight_shape(new),
            groups_before: crate::bayes::group_count(old),
            groups_after: crate::bayes::group_count(new),
            bits: bits.get(i).map_or(0, |b| b.bits),
            float_bytes: dense
                .affine
                .get(i)
                .map_or(0, |a| 4 * (a.weight.len() + a.bias.len()) as u64),
            file_bytes,
            macs_before: before.get(i).copied().unwrap_or(0),
            macs_after: after.get(i).copied().unwrap_or(0),
            name,
        });
    }
    Ok(all)
}

fn weight_shape(layer: &Layer) -> Vec<usize> {
    match layer {
        Layer::Dense { inputs, outputs } => vec![*outputs, *inputs],
        Layer::Conv2d { channels, filters, kernel, .. } => {
            vec![*filters, kernel[0], kernel[1], *channels]
        }
        Layer::DepthwiseConv2d { channels, kernel, .. } => vec![*channels, kernel[0], kernel[1]],
        _ => Vec::new(),
    }
}
