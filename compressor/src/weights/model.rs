//! A whole network out of a model file, of ONNX or TensorFlow Lite: its graph and its weights. Those of
//! a quantised model are what its integers stand for.
//!
//! Training works on scores: a softmax at the end is left out.

use std::path::{Path, PathBuf};

use thiserror::Error;

use super::MAX_FILE_BYTES;
use crate::data::Layout;
use crate::files::{self, FileError};
use crate::graph::ops::Reshape;
use crate::graph::{Affine, Graph, GraphError, Node, Op};
use crate::import::{self, ImportError, InputLayout};
use crate::numbers::Range;
use crate::numbers::Shape;

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
    /// There is nothing to train.
    #[error("{}: has no layer with weights, so there is nothing to train", path.display())]
    NoWeights {
        /// Which file.
        path: PathBuf,
    },
    /// Its operators don't fit together.
    #[error(transparent)]
    Graph(#[from] GraphError),
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
pub struct PretrainedModel {
    /// Layers and weights.
    pub network: Graph<Affine>,
    /// Real numbers that the input can have, if the file holds a quantised model: the data must be
    /// normalised to these.
    pub inputs: Option<Range>,
    /// In which order an ONNX file has the dimensions of its input.
    pub layout: Option<InputLayout>,
}

impl PretrainedModel {
    /// Has the network take its inputs divided by `factor`: the weights of the layers that read them are
    /// multiplied by it, and each layer's outputs stay what they were. `false`, and nothing is changed, where
    /// something else reads them, too.
    pub(crate) fn divide_inputs(&mut self, factor: f32) -> bool {
        let mut carriers = vec![self.network.input];
        let mut layers = Vec::new();
        for (at, node) in self.network.nodes.iter().enumerate() {
            if !node.inputs.iter().any(|value| carriers.contains(value)) {
                continue;
            }
            match node.op {
                Op::Reshape(_) => carriers.push(node.output),
                Op::Conv2d(_) | Op::Dense(_) | Op::DepthwiseConv2d(_) => layers.push(at),
                _ => return false,
            }
        }
        for at in layers {
            let affine = self.network.nodes.get_mut(at).and_then(|node| node.parameters.as_mut());
            affine.into_iter().flat_map(|affine| &mut affine.weight).for_each(|w| *w *= factor);
        }
        let divided = |range: Range| Range { low: range.low / factor, high: range.high / factor };
        self.inputs = self.inputs.map(divided);
        true
    }
}

/// The network of a model file, for data of the given shape and classes. `layout` is the order of an
/// ONNX input's dimensions, where the file doesn't tell.
///
/// # Errors
/// What can't be read, can't be trained, or doesn't fit the data.
pub(crate) fn load(
    path: &Path,
    layout: Option<Layout>,
    data: Shape,
    classes: usize,
) -> Result<PretrainedModel, ModelError> {
    let bytes = files::read(path, MAX_FILE_BYTES)?;
    let failed = |source| ModelError::Import { path: path.to_owned(), source: Box::new(source) };
    let model = import::floats(&bytes, path.parent(), layout).map_err(failed)?;
    if !model.output_order.is_empty() {
        return Err(ModelError::Image { path: path.to_owned() });
    }
    let (inputs, layout) = (model.input_range(), model.input_layout);
    let graph = if model.is_quantized() { model.freed().graph } else { model.graph };
    let mut network = scores(graph);
    if network.layers().next().is_none() {
        return Err(ModelError::NoWeights { path: path.to_owned() });
    }
    take(&mut network, data)?;
    network.check()?;
    match Shape::of(&network.values[network.output].dims) {
        Shape::Flat(outputs) if outputs == classes => {
            Ok(PretrainedModel { network, inputs, layout })
        }
        model => Err(ModelError::Classes { model, classes }),
    }
}

/// The part of a graph that gives scores, flat, with layers named as those of a job.
fn scores(mut graph: Graph<Affine>) -> Graph<Affine> {
    graph.pad_by_windows();
    while let Some(node) = graph.writer(graph.output).map(|at| &graph.nodes[at])
        && let (Op::Softmax(_) | Op::LogSoftmax(_), &[input]) = (&node.op, node.inputs.as_slice())
    {
        let probabilities = graph.output;
        graph.nodes.retain(|node| node.output != probabilities);
        graph.output = input;
    }
    if let Shape::Image { height: 1, width: 1, channels } =
        Shape::of(&graph.values[graph.output].dims)
    {
        graph.push("", Reshape {}, vec![graph.output], vec![channels], None);
    }
    graph.number_nodes();
    graph
}

/// Makes the network read examples of the shape `data`.
fn take(network: &mut Graph<Affine>, data: Shape) -> Result<(), ModelError> {
    match (Shape::of(&network.values[network.input].dims), data) {
        (model, data) if model == data => Ok(()),
        // With one channel, features are in the order of the pixels.
        (Shape::Flat(n), Shape::Image { channels: 1, .. }) if n == data.len() => {
            let features = network.input;
            network.input = network.value("image", data.dims());
            let flatten = Node::new("", Reshape {}, vec![network.input], features);
            network.nodes.insert(0, flatten);
            network.number_nodes();
            Ok(())
        }
        (model, data) => Err(ModelError::Data { model, data }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::ops::{Add, Clip, Conv2d, Dense, DepthwiseConv2d, Mean, Pad, Softmax};
    use crate::graph::{Executor, Window};

    fn affine(weights: usize, outputs: usize) -> Option<Affine> {
        let wave = |n: usize| (0..n).map(|i| (i as f32 * 0.7 + weights as f32).sin());
        Some(Affine { weight: wave(weights).collect(), bias: wave(outputs).collect() })
    }

    fn window(size: usize, stride: usize, padding: usize) -> Window {
        Window { size: [size; 2], stride: [stride; 2], dilation: [1; 2], padding: [padding; 2] }
    }

    /// A residual block with a convolution in its shortcut, a depthwise convolution, and a softmax.
    fn graph() -> Graph<Affine> {
        let (large, small) = (vec![6, 6, 2], vec![3, 3, 3]);
        let mut graph = Graph::of_input(vec![6, 6, 1]);
        let conv = |size, stride, padding| Conv2d { window: window(size, stride, padding) };
        let x = graph.push("a", conv(3, 1, 1), vec![0], large.clone(), affine(18, 2));
        let x = graph.push("b", Clip::RELU, vec![x], large, None);
        let left = graph.push("c", conv(3, 2, 1), vec![x], small.clone(), affine(54, 3));
        let depthwise = DepthwiseConv2d { window: window(3, 1, 1) };
        let left = graph.push("d", depthwise, vec![left], small.clone(), affine(27, 3));
        let right = graph.push("e", conv(1, 2, 0), vec![x], small.clone(), affine(6, 3));
        let x = graph.push("f", Add {}, vec![left, right], small, None);
        let x = graph.push("g", Mean {}, vec![x], vec![1, 1, 3], None);
        let x = graph.push("h", Dense {}, vec![x], vec![1, 1, 4], affine(12, 4));
        graph.push("i", Softmax {}, vec![x], vec![1, 1, 4], None);
        graph
    }

    #[test]
    fn training_has_the_scores_by_the_names_of_a_job() {
        let network = scores(graph());
        network.check().unwrap();
        let names: Vec<&str> = network.layers().map(|node| node.name.as_str()).collect();
        assert_eq!(names, ["conv2d_1", "conv2d_2", "depthwise_1", "conv2d_3", "dense_1"]);
        assert_eq!(network.values[network.output].dims, [4]);
        let inputs: Vec<f32> = (0..36).map(|i| (i as f32).cos()).collect();
        let scores = Executor::new(&network).unwrap().run(&inputs).unwrap();
        let all = graph();
        let probabilities = Executor::new(&all).unwrap().run(&inputs).unwrap();
        let sum: f32 = scores.iter().map(|x| x.exp()).sum();
        for (score, probability) in scores.iter().zip(probabilities) {
            assert!((score.exp() / sum - probability).abs() < 1e-5);
        }
    }

    #[test]
    fn first_layers_take_what_divides_the_inputs() {
        let given = |network| PretrainedModel {
            network,
            inputs: Some(Range { low: 0.0, high: 255.0 }),
            layout: None,
        };
        let mut flat = Graph::of_input(vec![2, 2, 3]);
        flat.push("x", Reshape {}, vec![0], vec![12], None);
        flat.push("y", Dense {}, vec![1], vec![2], affine(24, 2));
        for network in [flat, scores(graph())] {
            let inputs: Vec<f32> = (0..36).map(|i| (i as f32).cos() * 256.0).collect();
            let inputs = &inputs[..network.values[network.input].len()];
            let expected = Executor::new(&network).unwrap().run(inputs).unwrap();
            let mut model = given(network);
            assert!(model.divide_inputs(256.0));
            let small: Vec<f32> = inputs.iter().map(|x| x / 256.0).collect();
            let found = Executor::new(&model.network).unwrap().run(&small).unwrap();
            assert_eq!(found, expected);
            assert_eq!(model.inputs, Some(Range { low: 0.0, high: 255.0 / 256.0 }));
        }
        let mut clipped = graph();
        let read = clipped.nodes.remove(0).output;
        clipped.nodes[0].inputs = vec![clipped.input];
        let before = given(clipped.clone());
        let mut model = given(clipped);
        assert!(!model.divide_inputs(256.0) && model == before, "value {read}");
    }

    #[test]
    fn features_are_read_from_the_pixels_of_one_channel() {
        let mut flat = Graph::of_input(vec![12]);
        flat.push("x", Dense {}, vec![0], vec![2], affine(24, 2));
        let image = Shape::Image { height: 3, width: 4, channels: 1 };
        let inputs: Vec<f32> = (0..12).map(|i| (i as f32).cos()).collect();
        let expected = Executor::new(&flat).unwrap().run(&inputs).unwrap();
        take(&mut flat, image).unwrap();
        assert_eq!(flat.values[flat.input].dims, [3, 4, 1]);
        assert_eq!(Executor::new(&flat).unwrap().run(&inputs).unwrap(), expected);
        let colours = Shape::Image { height: 3, width: 2, channels: 2 };
        assert!(matches!(take(&mut flat, colours), Err(ModelError::Data { .. })));
    }

    /// Files of PyTorch's that the importer is tested with, too.
    #[test]
    fn files_fit_their_data_or_say_why_not() {
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/onnx/models"));
        let path = folder.join("lenet.onnx");
        let model = import::floats(&std::fs::read(&path).unwrap(), None, None).unwrap();
        let layout = model.input_layout;
        let network = scores(model.graph);
        let shape = Shape::of(&network.values[network.input].dims);
        let classes = network.values[network.output].len();
        let given = PretrainedModel { network, inputs: None, layout };
        assert_eq!(load(&path, None, shape, classes).unwrap(), given);
        let few = load(&path, None, shape, classes + 1);
        assert!(matches!(few, Err(ModelError::Classes { .. })));
        let other = load(&path, None, Shape::Flat(1), classes);
        assert!(matches!(other, Err(ModelError::Data { .. })));
        let none = load(&folder.join("none.onnx"), None, shape, classes);
        assert!(matches!(none, Err(ModelError::File(_))));
        let damaged = load(&folder.join("lenet.in.npy"), None, shape, classes);
        assert!(matches!(damaged, Err(ModelError::Import { .. })));
        let image = load(&folder.join("image_output.onnx"), None, shape, classes);
        assert!(matches!(image, Err(ModelError::Image { .. })), "{image:?}");
    }

    /// Int8 models, one with gates and products.
    #[test]
    fn models_of_tensorflow_lite_can_be_trained() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/tflite");
        for name in [
            "lenet300_784_300_100_10_int8",
            "lenet5_8_13_13_10_ptfc_int8",
            "gestures",
            "keywords",
            "inverted_residuals",
        ] {
            let path = format!("{folder}/{name}.tflite");
            let model = import::floats(&std::fs::read(&path).unwrap(), None, None).unwrap();
            let network = scores(model.freed().graph);
            let shape = Shape::of(&network.values[network.input].dims);
            let classes = network.values[network.output].len();
            let given = load(Path::new(&path), None, shape, classes);
            assert!(given.is_ok_and(|given| given.inputs.is_some()), "{name}");
        }
    }

    #[test]
    fn a_border_of_zeros_becomes_padding() {
        let bordered = |fill| {
            let mut graph = graph();
            let border = graph.value("border", vec![7, 7, 2]);
            let Op::Conv2d(conv) = &mut graph.nodes[2].op else { panic!("node 2 is a conv2d") };
            conv.window.padding = [0; 2];
            let from = graph.nodes[2].inputs[0];
            graph.nodes[2].inputs = vec![border];
            let pad = Pad { before: vec![1, 1, 0], fill };
            graph.nodes.insert(2, Node::new("pad", pad, vec![from], border));
            graph
        };
        assert_eq!(scores(bordered(0.0)).nodes.len(), scores(graph()).nodes.len());
        assert_eq!(scores(bordered(1.0)).nodes.len(), scores(graph()).nodes.len() + 1);
    }
}
