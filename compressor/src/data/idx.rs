//! IDX, the format of MNIST: two zero bytes, an element type, the number of dimensions, each size
//! as a big-endian u32, the elements in C order, big-endian. May be gzipped.

use std::path::Path;

use super::{Array, DataConfig, DataError, MAX_DATA_BYTES, Numbers, Part, array, bounded};
use crate::files;

/// Most dimensions: examples, height, width, channels, and one to spare.
const MAX_DIMS: usize = 5;

/// The training and, where named, the test files.
pub(super) fn load(config: &DataConfig) -> Result<(Part, Option<Part>), DataError> {
    load_pairs(config, read)
}

/// Reads input and label files in pairs, each with `read`.
pub(super) fn load_pairs(
    config: &DataConfig,
    read: impl Fn(&Path) -> Result<Array, DataError>,
) -> Result<(Part, Option<Part>), DataError> {
    let pair = |inputs: Option<&Path>, labels: Option<&Path>| match inputs {
        Some(inputs) => {
            array::part(inputs, read(inputs)?, labels.map(&read).transpose()?, config).map(Some)
        }
        None => Ok(None),
    };
    let train = pair(config.inputs.as_deref(), config.labels.as_deref())?;
    let test = pair(config.test_inputs.as_deref(), config.test_labels.as_deref())?;
    let missing = DataError::MissingKey { kind: config.kind, key: "inputs" };
    Ok((train.ok_or(missing)?, test))
}

/// Reads one file, gzipped or not; where there is none, the one whose name has `.gz` added.
///
/// # Errors
/// As [`parse`], and when the file can't be read or decompressed.
pub(crate) fn read(path: &Path) -> Result<Array, DataError> {
    let mut packed = path.as_os_str().to_owned();
    packed.push(".gz");
    let path = if path.exists() || !Path::new(&packed).exists() { path } else { packed.as_ref() };
    let bytes = files::read(path, MAX_DATA_BYTES)?;
    if bytes.starts_with(&[0x1f, 0x8b]) {
        return parse(path, &gunzip(path, &bytes)?);
    }
    parse(path, &bytes)
}

/// Decompresses as much as a file of this size may hold.
pub(super) fn gunzip(path: &Path, bytes: &[u8]) -> Result<Vec<u8>, DataError> {
    let unpacked = bounded::unpack(path, flate2::read::MultiGzDecoder::new(bytes), bytes.len());
    unpacked?.map_err(|source| DataError::Gzip { path: path.to_owned(), source })
}

/// Parses the (decompressed) bytes of a file; `path` is for messages.
///
/// # Errors
/// What is wrong with the header, the element type or the length.
pub(crate) fn parse(path: &Path, bytes: &[u8]) -> Result<Array, DataError> {
    let format = || DataError::Format {
        path: path.to_owned(),
        format: "IDX",
        found: bytes.iter().take(4).copied().collect(),
    };
    let Some((&[0, 0, kind, count], mut rest)) = bytes.split_first_chunk() else {
        return Err(format());
    };
    let count = usize::from(count);
    if count == 0 || count > MAX_DIMS {
        return Err(format());
    }
    let mut dims = Vec::with_capacity(count);
    for index in 0..count {
        let Some((size, after)) = rest.split_first_chunk() else {
            return Err(DataError::Header {
                path: path.to_owned(),
                byte: 4 + 4 * index,
                expected: "the file ends within its list of sizes",
            });
        };
        dims.push(u32::from_be_bytes(*size) as usize);
        rest = after;
    }
    let width = match kind {
        0x08 | 0x09 => 1,
        0x0b => 2,
        0x0c | 0x0d => 4,
        0x0e => 8,
        other => {
            return Err(DataError::ElementType {
                path: path.to_owned(),
                found: format!("0x{other:02x} (byte 2)"),
                supported: "u8 (08), i8 (09), i16 (0b), i32 (0c), f32 (0d), f64 (0e)",
            });
        }
    };
    check_length(path, &dims, width, rest.len())?;
    let numbers = match kind {
        0x08 => Numbers::Bytes(rest.to_vec()),
        0x09 => Numbers::Signed(rest.iter().map(|&b| b.cast_signed()).collect()),
        0x0b => Numbers::Integers(each(rest, |b| i64::from(i16::from_be_bytes(b)))),
        0x0c => Numbers::Integers(each(rest, |b| i64::from(i32::from_be_bytes(b)))),
        0x0d => Numbers::Floats(each(rest, f32::from_be_bytes)),
        _ => Numbers::Floats(each(rest, |b| f64::from_be_bytes(b) as f32)),
    };
    Ok(Array { dims, numbers })
}

