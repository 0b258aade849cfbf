//! What operators need of a writer of ONNX files: each operator's file says which nodes it becomes.
//!
//! Images come channels first there, as other tools expect, and every value has a batch before its
//! dimensions. Where a vector is made of an image or an image of a vector, a transposition keeps the
//! order of its numbers.

use super::operator::Site;
use super::{Affine, Window};

/// Why a layer without parameters is refused; checked graphs have them.
const NO_WEIGHTS: &str = "a layer without its weights";

/// An attribute of a node in an ONNX file.
#[derive(Clone, Debug, PartialEq)]
pub enum Attribute {
    /// A number.
    Int(i64),
    /// Numbers.
    Ints(Vec<i64>),
    /// A real number.
    Float(f32),
    /// A word.
    Text(&'static str),
}

impl Attribute {
    /// Sizes, places and the like.
    pub fn sizes(numbers: &[usize]) -> Self {
        Self::Ints(numbers.iter().map(|&number| number as i64).collect())
    }
}

/// Nothing, or why an operator has no form in the file.
pub type Exported = Result<(), &'static str>;

/// Attributes by their names.
pub type Attributes = Vec<(&'static str, Attribute)>;

/// Writes a node of the graph as nodes of an ONNX file.
pub trait Exporter {
    /// Name of an operand.
    fn operand(&self, at: usize) -> String;

    /// Name of the output.
    fn output(&self) -> String;

    /// A new name, for what lies between two nodes of the file.
    fn fresh(&mut self) -> String;

    /// Appends a node. An input without a name is one that is left out.
    fn emit(&mut self, operator: &str, inputs: &[&str], output: &str, attributes: Attributes);

    /// Keeps a tensor of real numbers, and names it.
    fn floats(&mut self, dims: &[usize], numbers: &[f32]) -> String;

    /// Keeps a vector of integers, and names it.
    fn longs(&mut self, numbers: &[i64]) -> String;

    /// Keeps weights, of the dimensions `dims` and in ONNX's order, and biases, and names both.
    /// Where the layer is quantised, they are integers that the file turns back.
    fn layer(&mut self, dims: &[usize], weights: Vec<f32>, biases: &[f32]) -> [String; 2];
}

impl dyn Exporter + '_ {
    /// One node, from the first operand to the output.
    pub fn unary(&mut self, operator: &str, attributes: Attributes) -> Exported {
        let (x, output) = (self.operand(0), self.output());
        self.emit(operator, &[&x], &output, attributes);
        Ok(())
    }

    /// One node over channels or features.
    pub fn over_channels(&mut self, operator: &str, site: &Site<'_>) -> Exported {
        let axis = if site.input().dims.len() == 3 { 1 } else { -1 };
        self.unary(operator, vec![("axis", Attribute::Int(axis))])
    }

    /// One node that moves a window over an image.
    pub fn pool(&mut self, operator: &str, window: Window, site: &Site<'_>) -> Exported {
        let mut attributes = borders(window, site)?;
        attributes.push(("kernel_shape", Attribute::sizes(&window.size)));
        self.unary(operator, attributes)
    }

    /// A convolution; `groups` of channels on their own, if there are some.
    pub fn convolution(
        &mut self,
        window: Window,
        groups: Option<usize>,
        site: &Site<'_>,
        layer: Option<&Affine>,
    ) -> Exported {
        let affine = parameters(layer)?;
        if [site.input(), site.output].map(|value| value.dims.len()) != [3, 3] {
            return Err("a convolution of something else than an image");
        }
        let [height, width] = window.size;
        let (outputs, taps) = (affine.bias.len(), height * width);
        let depth = affine.weight.len() / (outputs * taps).max(1);
        let rows = affine.weight.chunks_exact((taps * depth).max(1));
        let numbers = rows.flat_map(|row| channels_first(row, taps, depth)).collect();
        let dims = [outputs, depth, height, width];
        let [weight, bias] = self.layer(&dims, numbers, &affine.bias);
        let mut attributes = borders(window, site)?;
        attributes.push(("dilations", Attribute::sizes(&window.dilation)));
        attributes.extend(groups.map(|groups| ("group", Attribute::Int(groups as i64))));
        let (x, output) = (self.operand(0), self.output());
        self.emit("Conv", &[&x, &weight, &bias], &output, attributes);
        Ok(())
    }

    /// The same numbers, as the graph has them in their order, in another shape.
    pub fn reshape(&mut self, x: &str, from: &[usize], to: &[usize], output: &str) {
        let moved = |dims: &[usize]| matches!(*dims, [h, w, c] if h * w > 1 && c > 1);
        let perm = |axes: &[usize]| vec![("perm", Attribute::sizes(axes))];
        let mut x = x.to_owned();
        if moved(from) {
            let kept = self.fresh();
            self.emit("Transpose", &[&x], &kept, perm(&[0, 2, 3, 1]));
            x = kept;
        }
        if !moved(to) {
            return self.shape(&x, &file_dims(to), output);
        }
        let kept = self.fresh();
        self.shape(&x, to, &kept);
        self.emit("Transpose", &[&kept], output, perm(&[0, 3, 1, 2]));
    }

    /// The same numbers, as the file has them in their order, in another shape.
    pub fn shape(&mut self, x: &str, dims: &[usize], output: &str) {
        let batch = std::iter::once(-1);
        let shape: Vec<i64> = batch.chain(dims.iter().map(|&dim| dim as i64)).collect();
        let shape = self.longs(&shape);
        self.emit("Reshape", &[x, &shape], output, Vec::new());
    }
}

/// What a layer holds.
pub(crate) fn parameters(layer: Option<&Affine>) -> Result<&Affine, &'static str> {
    layer.ok_or(NO_WEIGHTS)
}

