//! Weights that were unpacked once, into memory of the caller's, so that inference needn't do it again.
//!
//! Each layer begins on a multiple of four with its operator's number, whether it does the pooling
//! behind it as well, and its length; then come its biases and weights. They are in the order of the
//! operators, so that inference finds one after the other. All of it is written here, from a model, and
//! read by slices: nothing relies on it but the outputs.

use crate::arch::{Isa, Kernels};
use crate::format::{Reader, Source, Tensor, UNPACKED_ALIGNMENT, UNPACKED_HEAD, add_unpacked};
use crate::model::Model;
use crate::ops::operands::split;
use crate::ops::{self, MaxPool2d, OpKind, Record, Unpacking, Visitor};

/// Where an interpreter has the weights of layers from: `()`, from the model's bytes, or [`Unpacked`].
pub trait Weights: Copy + sealed::Run {}

impl Weights for () {}
impl Weights for Unpacked<'_> {}

/// One operator of an inference.
pub struct Place<'p> {
    pub(crate) index: u16,
    pub(crate) previous: &'p Tensor,
    pub(crate) section: &'p [u8],
    /// The records behind it.
    pub(crate) rest: &'p [u8],
}

pub(crate) mod sealed {
    use super::Place;
    use crate::ops::Record;

    /// Runs operators, one after the other.
    pub trait Run {
        /// Runs the next one.
        #[expect(private_bounds, reason = "nobody else calls it")]
        fn run<R: Record>(&mut self, op: &R, place: &Place<'_>, arena: &mut [i8]);
    }
}

impl sealed::Run for () {
    #[expect(private_bounds, reason = "as in the trait")]
    #[inline(always)]
    fn run<R: Record>(&mut self, op: &R, place: &Place<'_>, arena: &mut [i8]) {
        op.run(place.previous, place.section, arena);
    }
}

/// Layers whose weights were unpacked; see [`Interpreter::with_weights`](crate::Interpreter::with_weights).
#[derive(Clone, Copy, Debug)]
pub struct Unpacked<'u> {
    /// From the head of the next layer on.
    rest: &'u [u8],
    layers: u16,
    /// The next operator's work is done: its output is at the beginning of what it reads.
    done: bool,
}

/// What is before a layer.
struct Head {
    index: u16,
    pools: bool,
    len: u32,
}

impl Head {
    fn bytes(&self) -> [u8; UNPACKED_HEAD] {
        let ([i0, i1], [l0, l1, l2, l3]) = (self.index.to_le_bytes(), self.len.to_le_bytes());
        [i0, i1, u8::from(self.pools), 0, l0, l1, l2, l3]
    }

    fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (&[i0, i1, pools, _, l0, l1, l2, l3], rest) = bytes.split_first_chunk()?;
        let index = u16::from_le_bytes([i0, i1]);
        Some((Self { index, pools: pools != 0, len: u32::from_le_bytes([l0, l1, l2, l3]) }, rest))
    }
}

impl Unpacked<'_> {
    /// How many layers were unpacked.
    pub fn layers(&self) -> usize {
        self.layers.into()
    }

    /// Whether the layer of an operator is the next one, and where it begins.
    fn next(&mut self, index: u16) -> Option<(bool, &[u8])> {
        let (head, bytes) = Head::read(self.rest)?;
        if head.index != index {
            return None;
        }
        self.rest = bytes.get(head.len as usize..).unwrap_or_default();
        Some((head.pools, bytes))
    }
}

impl sealed::Run for Unpacked<'_> {
    #[expect(private_bounds, reason = "as in the trait")]
    #[inline(always)]
    fn run<R: Record>(&mut self, op: &R, place: &Place<'_>, arena: &mut [i8]) {
        let &Place { index, previous, section, rest } = place;
        if R::KIND == OpKind::MaxPool2d && core::mem::take(&mut self.done) {
            let (inputs, output) = split(arena, op.output());
            Isa::copy(output, inputs.get(previous));
            return;
        }
        let Some((pools, bytes)) = self.next(index) else {
            op.run(previous, section, arena);
            return;
        };
        let pool = if pools { pool_behind(rest) } else { None };
        let done = pool.is_some();
        op.run_unpacked(&Unpacking { previous, section, pool }, bytes, arena);
        self.done = done;
    }
}

/// The pooling that is the next record.
fn pool_behind(rest: &[u8]) -> Option<MaxPool2d> {
    let (&tag, record) = rest.split_first()?;
    let mut reader = Reader::new(record);
    (tag == OpKind::MaxPool2d as u8).then(|| reader.take()).filter(|_| reader.is_sound())
}

impl<'u> Unpacked<'u> {
    /// Unpacks as many layers as there is room for: those first that cost an inference most for the
    /// room that they take.
    pub(crate) fn new<const KINDS: u32>(model: &Model<'_, KINDS>, room: &'u mut [u8]) -> Self {
        let skip = room.as_ptr().align_offset(UNPACKED_ALIGNMENT);
        let room = room.get_mut(skip..).unwrap_or_default();
        let chosen = Chosen::of(model, room.len());
        let mut walk = Unpack { walk: Walk::new(model), model, chosen, room, used: 0, layers: 0 };
        let mut records = model.records();
        while ops::visit::<KINDS>(&mut records, &mut walk).is_some() {}
        let Unpack { room, used, layers, .. } = walk;
        let rest: &'u [u8] = room;
        Self { rest: rest.get(..used).unwrap_or_default(), layers, done: false }
    }
}

/// Where a walk through the operators is.
struct Walk {
    index: u16,
    previous: Tensor,
}

impl Walk {
    fn new<const KINDS: u32>(model: &Model<'_, KINDS>) -> Self {
        Self { index: 0, previous: model.input().clone() }
    }

