//! Flash as slots need it: written in units, erased in pages, and seen by the processor as memory.

use embedded_storage::nor_flash::NorFlash;

use crate::error::Fault;

/// The most bytes that are written by one call, and the largest write unit: that of the largest
/// microcontrollers. Every unit divides it.
pub(crate) const BLOCK: usize = 32;
/// What an erased byte reads as.
pub(crate) const ERASED: u8 = 0xFF;

/// NOR flash that the processor can read as memory, so that a model is parsed and run where it lies.
pub trait MappedFlash: NorFlash {
    /// The `len` bytes from `offset` on, counted as [`NorFlash`] counts them; `None` if they aren't all there.
    fn slice(&self, offset: u32, len: usize) -> Option<&[u8]>;
}

impl<F: MappedFlash> MappedFlash for &mut F {
    fn slice(&self, offset: u32, len: usize) -> Option<&[u8]> {
        F::slice(self, offset, len)
    }
}

/// What slots ask of a kind of flash; a program for another kind doesn't compile.
pub(crate) const fn check_geometry<F: NorFlash>() {
    assert!(F::WRITE_SIZE.is_power_of_two() && F::WRITE_SIZE <= BLOCK, "a write unit is too large");
    assert!(F::WRITE_SIZE % F::READ_SIZE == 0, "a write unit can't be read back alone");
    assert!(F::ERASE_SIZE.is_power_of_two(), "a page isn't a power of two");
    assert!(F::ERASE_SIZE >= 4 * BLOCK && F::ERASE_SIZE <= 1 << 24, "a page holds no record");
}

/// The bytes of a page.
pub(crate) const fn page_len<F: NorFlash>() -> u32 {
    F::ERASE_SIZE as u32
}

/// Erases the page at `offset`.
pub(crate) fn erase<F: NorFlash>(flash: &mut F, offset: u32) -> Result<(), Fault<F::Error>> {
    flash.erase(offset, offset.saturating_add(page_len::<F>())).map_err(Fault::Flash)
}

/// Writes whole units, at most [`BLOCK`] bytes, and reads them back: a worn cell takes a write without a
/// word and keeps its bit.
pub(crate) fn program<F: NorFlash>(
    flash: &mut F,
    offset: u32,
    bytes: &[u8],
) -> Result<(), Fault<F::Error>> {
    flash.write(offset, bytes).map_err(Fault::Flash)?;
    let mut buffer = [0; BLOCK];
    let back = buffer.get_mut(..bytes.len()).ok_or(Fault::Worn { offset })?;
    flash.read(offset, back).map_err(Fault::Flash)?;
    if back == bytes { Ok(()) } else { Err(Fault::Worn { offset }) }
}
