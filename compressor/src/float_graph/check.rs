//! Whether a graph's order, shapes and parameters fit together.

use super::{FloatGraph, FloatGraphError, Kind, MAX_TENSOR_LEN, Node, Value, ValueId, Window};

impl FloatGraph {
    /// Checks everything that executing and lowering rely on.
    ///
    /// # Errors
    /// What doesn't fit, by the node's or the value's name.
    pub fn check(&self) -> Result<(), FloatGraphError> {
        for value in &self.values {
            let constant = value.constant.as_ref();
            let len = value.len();
            let right = constant.is_none_or(|numbers| numbers.len() == len);
            if !(1..=MAX_TENSOR_LEN).contains(&len) || value.dims.is_empty() || !right {
                let len = constant.map_or(len, Vec::len);
                return Err(FloatGraphError::Size { value: value.name.clone(), len });
            }
        }
        let mut known: Vec<bool> =
            self.values.iter().map(|value| value.constant.is_some()).collect();
        match known.get_mut(self.input) {
            Some(input) if !*input => *input = true,
            _ => return Err(FloatGraphError::NothingComputed),
        }
        for node in &self.nodes {
            self.check_order(node, &mut known)?;
            self.check_node(node)?;
        }
        if self.nodes.iter().any(|node| node.output == self.output) {
            return Ok(());
        }
        Err(FloatGraphError::NothingComputed)
    }

    fn check_order(&self, node: &Node, known: &mut [bool]) -> Result<(), FloatGraphError> {
        let missing = |&&id: &&ValueId| known.get(id) != Some(&true);
        if let Some(&value) = node.inputs.iter().find(missing) {
            return Err(FloatGraphError::Order { node: node.name.clone(), value });
        }
        match known.get_mut(node.output) {
            Some(known) if !*known => *known = true,
            Some(_) => {
                let value = self.values[node.output].name.clone();
                return Err(FloatGraphError::Twice { node: node.name.clone(), value });
            }
            None => {
                let (node, value) = (node.name.clone(), node.output);
                return Err(FloatGraphError::Order { node, value });
            }
        }
        Ok(())
    }

    fn check_node(&self, node: &Node) -> Result<(), FloatGraphError> {
        let inputs: Vec<&Value> = node.inputs.iter().map(|&id| &self.values[id]).collect();
        let output = &self.values[node.output];
        if let Some(affine) = node.kind.affine() {
            let finite = affine.weight.iter().chain(&affine.bias).all(|number| number.is_finite());
            if !finite {
                return Err(FloatGraphError::NotFinite { node: node.name.clone() });
            }
        }
        for value in &inputs {
            if value.constant.iter().flatten().any(|number| !number.is_finite()) {
                return Err(FloatGraphError::NotFinite { node: node.name.clone() });
            }
        }
        let problem = match inputs.as_slice() {
            [] => Some("it reads nothing"),
            [first, rest @ ..] => problem(&node.kind, first, rest, output),
        };
        match problem {
            None => Ok(()),
            Some(problem) => {
                let all = inputs.iter().map(|value| &value.dims).chain([&output.dims]);
                let shapes = format!("{:?}", all.collect::<Vec<_>>());
                Err(FloatGraphError::Shape { node: node.name.clone(), problem, shapes })
            }
        }
    }
}

