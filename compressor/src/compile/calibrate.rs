//! How activations become int8: ranges watched on *training* inputs.
//!
//! A tensor is quantised asymmetrically: real = scale·(q − zero point), with zero exactly
//! representable (it is what padding and ReLU mean). The range behind a ReLU starts at 0, so its
//! zero point is −128 and int8's own limit does the ReLU's work. What only limits, pools or picks
//! values keeps their quantisation, so the range is taken behind it: what it leaves out changes nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::InputQuantization;
use crate::graph::{Affine, Executor, Graph, GraphError, Op, Plan, ValueId};
use crate::numbers::{BINS, Quantization, Range, least_squares};

/// How a range follows from the values seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RangeMethod {
    /// The range with the least expected squared error: outliers may be cut off.
    #[default]
    LeastSquares,
    /// From the least to the greatest.
    MinMax,
}

/// `[calibration]`: how activations' ranges are found.
#[cfg(feature = "training")]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CalibrateConfig {
    /// Training examples that are watched.
    pub examples: usize,
    /// `least-squares` or `min-max`. The network's output always takes `min-max`: cutting off a
    /// logit could change the decision.
    pub method: RangeMethod,
}

#[cfg(feature = "training")]
impl Default for CalibrateConfig {
    fn default() -> Self {
        Self { examples: 1000, method: RangeMethod::LeastSquares }
    }
}

/// Why calibration failed.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum CalibrateError {
    /// The forward pass failed.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// There were no examples.
    #[error("calibration needs at least one example; raise `calibration.examples`")]
    NoExamples,
    /// An activation was infinite or not a number.
    #[error(
        "the values of `{value}` are not finite; training diverged, so lower the learning rate"
    )]
    NotFinite {
        /// Which value.
        value: String,
    },
    /// A border of infinities: the graph's own number, whatever the data.
    #[error(
        "`{value}` has a border of {fill}, which no integer stands for; pad with a finite number, or \
         leave it to the pooling behind it, whose own padding never wins"
    )]
    Border {
        /// Which value.
        value: String,
        /// What the border is made of.
        fill: f32,
    },
}

/// The quantisation of every value that is computed, from two passes over `inputs`, normalised
/// examples one after the other. The network's output covers all that was seen.
///
/// # Errors
/// When there are no inputs, they don't fit, or a value isn't finite.
pub fn calibrate(
    graph: &Graph<Affine>,
    inputs: &[f32],
    input: &InputQuantization,
    method: RangeMethod,
) -> Result<BTreeMap<ValueId, Quantization>, CalibrateError> {
    if inputs.is_empty() {
        return Err(CalibrateError::NoExamples);
    }
    let executor = Executor::new(graph)?;
    let seen = seen(graph, &executor, inputs)?;
    let mut chosen = seen.clone();
    if method == RangeMethod::LeastSquares {
        let mut counts: Vec<Vec<u32>> = vec![Vec::new(); graph.values.len()];
        executor.visit(inputs, &mut |id: ValueId, values: &[f32]| {
            let Range { low, high } = seen[id];
            let bins = BINS as f32 / (high - low).max(f32::MIN_POSITIVE);
            let counts = &mut counts[id];
            counts.resize(BINS, 0);
            for x in values {
                counts[(((x - low) * bins) as usize).min(BINS - 1)] += 1;
            }
        })?;
        for (id, counts) in counts.iter().enumerate().filter(|(_, counts)| !counts.is_empty()) {
            if id != graph.output {
                chosen[id] = least_squares(seen[id], counts);
            }
        }
    }
    let written = graph.nodes.iter().map(|node| node.output);
    let mut all: BTreeMap<ValueId, Quantization> =
        written.map(|id| (id, Quantization::of_range(chosen[ranged(graph, id)]))).collect();
    all.insert(graph.input, input.quantization);
    Ok(all)
}

/// The least and the greatest of every value.
fn seen(
    graph: &Graph<Affine>,
    executor: &Executor<'_>,
    inputs: &[f32],
) -> Result<Vec<Range>, CalibrateError> {
    let nothing = Range { low: f32::INFINITY, high: f32::NEG_INFINITY };
    let mut seen = vec![nothing; graph.values.len()];
    let mut broken = None;
    executor.visit(inputs, &mut |id: ValueId, values: &[f32]| {
        let range = &mut seen[id];
        for &x in values {
            range.low = range.low.min(x);
            range.high = range.high.max(x);
        }
        if broken.is_none() && values.iter().any(|x| !x.is_finite()) {
            broken = Some(id);
        }
    })?;
    match broken {
        Some(id) => Err(not_finite(graph, id)),
        None => Ok(seen),
    }
}

/// Why the first value that isn't finite isn't.
fn not_finite(graph: &Graph<Affine>, id: ValueId) -> CalibrateError {
    let value = graph.values[id].name.clone();
    match graph.writer(id).map(|at| &graph.nodes[at].op) {
        Some(Op::Pad(pad)) if !pad.fill.is_finite() => {
            CalibrateError::Border { value, fill: pad.fill }
        }
        _ => CalibrateError::NotFinite { value },
    }
}

