//! A whole network out of a model file, of ONNX or TensorFlow Lite: its layers and its weights. Those
//! of a quantised model are what its integers stand for.
//!
//! The graph is written down as layers that follow each other; a value that something else than the
//! next layer reads gets a mark. Not every graph can be trained: what can't is named.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::MAX_FILE_BYTES;
use crate::data::Layout;
use crate::files::{self, FileError};
use crate::graph::ops::Clip;
use crate::graph::{Affine, Graph, Node, Op, ValueId, Window};
use crate::import::{self, ImportError, InputLayout};
use crate::network::{FloatNetwork, Layer, Padding, Shape, Topology};
use crate::numbers::Range;
use crate::shapes::{self, ShapeError, padding_before, window_outputs};

/// Why a model can't be trained.
#[derive(Debug, Error)]
pub enum ModelError {
    /// The file can't be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is no model that is understood.
    #[error("{}: {source}", path.display())]
    Import {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        source: Box<ImportError>,
    },
    /// Its outputs are an image.
    #[error("{}: gives an image; training knows models that give a number per class", path.display())]
    Image {
        /// Which file.
        path: PathBuf,
    },
    /// Something that training doesn't know.
    #[error(
        "{node} ({kind}): {why}; training knows dense layers, convolutions, depthwise ones with one \
         kernel a channel, poolings, relu, relu6, sums, and flattening"
    )]
    Unsupported {
        /// Which node.
        node: String,
        /// What it computes.
        kind: &'static str,
        /// What is not supported.
        why: &'static str,
    },
    /// The layers don't fit together.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// The data have another shape.
    #[error("the model is made for {model:?}, but the data are {data:?}")]
    Data {
        /// The model's input.
        model: Shape,
        /// An example's shape.
        data: Shape,
    },
    /// The data have another number of classes.
    #[error("the model gives {model:?}, but the data have {classes} classes")]
    Classes {
        /// What comes out.
        model: Shape,
        /// Classes of the data.
        classes: usize,
    },
}

/// A network that training starts from.
#[derive(Clone, Debug, PartialEq)]
pub struct Given {
    /// Layers and weights.
    pub network: FloatNetwork,
    /// Real numbers that the input can have, if the file holds a quantised model: the data must be
    /// normalised to these.
    pub inputs: Option<Range>,
    /// In which order an ONNX file has the dimensions of its input.
    pub layout: Option<InputLayout>,
}

/// The network of a model file, for data of the given shape and classes. `layout` is the order of an
/// ONNX input's dimensions, where the file doesn't tell.
///
/// # Errors
/// What can't be read, can't be trained, or doesn't fit the data.
pub fn load(
    path: &Path,
    layout: Option<Layout>,
    data: Shape,
    classes: usize,
) -> Result<Given, ModelError> {
    let bytes = files::read(path, MAX_FILE_BYTES)?;
    let failed = |source| ModelError::Import { path: path.to_owned(), source: Box::new(source) };
    let model = import::floats(&bytes, path.parent(), layout).map_err(failed)?;
    if !model.output_order.is_empty() {
        return Err(ModelError::Image { path: path.to_owned() });
    }
    let (inputs, layout) = (model.input_range(), model.input_layout);
    let mut graph = if model.is_quantized() { model.freed().graph } else { model.graph };
    graph.pad_by_windows();
    let mut network = trainable(&graph)?;
    match (network.topology.input, data) {
        (model, data) if model == data => {}
        // With one channel, features are in the order of the pixels.
        (Shape::Flat(n), Shape::Image { channels: 1, .. }) if n == data.len() => {
            network.topology.input = data;
            network.topology.layers.insert(0, Layer::Flatten);
        }
        (model, data) => return Err(ModelError::Data { model, data }),
    }
    match shapes::infer(&network.topology)?.last() {
        Some(&Shape::Flat(outputs)) if outputs == classes => Ok(Given { network, inputs, layout }),
        other => {
            let model = other.copied().unwrap_or(Shape::Flat(0));
            Err(ModelError::Classes { model, classes })
        }
    }
}