/// Dimensions with channels first.
pub(crate) fn file_dims(dims: &[usize]) -> Vec<usize> {
    match *dims {
        [height, width, channels] => vec![channels, height, width],
        _ => dims.to_vec(),
    }
}

/// Positions × channels as channels × positions.
pub(crate) fn channels_first(numbers: &[f32], positions: usize, channels: usize) -> Vec<f32> {
    let place = |at: usize| at % positions * channels + at / positions;
    (0..numbers.len()).map(|at| numbers[place(at)]).collect()
}

/// Where a pixel of a resized image is in the image itself, by a `coordinate_transformation_mode`, along an
/// axis of `from` pixels that becomes one of `to`, `factor` times as many.
pub(crate) fn resized_from(
    of: &str,
    at: usize,
    [from, to]: [usize; 2],
    factor: f32,
) -> Option<f32> {
    let x = at as f32;
    Some(match of {
        "asymmetric" => x / factor,
        "half_pixel" => (x + 0.5) / factor - 0.5,
        "pytorch_half_pixel" if to == 1 => 0.0,
        "pytorch_half_pixel" => (x + 0.5) / factor - 0.5,
        "tf_half_pixel_for_nn" => (x + 0.5) / factor,
        "align_corners" if to == 1 => 0.0,
        "align_corners" => x * (from - 1) as f32 / (to - 1) as f32,
        _ => return None,
    })
}

/// The pixel at such a place, of `from` ones, by a `nearest_mode`.
pub(crate) fn nearest_pixel(mode: &str, place: f32, from: usize) -> Option<usize> {
    let pixel = match mode {
        "floor" => place.floor(),
        "ceil" => place.ceil(),
        "round_prefer_floor" => (place - 0.5).ceil(),
        "round_prefer_ceil" => place.round(),
        _ => return None,
    };
    Some(pixel.clamp(0.0, from.saturating_sub(1) as f32) as usize)
}

/// Strides and borders of a window; those below and to the right follow from the output.
fn borders(window: Window, site: &Site<'_>) -> Result<Attributes, &'static str> {
    let [Some(from), Some(to)] = [site.input(), site.output].map(|value| value.image()) else {
        return Err("a window over something else than an image");
    };
    let extent = window.extent();
    let after = |axis: usize| {
        let reach = (to[axis] - 1) * window.stride[axis] + extent[axis];
        reach.saturating_sub(from[axis] + window.padding[axis])
    };
    let [top, left] = window.padding;
    let pads = Attribute::sizes(&[top, left, after(0), after(1)]);
    Ok(vec![("pads", pads), ("strides", Attribute::sizes(&window.stride))])
}
