//! Random graphs of many operators: no panic, outputs that follow the floats, the same for every way of
//! storing weights.

use proptest::prelude::*;

use super::*;
use crate::graph::Executor;
use crate::graph::ops::{
    Add, BatchNorm, Concat, HardSigmoid, HardSwish, LeakyRelu, Logistic, Mean, Mul, Pad,
    ResizeNearest, Select, Slice, Tanh, missing,
};
use crate::numbers::Range;

/// Examples that are run.
const EXAMPLES: usize = 6;
/// Most channels of an image.
const CHANNELS: usize = 8;

/// Operators to draw.
pub(crate) const KINDS: u8 = 18;

/// Which operator is next, which image it reads, and its size.
pub(crate) type Choice = (u8, u8, u8);

/// A graph in the making, with the images that may be read.
struct Sketch {
    draft: Draft,
    images: Vec<ValueId>,
}

impl Sketch {
    fn dims(&self, id: ValueId) -> [usize; 3] {
        self.draft.0.values[id].image().unwrap()
    }

    /// An image that fits the last one read, the nearest before `which`.
    fn partner(&self, which: usize, fits: impl Fn([usize; 3]) -> bool) -> Option<ValueId> {
        let all = self.images.iter().copied().cycle().skip(which).take(self.images.len());
        all.into_iter().find(|&id| fits(self.dims(id)))
    }

    fn two(&mut self, op: impl Into<Operation>, pair: [ValueId; 2]) {
        let dims = self.dims(pair[0]).to_vec();
        self.draft.0.push("pair", op, pair.to_vec(), dims, None);
    }

    /// Channels times what all of them together say, from 0 to 1 each.
    fn gate(&mut self, from: ValueId, hard: bool) {
        let channels = self.dims(from)[2];
        let mean = self.draft.clone().then(Mean {}, Some(&[channels]));
        let gate: Operation = if hard { HardSigmoid::SIXTH.into() } else { Logistic {}.into() };
        self.draft = mean.dense(channels).then(gate, None);
        let gate = self.draft.0.output;
        self.two(Mul {}, [from, gate]);
    }

    fn norm(&mut self, from: ValueId) {
        let dims = self.dims(from);
        let mut affine = self.draft.affine(dims[2], dims[2]).unwrap();
        affine.weight.iter_mut().for_each(|w| *w += 0.8);
        let norm = BatchNorm::new(dims[2]);
        self.draft.0.push("norm", norm, vec![from], dims.to_vec(), Some(affine));
    }

    fn draw(&mut self, (kind, which, size): Choice) {
        let from = self.images[usize::from(which) % self.images.len()];
        self.draft.0.output = from;
        let [height, width, channels] = self.dims(from);
        let (size, large) = (usize::from(size), height >= 4 && width >= 4);
        let draft = self.draft.clone();
        self.draft = match kind {
            0 => draft.conv(1 + size % CHANNELS, Padding::Same),
            1 if large => draft.conv(1 + size % CHANNELS, Padding::Valid),
            2 => draft.depthwise(if large { Padding::Valid } else { Padding::Same }),
            3 if large => draft.max_pool(),
            4 if large => draft.avg_pool(),
            5 => draft.relu(),
            6 => draft.relu6(),
            7 => draft.then(HardSwish {}, None),
            8 => draft.then(LeakyRelu { alpha: 0.1 }, None),
            9 => draft.then(Tanh {}, None),
            10 if large => {
                let dims = [height + size % 2, width + 1, channels];
                draft.then(Pad { before: vec![0, size % 2, 0], fill: 0.0 }, Some(&dims))
            }
            11 => return self.finish(|sketch| sketch.norm(from)),
            12 => return self.finish(|sketch| sketch.gate(from, size % 2 == 1)),
            13 => {
                let Some(other) = self.partner(size, |dims| dims == [height, width, channels])
                else {
                    return;
                };
                return self.finish(|sketch| sketch.two(Add {}, [from, other]));
            }
            14 => {
                let Some(other) = self.partner(size, |dims| {
                    dims[..2] == [height, width] && dims[2] + channels <= CHANNELS
                }) else {
                    return;
                };
                let mut draft = draft;
                let dims = vec![height, width, channels + self.dims(other)[2]];
                draft.0.push("join", Concat { axis: 2 }, vec![from, other], dims, None);
                draft
            }
            15 => draft.then(HardSigmoid { slope: 0.2 }, None),
            16 if large => {
                let (begin, step) = ([size % 3, 1, size % channels], 1 + size % 2);
                let dims = [height - begin[0], (width - 1).div_ceil(step), channels - begin[2]];
                let stride = vec![1, step, 1];
                draft.then(Slice { begin: begin.to_vec(), stride }, Some(&dims))
            }
            17 if height * width < 80 => {
                let op = ResizeNearest { half_pixel_centers: size % 2 == 0 };
                draft.then(op, Some(&[1 + size % 7, 1 + size % 11, channels]))
            }
            18 => {
                let other = self.partner(size, |dims| dims == [height, width, channels]);
                let other = other.filter(|_| size % 3 > 0).unwrap_or(from);
                return self.finish(|sketch| sketch.two(Mul {}, [from, other]));
            }
            _ => return,
        };
        self.images.push(self.draft.0.output);
    }