/// A graph as layers that follow each other.
///
/// # Errors
/// [`ModelError::Unsupported`] and [`ModelError::Shape`].
pub fn trainable(graph: &Graph<Affine>) -> Result<FloatNetwork, ModelError> {
    let input = match *graph.values[graph.input].dims.as_slice() {
        [n] => Shape::Flat(n),
        _ => {
            let image = graph.values[graph.input].image();
            let [height, width, channels] = image.unwrap_or([1, 1, 0]);
            Shape::Image { height, width, channels }
        }
    };
    let mut writer = Writer {
        graph,
        layers: Vec::new(),
        affine: Vec::new(),
        at: graph.input,
        shapes: BTreeMap::from([(graph.input, input)]),
    };
    writer.mark(0);
    for (index, node) in graph.nodes.iter().enumerate() {
        let shape = writer.node(node, index + 1 == graph.nodes.len())?;
        writer.at = node.output;
        writer.shapes.insert(node.output, shape);
        writer.mark(index + 1);
    }
    if let Some(Shape::Image { height: 1, width: 1, .. }) = writer.shapes.get(&writer.at) {
        writer.layers.push(Layer::Flatten);
    }
    let topology = Topology { input, layers: writer.layers };
    shapes::infer(&topology)?;
    Ok(FloatNetwork { topology, affine: writer.affine, norms: Vec::new() })
}

struct Writer<'a> {
    graph: &'a Graph<Affine>,
    layers: Vec<Layer>,
    affine: Vec<Affine>,
    /// The value that the layers so far give.
    at: ValueId,
    shapes: BTreeMap<ValueId, Shape>,
}

