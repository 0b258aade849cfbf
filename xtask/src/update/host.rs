//! The host's end of the serial line, and the hand on the power switch; writes down what both say.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use bitsback_slots::package::PAYLOAD_AT;
use bitsback_slots::package::writer::Built;
use cobs::CobsDecoder;
use tempfile::TempDir;

use super::emulator::Emulator;
use super::frame::{Frame, Kind, MAX_FRAME, MAX_LINE};
use crate::boards::Board;
use crate::error::XtaskError;
use crate::files;

/// A device may check a signature before it answers; that is a second of a busy machine at most.
const ANSWER_LIMIT: Duration = Duration::from_secs(15);
/// How often a question is asked.
const TRIES: usize = 4;
/// How long a start may take, with checks and self-test.
const START_LIMIT: Duration = Duration::from_secs(60);
/// Lengths of pieces, one after the other.
const PIECES: [usize; 3] = [196, 61, 128];
/// The device's last word at a start.
const READY: &str = "ready";
/// Which byte of a line is damaged, if one is.
const DAMAGED_AT: usize = 4;

/// What becomes of a frame on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Whole,
    /// A bit is turned around.
    Damaged,
    /// The answer is lost, so that the question is asked twice.
    Unanswered,
}

/// A piece of a payload, behind the number of its first byte.
fn piece(package: &Built, range: Range<usize>) -> Vec<u8> {
    let place = (range.start as u32).to_le_bytes();
    [&place, &package.payload()[range]].concat()
}

/// A device and who talks to it.
pub(super) struct Host {
    board: &'static Board,
    elf: PathBuf,
    folder: TempDir,
    emulator: Option<Emulator>,
    number: u8,
    /// Bytes of a frame that hasn't ended.
    partial: Vec<u8>,
    pub(super) transcript: String,
    /// The fewest bytes of RAM that were never written, over all starts.
    pub(super) untouched: usize,
    /// Starts so far.
    pub(super) starts: usize,
}

impl Host {
    pub(super) fn new(board: &'static Board, elf: &Path) -> Result<Self, XtaskError> {
        Ok(Self {
            board,
            elf: elf.to_path_buf(),
            folder: files::temporary()?,
            emulator: None,
            number: 0,
            partial: Vec::new(),
            transcript: String::new(),
            untouched: usize::MAX,
            starts: 0,
        })
    }

    /// A line of the transcript.
    pub(super) fn note(&mut self, who: &str, what: &str) {
        let line = format!("{who:<7} {what}");
        self.transcript += line.trim_end();
        self.transcript.push('\n');
    }

    /// The title of a part of the transcript.
    pub(super) fn title(&mut self, title: &str) {
        let gap = if self.transcript.is_empty() { "" } else { "\n" };
        self.transcript += &format!("{gap}== {title}\n");
    }

    pub(super) fn problem(&self, problem: &str) -> XtaskError {
        let problem = format!("{problem}; until then:\n{}", self.transcript);
        XtaskError::Update { core: self.board.core, problem }
    }

    /// Power comes, and the device starts, as often as it resets itself.
    pub(super) fn power_on(&mut self, is_by_watchdog: bool) -> Result<(), XtaskError> {
        let mut is_by_watchdog = is_by_watchdog;
        loop {
            let started = Emulator::start(self.board, &self.elf, self.files(), is_by_watchdog)?;
            self.emulator = Some(started);
            self.starts += 1;
            let end = Instant::now() + START_LIMIT;
            loop {
                match self.frame(end)? {
                    Some((Kind::Text, _, body)) if body == READY.as_bytes() => return Ok(()),
                    Some(_) => {}
                    None if self.is_reset() => break,
                    None => return Err(self.problem("the device doesn't start")),
                }
            }
            self.power_off()?;
            is_by_watchdog = false;
        }
    }

    /// Power goes: what the board has said until then is taken.
    pub(super) fn power_off(&mut self) -> Result<(), XtaskError> {
        self.emulator()?.halt()?;
        while self.frame(Instant::now())?.is_some() {}
        self.emulator = None;
        self.partial.clear();
        let [_, ram] = self.files();
        self.untouched = self.untouched.min(longest_zeros(&files::read(&ram)?));
        Ok(())
    }

