//! `bitsback inspect`: what is in a model.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bitsback_runtime::format::{HEADER_LEN, Preprocess};
use bitsback_runtime::{Model, Op, Step};
use serde::Serialize;

use super::output::Context;
use super::table::{self, Align};
use super::watching::Watching;
use super::{amount, margin, model_file, storing};
use crate::compile::coding::StoredWeights;
use crate::cost::prediction::advice::Misfit;
use crate::cost::prediction::turns::Turn;
use crate::cost::{Core, Unpacked, prediction};
use crate::error::Error;
use crate::graph::{IntegerOp, StoredLayer};
use crate::ledger::{self, BitRecord};
use crate::report::number::{self, significant, thousands};
use crate::select::DecisionSummary;
use crate::summary::{self, ratio};
use crate::text::one_line;

/// Show what is in a model: graph, shapes, bits, bytes, memory, arithmetic
///
/// The file is checked as the device checks it, so that `inspect` succeeding means that the file
/// will load. Bytes are given per section and per layer: of the weights at 8 bits each (raw), packed
/// at the narrowest width, entropy-coded, and as stored; of the biases; and of everything. Where the
/// job's ledger lies beside the model, the description length of each layer (bits-back: how far its
/// posterior is from the prior) stands beside them. Multiply-accumulates (MACs) and the arena are what
/// one inference takes; instructions are predicted, for --target, and where weights are laid out for
/// another core, that is said. A firmware that knows its model can leave out the features of the runtime that
/// it doesn't need, and one that has RAM for it can unpack its weights once instead of in every inference.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bitsback inspect out/lenet-5/model.bbk
  bitsback inspect model.bbk --target cortex-m55
  bitsback inspect model.bbk --json | jq '.layers[] | {name, bits, macs}'

With --json: file_bytes, float_bytes (4 bytes a weight and bias at the same shapes), arena_bytes,
weights_ram_bytes (for weights that are unpacked once), macs, target, instructions (predicted), unpacked{}
(count, weights_ram_bytes: the same with that RAM or --weights-ram; null where nothing is packed), layout_note
(null where weights lie as the target takes them fastest), features (of the runtime), sections, input, output,
margin (0 for a model that is always sure), decision (what its job promised of that, or null),
sentinel{} (bytes, bets, threshold_bits, tolerance_percent, decimate, answers, inputs, classes, and what its
job promised and expects; null without one),
layers[] with name, op, bits, shape (of the output), instructions, unpacked_instructions, and more.")]
pub(crate) struct Inspect {
    /// The model file
    model: PathBuf,
    /// The core that instructions are predicted for
    #[arg(long, value_enum, value_name = "CORE", default_value_t)]
    target: Core,
    /// RAM for weights that instructions are predicted for, too, such as 4096 or 4K (of 1,024): as many as fit
    /// are unpacked into it once [default: what all of them take]
    #[arg(long, value_name = "BYTES", value_parser = amount::bytes, default_value_t = 0)]
    weights_ram: u64,
}

/// A model in numbers.
#[derive(Debug, Serialize)]
struct Contents {
    name: String,
    format_version: u8,
    numerics_version: u8,
    file_bytes: u64,
    /// 4 bytes a weight and bias, at the model's own shapes.
    float_bytes: u64,
    arena_bytes: u64,
    /// RAM in which all weights that are coded or packed have room unpacked.
    weights_ram_bytes: u64,
    macs: u64,
    target: Core,
    /// Of an inference on the target, as predicted.
    instructions: u64,
    /// The same with weights unpacked once; null where none are coded or packed.
    unpacked: Option<Unpacked>,
    /// What to do where weights are laid out for another core.
    layout_note: Option<String>,
    /// What it needs of the runtime's features.
    features: Vec<&'static str>,
    sections: Sections,
    input: End,
    output: End,
    /// How raw data become inputs: `bytes`, `features` or `none`.
    preprocess: &'static str,
    classes: Vec<String>,
    /// By how many steps the largest output must lead all others for the model to be sure; 0: it always is.
    margin: u8,
    /// What the job that chose the margin promised of it; null without that job's summary.
    decision: Option<DecisionSummary>,
    /// By what its device notices that the field has changed; null without one.
    sentinel: Option<Watching>,
    layers: Vec<Layer>,
}

/// Bytes of the file's parts; they add up to the file.
#[derive(Debug, Serialize)]
struct Sections {
    header: u64,
    graph: u64,
    padding: u64,
    weights: u64,
}