impl Writer<'_> {
    /// Gives the present value a name, unless the node `next` is all that reads it.
    fn mark(&mut self, next: usize) {
        let reads = |node: &Node<Affine>| node.inputs.iter().filter(|&&id| id == self.at).count();
        let all: usize = self.graph.nodes.iter().map(reads).sum();
        let by_next = self.graph.nodes.get(next).map_or(0, reads);
        if all > by_next || by_next > 1 {
            self.layers.push(Layer::Mark { name: name(self.at) });
        }
    }

    /// Makes `id` the value that the next layer reads; it has a mark if it isn't already.
    fn go_on_from(&mut self, id: ValueId) {
        if id != self.at {
            self.layers.push(Layer::From { name: name(id) });
            self.at = id;
        }
    }

    /// Writes a node's layers; gives the shape behind them.
    fn node(&mut self, node: &Node<Affine>, last: bool) -> Result<Shape, ModelError> {
        if let Op::Add(_) = node.op {
            return self.add(node);
        }
        let known = node.inputs.first().and_then(|&id| Some((id, *self.shapes.get(&id)?)));
        let Some((read, before)) = known else {
            return Err(unsupported(node, "it reads nothing that depends on the input"));
        };
        self.go_on_from(read);
        match (&node.op, &node.parameters) {
            (Op::Dense(_), Some(affine)) => {
                if matches!(before, Shape::Image { .. }) {
                    self.layers.push(Layer::Flatten);
                }
                let (inputs, outputs) = (before.len(), affine.bias.len());
                self.affine.push(affine.clone());
                self.layers.push(Layer::Dense { inputs, outputs });
                Ok(Shape::Flat(outputs))
            }
            (Op::Reshape(_), _) => self.reshape(node, before),
            (Op::Clip(clip @ (Clip::RELU | Clip::RELU6)), _) => {
                if let Some(Layer::Mark { .. } | Layer::From { .. }) = self.layers.last() {
                    return Err(unsupported(node, "something else reads the value before it, too"));
                }
                self.layers.push(if *clip == Clip::RELU6 { Layer::Relu6 } else { Layer::Relu });
                Ok(before)
            }
            // Training works on the scores.
            (Op::Softmax(_) | Op::LogSoftmax(_), _) if last => Ok(before),
            _ => match before {
                Shape::Image { height, width, channels } => {
                    self.windowed(node, [height, width, channels])
                }
                Shape::Flat(_) => Err(unsupported(node, "it reads no image")),
            },
        }
    }

    /// Convolutions and poolings.
    fn windowed(&mut self, node: &Node<Affine>, from: [usize; 3]) -> Result<Shape, ModelError> {
        let out = self.graph.values[node.output].image().unwrap_or([1, 1, 0]);
        let [height, width, channels] = out;
        let window = |window: &Window| match padding(window, from, out) {
            Some(padding) if window.dilation == [1, 1] => Ok((window.size, window.stride, padding)),
            _ => Err(unsupported(node, "its padding or dilation")),
        };
        let layer = match (&node.op, &node.parameters) {
            (Op::Conv2d(op), Some(affine)) => {
                let (kernel, stride, padding) = window(&op.window)?;
                self.affine.push(affine.clone());
                let (channels, filters) = (from[2], affine.bias.len());
                Layer::Conv2d { channels, filters, kernel, stride, padding }
            }
            (Op::DepthwiseConv2d(op), Some(affine)) if affine.bias.len() == from[2] => {
                let (kernel, stride, padding) = window(&op.window)?;
                self.affine.push(affine.clone());
                Layer::DepthwiseConv2d { channels, kernel, stride, padding }
            }
            (Op::MaxPool2d(op), _) => {
                let (size, stride, padding) = window(&op.window)?;
                Layer::MaxPool2d { size, stride, padding }
            }
            (Op::AvgPool2d(op), _) => {
                let (size, stride, padding) = window(&op.window)?;
                Layer::AvgPool2d { size, stride, padding }
            }
            (Op::Mean(_), _) => {
                let (size, padding) = ([from[0], from[1]], Padding::Valid);
                self.layers.push(Layer::AvgPool2d { size, stride: size, padding });
                return Ok(Shape::Image { height: 1, width: 1, channels: from[2] });
            }
            _ => return Err(unsupported(node, "it can't be trained")),
        };
        self.layers.push(layer);
        Ok(Shape::Image { height, width, channels })
    }

    fn reshape(&mut self, node: &Node<Affine>, before: Shape) -> Result<Shape, ModelError> {
        match (before, self.graph.values[node.output].dims.as_slice()) {
            (Shape::Image { .. }, [n]) => {
                self.layers.push(Layer::Flatten);
                Ok(Shape::Flat(*n))
            }
            (Shape::Flat(_), [_]) => Ok(before),
            (Shape::Image { height, width, channels }, dims)
                if *dims == [height, width, channels] =>
            {
                Ok(before)
            }
            _ => Err(unsupported(node, "it is no flattening")),
        }
    }

    /// The sum of the present value, if it is one of the two, and a marked one.
    fn add(&mut self, node: &Node<Affine>) -> Result<Shape, ModelError> {
        let known = |id: &ValueId| self.shapes.get(id).copied();
        let shapes: Vec<Shape> = node.inputs.iter().filter_map(known).collect();
        match (node.inputs.as_slice(), shapes.as_slice()) {
            (&[a, b], &[shape, other]) if shape == other => {
                let (first, second) = if b == self.at { (b, a) } else { (a, b) };
                self.go_on_from(first);
                self.layers.push(Layer::Add { name: name(second) });
                Ok(shape)
            }
            _ => Err(unsupported(node, "its operands aren't two values of one shape")),
        }
    }
}

fn unsupported(node: &Node<Affine>, why: &'static str) -> ModelError {
    ModelError::Unsupported { node: node.name.clone(), kind: node.op.name(), why }
}

fn name(id: ValueId) -> String {
    format!("value {id}")
}