    fn end(&mut self, output: &Tensor) {
        self.previous = output.clone();
        self.index = self.index.wrapping_add(1);
    }
}

/// A set of operators.
struct Chosen([u32; Self::WORDS]);

impl Chosen {
    const WORDS: usize = crate::format::MAX_OPS as usize / 32;

    fn has(&self, index: u16) -> bool {
        let word = self.0.get(usize::from(index / 32)).copied().unwrap_or_default();
        word.wrapping_shr((index % 32).into()) & 1 == 1
    }

    fn add(&mut self, index: u16) {
        if let Some(word) = self.0.get_mut(usize::from(index / 32)) {
            *word |= 1u32.wrapping_shl((index % 32).into());
        }
    }

    /// Those that are unpacked into so many bytes.
    fn of<const KINDS: u32>(model: &Model<'_, KINDS>, room: usize) -> Self {
        if model.weights_len() <= room {
            return Self([u32::MAX; Self::WORDS]);
        }
        let (mut seen, mut chosen) = (Self([0; Self::WORDS]), Self([0; Self::WORDS]));
        let mut left = room;
        loop {
            let mut best = Best { walk: Walk::new(model), seen: &seen, found: None };
            let mut records = model.records();
            while ops::visit::<KINDS>(&mut records, &mut best).is_some() {}
            let Some(Candidate { index, len, .. }) = best.found else { return chosen };
            seen.add(index);
            if let Some(rest) = left.checked_sub(len) {
                left = rest;
                chosen.add(index);
            }
        }
    }
}

/// A layer that could be unpacked.
struct Candidate {
    index: u16,
    len: usize,
    steps: u64,
}

/// Looks for the layer that is the most worthwhile of those that weren't seen.
struct Best<'b> {
    walk: Walk,
    seen: &'b Chosen,
    found: Option<Candidate>,
}

impl Visitor for Best<'_> {
    fn visit<R: Record>(&mut self, op: &R, _: &[u8]) {
        let Walk { index, previous } = &self.walk;
        let index = *index;
        if let Some(layer) = op.unpacked(previous).filter(|_| !self.seen.has(index)) {
            let len = layer.len().saturating_add(UNPACKED_HEAD);
            let steps = op.steps(previous);
            // Steps a byte, without dividing.
            let is_better = self.found.as_ref().is_none_or(|best| {
                let product = |steps: u64, len: usize| steps.saturating_mul(len as u64);
                product(steps, best.len) > product(best.steps, len)
            });
            if is_better {
                self.found = Some(Candidate { index, len, steps });
            }
        }
        self.walk.end(op.output());
    }
}

/// Unpacks the chosen layers, one behind the other.
struct Unpack<'m, 'a, 'u, const KINDS: u32> {
    walk: Walk,
    model: &'m Model<'a, KINDS>,
    chosen: Chosen,
    room: &'u mut [u8],
    used: usize,
    layers: u16,
}

impl<const KINDS: u32> Visitor for Unpack<'_, '_, '_, KINDS> {
    fn visit<R: Record>(&mut self, op: &R, rest: &[u8]) {
        let Walk { index, previous } = &self.walk;
        if let Some(layer) = op.unpacked(previous).filter(|_| self.chosen.has(*index)) {
            let len = layer.len();
            let end = self.used.saturating_add(UNPACKED_HEAD).saturating_add(len);
            if let Some(place) = self.room.get_mut(self.used..end)
                && let Some((head, place)) = place.split_first_chunk_mut()
            {
                let pools = does_pool(self.model, op, previous, rest);
                *head = Head { index: *index, pools, len: len as u32 }.bytes();
                place.fill(0);
                op.unpack(previous, self.model.section(), place);
                self.used = end;
                self.layers = self.layers.wrapping_add(1);
            }
        }
        self.walk.end(op.output());
    }
}

/// Whether an operator does the maximum pooling behind it as well: that reads its output, and nobody
/// else does.
fn does_pool<R: Record, const KINDS: u32>(
    model: &Model<'_, KINDS>,
    op: &R,
    previous: &Tensor,
    rest: &[u8],
) -> bool {
    let Some(pool) = pool_behind(rest) else { return false };
    if pool.input != Source::Previous || !op.takes_in(previous, model.section(), &pool) {
        return false;
    }
    let mut readers = Readers { of: op.output(), found: false };
    let mut records = model.records();
    while ops::visit::<KINDS>(&mut records, &mut readers).is_some() {}
    !readers.found
}

/// Looks for operators that read a place by its address.
struct Readers<'t> {
    of: &'t Tensor,
    found: bool,
}

impl Visitor for Readers<'_> {
    fn visit<R: Record>(&mut self, op: &R, _: &[u8]) {
        for source in op.inputs() {
            if let Source::At(tensor) = source {
                let (start, end) = (self.of.offset as usize, self.of.end());
                self.found |= (tensor.offset as usize) < end && start < tensor.end();
            }
        }
    }
}

/// Adds up what all layers take.
pub(crate) struct Total {
    walk: Walk,
    len: usize,
}

impl Total {
    /// Of a model.
    pub(crate) fn of<const KINDS: u32>(model: &Model<'_, KINDS>) -> usize {
        let mut total = Self { walk: Walk::new(model), len: 0 };
        let mut records = model.records();
        while ops::visit::<KINDS>(&mut records, &mut total).is_some() {}
        total.len
    }
}

impl Visitor for Total {
    fn visit<R: Record>(&mut self, op: &R, _: &[u8]) {
        if let Some(layer) = op.unpacked(&self.walk.previous) {
            self.len = add_unpacked(self.len, &layer);
        }
        self.walk.end(op.output());
    }
}

#[cfg(test)]
mod tests;
