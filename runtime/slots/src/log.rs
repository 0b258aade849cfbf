//! Two pages that keep the state through losses of power.
//!
//! A record is a state with a number and a checksum, and behind it a seal, a unit of zeros that is written
//! when the record is complete. The newest record counts. Three rules keep it:
//!
//! - *Nothing is written where an earlier start may have written.* A write that was cut off may read as
//!   erased, now and not later. So the first record after a start goes to a page that is erased for it, and
//!   only records of the same start follow behind it.
//! - *The page that isn't erased is that of the newest sealed record.* Any bit of the seal proves that the
//!   record below it was complete before, and so reads the same every time.
//! - *What reads well may be unstable*, as long as nothing behind it was begun. Where the newest record
//!   isn't sealed, anything behind it isn't erased, or the other page has no record, the state that was
//!   read is written once more before anybody acts upon it. A record's checksum is in another unit than its first fields, so that one which
//!   was cut off can't read as erased now and as sound later.

use core::mem;

use bitsback_runtime::format::crc32;
use embedded_storage::nor_flash::NorFlash;

use crate::error::Fault;
use crate::flash::{BLOCK, ERASED, erase, page_len, program};
use crate::state::{STATE_WORDS, State};

/// A record's number is far below this: a flash with a million cycles doesn't get there. Bytes by chance may.
const MAX_NUMBER: u32 = 1 << 31;
/// Words of the longest record: fields, checksum and seal, each a unit of the largest flash.
const MAX_RECORD_WORDS: usize = 3 * BLOCK / 4;
/// A record before it is written.
type Buffer = [[u8; 4]; MAX_RECORD_WORDS];

/// The two pages, and what this start knows of them.
#[derive(Debug)]
pub(crate) struct Log {
    /// The first page.
    start: u32,
    /// What is added to it for the page that isn't erased next: nothing, or a page.
    kept: u32,
    /// Where in it the next record goes; 0 until this start has written one.
    next: u32,
    /// The highest number that the flash may hold.
    number: u32,
}

/// What the pages said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) state: Option<State>,
    /// Whether another start could read something else: it must be written once more.
    pub(crate) is_unsettled: bool,
}

/// A page as it was read.
#[derive(Clone, Copy, Default)]
struct Contents {
    /// The number of the newest record, 0 without one.
    newest: u32,
    /// The number of the newest sealed record, 0 without one.
    sealed: u32,
    /// Whether there is anything behind the newest record, or without one.
    has_remains: bool,
}

impl Contents {
    /// Of two pages, the one with more is kept: sealed records before unsealed; of sealed ones, the newest; of
    /// unsealed ones, the oldest, since it was complete when the other was begun.
    fn rank(&self) -> u32 {
        match (self.sealed, self.newest) {
            (0, 0) => 0,
            (0, newest) => MAX_NUMBER.wrapping_sub(newest),
            (sealed, _) => MAX_NUMBER | sealed,
        }
    }
}

/// The word of a record that holds its checksum: behind the fields, and never in their first unit.
const fn checksum_at<F: NorFlash>() -> usize {
    if STATE_WORDS * 4 > F::WRITE_SIZE { STATE_WORDS } else { F::WRITE_SIZE / 4 }
}

/// The bytes of fields and checksum, whole units.
const fn body_len<F: NorFlash>() -> usize {
    (checksum_at::<F>() * 4 + 4).next_multiple_of(F::WRITE_SIZE)
}

/// A record with its seal.
const fn record_len<F: NorFlash>() -> u32 {
    (body_len::<F>() + F::WRITE_SIZE) as u32
}

