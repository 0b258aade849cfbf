//! Who may update a device: public keys, and what a signature says.
//!
//! Signatures are Ed25519 (RFC 8032) of [`message`]. They are checked strictly: points of small order, and
//! encodings that aren't the only one of their value, are refused, so that a signature fits one message and one key.

use core::fmt;

use ed25519_dalek::VerifyingKey;
use sha2::{Digest as _, Sha256};

use super::error::PackageError;
use super::header::HEADER_LEN;

/// Bytes of a signature.
pub const SIGNATURE_LEN: usize = 64;
/// What is signed begins with this, so that no signature that a key gave for another purpose fits a package.
pub const DOMAIN: [u8; 24] = *b"bitsback update package\n";

/// An Ed25519 signature.
pub type Signature = [u8; SIGNATURE_LEN];

/// The bytes that a package's signature is of: [`DOMAIN`] and the header.
pub fn message(header: &[u8; HEADER_LEN]) -> [u8; DOMAIN.len() + HEADER_LEN] {
    let mut bytes = [0; DOMAIN.len() + HEADER_LEN];
    let all = DOMAIN.iter().chain(header);
    bytes.iter_mut().zip(all).for_each(|(place, &byte)| *place = byte);
    bytes
}

/// A short name of a key: the first four bytes of its SHA-256. It tells a wrong key before a signature is
/// computed; nothing rests on it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyId(pub [u8; 4]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", u32::from_be_bytes(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Whoever tells that a package may be installed: keys here, or what a chip has in hardware.
pub trait Authority {
    /// Whether `signature` is one of `message`, by the key called `key`.
    ///
    /// # Errors
    /// [`PackageError::Key`] if that key isn't trusted, [`PackageError::Signature`] if the signature isn't its.
    fn check(&self, key: KeyId, message: &[u8], signature: &Signature) -> Result<(), PackageError>;
}

/// A public key, of 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

/// How the text of a public key begins.
const HEAD: &[u8] = b"bitsback public key 1\n";

impl PublicKey {
    /// The key with these bytes, whatever they are: with some, no signature fits.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The key in a file of `bitsback keygen`; `None` if it is none. For a constant in the firmware:
    ///
    /// ```
    /// use bitsback_slots::package::PublicKey;
    ///
    /// // include_str!("fleet.pub")
    /// # const FILE: &str = "bitsback public key 1\nd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a\n";
    /// const KEY: Option<PublicKey> = PublicKey::from_file(FILE);
    /// assert_eq!(KEY.map(|key| key.id().0), Some([0x21, 0xfe, 0x31, 0xdf]));
    /// ```
    pub const fn from_file(text: &str) -> Option<Self> {
        match read_key(text, HEAD) {
            Some(bytes) => Some(Self(bytes)),
            None => None,
        }
    }

    /// Its bytes.
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether signatures can be trusted with it: it is a point of the curve, and none of those of small order, with
    /// which some signatures fit any message.
    pub fn is_sound(&self) -> bool {
        VerifyingKey::from_bytes(&self.0).is_ok_and(|point| !point.is_weak())
    }

    /// Its short name.
    pub fn id(&self) -> KeyId {
        let [a, b, c, d, ..] = <[u8; 32]>::from(Sha256::digest(self.0));
        KeyId([a, b, c, d])
    }
}

/// The 32 bytes in the text of a key that begins with `head`.
pub(super) const fn read_key(text: &str, head: &[u8]) -> Option<[u8; 32]> {
    let Some((found, mut rest)) = text.as_bytes().split_at_checked(head.len()) else {
        return None;
    };
    let mut i = 0;
    while i < head.len() {
        if found[i] != head[i] {
            return None;
        }
        i += 1;
    }
    let mut bytes = [0; 32];
    let mut at = 0;
    while at < bytes.len() {
        let [high, low, after @ ..] = rest else { return None };
        let (Some(high), Some(low)) = (digit(*high), digit(*low)) else { return None };
        bytes[at] = high << 4 | low;
        rest = after;
        at += 1;
    }
    match rest {
        [] | [b'\n'] | [b'\r', b'\n'] => Some(bytes),
        _ => None,
    }
}

/// The value of a hexadecimal digit.
const fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.id())
    }
}

impl Authority for PublicKey {
    fn check(&self, key: KeyId, message: &[u8], signature: &Signature) -> Result<(), PackageError> {
        if key != self.id() {
            return Err(PackageError::Key { signed_by: key });
        }
        let signature = ed25519_dalek::Signature::from_bytes(signature);
        let point = VerifyingKey::from_bytes(&self.0).map_err(|_| PackageError::Signature)?;
        point.verify_strict(message, &signature).map_err(|_| PackageError::Signature)
    }
}