    /// Tells the device that the host is there, and checks which version runs.
    pub(super) fn hello(&mut self, version: u32) -> Result<(), XtaskError> {
        self.note("host", "is there");
        match self.ask(Kind::Hello, &[], Way::Whole)? {
            Ok(body) if body == version.to_le_bytes() => Ok(()),
            other => Err(self.problem(&format!("version {version} should run: {other:?}"))),
        }
    }

    /// Offers a package: from which byte of its payload on it is to be sent, or `None` if the device refuses it.
    pub(super) fn begin(&mut self, package: &Built) -> Result<Option<usize>, XtaskError> {
        let (version, whole) = (package.header.version, package.header.model_len);
        let delta = match package.header.base {
            None => String::new(),
            Some(_) => format!(" as a delta of {}", package.payload().len()),
        };
        self.note("host", &format!("offers version {version}, a model of {whole} bytes{delta}"));
        let next = self.next_byte(package)?;
        if let Some(next @ 1..) = next {
            self.note("host", &format!("goes on at byte {next} of the payload"));
        }
        Ok(next)
    }

    fn next_byte(&mut self, package: &Built) -> Result<Option<usize>, XtaskError> {
        let head = &package.bytes[..PAYLOAD_AT];
        let Ok(body) = self.ask(Kind::Begin, head, Way::Whole)? else { return Ok(None) };
        match body.try_into() {
            Ok(next) => Ok(Some(u32::from_le_bytes(next) as usize)),
            Err(_) => Err(self.problem("an answer without a number")),
        }
    }

    /// Sends bytes of the payload, in pieces of several lengths, of which the first goes a way of its own.
    pub(super) fn send(
        &mut self,
        package: &Built,
        range: Range<usize>,
        way: Way,
    ) -> Result<(), XtaskError> {
        let sent = range.len();
        let (mut way, mut at, mut pieces) = (way, range.start, 0);
        while at < range.end {
            let len = PIECES[pieces % PIECES.len()].min(range.end - at);
            if let Err(refusal) = self.ask(Kind::Data, &piece(package, at..at + len), way)? {
                return Err(self.problem(&format!("a piece is refused: {refusal}")));
            }
            (way, at, pieces) = (Way::Whole, at + len, pieces + 1);
        }
        let pieces = if pieces == 1 { "one piece".to_owned() } else { format!("{pieces} pieces") };
        self.note("host", &format!("sent {sent} bytes in {pieces}"));
        Ok(())
    }

    /// Sends what is missing of a package, wherever that begins.
    pub(super) fn send_rest(&mut self, package: &Built) -> Result<(), XtaskError> {
        let version = package.header.version;
        let Some(mut at) = self.next_byte(package)? else {
            return Err(self.problem("a good package must be taken"));
        };
        while at < package.payload().len() {
            at = self.send_one(package, at)?;
        }
        self.note("host", &format!("sent what was missing of version {version}"));
        Ok(())
    }

    /// Sends a piece, and gives the byte that comes next.
    fn send_one(&mut self, package: &Built, at: usize) -> Result<usize, XtaskError> {
        let end = package.payload().len().min(at + PIECES[1]);
        match self.ask(Kind::Data, &piece(package, at..end), Way::Whole)? {
            Ok(_) => Ok(end),
            Err(refusal) => Err(self.problem(&format!("a piece is refused: {refusal}"))),
        }
    }

