//! The operators of a model, each prepared for the machine.

use std::boxed::Box;
use std::vec::Vec;

use super::channels::Channels;
use super::pool::{Fold, Pooling};
use super::rows::Product;
use super::worker::Scratch;
use crate::arch::host::{KernelSet, Sum};
use crate::format::Tensor;
use crate::interpreter::Running;
use crate::model::{Model, Step};
use crate::ops::{Add, Op, split};

/// Examples that are taken through an operator together, at most.
const AT_ONCE_MAX: usize = 64;
/// Bytes of their arenas, unless one is longer: what a core has in its second cache, or less.
const ARENAS_LEN: usize = 1 << 18;
/// Bytes of all weights that are laid out anew, at most: a small file can state large layers.
const WEIGHTS_MAX: usize = 1 << 28;

/// A model, prepared.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    pub(super) kernels: KernelSet,
    pub(super) section: &'a [u8],
    pub(super) input: Tensor,
    pub(super) output: Tensor,
    pub(super) arena_len: usize,
    /// Examples that are taken through an operator together.
    pub(super) at_once: usize,
    pub(super) stages: Vec<Stage>,
    pub(super) needs: Needs,
}

/// Lengths of [`Scratch`], enough for each operator.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Needs {
    pub(super) image: usize,
    pub(super) values: usize,
    pub(super) sums: usize,
}

impl Needs {
    fn and(self, other: Self) -> Self {
        Self {
            image: self.image.max(other.image),
            values: self.values.max(other.values),
            sums: self.sums.max(other.sums),
        }
    }
}

/// What operators are prepared for.
#[derive(Clone, Copy)]
pub(super) struct Setting<'a> {
    pub(super) kernels: KernelSet,
    pub(super) section: &'a [u8],
    pub(super) arena_len: usize,
    pub(super) at_once: usize,
    /// Bytes that weights may take.
    pub(super) room: usize,
}

impl<'a> Plan<'a> {
    pub(super) fn new(model: &Model<'a>, kernels: KernelSet) -> Self {
        let arena_len = model.arena_len();
        let at_once = (ARENAS_LEN / arena_len.max(1)).clamp(1, AT_ONCE_MAX);
        let section = model.section();
        let mut setting = Setting { kernels, section, arena_len, at_once, room: WEIGHTS_MAX };
        let mut needs = Needs::default();
        let stages = model.ops().map(|step| {
            let work = Work::new(&step, &setting);
            setting.room = setting.room.saturating_sub(work.weights_len());
            needs = needs.and(work.needs(&step));
            Stage { step, work }
        });
        let stages = stages.collect();
        let (input, output) = (model.input().clone(), model.output().clone());
        Self { kernels, section, input, output, arena_len, at_once, stages, needs }
    }

    /// Numbers of the operators that run as the interpreter runs them.
    pub(super) fn interpreted(&self) -> impl Iterator<Item = u16> {
        let stages = self.stages.iter();
        stages.filter(|stage| matches!(stage.work, Work::Operator)).map(|stage| stage.step.index)
    }
}

/// An operator in its place.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) step: Step,
    work: Work,
}

/// How an operator runs.
#[derive(Debug)]
enum Work {
    /// A dense layer or a convolution, and the pooling behind it.
    Product(Product),
    /// A depthwise convolution.
    Channels(Channels),
    /// A pooling, or a mean.
    Pooling(Pooling),
    /// A sum of two tensors of one length.
    Add(Box<Sum>),
    /// As the interpreter.
    Operator,
}

