//! A model that arrives in pieces, and goes on arriving after a reset.

use crate::HEAD_LEN;
use crate::error::Error;
use crate::flash::{BLOCK, ERASED, MappedFlash, erase, page_len, program};
use crate::gate::{Announced, Gate};
use crate::slots::{Outcome, Slots};
use crate::state::{Other, model_part};

/// How far this start has come.
#[derive(Debug)]
pub(crate) struct Cursor {
    /// Bytes of the slot that are written.
    at: u32,
    /// Bytes of the slot when all is there; 0 when nothing is being staged.
    end: u32,
    /// What doesn't fill a block yet.
    block: [u8; BLOCK],
    filled: usize,
}

impl Cursor {
    /// Nothing is being staged.
    pub(crate) const NONE: Self = Self::new(0, 0);

    const fn new(at: u32, end: u32) -> Self {
        Self { at, end, block: [ERASED; BLOCK], filled: 0 }
    }

    fn received(&self) -> u32 {
        self.at.saturating_add(self.filled as u32)
    }
}

impl<F: MappedFlash, G: Gate> Slots<F, G> {
    /// Begins to stage the model that a head announces, or goes on with it, and gives the number of its bytes
    /// that are there already: those from there on are sent to [`Self::write`]. After a reset that is the
    /// last note of progress, of which a slot's length has at most 16.
    ///
    /// The gate has checked the head's signature, and the version is above all that this device has tried,
    /// before anything is erased. From then on the model that was in the slot is gone, and with it the way back
    /// of one that is confirmed.
    ///
    /// # Errors
    /// When the gate refuses the head, its version is too low, the model too long, or the other slot in use
    /// by a trial or by this start.
    pub fn begin(&mut self, head: &[u8]) -> Outcome<u32, F, G> {
        self.cursor.end = 0;
        if head.len() > HEAD_LEN {
            return Err(Error::Length { len: head.len() as u32, room: HEAD_LEN as u32 });
        }
        let announced = self.admit(head)?;
        self.check_free(announced)?;
        self.stage(head, announced)
    }

    /// Checks that a model is above all versions that were tried, and that nothing else needs its slot.
    pub(crate) fn check_free(&self, announced: Announced) -> Outcome<(), F, G> {
        let (found, floor) = (announced.version, self.state.floor());
        if found <= floor {
            return Err(Error::Version { found, floor });
        }
        if self.state.is_trial() || self.runs_in(self.state.other_slot()) {
            return Err(Error::InUse);
        }
        Ok(())
    }

    /// Begins to stage what has passed every check, or goes on with it.
    pub(crate) fn stage(&mut self, head: &[u8], announced: Announced) -> Outcome<u32, F, G> {
        let end = announced.model_len.saturating_add(HEAD_LEN as u32);
        if let Other::Staging { received } = self.state.other()
            && self.is_resumable(head, received, end)
        {
            self.cursor = Cursor::new(received, end);
            return Ok(model_part(received));
        }
        self.keep(&self.state.staged(0))?;
        self.cursor = Cursor::new(0, end);
        self.push(head)?;
        for _ in head.len()..HEAD_LEN {
            self.push(&[ERASED])?;
        }
        Ok(0)
    }

    /// Takes the next bytes of the model that [`Self::begin`] has begun, as many as there are.
    ///
    /// # Errors
    /// When they are more than announced, or the flash fails; begin again after the latter.
    pub fn write(&mut self, bytes: &[u8]) -> Outcome<(), F, G> {
        let end = self.cursor.end;
        if end == 0 {
            return Err(Error::NothingStaged);
        }
        let received = self.cursor.received();
        if bytes.len() > end.saturating_sub(received) as usize {
            let received = model_part(received).saturating_add(bytes.len() as u32);
            return Err(Error::Incomplete { received, len: model_part(end) });
        }
        self.push(bytes)
    }

    /// Ends the staging of a model whose bytes are all there: [`Self::activate`] may follow, now or after any
    /// number of starts.
    ///
    /// # Errors
    /// When bytes are missing, or the flash fails; begin again after the latter.
    pub fn finish(&mut self) -> Outcome<(), F, G> {
        let (received, end) = (self.cursor.received(), self.cursor.end);
        if end == 0 {
            return Err(Error::NothingStaged);
        }
        if received != end {
            return Err(Error::Incomplete { received: model_part(received), len: model_part(end) });
        }
        if self.cursor.filled > 0 {
            self.flush()?;
        }
        self.cursor.end = 0;
        let next = self.state.staged(end);
        if next == self.state { Ok(()) } else { self.keep(&next) }
    }

    /// Bytes of the model being staged that a reset wouldn't cost; `None` when none is.
    pub fn received(&self) -> Option<u32> {
        match self.state.other() {
            Other::Staging { received } => Some(model_part(received)),
            _ => None,
        }
    }

    /// Whether the slot has this head, and so many bytes behind it; progress is noted at whole pages, and when
    /// all is there.
    fn is_resumable(&self, head: &[u8], received: u32, end: u32) -> bool {
        let start = self.layout.slot(self.state.other_slot());
        let there =
            self.flash.slice(start, HEAD_LEN).and_then(|there| there.split_at_checked(head.len()));
        let is_whole = received & page_len::<F>().wrapping_sub(1) == 0 && received < end;
        received >= HEAD_LEN as u32
            && (is_whole || received == end)
            && there
                .is_some_and(|(same, rest)| same == head && rest.iter().all(|&byte| byte == ERASED))
    }

    /// Takes bytes, and writes blocks. After an error, nothing is being staged any more.
    fn push(&mut self, bytes: &[u8]) -> Outcome<(), F, G> {
        for &byte in bytes {
            let cursor = &mut self.cursor;
            if let Some(place) = cursor.block.get_mut(cursor.filled) {
                *place = byte;
                cursor.filled = cursor.filled.saturating_add(1);
            }
            if cursor.filled == BLOCK {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// Writes what the block holds, as whole units. A page is erased when its first block comes, never before:
    /// what is found there after a reset counts for nothing.
    fn flush(&mut self) -> Outcome<(), F, G> {
        let Cursor { at, end, ref block, filled } = self.cursor;
        self.cursor.end = 0;
        let offset = self.layout.slot(self.state.other_slot()).saturating_add(at);
        if at & page_len::<F>().wrapping_sub(1) == 0 {
            erase(&mut self.flash, offset)?;
        }
        let units = block.get(..filled.next_multiple_of(F::WRITE_SIZE)).unwrap_or_default();
        program(&mut self.flash, offset, units)?;
        let at = at.saturating_add(filled as u32);
        if at & self.layout.step::<F>().wrapping_sub(1) == 0 && at < end {
            self.keep(&self.state.staged(at))?;
        }
        self.cursor = Cursor::new(at, end);
        Ok(())
    }
}
