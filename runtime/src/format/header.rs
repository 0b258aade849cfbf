//! The fixed header: what a linker, a `const fn` or a flashing tool needs to know.
//!
//! | bytes | field |
//! |---|---|
//! | 0..4 | magic `BBK\n` |
//! | 4 | format version |
//! | 5 | numerics version |
//! | 6 | margin of decisions, 0 for none |
//! | 7 | zero |
//! | 8..12 | CRC-32 of bytes 0..8 and 12.. |
//! | 12..16 | file length |
//! | 16..20 | graph length |
//! | 20..24 | arena length |
//! | 24..28 | input length |
//! | 28..32 | output length |
//! | 32..36 | operator kinds used, bit = [`crate::OpKind`]'s tag |
//!
//! The graph starts right after, the weight section at the next multiple of
//! [`WEIGHT_ALIGNMENT`] and ends with the file: positions that follow from others aren't stored.

/// First bytes of a file; the line feed reveals transfers that rewrite line ends.
pub const MAGIC: [u8; 4] = *b"BBK\n";
/// Layout of the bytes.
pub const FORMAT_VERSION: u8 = 1;
/// Arithmetic: 1 is TFLite's int8 specification with the reference kernels' double rounding.
pub const NUMERICS_VERSION: u8 = 1;
/// Bytes of the header.
pub const HEADER_LEN: usize = 36;
/// Byte of the margin.
pub(crate) const MARGIN_AT: usize = 6;
/// First byte of the file length.
#[cfg(any(test, feature = "writer"))]
pub(crate) const FILE_LEN_AT: usize = 12;
/// The weight section starts on a multiple of this many bytes from the file's start: a word, so
/// that layouts made for word loads can be aligned, while files of 1.5 kB lose three bytes at most.
pub const WEIGHT_ALIGNMENT: usize = 4;

/// The header's fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Format version.
    pub format_version: u8,
    /// Numerics version.
    pub numerics_version: u8,
    /// How far the largest output must be above all others to decide; 0: always enough.
    pub margin: u8,
    /// Must be zero.
    pub reserved: u8,
    /// CRC-32 over everything else.
    pub crc: u32,
    /// Bytes of the whole file.
    pub file_len: u32,
    /// Bytes of the graph.
    pub graph_len: u32,
    /// Bytes of RAM that inference needs.
    pub arena_len: u32,
    /// Values of the input.
    pub input_len: u32,
    /// Values of the output.
    pub output_len: u32,
    /// Bit set of [`crate::OpKind`] tags.
    pub op_kinds: u32,
}

impl Header {
    /// Reads the fields; `None` when there are too few bytes or the magic is another.
    pub const fn read(bytes: &[u8]) -> Option<Self> {
        let Some(b) = bytes.first_chunk::<HEADER_LEN>() else { return None };
        let [m0, m1, m2, m3, ..] = *b;
        if u32::from_le_bytes([m0, m1, m2, m3]) != u32::from_le_bytes(MAGIC) {
            return None;
        }
        Some(Self {
            format_version: b[4],
            numerics_version: b[5],
            margin: b[MARGIN_AT],
            reserved: b[7],
            crc: u32::from_le_bytes([b[8], b[9], b[10], b[11]]),
            file_len: u32::from_le_bytes([b[12], b[13], b[14], b[15]]),
            graph_len: u32::from_le_bytes([b[16], b[17], b[18], b[19]]),
            arena_len: u32::from_le_bytes([b[20], b[21], b[22], b[23]]),
            input_len: u32::from_le_bytes([b[24], b[25], b[26], b[27]]),
            output_len: u32::from_le_bytes([b[28], b[29], b[30], b[31]]),
            op_kinds: u32::from_le_bytes([b[32], b[33], b[34], b[35]]),
        })
    }