/// Input or output.
#[derive(Debug, Serialize)]
struct End {
    shape: Vec<usize>,
    scale: f32,
    zero_point: i8,
}

/// One operator.
#[derive(Debug, Serialize)]
struct Layer {
    name: String,
    op: &'static str,
    /// Width of a weight; null without weights.
    bits: Option<u8>,
    /// Of the output.
    shape: Vec<usize>,
    /// Outputs × (kernel height × kernel width ×) inputs; empty without weights.
    weight_shape: Vec<usize>,
    weights: u64,
    /// As stored, without biases.
    weight_bytes: u64,
    /// Packed at the narrowest width; null without weights.
    packed_bytes: Option<u64>,
    /// Coded, without biases; null without weights or where they can't be.
    coded_bytes: Option<u64>,
    /// Description length by the job's ledger: the KL divergence of the layer's posterior, biases
    /// and scales included, when training ended; null without a ledger or where it was tempered.
    description_bits: Option<f64>,
    /// Of a coded layer: what its stream is longer by with them.
    bias_bytes: u64,
    #[serde(skip)]
    biases: u64,
    requantization_bytes: u64,
    mask_bytes: u64,
    macs: u64,
    /// As predicted.
    instructions: u64,
    /// The same with weights unpacked once.
    unpacked_instructions: u64,
}

impl Inspect {
    pub(super) fn run(&self, context: &Context) -> Result<(), Error> {
        let bytes = model_file::read_for(self.target, &self.model)?;
        let model = model_file::parse(&self.model, &bytes)?;
        let mut contents = contents(self, &model, bytes.len() as u64);
        let folder = self.model.parent().unwrap_or(Path::new(""));
        contents.decision = summary::read_decision(folder, &bytes);
        contents.sentinel = Watching::read(&self.model, &model, &bytes)?;
        describe(&mut contents.layers, &ledger::read_bits(folder).unwrap_or_default());
        context.result(&text(&contents), &contents)
    }
}

fn contents(asked: &Inspect, model: &Model<'_>, file_bytes: u64) -> Contents {
    let target = asked.target;
    let (header, meta) = (model.header(), model.meta());
    let names = names(model);
    let section = model.section();
    let of = |(turn, name)| layer(target, name, &turn, section);
    let turns = Turn::all(model, 0).into_iter();
    let mut layers: Vec<Layer> = turns.zip(names).map(of).collect();
    let unpacked = unpack(asked, model, &mut layers);
    let graph = u64::from(header.graph_len);
    let start = header.weights_start() as u64;
    Contents {
        name: meta.name.to_owned(),
        format_version: header.format_version,
        numerics_version: header.numerics_version,
        file_bytes,
        float_bytes: layers.iter().map(float_bytes).sum(),
        arena_bytes: model.arena_len() as u64,
        weights_ram_bytes: model.weights_len() as u64,
        macs: model.macs(),
        target,
        instructions: layers.iter().map(|layer| layer.instructions).fold(0, u64::saturating_add),
        unpacked,
        layout_note: Misfit::find(target, model).map(|misfit| misfit.advice()),
        features: model.features().names().collect(),
        sections: Sections {
            header: HEADER_LEN as u64,
            graph,
            padding: start.min(file_bytes) - (HEADER_LEN as u64 + graph),
            weights: file_bytes.saturating_sub(start),
        },
        input: End {
            shape: dims(model.input().shape.dims()),
            scale: meta.input_scale,
            zero_point: model.input().zero_point,
        },
        output: End {
            shape: dims(model.output().shape.dims()),
            scale: meta.output_scale,
            zero_point: model.output().zero_point,
        },
        preprocess: match meta.preprocess {
            Preprocess::None => "none",
            Preprocess::Bytes(_) => "bytes",
            Preprocess::Features { .. } => "features",
        },
        classes: model_file::class_names(model),
        margin: model.margin(),
        decision: None,
        sentinel: None,
        layers,
    }
}