    fn finish(&mut self, build: impl FnOnce(&mut Self)) {
        build(self);
        self.images.push(self.draft.0.output);
    }
}

/// A graph of the drawn operators, which ends with the last of them.
pub(crate) fn open_end(choices: &[Choice]) -> Graph<Affine> {
    let mut sketch =
        Sketch { draft: Draft::of(&[8, 8, 2]).conv(3, Padding::Same), images: vec![1] };
    choices.iter().for_each(|&choice| sketch.draw(choice));
    sketch.draft.0.output = sketch.images[sketch.images.len() - 1];
    sketch.draft.done()
}

/// A graph of the drawn operators, with a dense layer at the end.
fn graph(choices: &[Choice], select: bool) -> Graph<Affine> {
    let mut sketch = Sketch { draft: Draft::of(&[8, 8, 2]), images: vec![0] };
    choices.iter().for_each(|&choice| sketch.draw(choice));
    sketch.draft.0.output = *sketch.images.last().unwrap();
    let mut draft = sketch.draft.flatten();
    if select {
        let keep: Vec<u32> = (0..draft.dims()[0] as u32).filter(|at| at % 5 != 3).collect();
        let dims = [keep.len()];
        draft = draft.then(Select { keep }, Some(&dims));
    }
    draft.dense(4).done()
}

/// Signal to noise of the integers of a graph, and what they give.
fn follow(net: &Graph<Affine>, seed: f32) -> (f64, Vec<f32>) {
    net.check().unwrap();
    let input = InputQuantization::floats(Range { low: -1.0, high: 1.0 }, None);
    let x: Vec<f32> = (0..EXAMPLES * 128).map(|at| (at as f32 * 1.7 + seed).sin()).collect();
    let quantized = input.quantize(&x);
    // What the device is given, so that only its own rounding counts.
    let x: Vec<f32> = quantized.iter().map(|&q| input.quantization.dequantize(q)).collect();
    let scales = calibrate(net, &x, &input, RangeMethod::MinMax).unwrap();
    let integers = lower(net, &plan(net, scales, &input)).unwrap();
    let found = reals(&integers, &outputs(&integers, &input, &quantized));
    let exact = Executor::new(net).unwrap().run(&x).unwrap();
    (decibels(&exact, &found), exact)
}

/// All but three: one does nothing, and two end a network.
#[test]
fn every_operator_is_drawn() {
    let choices: Vec<Choice> =
        (0..KINDS).flat_map(|kind| [0, 1].map(|size| (kind, 0, size))).collect();
    let graphs: Vec<_> = choices.iter().map(|&choice| graph(&[choice], true)).collect();
    let left_out = ["Dropout", "LogSoftmax", "Softmax"];
    assert_eq!(missing(&graphs, &left_out), [""; 0], "`Sketch::draw` makes none of these");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn integers_follow_the_floats_of_any_graph(
        choices in proptest::collection::vec((0..KINDS, any::<u8>(), any::<u8>()), 1..9),
        select in any::<bool>(), seed in 0f32..6.0,
    ) {
        let net = graph(&choices, select);
        let (db, exact) = follow(&net, seed);
        let names: Vec<&str> = net.nodes.iter().map(|node| node.op.name()).collect();
        prop_assert!(db > 12.0, "{db} dB of {exact:?}, {names:?}");
    }
}
