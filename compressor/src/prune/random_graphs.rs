//! Random graphs for the properties: branches, joins, products, gates, depthwise convolutions, means,
//! selections, borders, constants among operands, and every activation.

use crate::graph::ops::{
    Add, AvgPool2d, Clip, Concat, Conv2d, Dense, DepthwiseConv2d, HardSigmoid, HardSwish,
    LeakyRelu, Logistic, MaxPool2d, Mean, Mul, Op, Pad, Reshape, ResizeNearest, Select, Slice,
    Softmax, Tanh,
};
use crate::graph::{Affine, Graph, Padding, ValueId, Window};

/// A small deterministic source of numbers, so that a seed is all that proptest shrinks.
pub(super) struct Numbers(pub(super) u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        // SplitMix64 (Steele, Lea, Flood 2014).
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub(super) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(super) fn float(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    pub(super) fn floats(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.float()).collect()
    }
}

/// Appends random nodes to a graph.
pub(super) struct Builder<'n> {
    pub(super) graph: Graph<Affine>,
    numbers: &'n mut Numbers,
}

/// A random graph that passes its check.
pub(super) fn graph(numbers: &mut Numbers) -> Graph<Affine> {
    let image = numbers.chance(80);
    let dims = if image {
        vec![3 + numbers.below(4), 3 + numbers.below(4), 1 + numbers.below(3)]
    } else {
        vec![1 + numbers.below(10)]
    };
    let mut builder = Builder { graph: Graph::of_input(dims), numbers };
    let mut x = 0;
    if image {
        for _ in 0..1 + builder.numbers.below(5) {
            x = builder.image_block(x);
        }
        if builder.numbers.chance(10) {
            // A network of convolutions alone.
            x = builder.conv(x, 2, 1, Padding::Same);
            let dims = builder.dims(x);
            builder.push(Softmax {}, vec![x], dims, None);
            return builder.graph;
        }
        x = builder.features(x);
    }
    for _ in 0..1 + builder.numbers.below(3) {
        x = builder.vector_block(x);
    }
    if builder.graph.output == 0 || builder.numbers.chance(70) {
        x = builder.dense(x, 3);
    }
    builder.graph.output = x;
    builder.graph
}