    /// Sends some pieces and one more, whose answer isn't waited for: so long after it power goes, and comes back.
    /// What the device was doing then isn't the same each time, so little of it is noted.
    pub(super) fn cut(
        &mut self,
        package: &Built,
        pieces: usize,
        after: Duration,
    ) -> Result<(), XtaskError> {
        let Some(mut at) = self.next_byte(package)? else {
            return Err(self.problem("a good package must be taken"));
        };
        for _ in 0..pieces {
            at = self.send_one(package, at)?;
        }
        let end = package.payload().len().min(at + PIECES[1]);
        self.number = self.number.wrapping_add(1);
        let (number, body) = (self.number, piece(package, at..end));
        let mut bytes = [0; MAX_LINE];
        let line = Frame { kind: Kind::Data, number, body: &body }.emit(&mut bytes);
        self.emulator()?.send(line.unwrap_or_default())?;
        thread::sleep(after);
        self.power_off()?;
        self.power_on(false)
    }

    /// Has the device activate what it got; false if it refuses, else it has started anew.
    pub(super) fn activate(&mut self, starts: u8) -> Result<bool, XtaskError> {
        self.note(
            "host",
            &match starts {
                1 => "activates it for one start".to_owned(),
                _ => format!("activates it for {starts} starts"),
            },
        );
        if self.ask(Kind::Activate, &[starts], Way::Whole)?.is_err() {
            return Ok(false);
        }
        let end = Instant::now() + ANSWER_LIMIT;
        while self.frame(end)?.is_some() {}
        if !self.is_reset() {
            return Err(self.problem("the device doesn't start anew"));
        }
        self.power_off()?;
        self.power_on(false)?;
        Ok(true)
    }

    /// Shows inputs, and counts those whose class is the expected one; ends when the device starts anew.
    pub(super) fn show(&mut self, inputs: &[(Vec<u8>, u8)]) -> Result<(), XtaskError> {
        let mut right = 0;
        for (count, (pixels, class)) in inputs.iter().enumerate() {
            match self.ask(Kind::Classify, pixels, Way::Whole)? {
                Ok(body) if body.len() == 2 => right += usize::from(body[0] == *class),
                other => return Err(self.problem(&format!("no class: {other:?}"))),
            }
            let end = Instant::now() + ANSWER_LIMIT;
            while self.has_gone_back() && self.frame(end)?.is_some() {}
            if self.is_reset() {
                self.note("host", &format!("has shown {} inputs", count + 1));
                self.power_off()?;
                return self.power_on(false);
            }
        }
        self.note("host", &format!("has shown {} inputs, {right} of them right", inputs.len()));
        Ok(())
    }

    /// Whether the device's last word announces a start.
    fn has_gone_back(&self) -> bool {
        self.transcript.ends_with("goes back\n") || self.transcript.ends_with("starts anew\n")
    }

    /// Asks until there is an answer: a body, or the text of a refusal, which is noted.
    fn ask(
        &mut self,
        kind: Kind,
        body: &[u8],
        way: Way,
    ) -> Result<Result<Vec<u8>, String>, XtaskError> {
        self.number = self.number.wrapping_add(1);
        let (number, mut way) = (self.number, way);
        let mut bytes = [0; MAX_LINE];
        let Some(line) = Frame { kind, number, body }.emit(&mut bytes).map(<[u8]>::to_vec) else {
            return Err(self.problem("a question is too long"));
        };
        for _ in 0..TRIES {
            let mut sent = line.clone();
            if way == Way::Damaged {
                // No zero becomes of it, and none is lost.
                sent[DAMAGED_AT] ^= if sent[DAMAGED_AT] == 1 { 2 } else { 1 };
            }
            self.emulator()?.send(&sent)?;
            let end = Instant::now() + ANSWER_LIMIT;
            while let Some((kind, answers, body)) = self.frame(end)? {
                match kind {
                    Kind::Damaged => {
                        self.note("device", "got a damaged frame");
                        break;
                    }
                    Kind::Done | Kind::Refused if answers != number => {}
                    Kind::Done | Kind::Refused if way == Way::Unanswered => {
                        self.note("host", "got no answer, and asks again");
                        break;
                    }
                    Kind::Done => return Ok(Ok(body)),
                    Kind::Refused => {
                        let text = String::from_utf8_lossy(&body).into_owned();
                        self.note("device", &format!("refuses: {text}"));
                        return Ok(Err(text));
                    }
                    _ => {}
                }
            }
            way = Way::Whole;
        }
        Err(self.problem("the device doesn't answer"))
    }

