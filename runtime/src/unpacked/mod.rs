//! Weights that were unpacked once, into memory of the caller's, so that inference needn't do it again.
//!
//! Each layer begins on a multiple of four with its operator's number, whether it does the pooling
//! behind it as well, and its length; then come its biases and weights. They are in the order of the
//! operators, so that inference finds one after the other. All of it is written here, from a model, and
//! read by slices: nothing relies on it but the outputs.

use crate::arch::{Isa, Kernels};
use crate::format::{
    MAX_OPS, Reader, Source, Tensor, UNPACKED_ALIGNMENT, UNPACKED_HEAD, add_unpacked,
};
use crate::model::Model;
use crate::ops::operands::split;
use crate::ops::unpacked::aligned;
use crate::ops::{self, MaxPool2d, OpKind, Record, Unpacking, Visitor};

/// Where an interpreter has the weights of layers from: [`Stored`] or [`Unpacked`].
pub trait Weights: Copy + sealed::Run {}

impl Weights for Stored {}
impl Weights for Unpacked<'_> {}

/// One operator of an inference.
pub struct Place<'p> {
    pub(crate) index: u16,
    pub(crate) previous: &'p Tensor,
    pub(crate) section: &'p [u8],
    /// The records behind it.
    pub(crate) rest: &'p [u8],
    /// Whether each operator reads the output of the one before, and nothing else.
    pub(crate) is_chain: bool,
    /// Whether, besides, nobody else sees that: then the next one may have its work done.
    pub(crate) may_pool: bool,
}

pub(crate) mod sealed {
    use super::Place;
    use crate::ops::Record;

    /// Runs operators, one after the other, of a program that has those in `KINDS`.
    pub trait Run {
        /// Runs the next one.
        #[expect(private_bounds, reason = "nobody else calls it")]
        fn run<R: Record, const KINDS: u32>(&mut self, op: &R, place: &Place<'_>, arena: &mut [i8]);
    }
}

/// The layers' weights as they are in the model's bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stored {
    /// The next operator's work is done: its output is at the beginning of what it reads.
    done: bool,
}

impl sealed::Run for Stored {
    #[expect(private_bounds, reason = "as in the trait")]
    #[inline(always)]
    fn run<R: Record, const KINDS: u32>(&mut self, op: &R, place: &Place<'_>, arena: &mut [i8]) {
        let &Place { previous, section, is_chain, may_pool, .. } = place;
        let pools = const { has::<KINDS>(OpKind::CodedConv2d) && has::<KINDS>(OpKind::MaxPool2d) };
        if pools && R::KIND == OpKind::MaxPool2d && core::mem::take(&mut self.done) {
            move_pooled(op, previous, arena);
            return;
        }
        if R::KIND == OpKind::CodedConv2d
            && is_chain
            && let Some(done) = run_in_room(op, pools && may_pool, place, arena)
        {
            self.done = done;
            return;
        }
        run_stored(op, previous, section, arena);
    }
}

/// Runs an operator with its weights as they are in the model's bytes.
#[inline(never)] // what one operator has on the stack isn't there while others run
fn run_stored(op: &impl Record, previous: &Tensor, section: &[u8], arena: &mut [i8]) {
    op.run(previous, section, arena);
}

/// Runs a convolution with all its filters at once, rather than some on the stack, where what others have written
/// is of no use any more; and the pooling behind it if it `pools` and can. Returns whether that is done.
#[inline(never)] // for a frame of its own, which nobody else carries
fn run_in_room(
    op: &impl Record,
    pools: bool,
    &Place { previous, section, rest, .. }: &Place<'_>,
    arena: &mut [i8],
) -> Option<bool> {
    let pool = if pools { pool_behind(rest) } else { None };
    let pool = pool.filter(|pool| op.takes_in(previous, section, pool));
    let done = pool.is_some();
    op.run_in_room(&Unpacking { previous, section, pool }, arena).map(|()| done)
}

/// Whether a kind is in a set.
const fn has<const KINDS: u32>(kind: OpKind) -> bool {
    KINDS & kind.bit() != 0
}

/// Moves a pooling's output, which the convolution before it has left where its own would be.
#[inline(never)]
fn move_pooled(pool: &impl Record, previous: &Tensor, arena: &mut [i8]) {
    let (inputs, output) = split(arena, pool.output());
    Isa::copy(output, inputs.get(previous));
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
    fn run<R: Record, const KINDS: u32>(&mut self, op: &R, place: &Place<'_>, arena: &mut [i8]) {
        let &Place { index, previous, section, rest, may_pool, .. } = place;
        if R::KIND == OpKind::MaxPool2d && core::mem::take(&mut self.done) {
            move_pooled(op, previous, arena);
            return;
        }
        let Some((pools, bytes)) = self.next(index) else {
            run_stored(op, previous, section, arena);
            return;
        };
        let pool = if pools && may_pool { pool_behind(rest) } else { None };
        let done = pool.is_some();
        op.run_unpacked(&Unpacking { previous, section, pool }, bytes, arena);
        self.done = done;
    }
}

/// The pooling that is the next record.
fn pool_behind(rest: &[u8]) -> Option<MaxPool2d> {
    let (&tag, record) = rest.split_first()?;
    let mut reader = Reader::new(record);
    let pool = (tag == OpKind::MaxPool2d as u8).then(|| reader.take::<MaxPool2d>())?;
    (reader.is_sound() && pool.input == Source::Previous).then_some(pool)
}