    /// The header's bytes.
    #[cfg(any(test, feature = "writer"))]
    pub(crate) const fn emit(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        let head = [self.format_version, self.numerics_version, self.margin, self.reserved];
        let words = [
            MAGIC,
            head,
            self.crc.to_le_bytes(),
            self.file_len.to_le_bytes(),
            self.graph_len.to_le_bytes(),
            self.arena_len.to_le_bytes(),
            self.input_len.to_le_bytes(),
            self.output_len.to_le_bytes(),
            self.op_kinds.to_le_bytes(),
        ];
        let mut i = 0;
        while i < HEADER_LEN {
            bytes[i] = words[i / 4][i % 4];
            i += 1;
        }
        bytes
    }

    /// Where the weight section starts, from the file's start, saturating.
    pub const fn weights_start(&self) -> usize {
        weights_start(self.graph_len) as usize
    }
}

/// Where the weight section starts behind a graph of so many bytes, in the numbers of a core of 32
/// bits, and saturating: any header can be asked.
const fn weights_start(graph_len: u32) -> u32 {
    let end = graph_len.saturating_add(HEADER_LEN as u32);
    match end.checked_next_multiple_of(WEIGHT_ALIGNMENT as u32) {
        Some(start) => start,
        None => u32::MAX,
    }
}

/// Bytes of arena that the model in `bytes` needs; 0 if these bytes are no model, which
/// [`crate::Model::parse`] then says in detail.
pub const fn arena_len(bytes: &[u8]) -> usize {
    match Header::read(bytes) {
        Some(header) => header.arena_len as usize,
        None => 0,
    }
}

/// Values of the input of the model in `bytes`; 0 if these bytes are no model.
pub const fn input_len(bytes: &[u8]) -> usize {
    match Header::read(bytes) {
        Some(header) => header.input_len as usize,
        None => 0,
    }
}

/// Values of the output of the model in `bytes`; 0 if these bytes are no model.
pub const fn output_len(bytes: &[u8]) -> usize {
    match Header::read(bytes) {
        Some(header) => header.output_len as usize,
        None => 0,
    }
}

/// Set of the operator kinds that the model in `bytes` uses, for `Model::parse_only`; empty if
/// these bytes are no model.
pub const fn op_kinds(bytes: &[u8]) -> u32 {
    match Header::read(bytes) {
        Some(header) => header.op_kinds,
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: Header = Header {
        format_version: 1,
        numerics_version: 2,
        margin: 3,
        reserved: 4,
        crc: 0x0807_0605,
        file_len: 0x0C0B_0A09,
        graph_len: 5,
        arena_len: 1084,
        input_len: 784,
        output_len: 10,
        op_kinds: 0x81,
    };

    #[test]
    fn bytes_are_little_endian_and_come_back() {
        let bytes = SAMPLE.emit();
        assert_eq!(bytes[..16], *b"BBK\n\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0A\x0B\x0C");
        assert_eq!(Header::read(&bytes), Some(SAMPLE));
        assert_eq!(SAMPLE.weights_start(), 44);
    }

    #[test]
    fn sums_of_any_header_stay_within_32_bits() {
        for (graph_len, start) in [
            (0, 36),
            (1, 40),
            (u32::MAX - 40, u32::MAX - 3),
            (u32::MAX - 39, u32::MAX - 3),
            (u32::MAX - 38, u32::MAX),
            (u32::MAX - 36, u32::MAX),
            (u32::MAX, u32::MAX),
        ] {
            let header = Header { graph_len, ..SAMPLE };
            assert_eq!(header.weights_start(), start as usize, "{graph_len}");
        }
    }

    #[test]
    fn lengths_are_known_at_compile_time() {
        static BYTES: [u8; HEADER_LEN] = SAMPLE.emit();
        static ARENA: [i8; arena_len(&BYTES)] = [0; arena_len(&BYTES)];
        assert_eq!(ARENA.len(), 1084);
        assert_eq!((input_len(&BYTES), output_len(&BYTES), op_kinds(&BYTES)), (784, 10, 0x81));
    }

    #[test]
    fn other_bytes_are_no_header() {
        let bytes = SAMPLE.emit();
        assert_eq!(Header::read(&bytes[..HEADER_LEN - 1]), None);
        assert_eq!(Header::read(b"BBK\r\n.................................."), None);
        assert_eq!(arena_len(b""), 0);
    }
}