/// The value whose range is that of `id`: the last one that only operators lie before that keep it, as
/// long as nothing else reads what lies between.
fn ranged(graph: &Graph<Affine>, id: ValueId) -> ValueId {
    let mut id = id;
    while let Some(reader) = graph.only_reader(id).map(|at| &graph.nodes[at])
        && reader.op.keeps_range()
    {
        id = reader.output;
    }
    id
}

/// What quantisation decides by calibration, for inputs that are quantised as stated: operands of a join
/// take the join's scale where nothing else reads them and their operator can give any, so that bytes
/// are copied as they are.
pub fn plan(
    graph: &Graph<Affine>,
    mut activations: BTreeMap<ValueId, Quantization>,
    input: &InputQuantization,
) -> Plan {
    for (at, node) in graph.nodes.iter().enumerate().filter(|(_, node)| node.op.joins()) {
        let Some(&joined) = activations.get(&node.output) else { continue };
        for &operand in &node.inputs {
            let writer = graph.writer(operand).map(|writer| &graph.nodes[writer]);
            let free = writer.is_some_and(|node| {
                let own = node.op.has_clamp() && !node.op.copies_scale();
                own || node.op.takes_any_scale()
            });
            if free && graph.only_reader(operand) == Some(at) {
                activations.insert(operand, joined);
            }
        }
    }
    Plan { activations, residual: input.residual, ..Plan::default() }
}

