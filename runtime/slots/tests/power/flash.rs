//! NOR flash whose power goes when it is told to, and whose pages wear out.

use bitsback_slots::MappedFlash;
use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash,
};

use super::random::Random;

/// Why an operation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlashError {
    /// There is no power, from the cut on until [`Flash::power_up`].
    Power,
    /// The page is worn out.
    Worn,
    /// Bytes that aren't there, or not whole units or pages.
    Place,
}

impl NorFlashError for FlashError {
    fn kind(&self) -> NorFlashErrorKind {
        match self {
            Self::Place => NorFlashErrorKind::OutOfBounds,
            Self::Power | Self::Worn => NorFlashErrorKind::Other,
        }
    }
}

/// When power goes, of the operation in which it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    Before,
    During,
    After,
}

/// A loss of power in the operation of this number: a unit's write or a page's erasure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    pub step: u64,
    pub moment: Moment,
}

/// How a page is worn out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wear {
    /// Erasures fail.
    Erasures,
    /// Writes fail.
    Writes,
    /// Some bits stay cleared, and nobody says so.
    StuckBits,
}

/// Flash in which every unit is written once between erasures, or the test fails.
///
/// A write that is cut leaves any of the bits that it was to clear cleared, any as they were, and any
/// unstable; an erasure likewise of the page's cleared bits. Unstable bits read by chance: after each
/// [`Self::power_up`] all set, all cleared, or each read differently, page by page.
#[derive(Clone, Debug)]
pub struct Flash<const PAGE: usize, const WRITE: usize> {
    bytes: Vec<u8>,
    /// Bits that are read by chance.
    unstable: Vec<u8>,
    /// Units that mustn't be written before they are erased.
    is_used: Vec<bool>,
    /// How each page's unstable bits are read now.
    bias: Vec<u64>,
    is_unstable: bool,
    is_dead: bool,
    steps: u64,
    /// Those of them that were in the first two pages, where state is.
    state_steps: Vec<u64>,
    cuts: Vec<Cut>,
    random: Random,
    /// A page that is worn out.
    pub worn: Option<(usize, Wear)>,
    /// Erasures of each page.
    pub erasures: Vec<u32>,
}

impl<const PAGE: usize, const WRITE: usize> Flash<PAGE, WRITE> {
    /// Erased, of so many pages.
    pub fn new(pages: usize, seed: u64) -> Self {
        Self {
            bytes: vec![0xFF; pages * PAGE],
            unstable: vec![0; pages * PAGE],
            is_used: vec![false; pages * PAGE / WRITE],
            bias: vec![0; pages],
            is_unstable: false,
            is_dead: false,
            steps: 0,
            state_steps: Vec::new(),
            cuts: Vec::new(),
            random: Random(seed),
            worn: None,
            erasures: vec![0; pages],
        }
    }

    /// Puts bytes there as a programmer does before the device has power.
    pub fn provision(&mut self, offset: usize, bytes: &[u8]) {
        self.bytes[offset..offset + bytes.len()].copy_from_slice(bytes);
        self.is_used[offset / WRITE..(offset + bytes.len()).div_ceil(WRITE)].fill(true);
    }

    /// Chooses where power goes, in order, and starts the counting and the chance of that anew.
    pub fn plan(&mut self, cuts: &[Cut], seed: u64) {
        self.cuts = cuts.to_vec();
        self.cuts.reverse();
        self.random = Random(seed);
        self.steps = 0;
        self.state_steps.clear();
    }

    /// Whether power has gone.
    pub fn is_dead(&self) -> bool {
        self.is_dead
    }

    /// Operations so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The numbers of those that wrote or erased state.
    pub fn state_steps(&self) -> &[u64] {
        &self.state_steps
    }

    /// Power returns: unstable bits may read otherwise now.
    pub fn power_up(&mut self) {
        self.is_dead = false;
        for bias in &mut self.bias {
            *bias = self.random.below(3);
        }
        if self.is_unstable {
            self.shake(0, self.bytes.len());
        }
    }

    fn shake(&mut self, from: usize, to: usize) {
        for at in from..to {
            let mask = self.unstable[at];
            if mask != 0 {
                let bits = match self.bias[at / PAGE] {
                    0 => 0,
                    1 => 0xFF,
                    _ => self.random.byte(),
                };
                self.bytes[at] = self.bytes[at] & !mask | bits & mask;
            }
        }
    }

    /// Counts an operation, and says what becomes of it.
    fn step(&mut self, page: usize) -> Result<Option<Moment>, FlashError> {
        if self.is_dead {
            return Err(FlashError::Power);
        }
        let now = self.steps;
        self.steps += 1;
        if page < 2 {
            self.state_steps.push(now);
        }
        let Some(cut) = self.cuts.pop_if(|cut| cut.step <= now) else { return Ok(None) };
        self.is_dead = true;
        match cut.moment {
            Moment::Before => Err(FlashError::Power),
            moment => Ok(Some(moment)),
        }
    }

