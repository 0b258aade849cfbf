//! Keys, models and packages for the example: made as `bitsback package` makes them.

use std::path::Path;

use bitsback_runtime::sentinel::{Draft, Sentinel};
use bitsback_runtime::{Model, writer};
use bitsback_slots::package::Isa;
use bitsback_slots::package::writer::{About, Built, SecretKey, build};

use crate::error::XtaskError;
use crate::files;

/// By how much the sums over inputs of 64 pixels are larger in another light.
const BRIGHTER: i16 = 2500;
/// Reads the key that `bitsback keygen` wrote to a file.
pub(super) fn read_key(path: &Path) -> Result<SecretKey, XtaskError> {
    let key = SecretKey::from_file(&files::read_text(path)?);
    key.ok_or_else(|| XtaskError::Key(path.to_path_buf()))
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
    key: &SecretKey,
) -> Result<Built, XtaskError> {
    let parsed = Model::parse(model).map_err(|error| no_model(&error.to_string()))?;
    let ram = parsed.header().arena_len + extra_ram;
    Ok(build((&parsed, model), base, About { version, isa: Isa::ANY, ram }, key))
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
    use bitsback_slots::package::PublicKey;

    use super::*;

    /// The example's own files: the firmware has the public half, packages are signed with the other.
    #[test]
    fn the_examples_key_is_a_pair() {
        let folder = crate::paths::root().unwrap().join("firmware-examples/update");
        let text = files::read_text(&folder.join("example.key.pub")).unwrap();
        let key = read_key(&folder.join("example.key")).unwrap();
        assert_eq!(PublicKey::from_file(&text), Some(key.public()));
    }
}
