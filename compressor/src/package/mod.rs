//! Update packages on the host: made of a model and a secret key, and checked as a device checks them.
//!
//! The format, and every check, are those of [`bitsback_slots::package`]; what only a host does is here: keys in
//! files, deltas, and whole files. What [`build`] gives, [`check`] accepts with the key's public half.

mod delta;
mod error;
mod keys;

use bitsback_runtime::{Limits, Model};
use bitsback_slots::package::{
    Admitted, Authority, Device, Header, Isa, Needs, PAYLOAD_AT, PackageError, Signed, UnpackError,
    digest, reader,
};

pub(crate) use error::UpdateError;
pub(crate) use keys::{SecretKey, public_path, read_public};

/// What a package says of its model that the model doesn't.
#[derive(Clone, Copy, Debug)]
pub(crate) struct About {
    /// A counter that only goes up.
    pub(crate) version: u32,
    /// The kernels that it was laid out for.
    pub(crate) isa: Isa,
    /// Bytes of RAM.
    pub(crate) ram: u32,
}

/// A package, and what was chosen between.
#[derive(Debug)]
pub(crate) struct Built {
    /// The whole file.
    pub(crate) bytes: Vec<u8>,
    /// What was signed.
    pub(crate) header: Header,
    /// Bytes of the delta, if one was tried.
    pub(crate) delta_len: Option<usize>,
}

/// Packs a model, as a delta to `base` where that is smaller.
pub(crate) fn build(
    (model, bytes): (&Model<'_>, &[u8]),
    base: Option<&[u8]>,
    about: About,
    key: &SecretKey,
) -> Built {
    let delta = base.map(|base| delta::delta(base, bytes));
    let is_smaller = |delta: &&Vec<u8>| delta.len() < bytes.len();
    let smaller = delta.as_ref().filter(is_smaller);
    let payload = smaller.map_or(bytes, Vec::as_slice);
    let header = Header {
        key: key.public().id(),
        version: about.version,
        // A model that was parsed has at most `MAX_FILE_LEN` bytes, and no payload is longer.
        model_len: model.header().file_len,
        payload_len: payload.len() as u32,
        needs: Needs::of(model, about.isa, about.ram),
        digest: digest(bytes),
        base: base.filter(|_| smaller.is_some()).map(digest),
    };
    let head = header.emit();
    let bytes = [&head[..], &key.sign(&head), payload].concat();
    Built { bytes, header, delta_len: delta.as_ref().map(Vec::len) }
}

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
