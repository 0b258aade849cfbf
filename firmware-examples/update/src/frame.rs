//! What goes over the serial line: frames that a damaged byte can't tear apart for long.
//!
//! A frame is a kind, a number, a body and the CRC-32 of all three. It is sent in COBS, so that it holds no
//! zero, with a zero behind it: whatever is lost on the line, the next zero ends it. This one file is the
//! device's and the host's (`cargo xtask update`).
//!
//! The host asks, and waits for the answer, which has the question's number. Without an answer it asks again,
//! and the device, which has seen that number, says again what it has said. Texts come at any time.

use bitsback_runtime::format::crc32;
use cobs::CobsEncoder;

/// The longest body: a header with its signature fits, and a piece of a payload.
pub const MAX_BODY: usize = 200;
/// Before the body.
const HEAD: usize = 2;
/// Behind it.
const TAIL: usize = 4;
/// The longest frame, as it is before COBS: shorter than 254 bytes, so that COBS adds one.
pub const MAX_FRAME: usize = HEAD + MAX_BODY + TAIL;
/// The same on the line, with its zero.
pub const MAX_LINE: usize = MAX_FRAME + 2;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// The host is there; numbers start anew. Answered with the version that runs, 0 for none.
    Hello = 1,
    /// A package's header and signature. Answered with the byte of the payload that comes next.
    Begin = 2,
    /// The byte of the payload that this piece starts at, and the piece. Answered likewise.
    Data = 3,
    /// Activate what was sent, for so many starts (a byte), and start anew.
    Activate = 4,
    /// The pixels of an input. Answered with the class, a byte, and 1 if the sentinel is in alarm, else 0.
    Classify = 5,
    /// An answer: done.
    Done = 0x81,
    /// An answer: not done, and why, as text.
    Refused = 0x82,
    /// Something to read.
    Text = 0x83,
    /// A frame came that was damaged: send it again.
    Damaged = 0x84,
}

impl Kind {
    fn of(byte: u8) -> Option<Self> {
        let all = [
            Self::Hello,
            Self::Begin,
            Self::Data,
            Self::Activate,
            Self::Classify,
            Self::Done,
            Self::Refused,
            Self::Text,
            Self::Damaged,
        ];
        all.into_iter().find(|&kind| kind as u8 == byte)
    }
}

/// A frame that came whole, or is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'b> {
    /// What it is.
    pub kind: Kind,
    /// A question's number, which its answer has, too.
    pub number: u8,
    /// The rest, at most [`MAX_BODY`] bytes.
    pub body: &'b [u8],
}

impl<'b> Frame<'b> {
    /// Reads a frame that was decoded from COBS; `None` if it is damaged.
    pub fn read(bytes: &'b [u8]) -> Option<Self> {
        let (text, sum) = bytes.split_last_chunk::<TAIL>()?;
        let ([kind, number], body) = text.split_first_chunk::<HEAD>()?;
        let is_whole = u32::from_le_bytes(*sum) == crc32(&[text]);
        let kind = Kind::of(*kind).filter(|_| is_whole)?;
        Some(Self { kind, number: *number, body })
    }

    /// The bytes that go over the line; `None` if the body is too long.
    pub fn emit<'o>(&self, out: &'o mut [u8; MAX_LINE]) -> Option<&'o [u8]> {
        let head = [self.kind as u8, self.number];
        let sum = crc32(&[&head, self.body]).to_le_bytes();
        if self.body.len() > MAX_BODY {
            return None;
        }
        let mut encoder = CobsEncoder::new(out);
        for part in [&head, self.body, &sum] {
            encoder.push(part).ok()?;
        }
        let len = encoder.finalize();
        *out.get_mut(len)? = 0;
        out.get(..=len)
    }
}
