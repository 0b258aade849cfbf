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
//! - *What reads well may be unstable*, as long as nothing behind it was begun. A record's checksum is in
//!   another unit than its fields, so that one which was cut off can't read as erased now and as sound later. Where there is anything behind the newest record that is neither
//!   erased nor sealed, the state that was read is written once more before anybody acts upon it.

use embedded_storage::nor_flash::NorFlash;

use crate::error::Fault;
use crate::flash::{BLOCK, ERASED, erase, page_len, program};
use crate::state::{STATE_LEN, State};

/// A record's number is far below this: a flash with a million cycles doesn't get there. Bytes by chance may.
const MAX_NUMBER: u32 = 1 << 31;

/// The two pages, and what this start knows of them.
#[derive(Debug)]
pub(crate) struct Log {
    /// The first page.
    start: u32,
    /// The page that isn't erased next.
    kept: Page,
    /// Where in it the next record goes: known only once this start has written one.
    next: Option<u32>,
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Page {
    First,
    Second,
}

impl Page {
    fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }
}

/// A record as it was read.
#[derive(Clone, Copy)]
struct Record {
    number: u32,
    state: State,
    is_sealed: bool,
}

/// A page as it was read.
#[derive(Clone, Copy, Default)]
struct Contents {
    newest: Option<Record>,
    /// The number of the newest sealed record.
    sealed: Option<u32>,
    /// Whether there is anything behind the newest record, or without one.
    has_remains: bool,
}

impl Contents {
    /// Of two pages, the one with more is kept: sealed before unsealed; of sealed ones, the newest; of
    /// unsealed ones, the oldest, since it was complete when the other was begun.
    fn rank(&self) -> Option<(bool, u32)> {
        match self.sealed {
            Some(number) => Some((true, number)),
            None => self.number().map(|number| (false, !number)),
        }
    }

    fn number(&self) -> Option<u32> {
        self.newest.map(|newest| newest.number)
    }
}

/// Bytes of a record's fields, in front of its checksum.
const FIELDS_LEN: usize = STATE_LEN - 4;
/// The longest record: fields, checksum and seal, each a unit of the largest flash.
const MAX_RECORD_LEN: usize = 3 * BLOCK;

/// Where the checksum is: behind the fields, and never in their first unit.
const fn checksum_at<F: NorFlash>() -> usize {
    if FIELDS_LEN > F::WRITE_SIZE { FIELDS_LEN } else { F::WRITE_SIZE }
}

/// The units of fields and checksum.
const fn body_len<F: NorFlash>() -> usize {
    (checksum_at::<F>() + STATE_LEN - FIELDS_LEN).next_multiple_of(F::WRITE_SIZE)
}

/// Where in a record each byte of a state goes.
fn places<F: NorFlash>() -> impl Iterator<Item = usize> {
    (0..FIELDS_LEN).chain(checksum_at::<F>()..)
}

/// A record with its seal.
const fn record_len<F: NorFlash>() -> usize {
    body_len::<F>() + F::WRITE_SIZE
}

impl Log {
    /// Reads the two pages that begin at `start`.
    pub(crate) fn open<F: NorFlash>(flash: &mut F, start: u32) -> (Self, Found) {
        let mut log = Self { start, kept: Page::Second, next: None, number: 0 };
        let first = read(flash, log.place::<F>(Page::First));
        let second = read(flash, log.place::<F>(Page::Second));
        if first.rank() > second.rank() {
            log.kept = Page::First;
        }
        let (newest, older) = match first.number() > second.number() {
            true => (first, second),
            false => (second, first),
        };
        let is_unsettled = match newest.newest {
            Some(record) => {
                // One more may have been begun behind it.
                log.number = record.number.saturating_add(1);
                !record.is_sealed
                    || newest.has_remains
                    || older.newest.is_none() && older.has_remains
            }
            None => newest.has_remains || older.has_remains,
        };
        (log, Found { state: newest.newest.map(|record| record.state), is_unsettled })
    }

    /// Keeps a state. When this has returned, every later start reads it, until another is kept; when it
    /// fails, or power is lost, they read it or the one before.
    pub(crate) fn keep<F: NorFlash>(
        &mut self,
        flash: &mut F,
        state: &State,
    ) -> Result<(), Fault<F::Error>> {
        self.number = self.number.saturating_add(1);
        let fits = |&at: &u32| at.saturating_add(record_len::<F>() as u32) <= page_len::<F>();
        // Taken: after an error it isn't known what is there.
        let (page, at) = match self.next.take().filter(fits) {
            Some(at) => (self.kept, at),
            None => {
                let page = self.kept.other();
                erase(flash, self.place::<F>(page))?;
                (page, 0)
            }
        };
        let offset = self.place::<F>(page).saturating_add(at);
        let mut buffer = [ERASED; MAX_RECORD_LEN];
        let body = buffer.get_mut(..body_len::<F>()).unwrap_or_default();
        let bytes = state.encode(self.number);
        for (&byte, to) in bytes.iter().zip(places::<F>()) {
            body.get_mut(to).into_iter().for_each(|place| *place = byte);
        }
        for (block, at) in body.chunks(BLOCK).zip((0..).step_by(BLOCK)) {
            program(flash, offset.saturating_add(at), block)?;
        }
        let seal = [0; BLOCK];
        let seal = seal.get(..F::WRITE_SIZE).unwrap_or_default();
        program(flash, offset.saturating_add(body.len() as u32), seal)?;
        self.kept = page;
        self.next = Some(at.saturating_add(record_len::<F>() as u32));
        Ok(())
    }

    fn place<F: NorFlash>(&self, page: Page) -> u32 {
        match page {
            Page::First => self.start,
            Page::Second => self.start.saturating_add(page_len::<F>()),
        }
    }
}

/// Reads a page. Bytes that can't be read count as remains.
fn read<F: NorFlash>(flash: &mut F, start: u32) -> Contents {
    let mut contents = Contents::default();
    let mut at = 0;
    while at + record_len::<F>() <= F::ERASE_SIZE {
        let mut buffer = [ERASED; MAX_RECORD_LEN];
        let bytes = buffer.get_mut(..record_len::<F>()).unwrap_or_default();
        let is_read = flash.read(start.saturating_add(at as u32), bytes).is_ok();
        let record = record::<F>(bytes).filter(|record| {
            is_read && contents.number().is_none_or(|number| number < record.number)
        });
        match record {
            Some(record) => {
                contents.sealed = contents.sealed.max(record.is_sealed.then_some(record.number));
                contents.newest = Some(record);
                contents.has_remains = false;
            }
            None => contents.has_remains |= !is_read || bytes.iter().any(|&byte| byte != ERASED),
        }
        at += record_len::<F>();
    }
    contents
}

/// Takes a record apart.
fn record<F: NorFlash>(bytes: &[u8]) -> Option<Record> {
    let (body, seal) = bytes.split_at_checked(body_len::<F>())?;
    let mut state = [0; STATE_LEN];
    for (byte, from) in state.iter_mut().zip(places::<F>()) {
        *byte = *body.get(from)?;
    }
    let (number, state) = State::decode(&state)?;
    let is_sealed = seal.iter().any(|&byte| byte != ERASED);
    (number < MAX_NUMBER).then_some(Record { number, state, is_sealed })
}
