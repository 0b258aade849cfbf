//! Keys, models and packages for the example: made as `bitsback package` makes them.

use std::path::Path;

use bitsback_runtime::sentinel::{Draft, Sentinel};
use bitsback_runtime::{Model, writer};
use bitsback_slots::package::{Header, Isa, Needs, PAYLOAD_AT, PublicKey, digest, message};
use ed25519_dalek::{Signer, SigningKey};

use super::delta::delta;
use crate::error::XtaskError;
use crate::files;

/// By how much the sums over inputs of 64 pixels are larger in another light.
const BRIGHTER: i16 = 2500;
/// First line of a secret key's file.
const SECRET: &str = "bitsback secret key 1\n";

/// What signs packages.
pub(super) struct Key(SigningKey);

impl Key {
    /// The key that `bitsback keygen` wrote to a file.
    pub(super) fn read(path: &Path) -> Result<Self, XtaskError> {
        let text = files::read_text(path)?;
        let seed = text.strip_prefix(SECRET).and_then(|digits| seed(digits.trim_end()));
        seed.map(Self::of).ok_or_else(|| XtaskError::Key(path.to_path_buf()))
    }

    /// The key of a seed.
    pub(super) fn of(seed: [u8; 32]) -> Self {
        Self(SigningKey::from_bytes(&seed))
    }

    fn public(&self) -> PublicKey {
        PublicKey::new(self.0.verifying_key().to_bytes())
    }
}

fn seed(digits: &str) -> Option<[u8; 32]> {
    let bytes: Option<Vec<u8>> = (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok())
        .collect();
    bytes?.try_into().ok()
}

/// A package and how it is told from others.
#[derive(Clone)]
pub(super) struct Package {
    pub(super) version: u32,
    pub(super) is_delta: bool,
    pub(super) bytes: Vec<u8>,
    pub(super) model: Vec<u8>,
}

impl Package {
    /// Bytes of its payload.
    pub(super) fn payload_len(&self) -> usize {
        self.bytes.len() - PAYLOAD_AT
    }
}

/// Packs a model, as a delta to `base` if there is one; it needs `extra_ram` beyond its arena.
///
/// # Errors
/// [`XtaskError::Golden`] when the bytes are no model.
pub(super) fn pack(
    model: &[u8],
    version: u32,
    base: Option<&[u8]>,
    extra_ram: u32,
    key: &Key,
) -> Result<Package, XtaskError> {
    let parsed = Model::parse(model).map_err(|error| no_model(&error.to_string()))?;
    let found = parsed.header();
    let payload = base.map_or_else(|| model.to_vec(), |base| delta(base, model));
    let head = Header {
        key: key.public().id(),
        version,
        model_len: found.file_len,
        payload_len: payload.len() as u32,
        needs: Needs::of(&parsed, Isa::ANY, found.arena_len + extra_ram),
        digest: digest(model),
        base: base.map(digest),
    }
    .emit();
    let bytes = [&head[..], &key.0.sign(&message(&head)).to_bytes(), &payload].concat();
    Ok(Package { version, is_delta: base.is_some(), bytes, model: model.to_vec() })
}

/// The model with another margin: other bytes, the same classes.
pub(super) fn with_margin(model: &[u8], margin: u8) -> Vec<u8> {
    let mut model = model.to_vec();
    writer::set_margin(&mut model, margin);
    model
}

/// A model with a sentinel that was made in another light: it expects inputs to be brighter.
pub(super) fn in_other_light(model: &[u8]) -> Result<Vec<u8>, XtaskError> {
    let parsed = Model::parse(model).map_err(|error| no_model(&error.to_string()))?;
    let sentinel = Sentinel::new(&parsed).map_err(|fault| no_model(&fault.to_string()))?;
    let mut draft = Draft::of(&sentinel.ok_or_else(|| no_model("it has no sentinel"))?);
    let [brightness, _] = draft.inputs.as_mut().ok_or_else(|| no_model("it looks at no inputs"))?;
    brightness.edges = brightness.edges.map(|edge| edge + BRIGHTER);
    let mut bytes = model.to_vec();
    let section = draft.to_bytes().map_err(|fault| no_model(&fault.to_string()))?;
    writer::set_sentinel(&mut bytes, &section);
    Ok(bytes)
}

/// The model with every byte of its weights turned around: sound, and of no use.
pub(super) fn spoiled(model: &[u8]) -> Result<Vec<u8>, XtaskError> {
    let parsed = Model::parse(model).map_err(|error| no_model(&error.to_string()))?;
    let start = parsed.header().weights_start();
    let mut bytes = model.to_vec();
    for byte in bytes.iter_mut().skip(start) {
        *byte = !*byte;
    }
    writer::seal(&mut bytes);
    match Model::parse(&bytes) {
        Ok(_) => Ok(bytes),
        Err(error) => Err(no_model(&error.to_string())),
    }
}

fn no_model(problem: &str) -> XtaskError {
    XtaskError::Golden { path: super::MODEL.into(), problem: problem.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_keygen_writes_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("k");
        files::write(&path, format!("{SECRET}{}\n", "07".repeat(32)).as_bytes()).unwrap();
        assert_eq!(Key::read(&path).unwrap().0.as_bytes(), &[7; 32]);
        for digits in [String::new(), "07".repeat(31), "0z".repeat(32), "07".repeat(31) + "0"] {
            files::write(&path, format!("{SECRET}{digits}\n").as_bytes()).unwrap();
            assert!(matches!(Key::read(&path), Err(XtaskError::Key(_))), "{digits}");
        }
    }

    /// The example's own files: the firmware has the public half, packages are signed with the other.
    #[test]
    fn the_examples_key_is_a_pair() {
        let folder = crate::paths::root().unwrap().join("firmware-examples/update");
        let text = files::read_text(&folder.join("example.key.pub")).unwrap();
        let key = Key::read(&folder.join("example.key")).unwrap();
        assert_eq!(PublicKey::from_file(&text), Some(key.public()));
    }
}