/// The mean over `inputs` of every value that a layer with weights reads.
///
/// # Errors
/// When there are no inputs, or they don't fit.
pub fn means(
    graph: &Graph<Affine>,
    inputs: &[f32],
) -> Result<BTreeMap<ValueId, Vec<f32>>, CalibrateError> {
    if inputs.is_empty() {
        return Err(CalibrateError::NoExamples);
    }
    let executor = Executor::new(graph)?;
    let mut sums: BTreeMap<ValueId, Vec<f64>> = graph
        .layers()
        .filter_map(|node| node.inputs.first())
        .map(|&id| (id, vec![0.0; graph.values[id].len()]))
        .collect();
    executor.visit(inputs, &mut |id: ValueId, values: &[f32]| {
        if let Some(sums) = sums.get_mut(&id) {
            for values in values.chunks_exact(sums.len().max(1)) {
                sums.iter_mut().zip(values).for_each(|(sum, &x)| *sum += f64::from(x));
            }
        }
    })?;
    let count = (inputs.len() / executor.input_len()).max(1) as f64;
    let mean = |sums: Vec<f64>| sums.into_iter().map(|sum| (sum / count) as f32).collect();
    Ok(sums.into_iter().map(|(id, sums)| (id, mean(sums))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::serialize::ModelInfo;
    use crate::compile::{CompileOptions, write};
    use crate::graph::ops::{
        Add, Clip, Conv2d, Dense, DepthwiseConv2d, MaxPool2d, Mean, Op, Pad, Reshape, Select,
    };
    use crate::graph::{Window, lower};
    use crate::verify::reals;

    fn floats() -> InputQuantization {
        InputQuantization::floats(Range { low: -1.0, high: 1.0 }, None)
    }

    fn push(graph: &mut Graph<Affine>, op: impl Into<Op>, dims: &[usize], affine: Option<Affine>) {
        graph.push("node", op, vec![graph.output], dims.to_vec(), affine);
    }

    /// Twice the input.
    fn twice() -> Option<Affine> {
        Some(Affine { weight: vec![2.0], bias: vec![0.0] })
    }

    fn dense() -> Graph<Affine> {
        let mut graph = Graph::of_input(vec![1]);
        push(&mut graph, Dense {}, &[1], twice());
        push(&mut graph, Clip::RELU, &[1], None);
        push(&mut graph, Dense {}, &[1], twice());
        graph
    }

    #[test]
    fn ranges_are_taken_behind_the_fused_activation() {
        let inputs = [-1.0, -0.5, 0.5, 1.0];
        let got = calibrate(&dense(), &inputs, &floats(), RangeMethod::MinMax).unwrap();
        let behind = Quantization::of_range(Range { low: 0.0, high: 2.0 });
        assert_eq!((got[&1], got[&2]), (behind, behind));
        assert_eq!(got[&3], Quantization::of_range(Range { low: 0.0, high: 4.0 }));
        assert_eq!(got[&0], floats().quantization);
        let none = calibrate(&dense(), &[], &floats(), RangeMethod::MinMax);
        assert_eq!(none, Err(CalibrateError::NoExamples));
        let broken = calibrate(&dense(), &[f32::NAN], &floats(), RangeMethod::MinMax);
        assert_eq!(broken, Err(CalibrateError::NotFinite { value: "input".into() }));
        let mut padded = Graph::of_input(vec![1]);
        let fill = f32::NEG_INFINITY;
        push(&mut padded, Pad { before: vec![1], fill }, &[3], None);
        for (input, expected) in [
            (1.0, CalibrateError::Border { value: padded.values[1].name.clone(), fill }),
            (f32::NAN, CalibrateError::NotFinite { value: "input".into() }),
        ] {
            let broken = calibrate(&padded, &[input], &floats(), RangeMethod::MinMax);
            assert_eq!(broken, Err(expected));
        }
        let odd = calibrate(&Graph::of_input(vec![2]), &[0.0; 2], &floats(), RangeMethod::MinMax);
        assert_eq!(odd, Err(CalibrateError::Graph(GraphError::NothingComputed)));
    }

    #[test]
    fn ranges_are_taken_behind_poolings_and_selections_unless_others_read_the_value() {
        let window = Window { size: [1, 4], stride: [1, 4], ..Window::ONE };
        let mut graph = Graph::of_input(vec![1, 8, 1]);
        push(&mut graph, Conv2d { window: Window::ONE }, &[1, 8, 1], twice());
        push(&mut graph, MaxPool2d { window }, &[1, 2, 1], None);
        push(&mut graph, Reshape {}, &[2], None);
        push(&mut graph, Select { keep: vec![1] }, &[1], None);
        push(&mut graph, Dense {}, &[1], twice());
        let inputs = [-1.0, 0.1, 0.9, 0.8, -0.4, -0.3, 0.2, 0.1];
        let got = calibrate(&graph, &inputs, &floats(), RangeMethod::MinMax).unwrap();
        let of = |low, high| Quantization::of_range(Range { low, high });
        // Twice the largest of the second four.
        assert_eq!([got[&1], got[&2], got[&3], got[&4]], [of(0.0, 0.4); 4]);
        // The convolution's output is read as it is, too.
        let mut shared = Graph::of_input(vec![1, 8, 1]);
        push(&mut shared, Conv2d { window: Window::ONE }, &[1, 8, 1], twice());
        push(&mut shared, Clip::RELU, &[1, 8, 1], None);
        shared.push("sum", Add {}, vec![1, 2], vec![1, 8, 1], None);
        let got = calibrate(&shared, &inputs, &floats(), RangeMethod::MinMax).unwrap();
        assert_eq!([got[&1], got[&2]], [of(-2.0, 1.8), of(0.0, 1.8)]);
    }

    #[test]
    fn the_output_covers_all_that_was_seen() {
        // What is cut off counts less than the finer steps of so many others.
        let mut inputs = vec![0.01f32; 100_000];
        inputs[0] = 1.0;
        let got = calibrate(&dense(), &inputs, &floats(), RangeMethod::LeastSquares).unwrap();
        assert!(got[&1].scale < 1.9 / 255.0, "{got:?}");
        assert_eq!(got[&3], Quantization::of_range(Range { low: 0.0, high: 4.0 }));
    }

    /// A convolution with borders, whose image is averaged: errors of one sign stay.
    fn averaged(op: impl Fn(Window) -> Op, weights: usize) -> Graph<Affine> {
        let weight = (0..weights).map(|at| ((at * 37 % 29) as f32 - 11.0) / 40.0).collect();
        let affine = Affine { weight, bias: vec![0.1, -0.2, 0.3] };
        let window = Window { size: [3; 2], padding: [1; 2], ..Window::ONE };
        let mut graph = Graph::of_input(vec![6, 6, 3]);
        push(&mut graph, op(window), &[6, 6, 3], Some(affine));
        push(&mut graph, Mean {}, &[3], None);
        graph
    }

    fn conv2d(window: Window) -> Op {
        Conv2d { window }.into()
    }

    fn depthwise(window: Window) -> Op {
        DepthwiseConv2d { window }.into()
    }

    /// Noise of a quantised graph on inputs of one sign, with weights of 4 bits.
    fn noise(graph: &Graph<Affine>, corrected: bool) -> f32 {
        let inputs: Vec<f32> =
            (0..30 * 108).map(|i| ((i * 7919 + 13) % 2003) as f32 / 2003.0).collect();
        let input = InputQuantization::floats(Range { low: 0.0, high: 1.0 }, None);
        let scales = calibrate(graph, &inputs, &input, RangeMethod::MinMax).unwrap();
        let mut plan = plan(graph, scales, &input);
        plan.bits.insert(1, 4);
        if corrected {
            plan.means = means(graph, &inputs).unwrap();
        }
        let (options, info) = (CompileOptions::default(), ModelInfo::default());
        let (bytes, _) = write(&lower(graph, &plan).unwrap(), &input, &options, &info).unwrap();
        let real = reals(&bytes, &input.quantize(&inputs)).unwrap();
        let exact = Executor::new(graph).unwrap().run(&inputs).unwrap();
        exact.iter().zip(real).map(|(a, b)| (a - b).powi(2)).sum()
    }

    #[test]
    fn errors_that_are_the_same_for_all_inputs_go() {
        let graphs = [averaged(conv2d, 81), averaged(depthwise, 27)];
        for graph in graphs {
            let (with, without) = (noise(&graph, true), noise(&graph, false));
            assert!(with * 10.0 < without, "{with} of {without}");
        }
    }

    #[test]
    fn there_must_be_something_to_average() {
        let nothing = means(&averaged(conv2d, 81), &[]);
        assert!(matches!(nothing, Err(CalibrateError::NoExamples)));
    }
}
