//! NPY, NumPy's format for one array (versions 1 to 3), C or Fortran order, either byte order.
//!
//! The header is a Python dictionary. The parser here takes exactly what NumPy writes for plain
//! arrays (three known keys; a string, a truth value, a tuple of whole numbers) rather than Python
//! literals in general, whose nesting would let a hostile file choose our recursion depth.

use std::io::{self, Write};
use std::path::Path;

use super::idx::{check_length, each};
use super::{Array, DataConfig, DataError, MAX_DATA_BYTES, Numbers, Part, idx};
use crate::files;
use crate::numbers::half;

/// How a file begins.
const MAGIC: &[u8; 6] = b"\x93NUMPY";

/// Longest header text: NumPy's own limit for files that aren't trusted is 10,000.
const MAX_HEADER: usize = 10_000;

/// The numbers of a file begin at a multiple of it, so that they can be mapped into memory.
const ALIGNMENT: usize = 64;

/// Most dimensions: NumPy's limit was 32, and ours are examples, height, width, channels.
const MAX_DIMS: usize = 8;

/// The training and, where named, the test files.
pub(super) fn load(config: &DataConfig) -> Result<(Part, Option<Part>), DataError> {
    idx::load_pairs(config, read)
}

/// Reads one file.
///
/// # Errors
/// As [`parse`], and when the file can't be read.
pub fn read(path: &Path) -> Result<Array, DataError> {
    parse(path, &files::read(path, MAX_DATA_BYTES)?)
}

/// Parses the bytes of a file; `path` is for messages. The result is in C order.
///
/// # Errors
/// What is wrong with the header, the element type or the length.
pub fn parse(path: &Path, bytes: &[u8]) -> Result<Array, DataError> {
    let (header, start, data) = split(path, bytes)?;
    let mut parser = Parser { path, text: header, at: 0, start };
    let Header { descr, fortran, dims } = parser.header()?;
    let numbers = decode(path, &descr, &dims, data)?;
    let numbers = if fortran { to_c_order(&dims, numbers) } else { numbers };
    Ok(Array { dims, numbers })
}

/// A number that [`write()`] stores.
pub trait Element: Copy {
    /// Its type in NumPy's words.
    const DESCR: &'static str;

    /// Its bytes, the lowest first.
    fn bytes(self) -> impl AsRef<[u8]>;
}

impl Element for f32 {
    const DESCR: &'static str = "<f4";

    fn bytes(self) -> impl AsRef<[u8]> {
        self.to_le_bytes()
    }
}

impl Element for i8 {
    const DESCR: &'static str = "|i1";

    fn bytes(self) -> impl AsRef<[u8]> {
        self.to_le_bytes()
    }
}

/// Writes an array of `dims` in C order, as version 1 with the numbers aligned as NumPy aligns them.
///
/// # Errors
/// What writing gives.
pub fn write<T: Element>(
    file: &mut dyn Write,
    dims: &[usize],
    numbers: impl Iterator<Item = T>,
) -> io::Result<()> {
    let dims: Vec<String> = dims.iter().map(usize::to_string).collect();
    // A tuple of one is written with a comma.
    let shape = dims.join(", ") + if dims.len() == 1 { "," } else { "" };
    let mut header =
        format!("{{'descr': '{}', 'fortran_order': False, 'shape': ({shape}), }}", T::DESCR);
    // The magic, the version and the length take ten bytes; a line break ends the header.
    let padding = (ALIGNMENT - (10 + header.len() + 1) % ALIGNMENT) % ALIGNMENT;
    header.extend(std::iter::repeat_n(' ', padding));
    header.push('\n');
    let length = u16::try_from(header.len()).map_err(io::Error::other)?;
    file.write_all(&[MAGIC, &[1, 0][..], &length.to_le_bytes(), header.as_bytes()].concat())?;
    numbers.into_iter().try_for_each(|number| file.write_all(number.bytes().as_ref()))
}

/// The header's text, where it starts, and the bytes after it.
fn split<'a>(path: &Path, bytes: &'a [u8]) -> Result<(&'a [u8], usize, &'a [u8]), DataError> {
    let format = || DataError::Format {
        path: path.to_owned(),
        format: "NPY",
        found: bytes.iter().take(8).copied().collect(),
    };
    let rest = bytes.strip_prefix(MAGIC).ok_or_else(format)?;
    let (length, rest) = match rest {
        [1, 0, a, b, rest @ ..] => (usize::from(u16::from_le_bytes([*a, *b])), rest),
        [2 | 3, 0, a, b, c, d, rest @ ..] => (u32::from_le_bytes([*a, *b, *c, *d]) as usize, rest),
        _ => return Err(format()),
    };
    let start = bytes.len() - rest.len();
    let bad = |expected| DataError::Header { path: path.to_owned(), byte: start, expected };
    if length > MAX_HEADER {
        return Err(bad("the header is longer than 10,000 bytes"));
    }
    match rest.split_at_checked(length) {
        Some((header, data)) => Ok((header, start, data)),
        None => Err(bad("the file ends within its header")),
    }
}