impl Builder<'_> {
    fn dims(&self, value: ValueId) -> Vec<usize> {
        self.graph.values[value].dims.clone()
    }

    fn channels(&self, value: ValueId) -> usize {
        self.graph.values[value].channels()
    }

    fn push(
        &mut self,
        op: impl Into<Op>,
        inputs: Vec<ValueId>,
        dims: Vec<usize>,
        affine: Option<[usize; 2]>,
    ) -> ValueId {
        let op = op.into();
        let name = format!("{}_{}", op.name(), self.graph.nodes.len());
        let affine = affine.map(|[weights, biases]| Affine {
            weight: self.numbers.floats(weights),
            bias: self.numbers.floats(biases),
        });
        self.graph.push(&name, op, inputs, dims, affine)
    }

    fn constant(&mut self, dims: Vec<usize>) -> ValueId {
        let constant = self.graph.value("constant", dims);
        let len = self.graph.values[constant].len();
        let mut numbers = self.numbers.floats(len);
        let zeros = self.numbers.chance(20);
        numbers.iter_mut().filter(|_| zeros && self.numbers.chance(50)).for_each(|n| *n = 0.0);
        self.graph.values[constant].constant = Some(numbers);
        constant
    }

    fn window(
        &mut self,
        x: ValueId,
        size: usize,
        stride: usize,
        rule: Padding,
    ) -> (Window, Vec<usize>) {
        let [height, width, _] = self.dims(x)[..] else { panic!("no image") };
        let size = [size.min(height), (size + self.numbers.below(2)).min(width)];
        let window = Window::with_rule(size, [stride; 2], [1; 2], rule, [height, width]);
        let (window, [rows, columns]) = window.unwrap();
        (window, vec![rows, columns])
    }

    fn conv(&mut self, x: ValueId, filters: usize, size: usize, rule: Padding) -> ValueId {
        let (window, mut dims) = self.window(x, size, 1, rule);
        dims.push(filters);
        let weights = filters * window.taps() * self.channels(x);
        self.push(Conv2d { window }, vec![x], dims, Some([weights, filters]))
    }

    fn depthwise(&mut self, x: ValueId, multiplier: usize, rule: Padding) -> ValueId {
        let size = 1 + self.numbers.below(3);
        let (window, mut dims) = self.window(x, size, 1, rule);
        let outputs = self.channels(x) * multiplier;
        dims.push(outputs);
        let affine = Some([outputs * window.taps(), outputs]);
        self.push(DepthwiseConv2d { window }, vec![x], dims, affine)
    }

    fn pool(&mut self, x: ValueId) -> ValueId {
        let stride = 1 + self.numbers.below(2);
        let rule = if self.numbers.chance(50) { Padding::Same } else { Padding::Valid };
        let (window, mut dims) = self.window(x, 2, stride, rule);
        dims.push(self.channels(x));
        let op: Op = if self.numbers.chance(50) {
            MaxPool2d { window }.into()
        } else {
            AvgPool2d { window }.into()
        };
        self.push(op, vec![x], dims, None)
    }

    fn dense(&mut self, x: ValueId, outputs: usize) -> ValueId {
        let weights = outputs * self.graph.values[x].len();
        self.push(Dense {}, vec![x], vec![outputs], Some([weights, outputs]))
    }

    fn activation(&mut self, x: ValueId) -> ValueId {
        let op: Op = match self.numbers.below(11) {
            0 => Clip::RELU6.into(),
            1 => LeakyRelu { alpha: 0.1 }.into(),
            2 => Tanh {}.into(),
            3 => Logistic {}.into(),
            4 => HardSwish {}.into(),
            5 => HardSigmoid::SIXTH.into(),
            6 => Clip { low: 0.25, high: 1.0 }.into(),
            _ => Clip::RELU.into(),
        };
        let dims = self.dims(x);
        self.push(op, vec![x], dims, None)
    }

    fn image_block(&mut self, x: ValueId) -> ValueId {
        let rule = if self.numbers.chance(60) { Padding::Same } else { Padding::Valid };
        match self.numbers.below(12) {
            0 | 1 => {
                let filters = 1 + self.numbers.below(4);
                let x = self.conv(x, filters, 2, rule);
                self.activation(x)
            }
            2 => {
                let multiplier =
                    if self.numbers.chance(30) { 2 + self.numbers.below(2) } else { 1 };
                let x = self.depthwise(x, multiplier, rule);
                self.activation(x)
            }
            3 => self.pool(x),
            4 | 5 => self.residual(x),
            6 | 7 => self.gated(x),
            8 => self.joined(x),
            9 => self.with_constant(x),
            10 => self.border(x),
            _ => self.activation(x),
        }
    }

    /// A sum with a branch, either of which may be first.
    fn residual(&mut self, x: ValueId) -> ValueId {
        let channels = self.channels(x);
        let mut branch = self.conv(x, 1 + channels % 3, 3, Padding::Same);
        if self.numbers.chance(50) {
            branch = self.depthwise(branch, 1, Padding::Same);
        }
        branch = self.activation(branch);
        branch = self.conv(branch, channels, 1, Padding::Same);
        let shortcut =
            if self.numbers.chance(30) { self.conv(x, channels, 1, Padding::Same) } else { x };
        let order =
            if self.numbers.chance(50) { vec![branch, shortcut] } else { vec![shortcut, branch] };
        let dims = self.dims(x);
        let sum = self.push(Add {}, order, dims, None);
        self.activation(sum)
    }

    /// A product: squeeze-and-excitation with two kinds of layers, one gate for all channels, or x
    /// times a function of x.
    fn gated(&mut self, x: ValueId) -> ValueId {
        let (channels, dims) = (self.channels(x), self.dims(x));
        let x = if self.numbers.chance(60) { self.conv(x, channels, 1, Padding::Same) } else { x };
        let mean = |builder: &mut Self, dims| builder.push(Mean {}, vec![x], dims, None);
        let gate = match self.numbers.below(4) {
            0 => {
                let gate = self.activation(x);
                if self.numbers.chance(30) { self.depthwise(gate, 1, Padding::Same) } else { gate }
            }
            1 => {
                let gate = mean(self, vec![channels]);
                let outputs = if self.numbers.chance(30) { 1 } else { channels };
                let gate = self.dense(gate, 2);
                let gate = self.activation(gate);
                let gate = self.dense(gate, outputs);
                self.push(Reshape {}, vec![gate], vec![1, 1, outputs], None)
            }
            2 => self.conv(x, channels, 1, Padding::Same),
            _ => {
                let gate = mean(self, vec![1, 1, channels]);
                let gate = self.conv(gate, 2, 1, Padding::Same);
                let gate = self.activation(gate);
                let gate = self.conv(gate, channels, 1, Padding::Same);
                if self.numbers.chance(50) { self.depthwise(gate, 1, Padding::Same) } else { gate }
            }
        };
        let gate = self.activation(gate);
        if self.graph.values[gate].dims == dims && self.numbers.chance(40) {
            return self.push(Mul {}, vec![gate, x], dims, None);
        }
        self.push(Mul {}, vec![x, gate], dims, None)
    }

    /// Several values side by side, of channels or of rows.
    fn joined(&mut self, x: ValueId) -> ValueId {
        let mut dims = self.dims(x);
        let channels = self.channels(x);
        if self.numbers.chance(25) {
            let below = self.conv(x, channels, 1, Padding::Same);
            dims[0] *= 2;
            return self.push(Concat { axis: 0 }, vec![x, below], dims, None);
        }
        let mut parts = vec![self.conv(x, 2, 3, Padding::Same), self.conv(x, 1, 1, Padding::Same)];
        if self.numbers.chance(50) {
            parts.push(x);
        }
        if self.numbers.chance(30) {
            parts.push(self.constant(vec![dims[0], dims[1], 2]));
        }
        dims[2] = parts.iter().map(|&part| self.channels(part)).sum();
        let joined = self.push(Concat { axis: 2 }, parts, dims, None);
        self.activation(joined)
    }

    fn with_constant(&mut self, x: ValueId) -> ValueId {
        let dims = self.dims(x);
        let constant = match self.numbers.below(4) {
            0 => vec![1],
            1 => vec![1, 1, self.channels(x)],
            2 => dims.clone(),
            _ => vec![self.channels(x)],
        };
        let constant = self.constant(constant);
        let op: Op = if self.numbers.chance(50) { Add {}.into() } else { Mul {}.into() };
        self.push(op, vec![x, constant], dims, None)
    }

    fn border(&mut self, x: ValueId) -> ValueId {
        let mut dims = self.dims(x);
        if self.numbers.chance(50) {
            (dims[0], dims[1]) = (dims[0] + 2, dims[1] + 1);
            let fill = if self.numbers.chance(70) { 0.0 } else { 0.5 };
            let before = vec![1, 0, 0];
            return self.push(Pad { before, fill }, vec![x], dims, None);
        }
        if self.numbers.chance(30) {
            (dims[0], dims[1]) = (1 + self.numbers.below(9), 1 + self.numbers.below(9));
            let half_pixel_centers = self.numbers.chance(50);
            return self.push(ResizeNearest { half_pixel_centers }, vec![x], dims, None);
        }
        self.slice(x)
    }

    /// A part: from any position on, and along the last dimension seldom with gaps.
    fn slice(&mut self, x: ValueId) -> ValueId {
        let mut dims = self.dims(x);
        let (mut begin, mut stride) = (Vec::new(), Vec::new());
        let last = dims.len() - 1;
        for (axis, dim) in dims.iter_mut().enumerate() {
            begin.push(self.numbers.below(*dim));
            stride.push(if self.numbers.chance(if axis == last { 10 } else { 40 }) {
                2
            } else {
                1
            });
            *dim = 1 + self.numbers.below((*dim - begin[axis]).div_ceil(stride[axis]));
        }
        self.push(Slice { begin, stride }, vec![x], dims, None)
    }

    /// Features of an image: all of it, means, or the image itself for a layer to read.
    fn features(&mut self, x: ValueId) -> ValueId {
        let (len, channels) = (self.graph.values[x].len(), self.channels(x));
        match self.numbers.below(5) {
            0 => self.push(Mean {}, vec![x], vec![channels], None),
            1 => {
                let mean = self.push(Mean {}, vec![x], vec![1, 1, channels], None);
                self.push(Reshape {}, vec![mean], vec![channels], None)
            }
            2 => self.dense(x, 4),
            _ => self.push(Reshape {}, vec![x], vec![len], None),
        }
    }

    fn vector_block(&mut self, x: ValueId) -> ValueId {
        let features = self.channels(x);
        match self.numbers.below(7) {
            0 => {
                let all = 0..features as u32;
                let keep: Vec<u32> = all.filter(|_| self.numbers.chance(60)).collect();
                if keep.is_empty() {
                    return x;
                }
                let count = keep.len();
                self.push(Select { keep }, vec![x], vec![count], None)
            }
            1 => {
                let branch = self.dense(x, features);
                let branch = self.activation(branch);
                self.push(Add {}, vec![branch, x], vec![features], None)
            }
            2 => {
                let parts = vec![self.dense(x, 3), x, self.dense(x, 2)];
                let joined = self.push(Concat { axis: 0 }, parts, vec![features + 5], None);
                self.activation(joined)
            }
            3 => self.slice(x),
            4 => {
                let gate = self.dense(x, features);
                let gate = self.activation(gate);
                self.push(Mul {}, vec![x, gate], vec![features], None)
            }
            _ => {
                let outputs = 1 + self.numbers.below(6);
                let x = self.dense(x, outputs);
                self.activation(x)
            }
        }
    }
}