/// What is wrong with a node's shapes.
fn problem(kind: &Kind, first: &Value, rest: &[&Value], output: &Value) -> Option<&'static str> {
    let unless = |fits: bool, problem: &'static str| (!fits).then_some(problem);
    let operands = match kind {
        Kind::Add | Kind::Mul => rest.len() == 1,
        Kind::Concat(_) => true,
        _ => rest.is_empty(),
    };
    if !operands {
        return Some("it has another number of operands");
    }
    match kind {
        Kind::Dense(affine) => {
            let fits = affine.bias.len() == output.len()
                && Some(affine.weight.len()) == first.len().checked_mul(output.len());
            unless(fits, "weights or biases don't fit its sizes")
        }
        Kind::Conv2d(window, affine) => conv(*window, first, output).or_else(|| {
            let (channels, filters) = channels(first, output);
            let taps = window.size[0].saturating_mul(window.size[1]);
            let weights = taps.saturating_mul(channels).saturating_mul(filters);
            let fits = affine.weight.len() == weights && affine.bias.len() == filters;
            unless(fits, "weights or biases don't fit its channels")
        }),
        Kind::DepthwiseConv2d(window, affine) => conv(*window, first, output).or_else(|| {
            let (channels, outputs) = channels(first, output);
            let weights = window.size[0].saturating_mul(window.size[1]).saturating_mul(outputs);
            let fits = affine.weight.len() == weights && affine.bias.len() == outputs;
            unless(fits && outputs.is_multiple_of(channels), "weights or biases don't fit")
        }),
        Kind::MaxPool2d(window) | Kind::AvgPool2d(window) => {
            let (from, to) = channels(first, output);
            conv(*window, first, output).or_else(|| unless(from == to, "channels must be equal"))
        }
        Kind::Mean => {
            let same = first.dims.last() == Some(&output.len());
            unless(same, "the output must have one value per channel")
        }
        Kind::Add | Kind::Mul => {
            let second = rest[0];
            let whole = first.dims == output.dims && first.constant.is_none();
            let broadcast = second.len() == 1 || first.dims.last() == Some(&second.len());
            let fits = second.len() == first.len() || broadcast;
            unless(
                whole && fits,
                "operands must be equal in shape, or the second one number per channel",
            )
        }
        Kind::Concat(axis) => concat(*axis, first, rest, output),
        Kind::Pad(before, _) => {
            let fits = before.len() == first.dims.len() && before.len() == output.dims.len();
            let mut sides = before.iter().zip(&first.dims).zip(&output.dims);
            let inside = sides.all(|((before, from), to)| before.saturating_add(*from) <= *to);
            unless(fits && inside, "the borders don't fit")
        }
        Kind::Reshape => unless(first.len() == output.len(), "sizes must be equal"),
        Kind::Clip(low, high) => {
            unless(first.dims == output.dims && low <= high, "shapes must be equal, limits ordered")
        }
        Kind::LeakyRelu(_)
        | Kind::HardSwish
        | Kind::Sigmoid
        | Kind::Tanh
        | Kind::Softmax
        | Kind::LogSoftmax => unless(first.dims == output.dims, "shapes must be equal"),
    }
}

fn channels(input: &Value, output: &Value) -> (usize, usize) {
    let last = |value: &Value| value.dims.last().copied().unwrap_or(1);
    (last(input), last(output))
}

/// A window between two images: it has taps and steps, and each begins before the image's end.
fn conv(window: Window, input: &Value, output: &Value) -> Option<&'static str> {
    let (Some(from), Some(to)) = (input.image(), output.image()) else {
        return Some("images have at most three dimensions");
    };
    let Window { size, stride, dilation, padding } = window;
    for axis in 0..2 {
        if size[axis] == 0 || stride[axis] == 0 || dilation[axis] == 0 {
            return Some("sizes, strides and dilations must be positive");
        }
        let start = (to[axis] - 1).saturating_mul(stride[axis]);
        if padding[axis] >= window.extent()[axis] || start >= from[axis] + padding[axis] {
            return Some("a window lies in the padding alone");
        }
    }
    None
}

fn concat(axis: usize, first: &Value, rest: &[&Value], output: &Value) -> Option<&'static str> {
    let mut sum = 0usize;
    for value in std::iter::once(&first).chain(rest) {
        let mut pairs = value.dims.iter().zip(&output.dims).enumerate();
        if value.dims.len() != output.dims.len() || !pairs.all(|(i, (a, b))| i == axis || a == b) {
            return Some("all dimensions but the joined one must be equal");
        }
        sum = sum.saturating_add(value.dims.get(axis).copied().unwrap_or(0));
    }
    (output.dims.get(axis) != Some(&sum)).then_some("the operands don't fill the output")
}
