//! Update packages on the host: made of a model and a secret key, and checked as a device checks them.
//!
//! The format, every check, and what makes packages are those of [`bitsback_slots::package`]; here are keys in files,
//! and whole files. What [`build`] gives, [`check`] accepts with the key's public half.

mod error;
mod keys;

use bitsback_runtime::Limits;
use bitsback_slots::package::{
    Admitted, Authority, Device, Header, PAYLOAD_AT, PackageError, Signed, UnpackError, reader,
};

pub(crate) use bitsback_slots::package::writer::{About, Built, build};
pub(crate) use error::UpdateError;
pub(crate) use keys::{generate, public_path, read, read_public, write};

/// Checks a package in the order of a device, and gives the model.
///
/// # Errors
/// What is wrong first.
pub(crate) fn check(
    package: &[u8],
    base: Option<&[u8]>,
    device: &Device,
    key: &(impl Authority + ?Sized),
) -> Result<(Header, Vec<u8>), CheckError> {
    let admitted = Signed::open(package, key)?.admit(device)?;
    let header = *admitted.header();
    let payload = package.get(PAYLOAD_AT..).unwrap_or_default();
    let (len, needed) = (payload.len() as u64, u64::from(header.payload_len));
    if len < needed {
        let head = PAYLOAD_AT as u64;
        return Err(PackageError::Truncated { len: len + head, needed: needed + head }.into());
    }
    if len > needed {
        return Err(CheckError::Excess { bytes: len - needed });
    }
    let base = match (base, header.base) {
        (None, Some(_)) => return Err(CheckError::NoBase),
        (base, _) => base.unwrap_or_default(),
    };
    admitted.check_base(base)?;
    let model = unpack(&admitted, payload, base)?;
    admitted.model::<{ bitsback_runtime::ALL_KINDS }>(&model, Limits::default())?;
    Ok((header, model))
}

/// Why a package isn't accepted here.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckError {
    /// A device refuses it, too.
    #[error(transparent)]
    Refused(#[from] PackageError),
    /// Something follows the payload, which a device wouldn't see.
    #[error("{bytes} bytes follow the package's end")]
    Excess {
        /// How many.
        bytes: u64,
    },
    /// There is nothing to apply a delta to.
    #[error("is a delta, and needs the model that it was made from")]
    NoBase,
}

/// The model's bytes, by the device's own code.
fn unpack(admitted: &Admitted, payload: &[u8], base: &[u8]) -> Result<Vec<u8>, PackageError> {
    let mut unpacker = admitted.unpack(base.len().try_into().unwrap_or(u32::MAX), 0);
    // Bounded by the format's `MAX_FILE_LEN`, in a header that a trusted key has signed.
    let mut model = vec![0; admitted.header().model_len as usize];
    let (mut rest, mut at) = (payload, 0);
    while !unpacker.is_done()? {
        let room = model.get_mut(at..).unwrap_or_default();
        let step = unpacker.step(rest, room, reader(base)).map_err(|error| match error {
            UnpackError::Package(error) => error,
            UnpackError::Base(error) => error.into(),
        })?;
        rest = rest.get(step.taken..).unwrap_or_default();
        at += step.given;
    }
    Ok(model)
}

#[cfg(test)]
mod tests;
