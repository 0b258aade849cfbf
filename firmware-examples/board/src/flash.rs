//! Flash for models: the board's model slot, to be written and erased while the program runs.
//!
//! On an nRF51 that is its flash and its controller: pages of 1,024 bytes, words of four. The MPS2 boards have no
//! flash that a program writes; a part of their RAM stands for it, with what makes NOR flash what it is: bytes
//! are erased by the page, to ones, and written by units of eight bytes, each once between erasures. What it
//! doesn't show is a worn page, and an operation that power cut off.

use core::slice;
use core::sync::atomic::{AtomicBool, Ordering};

use bitsback_slots::MappedFlash;
use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash, check_erase, check_read, check_write,
};

use crate::{FLASH_BYTES, MODEL_SLOT_BYTES, MODEL_SLOT_ORIGIN};

/// The bytes of a page.
pub const PAGE: usize = 1024;

const _: () = assert!(FLASH_BYTES <= MODEL_SLOT_BYTES && MODEL_SLOT_ORIGIN.is_multiple_of(PAGE));

/// The flash that starts at the board's model slot. There is one.
#[derive(Debug)]
pub struct Flash(());

static IS_TAKEN: AtomicBool = AtomicBool::new(false);

impl Flash {
    /// The flash; `None` after the first time.
    pub fn take() -> Option<Self> {
        if IS_TAKEN.load(Ordering::Relaxed) {
            return None;
        }
        // Nothing comes between: one core, and no interrupt is enabled.
        IS_TAKEN.store(true, Ordering::Relaxed);
        Some(Self(()))
    }

    /// All of it.
    fn bytes(&self) -> &[u8] {
        // SAFETY: the slot is its own MEMORY region in memory.x, so the linker places nothing of ours in it; the
        // board has memory at every address of the region (boards.rs), which is `FLASH_BYTES` long or longer; any bit
        // pattern is a u8. Only `write` and `erase` change it. They borrow the only `Flash` there is
        // exclusively, so no slice of it is alive then; `model_slot`, which gives others, isn't built beside this.
        unsafe { slice::from_raw_parts(MODEL_SLOT_ORIGIN as *const u8, FLASH_BYTES) }
    }
}

impl ErrorType for Flash {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for Flash {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        check_read(self, offset, bytes.len())?;
        let from = self.slice(offset, bytes.len()).ok_or(NorFlashErrorKind::OutOfBounds)?;
        bytes.iter_mut().zip(from).for_each(|(to, &from)| *to = from);
        Ok(())
    }

    fn capacity(&self) -> usize {
        FLASH_BYTES
    }
}

impl MappedFlash for Flash {
    fn slice(&self, offset: u32, len: usize) -> Option<&[u8]> {
        let start = offset as usize;
        self.bytes().get(start..start.checked_add(len)?)
    }
}

impl NorFlash for Flash {
    const WRITE_SIZE: usize = controller::UNIT;
    const ERASE_SIZE: usize = PAGE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
        check_erase(self, from, to)?;
        for page in (from as usize..to as usize).step_by(PAGE) {
            controller::erase(self, page);
        }
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
        check_write(self, offset, bytes.len())?;
        let places = (offset as usize..).step_by(controller::UNIT);
        let (units, _) = bytes.as_chunks();
        places.zip(units).try_for_each(|(place, unit)| controller::write(self, place, unit))
    }
}

/// Puts a word at an offset that is a multiple of four.
///
/// # Safety
/// `offset` lies within `FLASH_BYTES`, and no reference to flash is alive.
#[inline(always)]
unsafe fn store(offset: usize, word: u32) {
    let place = (MODEL_SLOT_ORIGIN + offset) as *mut u32;
    // SAFETY: as `Flash::bytes` says, there is memory of the board and nothing of ours; the region begins at a
    // page and the offset is a multiple of four, so the word is aligned. The caller sees to the rest.
    unsafe { core::ptr::write_volatile(place, word) }
}

#[cfg(chip = "nrf51")]
mod controller {
    use embedded_storage::nor_flash::NorFlashErrorKind;

    use super::{Flash, MODEL_SLOT_ORIGIN, store};
    use crate::register::Register;

    /// A word.
    pub(super) const UNIT: usize = 4;

    /// Names the page to erase.
    const NVMC_ERASEPAGE: *mut u32 = 0x4001_E508 as *mut u32;
    const READ_ONLY: u32 = 0;
    const WRITE_ENABLED: u32 = 1;
    const ERASE_ENABLED: u32 = 2;

    /// Erases the page at an offset.
    pub(super) fn erase(_: &mut Flash, page: usize) {
        configure(ERASE_ENABLED);
        // SAFETY: the register is the controller's, aligned, and no Rust object. What it erases is a page of the
        // model slot (the caller has checked the bounds), which nobody sees now: `Flash` is borrowed exclusively.
        unsafe { core::ptr::write_volatile(NVMC_ERASEPAGE, (MODEL_SLOT_ORIGIN + page) as u32) }
        configure(READ_ONLY);
    }

    /// Writes a word, of which ones leave the bits that are there.
    pub(super) fn write(
        _: &mut Flash,
        place: usize,
        unit: &[u8; UNIT],
    ) -> Result<(), NorFlashErrorKind> {
        configure(WRITE_ENABLED);
        // SAFETY: the caller has checked bounds and alignment, and `Flash` is borrowed exclusively. The
        // controller is told that a store to flash is a write.
        unsafe { store(place, u32::from_le_bytes(*unit)) }
        configure(READ_ONLY);
        Ok(())
    }

    /// Waits for the operation before, and says what the next store does.
    fn configure(mode: u32) {
        wait();
        Register::NVMC_CONFIG.write(mode);
        wait();
    }

    fn wait() {
        while Register::NVMC_READY.read() & 1 == 0 {}
    }
}

#[cfg(chip = "mps2")]
mod controller {
    use embedded_storage::nor_flash::NorFlashErrorKind;

    use super::{Flash, PAGE, store};
    use bitsback_slots::MappedFlash;

    /// As flash that keeps a checksum of each unit.
    pub(super) const UNIT: usize = 8;

    /// Erases the page at an offset.
    pub(super) fn erase(_: &mut Flash, page: usize) {
        for place in (page..page + PAGE).step_by(4) {
            // SAFETY: the caller has checked the bounds, and `Flash` is borrowed exclusively.
            unsafe { store(place, u32::MAX) }
        }
    }

    /// Writes a unit, which has to be erased.
    pub(super) fn write(
        flash: &mut Flash,
        place: usize,
        unit: &[u8; UNIT],
    ) -> Result<(), NorFlashErrorKind> {
        if flash.slice(place as u32, UNIT) != Some(&[0xFF; UNIT]) {
            return Err(NorFlashErrorKind::Other);
        }
        let (words, _) = unit.as_chunks();
        for (at, word) in (place..).step_by(4).zip(words) {
            // SAFETY: the caller has checked bounds and alignment, and `Flash` is borrowed exclusively.
            unsafe { store(at, u32::from_le_bytes(*word)) }
        }
        Ok(())
    }
}