impl Log {
    /// Reads the two pages that begin at `start`.
    pub(crate) fn open<F: NorFlash>(flash: &mut F, start: u32) -> (Self, Found) {
        let mut newest = None;
        let [first, second] =
            [0, page_len::<F>()].map(|page| read(flash, start.saturating_add(page), &mut newest));
        let kept = if first.rank() > second.rank() { 0 } else { page_len::<F>() };
        let (last, other) =
            if first.newest > second.newest { (first, second) } else { (second, first) };
        // A page that reads as empty may be one whose erasure was cut off, and hold a record the next time.
        let is_unsettled = last.newest != last.sealed
            || last.has_remains
            || other.newest == 0 && (other.has_remains || last.newest != 0);
        let number = match newest {
            // One more may have been begun behind it.
            Some((number, _)) => number.saturating_add(1),
            None => 0,
        };
        let state = newest.map(|(_, state)| state);
        (Self { start, kept, next: 0, number }, Found { state, is_unsettled })
    }

    /// Keeps a state. When this has returned, every later start reads it, until another is kept; when it
    /// fails, or power is lost, they read it or the one before.
    pub(crate) fn keep<F: NorFlash>(
        &mut self,
        flash: &mut F,
        state: &State,
    ) -> Result<(), Fault<F::Error>> {
        self.number = self.number.saturating_add(1);
        // After an error it isn't known what is there.
        let mut at = mem::take(&mut self.next);
        let mut page = self.kept;
        if at == 0 || at.saturating_add(record_len::<F>()) > page_len::<F>() {
            page = page_len::<F>().saturating_sub(page);
            at = 0;
            erase(flash, self.start.saturating_add(page))?;
        }
        let mut offset = self.start.saturating_add(page).saturating_add(at);
        let fields = state.encode(self.number);
        let mut buffer: Buffer = [[ERASED; 4]; MAX_RECORD_WORDS];
        for (to, &word) in buffer.iter_mut().zip(&fields) {
            *to = word;
        }
        if let Some(checksum) = buffer.get_mut(checksum_at::<F>()) {
            *checksum = crc32(&[fields.as_flattened()]).to_le_bytes();
        }
        let body = buffer.as_flattened().get(..body_len::<F>()).unwrap_or_default();
        let seal = [0; BLOCK];
        // The seal comes last, by itself.
        for block in body.chunks(BLOCK).chain(seal.get(..F::WRITE_SIZE)) {
            program(flash, offset, block)?;
            offset = offset.saturating_add(block.len() as u32);
        }
        self.kept = page;
        self.next = at.saturating_add(record_len::<F>());
        Ok(())
    }
}

/// Reads a page, and puts its newest record to `newest` if it is newer. Bytes that can't be read count as
/// remains.
fn read<F: NorFlash>(flash: &mut F, start: u32, newest: &mut Option<(u32, State)>) -> Contents {
    let mut contents = Contents::default();
    let mut at = 0;
    while at + record_len::<F>() <= page_len::<F>() {
        let mut buffer: Buffer = [[ERASED; 4]; MAX_RECORD_WORDS];
        let bytes = buffer.as_flattened_mut();
        let bytes = bytes.get_mut(..record_len::<F>() as usize).unwrap_or_default();
        let is_read = flash.read(start.saturating_add(at), bytes).is_ok();
        let is_blank = is_read && bytes.iter().all(|&byte| byte == ERASED);
        let seal = bytes.get(body_len::<F>()..).unwrap_or_default();
        let is_sealed = seal.iter().any(|&byte| byte != ERASED);
        match record::<F>(&buffer) {
            Some((number, state)) if is_read && contents.newest < number => {
                contents.newest = number;
                contents.has_remains = false;
                if is_sealed {
                    contents.sealed = number;
                }
                if newest.is_none_or(|(newest, _)| newest < number) {
                    *newest = Some((number, state));
                }
            }
            _ => contents.has_remains |= !is_blank,
        }
        at += record_len::<F>();
    }
    contents
}

/// Takes a record apart.
fn record<F: NorFlash>(buffer: &Buffer) -> Option<(u32, State)> {
    let fields = buffer.first_chunk()?;
    let checksum = buffer.get(checksum_at::<F>())?;
    let is_whole = crc32(&[fields.as_flattened()]).to_le_bytes() == *checksum;
    let (number, state) = State::decode(fields)?;
    (is_whole && number < MAX_NUMBER).then_some((number, state))
}