impl Work {
    fn new(step: &Step, setting: &Setting<'_>) -> Self {
        let previous = &step.previous;
        let work = match &step.op {
            Op::Dense(op) => Product::dense(op, previous, setting).map(Self::Product),
            Op::CodedDense(op) => Product::dense(op, previous, setting).map(Self::Product),
            Op::Conv2d(op) => Product::conv2d(op, previous, setting).map(Self::Product),
            Op::CodedConv2d(op) => Product::conv2d(op, previous, setting).map(Self::Product),
            Op::Conv2dMaxPool2d(op) => Product::pooled(op, previous, setting).map(Self::Product),
            Op::DepthwiseConv2d(op) => Self::depthwise(op, previous, setting),
            Op::CodedDepthwiseConv2d(op) => Self::depthwise(op, previous, setting),
            Op::MaxPool2d(op) => {
                let input = op.input.resolve(previous);
                Pooling::new(&op.window, input, &op.output, Fold::Most(op.clamp)).map(Self::Pooling)
            }
            Op::AvgPool2d(op) => {
                let input = op.input.resolve(previous);
                Pooling::new(&op.window, input, &op.output, Fold::Mean(op.clamp)).map(Self::Pooling)
            }
            Op::Mean(op) => Pooling::mean(op, op.input.resolve(previous)).map(Self::Pooling),
            Op::Add(op) => Self::add(op, previous),
            _ => None,
        };
        work.unwrap_or(Self::Operator)
    }

    fn depthwise<W: crate::ops::RowSource>(
        op: &crate::ops::DepthwiseConv2d<W>,
        previous: &Tensor,
        setting: &Setting<'_>,
    ) -> Option<Self> {
        // One channel, whatever reads it: an ordinary convolution.
        if op.input.resolve(previous).shape.channels() == 1 {
            return Product::of_one_channel(op, previous, setting).map(Self::Product);
        }
        Channels::new(op, previous, setting).map(Self::Channels)
    }

    fn add(op: &Add, previous: &Tensor) -> Option<Self> {
        let inputs = op.inputs.each_ref().map(|input| input.resolve(previous));
        let are_alike = inputs.iter().all(|input| input.len() == op.output.len());
        let constants = op.constants(inputs.map(|input| input.zero_point.into()));
        are_alike.then(|| Self::Add(Box::new(Sum::new(constants))))
    }

    fn weights_len(&self) -> usize {
        match self {
            Self::Product(product) => product.weights_len(),
            Self::Channels(channels) => channels.weights_len(),
            Self::Pooling(_) | Self::Add(_) | Self::Operator => 0,
        }
    }

    fn needs(&self, step: &Step) -> Needs {
        match self {
            Self::Product(product) => product.needs(),
            Self::Channels(channels) => channels.needs(),
            Self::Pooling(pooling) => pooling.needs(),
            Self::Add(_) => Needs { values: step.output().len(), ..Needs::default() },
            Self::Operator => Needs::default(),
        }
    }
}

impl Stage {
    /// What a profiler sees.
    pub(super) fn running(&self) -> Running<'_> {
        Running::new(&self.step)
    }

    /// Runs it on each example's arena.
    pub(super) fn run(&self, plan: &Plan<'_>, arenas: &mut [i8], scratch: &mut Scratch) {
        let (step, kernels) = (&self.step, plan.kernels);
        if let Work::Product(product) = &self.work
            && product.is_joint()
        {
            return product.run_jointly(step, plan, arenas, scratch);
        }
        for arena in arenas.chunks_exact_mut(plan.arena_len.max(1)) {
            match &self.work {
                Work::Product(product) => product.run(step, kernels, arena, scratch),
                Work::Channels(channels) => channels.run(step, kernels, arena, scratch),
                Work::Pooling(pooling) => {
                    let (inputs, output) = split(arena, step.output());
                    let Some(input) = step.inputs().next() else { return };
                    pooling.run(kernels, inputs.get(input), output, scratch);
                }
                Work::Add(sum) => add(step, kernels, sum, arena, scratch),
                Work::Operator => step.op.run(&step.previous, plan.section, arena),
            }
        }
    }
}

/// The sum of two tensors, one of which may lie where the output does.
fn add(step: &Step, kernels: KernelSet, sum: &Sum, arena: &mut [i8], scratch: &mut Scratch) {
    let (inputs, output) = split(arena, step.output());
    let mut operands = step.inputs();
    let (Some(first), Some(second)) = (operands.next(), operands.next()) else { return };
    let values = scratch.values.get_mut(..output.len()).unwrap_or_default();
    let is_output = |tensor: &Tensor| tensor.offset == step.output().offset;
    if is_output(first) || is_output(second) {
        values.copy_from_slice(output);
    }
    let operand = |tensor| if is_output(tensor) { &*values } else { inputs.get(tensor) };
    kernels.add(sum, [operand(first), operand(second)], output);
}