/// What a header says.
struct Header {
    descr: String,
    fortran: bool,
    dims: Vec<usize>,
}

/// Reads a header's text from front to back.
struct Parser<'a> {
    path: &'a Path,
    text: &'a [u8],
    /// Next byte of `text`.
    at: usize,
    /// Position of `text` in the file.
    start: usize,
}

impl Parser<'_> {
    fn header(&mut self) -> Result<Header, DataError> {
        let (mut descr, mut fortran, mut dims) = (None, None, None);
        self.expect(b"{", "expected {")?;
        while !self.take(b"}") {
            let key = self.string()?;
            self.expect(b":", "expected a colon")?;
            match key.as_str() {
                "descr" => descr = Some(self.string()?),
                "fortran_order" => fortran = Some(self.truth()?),
                "shape" => dims = Some(self.tuple()?),
                _ => return Err(self.bad("expected the key descr, fortran_order or shape")),
            }
            if !self.take(b",") {
                self.expect(b"}", "expected a comma or }")?;
                break;
            }
        }
        match (descr, fortran, dims) {
            (Some(descr), Some(fortran), Some(dims)) => Ok(Header { descr, fortran, dims }),
            _ => Err(self.bad("descr, fortran_order or shape is missing")),
        }
    }

    fn bad(&self, expected: &'static str) -> DataError {
        DataError::Header { path: self.path.to_owned(), byte: self.start + self.at, expected }
    }

    fn rest(&self) -> &[u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn skip_spaces(&mut self) {
        self.at += self.rest().iter().take_while(|b| b.is_ascii_whitespace()).count();
    }

    fn take(&mut self, token: &[u8]) -> bool {
        self.skip_spaces();
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn expect(&mut self, token: &[u8], expected: &'static str) -> Result<(), DataError> {
        if self.take(token) { Ok(()) } else { Err(self.bad(expected)) }
    }

    fn string(&mut self) -> Result<String, DataError> {
        self.skip_spaces();
        let text = match self.rest() {
            [quote @ (b'\'' | b'"'), rest @ ..] => rest.split(|b| b == quote).next(),
            _ => return Err(self.bad("expected a string (arrays of records are not supported)")),
        };
        let text = text.unwrap_or_default();
        let long = text.len() + 1 >= self.rest().len();
        let plain = text.iter().all(|b| b.is_ascii_graphic() && *b != b'\\');
        if long || !plain {
            return Err(self.bad("expected a plain string that ends"));
        }
        let text = String::from_utf8_lossy(text).into_owned();
        self.at += text.len() + 2;
        Ok(text)
    }

    fn truth(&mut self) -> Result<bool, DataError> {
        if self.take(b"True") {
            return Ok(true);
        }
        self.expect(b"False", "expected True or False").map(|()| false)
    }

    fn tuple(&mut self) -> Result<Vec<usize>, DataError> {
        self.expect(b"(", "expected (")?;
        let mut dims = Vec::new();
        while !self.take(b")") {
            if dims.len() == MAX_DIMS {
                return Err(self.bad("expected at most 8 dimensions"));
            }
            dims.push(self.number()?);
            if !self.take(b",") {
                self.expect(b")", "expected a comma or )")?;
                break;
            }
        }
        Ok(dims)
    }

    fn number(&mut self) -> Result<usize, DataError> {
        self.skip_spaces();
        let digits = self.rest().iter().take_while(|b| b.is_ascii_digit()).count();
        let text = self.rest().get(..digits).unwrap_or_default();
        let text = std::str::from_utf8(text).unwrap_or_default();
        let number = text.parse().map_err(|_| self.bad("expected a size"))?;
        self.at += digits;
        Ok(number)
    }
}

/// The elements in the file's order.
fn decode(path: &Path, descr: &str, dims: &[usize], data: &[u8]) -> Result<Numbers, DataError> {
    /// One arm per type: width, then little- or big-endian elements.
    macro_rules! integers {
        ($big:expr, $type:ty) => {{
            check_length(path, dims, size_of::<$type>(), data.len())?;
            Numbers::Integers(match $big {
                false => each(data, |b| <$type>::from_le_bytes(b) as i64),
                true => each(data, |b| <$type>::from_be_bytes(b) as i64),
            })
        }};
    }
    let unsupported = || DataError::ElementType {
        path: path.to_owned(),
        found: descr.to_owned(),
        supported: "bool, u1…u4, i1…i8, f2, f4, f8 (convert with .astype)",
    };
    let (big, kind) = match descr.split_at_checked(1) {
        Some(("<" | "|" | "=", kind)) => (false, kind),
        Some((">", kind)) => (true, kind),
        _ => return Err(unsupported()),
    };
    Ok(match kind {
        "u1" | "b1" => {
            check_length(path, dims, 1, data.len())?;
            Numbers::Bytes(data.to_vec())
        }
        "i1" => {
            check_length(path, dims, 1, data.len())?;
            Numbers::Signed(data.iter().map(|&b| b.cast_signed()).collect())
        }
        "i2" => integers!(big, i16),
        "i4" => integers!(big, i32),
        "i8" => integers!(big, i64),
        "u2" => integers!(big, u16),
        "u4" => integers!(big, u32),
        "f2" => {
            check_length(path, dims, 2, data.len())?;
            Numbers::Floats(match big {
                false => each(data, |b| half(u16::from_le_bytes(b))),
                true => each(data, |b| half(u16::from_be_bytes(b))),
            })
        }
        "f4" => {
            check_length(path, dims, 4, data.len())?;
            Numbers::Floats(match big {
                false => each(data, f32::from_le_bytes),
                true => each(data, f32::from_be_bytes),
            })
        }
        "f8" => {
            check_length(path, dims, 8, data.len())?;
            Numbers::Floats(match big {
                false => each(data, |b| f64::from_le_bytes(b) as f32),
                true => each(data, |b| f64::from_be_bytes(b) as f32),
            })
        }
        _ => return Err(unsupported()),
    })
}

fn to_c_order(dims: &[usize], numbers: Numbers) -> Numbers {
    match numbers {
        Numbers::Bytes(v) => Numbers::Bytes(permute(dims, &v)),
        Numbers::Signed(v) => Numbers::Signed(permute(dims, &v)),
        Numbers::Integers(v) => Numbers::Integers(permute(dims, &v)),
        Numbers::Floats(v) => Numbers::Floats(permute(dims, &v)),
    }
}

/// From first-index-fastest to last-index-fastest.
fn permute<T: Copy>(dims: &[usize], values: &[T]) -> Vec<T> {
    let mut strides = Vec::with_capacity(dims.len());
    let mut stride = 1usize;
    for &size in dims {
        strides.push(stride);
        stride = stride.saturating_mul(size);
    }
    let mut index = vec![0usize; dims.len()];
    let mut out = Vec::with_capacity(values.len());
    for _ in 0..values.len() {
        let from: usize = index.iter().zip(&strides).map(|(i, s)| i * s).sum();
        out.extend(values.get(from));
        for (i, &size) in index.iter_mut().zip(dims).rev() {
            *i += 1;
            if *i < size {
                break;
            }
            *i = 0;
        }
    }
    out
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A version 1 file.
    pub(in crate::data) fn file(descr: &str, fortran: bool, shape: &str, data: &[u8]) -> Vec<u8> {
        let fortran = if fortran { "True" } else { "False" };
        let header =
            format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n");
        let length = (header.len() as u16).to_le_bytes();
        [MAGIC, &[1, 0][..], &length, header.as_bytes(), data].concat()
    }

    fn parse_bytes(bytes: &[u8]) -> Result<Array, DataError> {
        parse(Path::new("a.npy"), bytes)
    }

    #[test]
    fn every_element_type_in_both_byte_orders() {
        let read =
            |descr, data: &[u8]| parse_bytes(&file(descr, false, "(1,)", data)).unwrap().numbers;
        assert_eq!(read("|u1", &[200]), Numbers::Bytes(vec![200]));
        assert_eq!(read("|b1", &[1]), Numbers::Bytes(vec![1]));
        assert_eq!(read("|i1", &[200]), Numbers::Signed(vec![-56]));
        assert_eq!(read("<i2", &[254, 255]), Numbers::Integers(vec![-2]));
        assert_eq!(read(">i2", &[255, 254]), Numbers::Integers(vec![-2]));
        assert_eq!(read("<u2", &[1, 1]), Numbers::Integers(vec![257]));
        assert_eq!(read("<i4", &(-7i32).to_le_bytes()), Numbers::Integers(vec![-7]));
        assert_eq!(read(">u4", &7u32.to_be_bytes()), Numbers::Integers(vec![7]));
        assert_eq!(read("<i8", &(-7i64).to_le_bytes()), Numbers::Integers(vec![-7]));
        assert_eq!(read("<f2", &[0x00, 0x38]), Numbers::Floats(vec![0.5]));
        assert_eq!(read(">f2", &[0x38, 0x00]), Numbers::Floats(vec![0.5]));
        assert_eq!(read("<f4", &0.5f32.to_le_bytes()), Numbers::Floats(vec![0.5]));
        assert_eq!(read(">f4", &0.5f32.to_be_bytes()), Numbers::Floats(vec![0.5]));
        assert_eq!(read("<f8", &0.5f64.to_le_bytes()), Numbers::Floats(vec![0.5]));
        assert_eq!(read(">f8", &0.5f64.to_be_bytes()), Numbers::Floats(vec![0.5]));
    }

    #[test]
    fn fortran_order_becomes_c_order() {
        let file = file("|u1", true, "(2, 3)", &[1, 4, 2, 5, 3, 6]);
        let array = parse_bytes(&file).unwrap();
        assert_eq!(array.dims, [2, 3]);
        assert_eq!(array.numbers, Numbers::Bytes(vec![1, 2, 3, 4, 5, 6]));
    }

    /// Byte for byte what NumPy 2 writes for `np.array([[1, 2], [3, 4]], dtype=…)`.
    #[test]
    fn what_is_written_is_what_numpy_writes() {
        let header = |descr: &str| {
            let text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': (2, 2), }}");
            [&b"\x93NUMPY\x01\x00v\x00"[..], format!("{text:<117}\n").as_bytes()].concat()
        };
        let mut bytes = Vec::new();
        write(&mut bytes, &[2, 2], [1.0f32, 2.0, 3.0, 4.0].into_iter()).unwrap();
        let floats = [1.0f32, 2.0, 3.0, 4.0].map(f32::to_le_bytes).concat();
        assert_eq!(bytes, [header("<f4"), floats].concat());
        let array = parse_bytes(&bytes).unwrap();
        assert_eq!(array.dims, [2, 2]);
        assert_eq!(array.numbers, Numbers::Floats(vec![1.0, 2.0, 3.0, 4.0]));
        let mut bytes = Vec::new();
        write(&mut bytes, &[2, 2], [1i8, -2, 3, 4].into_iter()).unwrap();
        assert_eq!(bytes, [header("|i1"), vec![1, 254, 3, 4]].concat());
    }

    #[test]
    fn single_values_and_later_versions() {
        let scalar = parse_bytes(&file("|u1", false, "()", &[9])).unwrap();
        assert_eq!((scalar.dims, scalar.numbers), (vec![], Numbers::Bytes(vec![9])));
        let header = b"{'descr':\"|u1\",'fortran_order':False,'shape':(1)}";
        let length = (header.len() as u32).to_le_bytes();
        let second = [MAGIC, &[2, 0][..], &length, header, &[9]].concat();
        assert_eq!(parse_bytes(&second).unwrap().dims, [1]);
    }

    #[test]
    fn errors_name_the_byte() {
        assert!(matches!(parse_bytes(b"PK\x03\x04"), Err(DataError::Format { .. })));
        let future = [MAGIC, &[9, 0, 0, 0][..]].concat();
        assert!(matches!(parse_bytes(&future), Err(DataError::Format { .. })));
        let long = [MAGIC, &[2, 0, 255, 255, 255, 255][..]].concat();
        assert!(matches!(parse_bytes(&long), Err(DataError::Header { byte: 12, .. })));
        let short = [MAGIC, &[1, 0, 100, 0][..]].concat();
        assert!(matches!(parse_bytes(&short), Err(DataError::Header { byte: 10, .. })));
        for bad in [
            file("|u1", false, "(1, x)", &[]),
            file("|u1", false, "(1 2)", &[]),
            file("|u1", false, "[1]", &[]),
            file("|u1", false, "(1,1,1,1,1,1,1,1,1)", &[]),
            file("|u1", false, "(99999999999999999999,)", &[]),
            file("|u1' 'x", false, "(1,)", &[]),
            file("\\", false, "(1,)", &[]),
        ] {
            let error = parse_bytes(&bad).unwrap_err();
            assert!(matches!(error, DataError::Header { byte: 11.., .. }), "{error}");
        }
        for descr in ["<c8", "|S7", "<f16", "<M8[ns]", "é", ""] {
            let error = parse_bytes(&file(descr, false, "(1,)", &[])).unwrap_err();
            let named = matches!(error, DataError::ElementType { .. } | DataError::Header { .. });
            assert!(named, "{error}");
        }
        let vast = file("<f8", false, "(18446744073709551615, 2)", &[0; 8]);
        assert!(matches!(parse_bytes(&vast), Err(DataError::Length { .. })));
        let records = String::from_utf8_lossy(&file("X", false, "(1,)", &[]).split_off(10))
            .replace("'X'", "[('a', '<i4')]");
        let length = (records.len() as u16).to_le_bytes();
        let records = [MAGIC, &[1, 0][..], &length, records.as_bytes()].concat();
        let message = parse_bytes(&records).unwrap_err().to_string();
        assert!(message.contains("records"), "{message}");
    }
}
