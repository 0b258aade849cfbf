//! The device's end of the serial line.

use core::fmt::{self, Write};

use board::uart::Uart;
use cobs::CobsDecoder;
use heapless::String;

use crate::frame::{Frame, Kind, MAX_BODY, MAX_FRAME, MAX_LINE};

/// Frames over the board's UART.
pub struct Line(Uart);

impl Line {
    /// The line, or `None` after the first time.
    pub fn open() -> Option<Self> {
        Uart::take().map(Self)
    }

    /// Waits for a frame; `None` if what came is damaged.
    pub fn receive<'b>(&mut self, buffer: &'b mut [u8; MAX_FRAME]) -> Option<Frame<'b>> {
        let mut decoder = CobsDecoder::new(buffer);
        let len = loop {
            let byte = self.wait();
            match decoder.feed(byte) {
                Ok(None) => {}
                Ok(Some(len)) => break len,
                Err(_) => {
                    // Too long, or cut off: the next frame begins behind a zero.
                    let mut last = byte;
                    while last != 0 {
                        last = self.wait();
                    }
                    return None;
                }
            }
        };
        Frame::read(buffer.get(..len)?)
    }

    /// Sends a frame.
    pub fn send(&mut self, kind: Kind, number: u8, body: &[u8]) {
        let mut bytes = [0; MAX_LINE];
        let frame = Frame { kind, number, body };
        for &byte in frame.emit(&mut bytes).unwrap_or_default() {
            self.0.write(byte);
        }
    }

    /// Sends something to read, as much of it as a frame holds.
    pub fn say(&mut self, what: fmt::Arguments<'_>) {
        let mut text = String::<MAX_BODY>::new();
        // What doesn't fit is cut.
        let _ = text.write_fmt(what);
        self.send(Kind::Text, 0, text.as_bytes());
    }

    fn wait(&mut self) -> u8 {
        loop {
            if let Some(byte) = self.0.read() {
                return byte;
            }
        }
    }
}