/// Any of several keys, so that one can follow another.
impl Authority for [PublicKey] {
    fn check(&self, key: KeyId, message: &[u8], signature: &Signature) -> Result<(), PackageError> {
        let refused = Err(PackageError::Key { signed_by: key });
        self.iter()
            .filter(|known| known.id() == key)
            .fold(refused, |found, known| found.or_else(|_| known.check(key, message, signature)))
    }
}

#[cfg(test)]
mod tests {
    use std::string::{String, ToString};
    use std::vec::Vec;

    use super::*;

    fn hex<const N: usize>(text: &str) -> [u8; N] {
        let digits: Vec<u8> = text.bytes().map(|byte| digit(byte).unwrap()).collect();
        let bytes: Vec<u8> = digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect();
        bytes.try_into().unwrap()
    }

    fn check(key: [u8; 32], message: &[u8], signature: [u8; 64]) -> Result<(), PackageError> {
        let key = PublicKey::new(key);
        key.check(key.id(), message, &signature)
    }

    /// RFC 8032, section 7.1: tests 1, 2, 3 and "SHA(abc)".
    const VECTORS: [(&str, &str, &str); 4] = [
        (
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555\
             fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da0\
             85ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ),
        (
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac1\
             8ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
        ),
        (
            "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
             2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
            "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b5890\
             9351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
        ),
    ];

    #[test]
    fn the_standards_vectors_pass_and_changed_ones_fail() {
        for (key, message, signature) in VECTORS {
            let (key, signature) = (hex(key), hex(signature));
            let message: Vec<u8> = match message {
                "" => Vec::new(),
                "72" => hex::<1>(message).to_vec(),
                "af82" => hex::<2>(message).to_vec(),
                _ => hex::<64>(message).to_vec(),
            };
            assert_eq!(check(key, &message, signature), Ok(()));
            for at in 0..64 {
                let mut changed = signature;
                changed[at] ^= 1;
                assert_eq!(check(key, &message, changed), Err(PackageError::Signature), "{at}");
            }
            let longer = [&message[..], &[0]].concat();
            assert_eq!(check(key, &longer, signature), Err(PackageError::Signature));
        }
    }

    /// What RFC 8032 leaves open, and attackers use: other encodings of a signature, keys that fit anything.
    #[test]
    fn second_forms_and_weak_keys_are_refused() {
        let (key, signature) = (hex(VECTORS[0].0), hex::<64>(VECTORS[0].2));
        // s plus the group's order is the same number modulo that order.
        let order: [u8; 32] =
            hex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
        let mut second = signature;
        let mut carry = 0;
        for (byte, add) in second[32..].iter_mut().zip(order) {
            let sum = u16::from(*byte) + u16::from(add) + carry;
            *byte = sum as u8;
            carry = sum >> 8;
        }
        assert_eq!(check(key, b"", second), Err(PackageError::Signature));
        // The neutral element, and a point of order four: with R of the same kind and s = 0, some or all
        // messages fit where nobody looks.
        let [mut neutral, order_four] = [[0; 32]; 2];
        neutral[0] = 1;
        for weak in [neutral, order_four] {
            for r in [neutral, order_four] {
                let mut signature = [0; 64];
                signature[..32].copy_from_slice(&r);
                for message in [&b"a"[..], b"b", b"c", b"d"] {
                    assert_eq!(check(weak, message, signature), Err(PackageError::Signature));
                }
            }
        }
        // No point at all.
        assert_eq!(check([2; 32], b"", signature), Err(PackageError::Signature));
    }

    #[test]
    fn files_of_keys_are_read_exactly() {
        let (digits, _, _) = VECTORS[0];
        let file = |head: &str, digits: &str, end: &str| String::from(head) + digits + end;
        let head = "bitsback public key 1\n";
        let key = PublicKey::new(hex(digits));
        for end in ["", "\n", "\r\n"] {
            assert_eq!(PublicKey::from_file(&file(head, digits, end)), Some(key));
        }
        assert_eq!(key.id().to_string(), "21fe31df");
        let upper = digits.to_uppercase();
        for (head, digits, end) in [
            ("bitsback secret key 1\n", digits, "\n"),
            ("bitsback public key 2\n", digits, "\n"),
            (head, &digits[1..], "\n"),
            (head, &digits[2..], "\n"),
            (head, &upper, "\n"),
            (head, digits, "\n\n"),
            (head, digits, "0"),
            ("", "", ""),
            (head, "", ""),
        ] {
            assert_eq!(
                PublicKey::from_file(&file(head, digits, end)),
                None,
                "{head}{digits}{end:?}"
            );
        }
    }

    #[test]
    fn what_is_signed_is_the_domain_and_the_header() {
        let signed = message(&[7; HEADER_LEN]);
        assert_eq!(signed[..24], DOMAIN);
        assert_eq!(signed[24..], [7; HEADER_LEN]);
    }
}