/// The border rule that gives a window's padding and output.
fn padding(window: &Window, from: [usize; 3], to: [usize; 3]) -> Option<Padding> {
    [Padding::Valid, Padding::Same, Padding::Around].into_iter().find(|&padding| {
        (0..2).all(|axis| {
            let (size, stride) = (window.size[axis], window.stride[axis]);
            let outputs = window_outputs(from[axis], size, stride, padding);
            let before = padding_before(from[axis], size, stride, padding);
            outputs == Some(to[axis]) && before == window.padding[axis]
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::ops::{Add, Conv2d, Dense, DepthwiseConv2d, Logistic, Mean, Pad, Softmax};
    use crate::graph::{Computation, Executor, Value};
    use crate::reference::Reference;

    fn value(dims: &[usize]) -> Value {
        Value { name: String::from("v"), dims: dims.to_vec(), constant: None }
    }

    fn node(computes: impl Into<Computation>, inputs: &[ValueId], output: ValueId) -> Node<Affine> {
        Node::new(format!("node {output}"), computes, inputs.to_vec(), output)
    }

    fn affine(weights: usize, outputs: usize) -> Affine {
        let wave = |n: usize| (0..n).map(|i| (i as f32 * 0.7 + weights as f32).sin());
        Affine { weight: wave(weights).collect(), bias: wave(outputs).collect() }
    }

    fn window(size: usize, stride: usize, padding: usize) -> Window {
        Window { size: [size; 2], stride: [stride; 2], dilation: [1; 2], padding: [padding; 2] }
    }

    /// A residual block with a convolution in its shortcut, and a depthwise convolution.
    fn graph() -> Graph<Affine> {
        let dims: [&[usize]; 11] = [
            &[6, 6, 1],
            &[6, 6, 2],
            &[6, 6, 2],
            &[3, 3, 3],
            &[3, 3, 3],
            &[3, 3, 3],
            &[3, 3, 3],
            &[3, 3, 3],
            &[3],
            &[4],
            &[4],
        ];
        Graph {
            values: dims.into_iter().map(value).collect(),
            nodes: vec![
                node(Computation::new(Conv2d { window: window(3, 1, 1) }, affine(18, 2)), &[0], 1),
                node(Clip::RELU, &[1], 2),
                node(Computation::new(Conv2d { window: window(3, 2, 1) }, affine(54, 3)), &[2], 3),
                node(
                    Computation::new(DepthwiseConv2d { window: window(3, 1, 1) }, affine(27, 3)),
                    &[3],
                    4,
                ),
                node(Computation::new(Conv2d { window: window(1, 2, 0) }, affine(6, 3)), &[2], 5),
                node(Add {}, &[4, 5], 6),
                node(Clip::RELU, &[6], 7),
                node(Mean {}, &[7], 8),
                node(Computation::new(Dense {}, affine(12, 4)), &[8], 9),
                node(Softmax {}, &[9], 10),
            ],
            input: 0,
            output: 10,
        }
    }

    #[test]
    fn a_residual_graph_computes_the_same() {
        let network = trainable(&graph()).unwrap();
        assert!(network.topology.layers.iter().any(|l| matches!(l, Layer::From { .. })));
        let mut scores = graph();
        scores.nodes.pop();
        scores.output = 9;
        let inputs: Vec<f32> = (0..3 * 36).map(|i| (i as f32).cos()).collect();
        let expected = Executor::new(&scores).unwrap().run(&inputs).unwrap();
        let found = Reference::new(&network).unwrap().logits(&inputs).unwrap();
        assert_eq!(expected.len(), found.len());
        for (a, b) in expected.iter().zip(&found) {
            assert!((a - b).abs() < 1e-4, "{a} {b}");
        }
    }

    #[test]
    fn what_cannot_be_trained_is_named() {
        let mut sigmoid = graph();
        sigmoid.nodes[1].op = Logistic {}.into();
        let message = trainable(&sigmoid).unwrap_err().to_string();
        assert!(message.starts_with("node 2 (logistic): it can't be trained"), "{message}");
        let mut early = graph();
        early.nodes[2].inputs = vec![1];
        let message = trainable(&early).unwrap_err().to_string();
        assert!(message.contains("something else reads the value before it"), "{message}");
        let mut wide = graph();
        wide.nodes[0].op = Conv2d { window: window(3, 1, 0) }.into();
        assert!(matches!(trainable(&wide), Err(ModelError::Unsupported { .. })));
    }

    /// Files of PyTorch's that the importer is tested with, too.
    #[test]
    fn files_fit_their_data_or_say_why_not() {
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/onnx/models"));
        let path = folder.join("lenet.onnx");
        let model = import::floats(&std::fs::read(&path).unwrap(), None, None).unwrap();
        let network = trainable(&model.graph).unwrap();
        let shape = network.topology.input;
        let classes = shapes::infer(&network.topology).unwrap().last().unwrap().len();
        let layout = model.input_layout;
        let given = Given { network, inputs: None, layout };
        assert_eq!(load(&path, None, shape, classes).unwrap(), given);
        let few = load(&path, None, shape, classes + 1);
        assert!(matches!(few, Err(ModelError::Classes { .. })));
        let other = load(&path, None, Shape::Flat(1), classes);
        assert!(matches!(other, Err(ModelError::Data { .. })));
        let none = load(&folder.join("none.onnx"), None, shape, classes);
        assert!(matches!(none, Err(ModelError::File(_))));
        let damaged = load(&folder.join("lenet.in.npy"), None, shape, classes);
        assert!(matches!(damaged, Err(ModelError::Import { .. })));
    }

    fn fixture(name: &str) -> Graph<Affine> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/tflite");
        let bytes = std::fs::read(format!("{folder}/{name}.tflite")).unwrap();
        let mut graph = import::floats(&bytes, None, None).unwrap().freed().graph;
        graph.pad_by_windows();
        graph
    }

    /// Int8 models: their layers compute what their graphs do.
    #[test]
    fn models_of_tensorflow_lite_can_be_trained() {
        for name in
            ["lenet300_784_300_100_10_int8", "lenet5_8_13_13_10_ptfc_int8", "gestures", "keywords"]
        {
            let graph = fixture(name);
            let network = trainable(&graph).unwrap_or_else(|error| panic!("{name}: {error}"));
            let len = network.topology.input.len();
            let inputs: Vec<f32> = (0..2 * len).map(|i| (i as f32).cos()).collect();
            let found = Reference::new(&network).unwrap().logits(&inputs).unwrap();
            let mut scores = graph;
            scores.nodes.retain(|node| !matches!(node.op, Op::Softmax(_)));
            scores.output = scores.nodes.last().unwrap().output;
            let expected = Executor::new(&scores).unwrap().run(&inputs).unwrap();
            let most = expected.iter().fold(1.0, |most: f32, x| most.max(x.abs()));
            for (a, b) in expected.iter().zip(&found) {
                assert!((a - b).abs() < 1e-3 * most, "{name}: {a} {b}");
            }
        }
        let message = trainable(&fixture("inverted_residuals")).unwrap_err().to_string();
        assert!(message.starts_with("operator 7 (LOGISTIC, which writes"), "{message}");
    }

    #[test]
    fn a_border_of_zeros_becomes_padding() {
        let mut padded = graph();
        padded.values.push(value(&[7, 7, 2]));
        let Op::Conv2d(op) = &mut padded.nodes[2].op else { panic!("node 2 is a conv2d") };
        op.window.padding = [0; 2];
        padded.nodes[2].inputs = vec![11];
        padded.nodes.insert(2, node(Pad { before: vec![1, 1, 0], fill: 0.0 }, &[2], 11));
        assert!(matches!(trainable(&padded), Err(ModelError::Unsupported { .. })));
        padded.pad_by_windows();
        assert_eq!(trainable(&padded).unwrap(), trainable(&graph()).unwrap());
        let mut ones = graph();
        ones.values.push(value(&[7, 7, 2]));
        ones.nodes[2].inputs = vec![11];
        ones.nodes.insert(2, node(Pad { before: vec![1, 1, 0], fill: 1.0 }, &[2], 11));
        let before = ones.clone();
        ones.pad_by_windows();
        assert_eq!(ones, before);
    }
}
