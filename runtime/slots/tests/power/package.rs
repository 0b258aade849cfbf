//! Packages and the gate of these tests: a keyed sum instead of a signature.

use bitsback_runtime::ParseError;
use bitsback_slots::{Announced, Gate, HEAD_LEN};

use super::random::Random;

const MAGIC: &[u8; 4] = b"TEST";
const KEY: u64 = 0x5EED_0F5A_FE51_0752;
/// What a head has of its own.
const FIELDS_LEN: usize = 28;
/// How a model begins that this program can run.
const SOUND: &[u8; 4] = b"GOOD";

/// Why the gate refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    Head,
    Signature,
    Digest,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}

/// A model of a version, and its head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    pub head: Vec<u8>,
    pub model: Vec<u8>,
}

impl Package {
    /// One that the gate accepts.
    pub fn new(version: u32, len: usize) -> Self {
        let mut random = Random(u64::from(version));
        let mut model: Vec<u8> = (0..len).map(|_| random.byte()).collect();
        // Runs that look erased.
        let (from, to) = (len / 3, len / 2);
        model[from..to].fill(0xFF);
        model[..SOUND.len()].copy_from_slice(SOUND);
        Self::of(version, model)
    }

    /// One that is signed.
    pub fn of(version: u32, model: Vec<u8>) -> Self {
        let mut head = MAGIC.to_vec();
        head.extend(version.to_le_bytes());
        head.extend((model.len() as u32).to_le_bytes());
        head.extend(sum(&model, 1).to_le_bytes());
        head.extend(sum(&head, KEY).to_le_bytes());
        // Heads of several lengths, the longest among them.
        head.resize(HEAD_LEN - (version as usize * 7) % (HEAD_LEN - FIELDS_LEN), 0xA5);
        Self { head, model }
    }

    pub fn version(&self) -> u32 {
        word(&self.head, 4)
    }

    /// What a slot holds of it.
    pub fn slot(&self) -> Vec<u8> {
        let mut slot = self.head.clone();
        slot.resize(HEAD_LEN, 0xFF);
        slot.extend(&self.model);
        slot
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// Depends on every byte and its place; fast, as it is computed millions of times.
fn sum(bytes: &[u8], key: u64) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let step =
        |hash: u64, word: u64| (hash.rotate_left(5) ^ word).wrapping_mul(0x517C_C1B7_2722_0A95);
    let hash = words.iter().fold(key, |hash, &word| step(hash, u64::from_le_bytes(word)));
    rest.iter().fold(hash, |hash, &byte| step(hash, u64::from(byte)))
}

/// Accepts what [`Package::of`] makes, if it begins as models do.
#[derive(Clone, Copy, Debug, Default)]
pub struct TestGate;

impl Gate for TestGate {
    type Refusal = Refusal;

    fn announced(&self, head: &[u8]) -> Result<Announced, Refusal> {
        let fields = head.get(..FIELDS_LEN).ok_or(Refusal::Head)?;
        if !fields.starts_with(MAGIC) {
            return Err(Refusal::Head);
        }
        let (signed, signature) = fields.split_at(FIELDS_LEN - 8);
        if sum(signed, KEY).to_le_bytes() != signature {
            return Err(Refusal::Signature);
        }
        Ok(Announced { version: word(fields, 4), model_len: word(fields, 8) })
    }

    fn check_model(&self, head: &[u8], model: &[u8]) -> Result<(), Refusal> {
        match sum(model, 1).to_le_bytes() == head[12..20] {
            true => Ok(()),
            false => Err(Refusal::Digest),
        }
    }

    fn parse(&self, model: &[u8]) -> Result<(), ParseError> {
        if model.starts_with(SOUND) { Ok(()) } else { Err(ParseError::Magic) }
    }
}
