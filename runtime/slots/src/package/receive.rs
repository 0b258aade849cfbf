//! Packages into slots: checked once, unpacked as they come, deltas against the model that runs.

use super::gate::announced;
use super::{
    Authority, PAYLOAD_AT, PackageError, PackageGate, Progress, UnpackError, Unpacker, reader,
};
use crate::error::Error;
use crate::flash::MappedFlash;
use crate::slots::{Outcome, Slots};
use crate::staging::Cursor;

/// Bytes of the model that are made at a time.
const PIECE: usize = 64;

impl<F: MappedFlash, A: Authority, const KINDS: u32> Slots<F, PackageGate<A, KINDS>> {
    /// Begins to stage a package, or goes on with it: [`Unpacker::next`] says from which byte of the payload on it is
    /// sent to [`Self::take`]. `package` is its beginning of [`PAYLOAD_AT`] bytes; what follows isn't looked at.
    ///
    /// As [`Self::begin`], with one check of the signature, and nothing is erased for a delta to another model than
    /// the one that runs. After the last byte comes [`Self::finish`].
    ///
    /// # Errors
    /// As those of [`Self::begin`], and [`PackageError::Base`].
    pub fn begin_package(&mut self, package: &[u8]) -> Outcome<Unpacker, F, PackageGate<A, KINDS>> {
        self.cursor = Cursor::NONE;
        let admitted = self.gate.admit(package).map_err(Error::Refused)?;
        let head = package.get(..PAYLOAD_AT).unwrap_or_default();
        let announced = announced(admitted);
        self.check_room(announced)?;
        self.check_free(announced)?;
        let base = self.model().unwrap_or_default();
        admitted.check_base(base).map_err(Error::Refused)?;
        let base_len = base.len() as u32;
        let there = self.stage(head, announced)?;
        Ok(admitted.unpack(base_len, there))
    }

    /// Takes the next bytes of the payload, any number of them, and stages what they make of the model.
    ///
    /// # Errors
    /// When a delta is damaged, there are more bytes than the header says, or the flash fails: begin again.
    pub fn take(
        &mut self,
        unpacker: &mut Unpacker,
        payload: &[u8],
    ) -> Outcome<(), F, PackageGate<A, KINDS>> {
        let (mut rest, mut piece) = (payload, [0; PIECE]);
        loop {
            let base = reader(self.model().unwrap_or_default());
            let step = unpacker.step(rest, &mut piece, base);
            let Progress { taken, given } = step.map_err(|error| match error {
                UnpackError::Package(error) => Error::Refused(error),
                UnpackError::Base(error) => Error::Refused(PackageError::Delta(error)),
            })?;
            self.write(piece.get(..given).unwrap_or_default())?;
            rest = rest.get(taken..).unwrap_or_default();
            if taken == 0 && given == 0 {
                break;
            }
        }
        let len = unpacker.next();
        match rest.len() as u32 {
            0 => Ok(()),
            more => Err(Error::Incomplete { received: len.saturating_add(more), len }),
        }
    }
}
