//! Which layers are unpacked into a buffer of some length, for tools that say what that saves.

use std::vec::Vec;

use super::Chosen;
use crate::format::{Source, UNPACKED_ALIGNMENT};
use crate::model::Model;
use crate::ops::Op;

/// An operator whose weights are unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnpackedOp {
    /// Its number, counted from 0.
    pub index: u16,
    /// Whether it does the maximum pooling behind it as well.
    pub pools: bool,
}

impl<const KINDS: u32> Model<'_, KINDS> {
    /// The operators whose weights [`Unpacked::new`](crate::Unpacked::new) unpacks into `room` bytes, wherever
    /// these begin.
    pub fn unpacked_ops(&self, room: usize) -> Vec<UnpackedOp> {
        let chosen = Chosen::of(self, room.saturating_sub(UNPACKED_ALIGNMENT - 1));
        let mut found = Vec::new();
        let mut steps = self.ops().peekable();
        while let Some(step) = steps.next() {
            let operator = step.op.operator();
            if operator.unpacked(&step.previous).is_none() || !chosen.has(step.index) {
                continue;
            }
            let takes_in = |behind: &Op| match behind {
                Op::MaxPool2d(pool) if pool.input == Source::Previous => {
                    operator.takes_in(&step.previous, self.section(), pool)
                }
                _ => false,
            };
            let pools = self.is_chain() && steps.peek().is_some_and(|next| takes_in(&next.op));
            found.push(UnpackedOp { index: step.index, pools });
        }
        found
    }
}