impl<'u> Unpacked<'u> {
    /// Unpacks as many layers of a model as there is room for: those first that cost an inference most
    /// for the room that they take.
    pub fn new<const KINDS: u32>(model: &Model<'_, KINDS>, room: &'u mut [u8]) -> Self {
        let room = aligned(room);
        let chosen = Chosen::of(model, room.len());
        let fill = Fill { may_pool: model.is_chain(), chosen, room, used: 0, layers: 0 };
        let Task::Fill(fill) = walk(model, Task::Fill(fill)) else { return Self::NONE };
        let Fill { room, used, layers, .. } = fill;
        let rest: &'u [u8] = room;
        Self { rest: rest.get(..used).unwrap_or_default(), layers, done: false }
    }

    /// No layer.
    pub const NONE: Self = Self { rest: &[], layers: 0, done: false };
}

/// Bytes that all layers of a model take; see [`Model::weights_len`].
pub(crate) fn total<const KINDS: u32>(model: &Model<'_, KINDS>) -> usize {
    match walk(model, Task::Add(0)) {
        Task::Add(len) => len,
        _ => 0,
    }
}

/// Goes through a model's operators once.
#[inline(never)]
fn walk<'t, const KINDS: u32>(model: &Model<'_, KINDS>, task: Task<'t>) -> Task<'t> {
    let (previous, section) = (model.input().clone(), model.section());
    let mut walk = Walk { index: 0, previous, section, task };
    let mut records = model.records();
    while ops::visit::<KINDS>(&mut records, &mut walk).is_some() {}
    walk.task
}

/// What a walk is for: one type for all, so that their code is there once for each operator.
enum Task<'t> {
    /// Adds up what layers take.
    Add(usize),
    /// Looks for the layer that is the most worthwhile of those that weren't seen.
    Find(Chosen, Option<Candidate>),
    /// Unpacks the chosen ones.
    Fill(Fill<'t>),
}

/// Where a walk through the operators is.
struct Walk<'s, 't> {
    index: u16,
    previous: Tensor,
    section: &'s [u8],
    task: Task<'t>,
}

impl Visitor for Walk<'_, '_> {
    fn visit<R: Record>(&mut self, op: &R, rest: &[u8]) {
        let (index, previous, section) = (self.index, &self.previous, self.section);
        if let Some(layer) = op.unpacked(previous) {
            match &mut self.task {
                Task::Add(len) => *len = add_unpacked(*len, &layer),
                // A model that was only trusted may have more operators than are kept here.
                Task::Find(seen, best) if index < MAX_OPS && !seen.has(index) => {
                    let len = layer.len().saturating_add(UNPACKED_HEAD);
                    let found = Candidate { index, len, steps: op.steps(previous) };
                    if best.as_ref().is_none_or(|best| found.is_better(best)) {
                        *best = Some(found);
                    }
                }
                Task::Find(..) => {}
                Task::Fill(fill) => {
                    let pool = if fill.may_pool { pool_behind(rest) } else { None };
                    let pools = pool.is_some_and(|pool| op.takes_in(previous, section, &pool));
                    if let Some(place) = fill.place(index, layer.len(), pools) {
                        op.unpack(previous, section, place);
                    }
                }
            }
        }
        self.previous = op.output().clone();
        self.index = index.wrapping_add(1);
    }
}

/// A set of operators.
struct Chosen([u32; Self::WORDS]);

impl Chosen {
    const WORDS: usize = MAX_OPS as usize / 32;

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
        // The room begins aligned already.
        if total(model).saturating_sub(UNPACKED_ALIGNMENT - 1) <= room {
            return Self([u32::MAX; Self::WORDS]);
        }
        let (mut seen, mut chosen) = (Self([0; Self::WORDS]), Self([0; Self::WORDS]));
        let mut left = room;
        while let Task::Find(before, Some(found)) = walk(model, Task::Find(seen, None)) {
            seen = before;
            seen.add(found.index);
            if let Some(rest) = left.checked_sub(found.len) {
                left = rest;
                chosen.add(found.index);
            }
        }
        chosen
    }
}

/// A layer that could be unpacked.
struct Candidate {
    index: u16,
    len: usize,
    steps: u64,
}

impl Candidate {
    /// Whether it takes more steps a byte.
    fn is_better(&self, than: &Self) -> bool {
        let product = |steps: u64, len: usize| steps.saturating_mul(len as u64);
        product(self.steps, than.len) > product(than.steps, self.len)
    }
}

/// What chosen layers are unpacked into, one behind the other.
struct Fill<'t> {
    may_pool: bool,
    chosen: Chosen,
    room: &'t mut [u8],
    used: usize,
    layers: u16,
}

impl Fill<'_> {
    /// Zeros for a layer of `len` bytes, behind its head, if it was chosen.
    fn place(&mut self, index: u16, len: usize, pools: bool) -> Option<&mut [u8]> {
        let end = self.used.checked_add(UNPACKED_HEAD)?.checked_add(len)?;
        let len = u32::try_from(len).ok()?;
        let place = self.room.get_mut(self.used..end).filter(|_| self.chosen.has(index))?;
        let (head, place) = place.split_first_chunk_mut()?;
        *head = Head { index, pools, len }.bytes();
        place.fill(0);
        self.used = end;
        self.layers = self.layers.wrapping_add(1);
        Some(place)
    }
}

#[cfg(any(test, feature = "std"))]
mod chosen;
#[cfg(any(test, feature = "std"))]
pub use chosen::UnpackedOp;

#[cfg(test)]
mod tests;
