//! Update packages: a model on its way to a device, whole or as what changed, signed.
//!
//! ```text
//! header (100 bytes) | signature (64 bytes) | payload: the model, or a delta
//! ```
//! `docs/FORMAT.md` gives the bytes exactly. A package is an allegation, and each step of the check has a type
//! that only the step before gives:
//!
//! 1. [`Signed::open`]: the header was signed by a key that the device trusts. Nothing else of a package
//!    is looked at before.
//! 2. [`Signed::admit`]: the model isn't older than the one that runs, and the device has what it needs.
//! 3. [`Admitted::unpack`]: the payload becomes bytes of the model, in pieces of any size, in the caller's
//!    buffer; [`Unpacker`] resumes after any interruption.
//! 4. [`Admitted::model`]: what stands in the slot has the digest that was signed, and then
//!    [`bitsback_runtime::Model::parse`] accepts it.
//!
//! [`crate::Slots::begin_package`] and [`crate::Slots::take`] take these steps over slots, with the model that runs as
//! the base.
//!
//! The signature covers the header, and the digest in the header covers the model: so it is checked before the
//! first byte is written, and what is checked at the end is what will run, however it came there. A payload
//! that was changed on the way gives other bytes, and these are refused; until then it can write nothing
//! outside of the model's length and read nothing outside of the base.

mod delta;
mod error;
mod features;
mod gate;
mod header;
mod isa;
mod key;
mod receive;
mod unpack;
#[cfg(any(test, feature = "writer"))]
pub mod writer;

use bitsback_runtime::format::{FORMAT_VERSION, NUMERICS_VERSION};
use bitsback_runtime::{ALL_KINDS, Limits, Model};
use sha2::{Digest as _, Sha256};

pub use delta::{DeltaError, MAX_NUMBER_LEN, emit_number};
pub use error::PackageError;
pub use features::FeatureSet;
pub use gate::PackageGate;
pub use header::{Digest, HEADER_LEN, Header, MAGIC, Needs, PACKAGE_VERSION};
pub use isa::Isa;
pub use key::{Authority, DOMAIN, KeyId, PublicKey, SIGNATURE_LEN, Signature, message};
pub use unpack::{Progress, UnpackError, Unpacker, reader};

/// Where the payload starts: header and signature are before it.
pub const PAYLOAD_AT: usize = HEADER_LEN + SIGNATURE_LEN;

/// The SHA-256 of a model's bytes, which a package is signed for.
pub fn digest(model: &[u8]) -> Digest {
    Sha256::digest(model).into()
}

/// What a device has, and what runs on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// Version of the model that runs: the same and older ones are refused. `None`: none runs.
    pub installed: Option<u32>,
    /// Which kernels it has: [`Isa::HERE`] on the device itself.
    pub isa: Isa,
    /// Optional parts of the runtime: [`FeatureSet::HERE`] on the device itself.
    pub features: FeatureSet,
    /// Operators that the firmware holds: [`ALL_KINDS`], or those of `Model::parse_only`.
    pub op_kinds: u32,
    /// Bytes of RAM for a model's arena, and for weights if these are unpacked.
    pub ram: u32,
    /// Bytes of flash for a model.
    pub flash: u32,
}

impl Device {
    /// This build, with all operators and no model yet.
    pub const fn here(ram: u32, flash: u32) -> Self {
        let features = FeatureSet::HERE;
        Self { installed: None, isa: Isa::HERE, features, op_kinds: ALL_KINDS, ram, flash }
    }
}

/// A header that was signed by a trusted key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signed {
    header: Header,
}

impl Signed {
    /// Checks header and signature, with which a package begins; what follows them isn't looked at.
    ///
    /// # Errors
    /// What of the beginning is wrong; [`PackageError::Key`] and [`PackageError::Signature`] if `authority`
    /// didn't sign it.
    pub fn open(
        package: &[u8],
        authority: &(impl Authority + ?Sized),
    ) -> Result<Self, PackageError> {
        let cut = PackageError::Truncated { len: package.len() as u64, needed: PAYLOAD_AT as u64 };
        let (bytes, rest) = package.split_first_chunk::<HEADER_LEN>().ok_or(cut)?;
        let header = Header::read(bytes)?;
        let signature = rest.first_chunk::<SIGNATURE_LEN>().ok_or(cut)?;
        authority.check(header.key, &message(bytes), signature)?;
        Ok(Self { header })
    }

    /// What was signed.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// Checks that the device can run the model, and may.
    ///
    /// # Errors
    /// The first requirement that isn't met, in the order of [`PackageError`].
    pub fn admit(self, device: &Device) -> Result<Admitted, PackageError> {
        let Header { version: offered, model_len, needs, .. } = self.header;
        if let Some(installed) = device.installed
            && offered <= installed
        {
            return Err(PackageError::NotNewer { offered, installed });
        }
        if !needs.isa.runs_on(device.isa) {
            return Err(PackageError::Isa { needed: needs.isa, here: device.isa });
        }
        if needs.format_version != FORMAT_VERSION {
            return Err(PackageError::ModelFormat { needed: needs.format_version });
        }
        if needs.numerics_version != NUMERICS_VERSION {
            return Err(PackageError::Numerics { needed: needs.numerics_version });
        }
        let missing = needs.features.without(device.features);
        if missing != FeatureSet::default() {
            return Err(PackageError::Features { missing });
        }
        let missing = needs.op_kinds & !device.op_kinds;
        if missing != 0 {
            return Err(PackageError::Kinds { missing });
        }
        if needs.ram > device.ram {
            return Err(PackageError::Ram { needed: needs.ram, given: device.ram });
        }
        if model_len > device.flash {
            return Err(PackageError::Flash { needed: model_len, given: device.flash });
        }
        Ok(Admitted { header: self.header })
    }
}

/// A header that was signed, of a model that the device can run and may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admitted {
    header: Header,
}

impl Admitted {
    /// What was signed.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// Checks that `base`, the model that runs, is the one that a delta was made from. A full package has no
    /// base, and any will do.
    ///
    /// # Errors
    /// [`PackageError::Base`] if it is another.
    pub fn check_base(&self, base: &[u8]) -> Result<(), PackageError> {
        match self.header.base {
            Some(expected) if digest(base) != expected => Err(PackageError::Base),
            _ => Ok(()),
        }
    }

    /// What makes the model of the payload, of which `written` bytes are in the slot already: 0 at first. A
    /// delta is applied to a base of `base_len` bytes, which [`Self::check_base`] has accepted.
    pub fn unpack(&self, base_len: u32, written: u32) -> Unpacker {
        Unpacker::new(&self.header, base_len, written)
    }

    /// The model in `slot`, which may be longer: its bytes are those that were signed, and sound.
    ///
    /// # Errors
    /// [`PackageError::Truncated`], [`PackageError::Digest`] or [`PackageError::Model`], in that order.
    pub fn model<'s, const KINDS: u32>(
        &self,
        slot: &'s [u8],
        limits: Limits,
    ) -> Result<Model<'s, KINDS>, PackageError> {
        let needed = self.header.model_len;
        let cut = PackageError::Truncated { len: slot.len() as u64, needed: needed.into() };
        let bytes = slot.get(..needed as usize).ok_or(cut)?;
        self.header.check_digest(bytes)?;
        Model::parse_only_with(bytes, limits).map_err(PackageError::Model)
    }
}

#[cfg(test)]
mod tests;
