//! The bundled data: 1,797 handwritten digits of 8 × 8 pixels, *Optical Recognition of Handwritten
//! Digits*, E. Alpaydin and C. Kaynak, 1998, <https://doi.org/10.24432/C50P49>, CC BY 4.0; see
//! `data/digits/SOURCE.md`.

use std::path::Path;

use super::{DataConfig, DataError, DataKind, Part, Values, csv, idx};

/// How messages name the data.
pub(crate) const NAME: &str = "the bundled digits";

const FILE: &[u8] = include_bytes!("../../data/digits/digits.csv.gz");

/// Grey levels of the original, from 0 to this one.
const LEVELS: f32 = 16.0;

/// The digits, as 8 × 8 × 1 bytes: the original levels 0…16 stretched to 0…255.
///
/// # Errors
/// None, unless the bundled file was changed before the build.
pub(crate) fn read() -> Result<Part, DataError> {
    let path = Path::new(NAME);
    let config = DataConfig {
        kind: DataKind::Csv,
        header: Some(false),
        shape: Some(vec![8, 8]),
        ..DataConfig::default()
    };
    let part = csv::parse(path, &idx::gunzip(path, FILE)?, &config)?;
    let inputs = match part.inputs {
        Values::Floats(levels) => {
            Values::Bytes(levels.iter().map(|l| (l * 255.0 / LEVELS).round() as u8).collect())
        }
        bytes @ Values::Bytes(_) => bytes,
    };
    Ok(Part { inputs, ..part })
}