/// Predicts the operators with weights unpacked, and their sum.
fn unpack(asked: &Inspect, model: &Model<'_>, layers: &mut [Layer]) -> Option<Unpacked> {
    let weights_ram_bytes = Unpacked::ram(asked.weights_ram, model.weights_len() as u64)?;
    let room = usize::try_from(weights_ram_bytes).unwrap_or(usize::MAX);
    let turns = Turn::all(model, room);
    let mut sum = 0u64;
    for (layer, turn) in layers.iter_mut().zip(&turns) {
        layer.unpacked_instructions = prediction::turn(asked.target, turn, model.section());
        sum = sum.saturating_add(layer.unpacked_instructions);
    }
    Some(Unpacked { count: sum, weights_ram_bytes })
}

/// Names of the operators: the file's own, else counted within each kind, as reports do.
fn names(model: &Model<'_>) -> Vec<String> {
    let mut counts = BTreeMap::new();
    let name = |step: Step| {
        let op = step.kind().name();
        let count = counts.entry(op).and_modify(|n| *n += 1).or_insert(1);
        match model.op_name(usize::from(step.index)) {
            Some(name) if !name.is_empty() => name.to_owned(),
            _ => format!("{op}_{count}"),
        }
    };
    model.ops().map(name).collect()
}

/// Adds the ledger's description lengths, if the ledger is this model's: as many layers with as many
/// weights each.
fn describe(layers: &mut [Layer], records: &[BitRecord]) {
    let mut weighted: Vec<&mut Layer> = layers.iter_mut().filter(|l| l.weights > 0).collect();
    let same = weighted.len() == records.len()
        && weighted.iter().zip(records).all(|(l, record)| l.weights == record.weights as u64);
    if same {
        for (layer, record) in weighted.iter_mut().zip(records) {
            layer.description_bits = record.description_bits;
        }
    }
}

fn layer(target: Core, name: String, turn: &Turn, section: &[u8]) -> Layer {
    let step = &turn.step;
    let parameters = step.parameters();
    let stored = StoredWeights::read(step, section);
    let coded_bytes = stored.as_ref().and_then(|weights| Some(weights.coded_len()? as u64));
    let (mut weight_bytes, mut bias_bytes) =
        (parameters.weight_bytes as u64, parameters.bias_bytes as u64);
    if let (true, Some(coded)) = (is_coded(step), coded_bytes) {
        // One stream holds both; what it is longer by than the weights' alone is the biases'.
        bias_bytes += weight_bytes.saturating_sub(coded);
        weight_bytes = weight_bytes.min(coded);
    }
    let instructions = prediction::turn(target, turn, section);
    Layer {
        name,
        op: step.kind().name(),
        bits: parameters.bits,
        shape: dims(step.output().shape.dims()),
        weight_shape: weight_shape(step),
        weights: parameters.weights as u64,
        weight_bytes,
        packed_bytes: stored.as_ref().map(|weights| weights.packed_len() as u64),
        coded_bytes,
        description_bits: None,
        bias_bytes,
        biases: biases(step),
        requantization_bytes: parameters.requantization_bytes as u64,
        mask_bytes: parameters.mask_bytes as u64,
        macs: parameters.macs,
        instructions,
        unpacked_instructions: instructions,
    }
}

fn is_coded(step: &Step) -> bool {
    matches!(IntegerOp::layer(step), Some((StoredLayer::Coded(_), _)))
}

/// Rows × columns of the weight matrix, the kernel's sides shown for a convolution.
fn weight_shape(step: &Step) -> Vec<usize> {
    let weights = step.parameters().weights;
    let rows = step.output().shape.channels();
    if weights == 0 || rows == 0 {
        return Vec::new();
    }
    let columns = weights / rows;
    let window = match &step.op {
        Op::Conv2d(op) => Some(&op.window),
        Op::Conv2dMaxPool2d(op) => Some(&op.window),
        Op::CodedConv2d(op) => Some(&op.window),
        _ => None,
    };
    if let Some(window) = window {
        let [height, width] = window.size.map(usize::from);
        return vec![rows, height, width, columns / (height * width).max(1)];
    }
    vec![rows, columns]
}

/// 4 bytes a weight and, where there is one, bias.
fn float_bytes(layer: &Layer) -> u64 {
    4 * (layer.weights + layer.biases)
}

/// How many biases a layer has.
fn biases(step: &Step) -> u64 {
    let coded = match IntegerOp::layer(step) {
        Some((StoredLayer::Coded(affine), _)) => affine.bias,
        _ => None,
    };
    let has_some = coded.is_some() || step.parameters().bias_bytes > 0;
    if has_some { step.output().shape.channels() as u64 } else { 0 }
}

fn dims(dims: &[u16]) -> Vec<usize> {
    dims.iter().copied().map(usize::from).collect()
}

