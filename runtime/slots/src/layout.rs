//! Where in the flash state and slots are.

use embedded_storage::nor_flash::NorFlash;

use crate::HEAD_LEN;
use crate::flash::page_len;
use crate::state::Slot;

/// The pages that slots use; nothing else may write to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The first of the two pages that hold the state.
    pub state: u32,
    /// Where each slot begins.
    pub slots: [u32; 2],
    /// The bytes of a slot, a whole number of pages: [`HEAD_LEN`] and its largest model.
    pub slot_len: u32,
}

/// Pages that hold the state.
pub(crate) const STATE_PAGES: u32 = 2;
/// Steps in which a slot's progress is noted: a reset costs at most this part of it, and a whole staging this
/// many records.
const STEPS: u32 = 16;

impl Layout {
    /// State, then both slots, one behind the other from `offset` on, in flash with pages of `page_len` bytes.
    pub const fn contiguous(offset: u32, page_len: u32, slot_len: u32) -> Self {
        let first = offset.saturating_add(page_len.saturating_mul(STATE_PAGES));
        Self { state: offset, slots: [first, first.saturating_add(slot_len)], slot_len }
    }

    /// Whether the parts are whole pages, apart, and within the flash.
    pub(crate) fn fits<F: NorFlash>(&self, flash: &F) -> bool {
        let page = page_len::<F>();
        let capacity = u32::try_from(flash.capacity()).unwrap_or(u32::MAX);
        let part = |start: u32, len: u32| {
            let end = start.checked_add(len).filter(|&end| end <= capacity)?;
            ((start | len) & page.wrapping_sub(1) == 0).then_some((start, end))
        };
        let [a, b] = self.slots;
        let parts = (
            part(self.state, page.saturating_mul(STATE_PAGES)),
            part(a, self.slot_len),
            part(b, self.slot_len),
        );
        let (Some(state), Some(a), Some(b)) = parts else { return false };
        let is_apart = |x: (u32, u32), y: (u32, u32)| x.1 <= y.0 || y.1 <= x.0;
        self.room() > 0 && is_apart(state, a) && is_apart(state, b) && is_apart(a, b)
    }

    pub(crate) fn slot(&self, slot: Slot) -> u32 {
        let [a, b] = self.slots;
        match slot {
            Slot::A => a,
            Slot::B => b,
        }
    }

    /// The largest model.
    pub(crate) fn room(&self) -> u32 {
        self.slot_len.saturating_sub(HEAD_LEN as u32)
    }

    /// The bytes from one note of progress to the next: whole pages, and a power of two.
    pub(crate) fn step<F: NorFlash>(&self) -> u32 {
        let mut step = page_len::<F>();
        while step < self.slot_len / STEPS {
            step = step.wrapping_mul(2);
        }
        step
    }
}
