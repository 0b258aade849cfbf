//! Packages that are made: for hosts, behind the feature `writer`.

mod delta;

use alloc::vec::Vec;

use bitsback_runtime::Model;
use ed25519_dalek::{Signer, SigningKey};

use super::header::{HEADER_LEN, Header, Needs};
use super::isa::Isa;
use super::key::{PublicKey, Signature, message, read_key};
use super::{PAYLOAD_AT, digest};

pub use delta::delta;

/// How the text of a secret key begins.
const HEAD: &[u8] = b"bitsback secret key 1\n";

/// What signs packages; it is overwritten when it is dropped.
#[derive(PartialEq, Eq)]
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// The key of a seed.
    pub fn new(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The key in a file of `bitsback keygen`; `None` if it is none.
    pub fn from_file(text: &str) -> Option<Self> {
        read_key(text, HEAD).map(|seed| Self::new(&seed))
    }

    /// Its seed.
    pub fn bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// The half that checks.
    pub fn public(&self) -> PublicKey {
        PublicKey::new(self.0.verifying_key().to_bytes())
    }

    /// The signature of a package's header.
    pub fn sign(&self, header: &[u8; HEADER_LEN]) -> Signature {
        self.0.sign(&message(header)).to_bytes()
    }
}

/// What a package says of its model that the model doesn't.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// A counter that only goes up.
    pub version: u32,
    /// The kernels that it was laid out for.
    pub isa: Isa,
    /// Bytes of RAM.
    pub ram: u32,
}

/// A package, and what was chosen between.
#[derive(Clone, Debug)]
pub struct Built {
    /// The whole file.
    pub bytes: Vec<u8>,
    /// What was signed.
    pub header: Header,
    /// Bytes of the delta, if one was tried.
    pub delta_len: Option<usize>,
}

impl Built {
    /// The model, or the delta.
    pub fn payload(&self) -> &[u8] {
        self.bytes.get(PAYLOAD_AT..).unwrap_or_default()
    }
}

/// Packs a model, its parsed form and its bytes, as a delta to `base` where that is smaller.
pub fn build<const KINDS: u32>(
    (model, bytes): (&Model<'_, KINDS>, &[u8]),
    base: Option<&[u8]>,
    about: About,
    key: &SecretKey,
) -> Built {
    let delta = base.map(|base| delta(base, bytes));
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

#[cfg(test)]
mod tests {
    use std::string::String;

    use super::*;

    #[test]
    fn keys_are_read_as_keygen_writes_them() {
        let file = |digits: &str, end: &str| String::from("bitsback secret key 1\n") + digits + end;
        let digits = "07".repeat(32);
        for end in ["", "\n", "\r\n"] {
            let key = SecretKey::from_file(&file(&digits, end)).unwrap();
            assert_eq!(key.bytes(), &[7; 32]);
        }
        for digits in [String::new(), "07".repeat(31), "0z".repeat(32), "07".repeat(31) + "0"] {
            assert!(SecretKey::from_file(&file(&digits, "\n")).is_none(), "{digits}");
        }
        let public = String::from("bitsback public key 1\n") + &digits;
        assert!(SecretKey::from_file(&public).is_none());
    }
}
