//! All that slots can do, over flash and a gate that do nothing: the code that slots themselves take.

use core::convert::Infallible;
use core::hint::black_box;

use bitsback_runtime::ParseError;
use bitsback_slots::{Announced, Error, Gate, Layout, MappedFlash, Reason, Restart, Slots};
use embedded_storage::nor_flash::{ErrorType, NorFlash, ReadNorFlash};

const PAGE: usize = 1024;
const SLOT_LEN: u32 = 32 * 1024;
static MEMORY: [u8; 64] = [0; 64];

struct Flash;

impl ErrorType for Flash {
    type Error = Infallible;
}

impl ReadNorFlash for Flash {
    const READ_SIZE: usize = 4;

    fn read(&mut self, _: u32, bytes: &mut [u8]) -> Result<(), Infallible> {
        black_box(bytes);
        Ok(())
    }

    fn capacity(&self) -> usize {
        black_box(2 * (PAGE + SLOT_LEN as usize))
    }
}

impl NorFlash for Flash {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = PAGE;

    fn erase(&mut self, from: u32, _: u32) -> Result<(), Infallible> {
        black_box(from);
        Ok(())
    }

    fn write(&mut self, _: u32, bytes: &[u8]) -> Result<(), Infallible> {
        black_box(bytes);
        Ok(())
    }
}

impl MappedFlash for Flash {
    fn slice(&self, _: u32, len: usize) -> Option<&[u8]> {
        MEMORY.get(..black_box(len))
    }
}

struct Open;

impl Gate for Open {
    type Refusal = Infallible;

    fn announced(&self, _: &[u8]) -> Result<Announced, Infallible> {
        Ok(Announced { version: black_box(1), model_len: black_box(1) })
    }

    fn check_model(&self, _: &[u8], _: &[u8]) -> Result<(), Infallible> {
        black_box(Ok(()))
    }

    fn parse(&self, _: &[u8]) -> Result<(), ParseError> {
        black_box(Ok(()))
    }
}

/// Every call once.
pub(crate) fn run() {
    let layout = black_box(Layout::contiguous(0, PAGE as u32, SLOT_LEN));
    let Ok(slots) = Slots::start(Flash, Open, layout, black_box(Restart::Other)) else { return };
    let mut slots = slots;
    let _ = black_box(update(&mut slots));
    black_box((slots.model(), slots.chosen(), slots.fault(), slots.received(), slots.state()));
    black_box(slots.note(black_box(Reason::FieldChanged))).ok();
    black_box(slots.roll_back(black_box(Reason::Alarm))).ok();
}

fn update(slots: &mut Slots<Flash, Open>) -> Result<(), Error<Infallible, Infallible>> {
    let there = slots.begin(black_box(&MEMORY))?;
    slots.write(black_box(MEMORY.get(there as usize..).unwrap_or_default()))?;
    slots.finish()?;
    slots.activate(black_box(1))?;
    slots.confirm()
}