fn text(contents: &Contents) -> String {
    let Sections { header, graph, padding, weights } = contents.sections;
    let shown = one_line(&contents.name);
    let name = if shown.is_empty() { "(no name)" } else { &shown };
    let classes = match contents.classes.len() {
        0 => String::new(),
        n => format!(", {n} classes: {}", contents.classes.join(" ")),
    };
    let mut text = format!(
        "{name}, format {}, numerics {}\n\n\
         input   {}, {}\n\
         output  {}{classes}\n{}\
         file    {} bytes: header {header}, graph {graph}, padding {padding}, weights {}\n\
         float   {} bytes at the same shapes, {} the file\n\
         arena   {} bytes\n\
         unpack  {} bytes of RAM for weights, if a program has them\n\
         MACs    {}\n\
         instr.  about {} on a {}{}, predicted{}\n\
         needs   {}\n\n",
        contents.format_version,
        contents.numerics_version,
        end(&contents.input),
        match contents.preprocess {
            "bytes" => "takes raw bytes",
            "features" => "takes real features",
            _ => "takes its own int8 values",
        },
        end(&contents.output),
        decides(contents) + &contents.sentinel.as_ref().map_or_else(String::new, Watching::text),
        thousands(contents.file_bytes),
        thousands(weights),
        thousands(contents.float_bytes),
        number::times(ratio(contents.float_bytes, contents.file_bytes)),
        thousands(contents.arena_bytes),
        thousands(contents.weights_ram_bytes),
        thousands(contents.macs),
        thousands(contents.instructions),
        contents.target,
        storing::unpacked(contents.unpacked),
        contents.layout_note.as_ref().map_or_else(String::new, |note| format!("\n        {note}")),
        match contents.features.as_slice() {
            [] => "no feature of bitsback-runtime".to_owned(),
            features => format!("of bitsback-runtime's features: {}", features.join(", ")),
        }
    );
    text += &layer_table(&contents.layers);
    text
}

/// By what the model decides whether it is sure, and what was promised of it; nothing where it always is.
fn decides(contents: &Contents) -> String {
    if contents.margin == 0 {
        return String::new();
    }
    let step = significant(f64::from(contents.margin) * f64::from(contents.output.scale));
    let mut text =
        format!("sure    where the largest output leads by {} ({step})\n", contents.margin);
    if let Some(decision) = &contents.decision {
        text += &format!("        {}\n", margin::promise(decision));
        for (found, of) in [
            (Some(&decision.held_out), "validation examples held out"),
            (decision.test.as_ref(), "test examples"),
        ] {
            if let Some(found) = found {
                text += &format!("        {}\n", margin::accepted(found, of));
            }
        }
    }
    text
}

fn end(end: &End) -> String {
    format!(
        "{} int8, scale {}, zero point {}",
        number::shape(&end.shape),
        end.scale,
        end.zero_point
    )
}

fn layer_table(layers: &[Layer]) -> String {
    use Align::{Left, Right};
    let optional = |bytes: Option<u64>| bytes.map_or_else(String::new, thousands);
    let rows: Vec<[String; 13]> = layers
        .iter()
        .map(|layer| {
            let bytes = layer.weight_bytes
                + layer.bias_bytes
                + layer.requantization_bytes
                + layer.mask_bytes;
            [
                layer.name.clone(),
                layer.op.to_owned(),
                number::shape(&layer.weight_shape),
                number::shape(&layer.shape),
                layer.bits.map_or_else(String::new, |bits| bits.to_string()),
                if layer.weights > 0 { thousands(layer.weights) } else { String::new() },
                optional(layer.packed_bytes),
                optional(layer.coded_bytes),
                optional(layer.description_bits.map(|bits| (bits / 8.0).round().max(0.0) as u64)),
                thousands(layer.weight_bytes),
                thousands(layer.bias_bytes),
                thousands(bytes),
                thousands(layer.macs),
            ]
        })
        .collect();
    table::layout(
        &[
            "Layer",
            "Op",
            "Weights",
            "Output",
            "Bits",
            "Raw",
            "Packed",
            "Coded",
            "Bits-back",
            "Stored",
            "Biases",
            "All bytes",
            "MACs",
        ],
        &[Left, Left, Right, Right, Right, Right, Right, Right, Right, Right, Right, Right, Right],
        &rows,
    )
}