    /// Of some bits of a byte that change, those that have, and those that are unstable, for a cut of
    /// this kind.
    fn partly(&mut self, bits: u8, kind: u64) -> (u8, u8) {
        match kind {
            0 => (0, 0),
            1 => (bits, 0),
            2 => (bits, bits),
            _ => (bits & self.random.byte(), bits & self.random.byte()),
        }
    }

    fn write_unit(&mut self, offset: usize, unit: &[u8]) -> Result<(), FlashError> {
        let moment = self.step(offset / PAGE)?;
        if self.worn == Some((offset / PAGE, Wear::Writes)) {
            return Err(FlashError::Worn);
        }
        let is_worn = self.worn.is_some_and(|(page, _)| page == offset / PAGE);
        assert!(!self.is_used[offset / WRITE] || is_worn, "{offset:#x} is written twice");
        self.is_used[offset / WRITE] = true;
        let kind = self.random.below(6);
        for (at, &byte) in (offset..).zip(unit) {
            let (changed, unstable) = match moment {
                Some(Moment::During) => self.partly(self.bytes[at] & !byte, kind),
                _ => (!byte, 0),
            };
            self.bytes[at] &= !changed;
            self.unstable[at] |= unstable;
            self.is_unstable |= unstable != 0;
        }
        if moment.is_some() { Err(FlashError::Power) } else { Ok(()) }
    }

    fn erase_page(&mut self, page: usize) -> Result<(), FlashError> {
        let moment = self.step(page)?;
        if self.worn == Some((page, Wear::Erasures)) {
            return Err(FlashError::Worn);
        }
        self.erasures[page] += 1;
        let range = page * PAGE..(page + 1) * PAGE;
        let units = range.start / WRITE..range.end / WRITE;
        if moment == Some(Moment::During) {
            let kind = self.random.below(6);
            for at in range {
                let (changed, unstable) = self.partly(!self.bytes[at], kind);
                self.bytes[at] |= changed;
                self.unstable[at] |= unstable;
                self.is_unstable |= unstable != 0;
            }
            self.is_used[units].fill(true);
            return Err(FlashError::Power);
        }
        self.unstable[range.clone()].fill(0);
        self.is_used[units].fill(false);
        let is_stuck = self.worn == Some((page, Wear::StuckBits));
        for at in range {
            self.bytes[at] = if is_stuck { self.bytes[at] | self.random.byte() } else { 0xFF };
        }
        if moment.is_some() { Err(FlashError::Power) } else { Ok(()) }
    }
}

impl<const PAGE: usize, const WRITE: usize> ErrorType for Flash<PAGE, WRITE> {
    type Error = FlashError;
}

impl<const PAGE: usize, const WRITE: usize> ReadNorFlash for Flash<PAGE, WRITE> {
    const READ_SIZE: usize = WRITE;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), FlashError> {
        let range = offset as usize..offset as usize + bytes.len();
        if self.is_dead {
            return Err(FlashError::Power);
        }
        if range.end > self.bytes.len() || (range.start | range.end) & (WRITE - 1) != 0 {
            return Err(FlashError::Place);
        }
        if self.is_unstable {
            self.shake(range.start, range.end);
        }
        bytes.copy_from_slice(&self.bytes[range]);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

impl<const PAGE: usize, const WRITE: usize> NorFlash for Flash<PAGE, WRITE> {
    const WRITE_SIZE: usize = WRITE;
    const ERASE_SIZE: usize = PAGE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), FlashError> {
        let (from, to) = (from as usize, to as usize);
        if from > to || to > self.bytes.len() || (from | to) & (PAGE - 1) != 0 {
            return Err(FlashError::Place);
        }
        (from / PAGE..to / PAGE).try_for_each(|page| self.erase_page(page))
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), FlashError> {
        let offset = offset as usize;
        let end = offset + bytes.len();
        if end > self.bytes.len() || (offset | end) & (WRITE - 1) != 0 {
            return Err(FlashError::Place);
        }
        let units = (offset..).step_by(WRITE).zip(bytes.chunks_exact(WRITE));
        units.into_iter().try_for_each(|(at, unit)| self.write_unit(at, unit))
    }
}

impl<const PAGE: usize, const WRITE: usize> MappedFlash for Flash<PAGE, WRITE> {
    fn slice(&self, offset: u32, len: usize) -> Option<&[u8]> {
        self.bytes.get(offset as usize..)?.get(..len)
    }
}