/// Checks that there are exactly as many bytes as the sizes promise.
pub(super) fn check_length(
    path: &Path,
    dims: &[usize],
    width: usize,
    has: usize,
) -> Result<(), DataError> {
    let needs = dims.iter().try_fold(width as u64, |n, &d| n.checked_mul(d as u64));
    let needs = needs.unwrap_or(u64::MAX);
    if needs != has as u64 {
        return Err(DataError::Length { path: path.to_owned(), needs, has: has as u64 });
    }
    Ok(())
}

/// Converts every `N` bytes; a remainder (there is none after [`check_length`]) is left out.
pub(super) fn each<const N: usize, T>(bytes: &[u8], convert: impl Fn([u8; N]) -> T) -> Vec<T> {
    let (chunks, _) = bytes.as_chunks();
    chunks.iter().map(|chunk| convert(*chunk)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_bytes(bytes: &[u8]) -> Result<Array, DataError> {
        parse(Path::new("a.idx"), bytes)
    }

    #[test]
    fn every_element_type() {
        let read = |kind, data: &[u8], n: u8| {
            let head = [0, 0, kind, 1, 0, 0, 0, n];
            parse_bytes(&[&head, data].concat()).unwrap().numbers
        };
        assert_eq!(read(0x08, &[1, 255], 2), Numbers::Bytes(vec![1, 255]));
        assert_eq!(read(0x09, &[1, 255], 2), Numbers::Signed(vec![1, -1]));
        assert_eq!(read(0x0b, &[255, 254], 1), Numbers::Integers(vec![-2]));
        assert_eq!(read(0x0c, &[0, 0, 1, 0], 1), Numbers::Integers(vec![256]));
        assert_eq!(read(0x0d, &1.5f32.to_be_bytes(), 1), Numbers::Floats(vec![1.5]));
        assert_eq!(read(0x0e, &(-2.5f64).to_be_bytes(), 1), Numbers::Floats(vec![-2.5]));
    }

    #[test]
    fn errors_name_byte_and_length() {
        assert!(matches!(parse_bytes(b"\x89PNG"), Err(DataError::Format { .. })));
        assert!(matches!(parse_bytes(&[0, 0, 8, 6]), Err(DataError::Format { .. })));
        assert!(matches!(
            parse_bytes(&[0, 0, 8, 2, 0, 0, 0, 1, 0]),
            Err(DataError::Header { byte: 8, .. })
        ));
        assert!(matches!(
            parse_bytes(&[0, 0, 7, 1, 0, 0, 0, 1]),
            Err(DataError::ElementType { .. })
        ));
        assert!(matches!(
            parse_bytes(&[0, 0, 8, 1, 0, 0, 0, 2, 5]),
            Err(DataError::Length { needs: 2, has: 1, .. })
        ));
        let vast = [&[0, 0, 14, 5][..], &[255; 20]].concat();
        assert!(matches!(
            parse_bytes(&vast),
            Err(DataError::Length { needs: u64::MAX, has: 0, .. })
        ));
    }

    #[test]
    fn damaged_gzip_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.gz");
        std::fs::write(&path, [0x1f, 0x8b, 8, 0, 0]).unwrap();
        assert!(matches!(read(&path), Err(DataError::Gzip { .. })));
    }
}