    /// The next frame; texts are noted. `None` when none comes before `end`, or the device resets itself.
    fn frame(&mut self, end: Instant) -> Result<Option<(Kind, u8, Vec<u8>)>, XtaskError> {
        while let Some(byte) = self.emulator()?.byte(end)? {
            if let Some(frame) = self.take(byte)? {
                return Ok(Some(frame));
            }
        }
        Ok(None)
    }

    fn take(&mut self, byte: u8) -> Result<Option<(Kind, u8, Vec<u8>)>, XtaskError> {
        self.partial.push(byte);
        if byte != 0 {
            return Ok(None);
        }
        let line = std::mem::take(&mut self.partial);
        let mut decoded = [0; MAX_FRAME];
        let report = CobsDecoder::new(&mut decoded).push(&line);
        let len = report.ok().flatten().map_or(0, |report| report.frame_size());
        let Some(Frame { kind, number, body }) = decoded.get(..len).and_then(Frame::read) else {
            return Err(self.problem("the device sent a damaged frame"));
        };
        let body = body.to_vec();
        if kind == Kind::Text && body != READY.as_bytes() {
            self.note("device", &String::from_utf8_lossy(&body));
        }
        Ok(Some((kind, number, body)))
    }

    fn is_reset(&self) -> bool {
        self.emulator.as_ref().is_some_and(|emulator| emulator.is_reset)
    }

    fn emulator(&mut self) -> Result<&mut Emulator, XtaskError> {
        let core = self.board.core;
        let off = || XtaskError::Update { core, problem: "the board has no power".to_owned() };
        self.emulator.as_mut().ok_or_else(off)
    }

    /// Where flash and RAM are while there is no power.
    fn files(&self) -> [PathBuf; 2] {
        ["flash", "ram"].map(|name| self.folder.path().join(name))
    }
}

/// The longest run of zeros: RAM between the variables and the deepest stack is as QEMU made it.
fn longest_zeros(bytes: &[u8]) -> usize {
    bytes.split(|&byte| byte != 0).map(<[u8]>::len).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::frame::MAX_BODY;
    use super::*;

    /// What a device makes of bytes up to a zero.
    fn read(line: &[u8]) -> Option<(Kind, u8, Vec<u8>)> {
        let mut decoded = [0; MAX_FRAME];
        let report = CobsDecoder::new(&mut decoded).push(line).ok()??;
        let Frame { kind, number, body } = Frame::read(decoded.get(..report.frame_size())?)?;
        Some((kind, number, body.to_vec()))
    }

    #[test]
    fn frames_come_back_and_damaged_ones_do_not() {
        for (len, fill) in [(0, 0), (1, 0), (64, 7), (MAX_BODY, 0), (MAX_BODY, 0xFF)] {
            let body = vec![fill; len];
            let frame = Frame { kind: Kind::Data, number: 9, body: &body };
            let mut bytes = [0; MAX_LINE];
            let line = frame.emit(&mut bytes).unwrap().to_vec();
            assert_eq!(line.iter().position(|&byte| byte == 0), Some(line.len() - 1));
            assert_eq!(read(&line), Some((Kind::Data, 9, body)));
            for at in 0..line.len() - 1 {
                for bit in 0..8 {
                    let mut damaged = line.clone();
                    damaged[at] ^= 1 << bit;
                    assert_eq!(read(&damaged), None, "byte {at}, bit {bit} of {len} bytes");
                }
            }
        }
        let long = [0; MAX_BODY + 1];
        let frame = Frame { kind: Kind::Data, number: 9, body: &long };
        assert_eq!(frame.emit(&mut [0; MAX_LINE]), None);
    }

    #[test]
    fn untouched_memory_is_the_longest_run_of_zeros() {
        assert_eq!(longest_zeros(&[1, 0, 0, 2, 0, 0, 0, 3, 0]), 3);
        assert_eq!(longest_zeros(&[1]), 0);
    }
}
