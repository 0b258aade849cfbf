//! The header: which model a package brings, and what the model needs.
//!
//! | bytes | field |
//! |---|---|
//! | 0..4 | magic `BBKP` |
//! | 4 | version of the package format |
//! | 5 | 0 full, 1 delta |
//! | 6 | [`Isa`] that the model was laid out for, 0 for any |
//! | 7 | version of the model's format |
//! | 8 | version of its numerics |
//! | 9 | [`FeatureSet`] of the runtime |
//! | 10..12 | zero |
//! | 12..16 | [`KeyId`] of the key that signed |
//! | 16..20 | version of the model |
//! | 20..24 | bytes of the model |
//! | 24..28 | bytes of the payload |
//! | 28..32 | bytes of RAM |
//! | 32..36 | operator kinds, as in the model's header |
//! | 36..68 | SHA-256 of the model |
//! | 68..100 | SHA-256 of the base, zero in a full package |

use bitsback_runtime::{Model, format};

use super::error::PackageError;
use super::features::FeatureSet;
use super::isa::Isa;
use super::key::KeyId;

/// First bytes of a package.
pub const MAGIC: [u8; 4] = *b"BBKP";
/// Layout of the bytes.
pub const PACKAGE_VERSION: u8 = 1;
/// Bytes of the header.
pub const HEADER_LEN: usize = 100;

/// A SHA-256.
pub type Digest = [u8; 32];

/// Where the byte of the kind is.
const KIND_AT: usize = 5;
/// Where the zeros are.
const RESERVED_AT: usize = 10;
/// Where the model's length is.
const MODEL_LEN_AT: usize = 20;
/// Where the payload's length is.
const PAYLOAD_LEN_AT: usize = 24;
/// Where the base's digest is.
const BASE_AT: usize = 68;

const FULL: u8 = 0;
const DELTA: u8 = 1;

/// What a model needs of a device, beside flash for its own bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Kernels that it was laid out for. On others it gives the same bytes, but slower.
    pub isa: Isa,
    /// Version of the model's format.
    pub format_version: u8,
    /// Version of its numerics.
    pub numerics_version: u8,
    /// Optional parts of the runtime that it uses.
    pub features: FeatureSet,
    /// Bytes of RAM: the arena, and more if its maker says so.
    pub ram: u32,
    /// Operators that it uses.
    pub op_kinds: u32,
}

impl Needs {
    /// What a model needs that was laid out for such kernels, with so many bytes of RAM.
    pub fn of<const KINDS: u32>(model: &Model<'_, KINDS>, isa: Isa, ram: u32) -> Self {
        let found = model.header();
        Self {
            isa,
            format_version: found.format_version,
            numerics_version: found.numerics_version,
            features: FeatureSet::of(model.features()),
            ram,
            op_kinds: found.op_kinds,
        }
    }
}

/// The header's fields: an allegation, until [`super::Signed::open`] has returned them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Which key signed it.
    pub key: KeyId,
    /// The model's version: a counter that only goes up.
    pub version: u32,
    /// Bytes of the model.
    pub model_len: u32,
    /// Bytes of the payload.
    pub payload_len: u32,
    /// What the model needs.
    pub needs: Needs,
    /// SHA-256 of the model.
    pub digest: Digest,
    /// SHA-256 of the model that a delta was made from; `None` in a full package.
    pub base: Option<Digest>,
}

impl Header {
    /// Reads the fields, each with a value that a package may have.
    ///
    /// # Errors
    /// [`PackageError::Magic`], [`PackageError::Format`] or [`PackageError::Field`].
    pub fn read(bytes: &[u8; HEADER_LEN]) -> Result<Self, PackageError> {
        let mut rest = bytes.as_slice();
        if take::<4>(&mut rest)? != MAGIC {
            return Err(PackageError::Magic);
        }
        let [found, kind, isa, format_version] = take(&mut rest)?;
        if found != PACKAGE_VERSION {
            return Err(PackageError::Format { found });
        }
        let [numerics_version, features, reserved @ ..] = take::<4>(&mut rest)?;
        let key = KeyId(take(&mut rest)?);
        let mut word = || take(&mut rest).map(u32::from_le_bytes);
        let [version, model_len, payload_len, ram, op_kinds] =
            [word()?, word()?, word()?, word()?, word()?];
        let (digest, base) = (take(&mut rest)?, take::<32>(&mut rest)?);
        let is_delta = kind == DELTA;
        let is_len = (format::HEADER_LEN as u32..=format::MAX_FILE_LEN).contains(&model_len);
        // A delta that is longer than its model helps nobody.
        let fits = if is_delta { payload_len <= model_len } else { payload_len == model_len };
        for (is_sound, offset) in [
            (is_delta || kind == FULL, KIND_AT),
            (reserved == [0; 2], RESERVED_AT),
            (is_len, MODEL_LEN_AT),
            (fits, PAYLOAD_LEN_AT),
            (is_delta || base == [0; 32], BASE_AT),
        ] {
            if !is_sound {
                return Err(PackageError::Field { offset });
            }
        }
        let (isa, features) = (Isa(isa), FeatureSet(features));
        let needs = Needs { isa, format_version, numerics_version, features, ram, op_kinds };
        let base = is_delta.then_some(base);
        Ok(Self { key, version, model_len, payload_len, needs, digest, base })
    }

    /// The header's bytes.
    pub fn emit(&self) -> [u8; HEADER_LEN] {
        let Needs { isa, format_version, numerics_version, features, ram, op_kinds } = self.needs;
        let kind = if self.base.is_some() { DELTA } else { FULL };
        let mut bytes = [0; HEADER_LEN];
        let mut rest = bytes.as_mut_slice();
        put(&mut rest, MAGIC);
        put(&mut rest, [PACKAGE_VERSION, kind, isa.0, format_version]);
        put(&mut rest, [numerics_version, features.0, 0, 0]);
        put(&mut rest, self.key.0);
        for word in [self.version, self.model_len, self.payload_len, ram, op_kinds] {
            put(&mut rest, word.to_le_bytes());
        }
        put(&mut rest, self.digest);
        put(&mut rest, self.base.unwrap_or_default());
        bytes
    }
}

impl Header {
    /// Checks that `model` is the one that the header means.
    ///
    /// # Errors
    /// [`PackageError::Digest`] if it is another.
    pub fn check_digest(&self, model: &[u8]) -> Result<(), PackageError> {
        if super::digest(model) == self.digest { Ok(()) } else { Err(PackageError::Digest) }
    }
}

/// The next bytes. They are always there: this is for the compiler, which then needs no panic.
fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], PackageError> {
    let cut = PackageError::Truncated { len: 0, needed: HEADER_LEN as u64 };
    let (bytes, after) = rest.split_first_chunk::<N>().ok_or(cut)?;
    *rest = after;
    Ok(*bytes)
}

/// Fills the next bytes.
fn put<const N: usize>(rest: &mut &mut [u8], bytes: [u8; N]) {
    if let Some((place, after)) = core::mem::take(rest).split_first_chunk_mut::<N>() {
        *place = bytes;
        *rest = after;
    }
}
