//! A board with a serial line and flash that outlives it: one QEMU process from power-on to power-off.
//!
//! QEMU keeps no flash of these boards, so it is saved when power goes and loaded when it comes back. A reset
//! ends the process, too: QEMU would load the flash's image anew at each, and what was written would be gone.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::boards::{Board, FLASH_BYTES, Region};
use crate::error::XtaskError;
use crate::process;

/// QEMU starts, and answers its monitor, in milliseconds; this is for machines that do much else.
const MONITOR_LIMIT: Duration = Duration::from_secs(60);
/// How often a program that starts is looked at.
const POLL: Duration = Duration::from_millis(5);

/// What a running emulator tells.
enum Event {
    Line(Vec<u8>),
    Monitor(Value),
    /// The line or the monitor is at its end.
    End,
}

/// A board that has power.
pub(super) struct Emulator {
    board: &'static Board,
    /// Where flash and RAM go when power does.
    files: [PathBuf; 2],
    child: Child,
    line: ChildStdin,
    monitor: TcpStream,
    events: Receiver<Event>,
    bytes: VecDeque<u8>,
    answers: VecDeque<Value>,
    /// Whether the firmware has reset the board.
    pub(super) is_reset: bool,
    has_ended: bool,
    /// Whether it has ended because power went.
    is_off: bool,
}

impl Emulator {
    /// Power comes: with flash from the first file, if it is there, and a word on semihosting's command line, if
    /// somebody plays the watchdog. Flash goes back to that file when power goes, and RAM to the second.
    pub(super) fn start(
        board: &'static Board,
        elf: &Path,
        files: [PathBuf; 2],
        is_by_watchdog: bool,
    ) -> Result<Self, XtaskError> {
        let failed = |problem: std::io::Error| problem_of(board, &problem.to_string());
        let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();
        let watchdog = if is_by_watchdog { ",arg=watchdog" } else { "" };
        let mut command = Command::new(board.emulator);
        command
            .args(board.machine)
            .args(["-display", "none", "-serial", "stdio"])
            .args(["-action", "reboot=shutdown,shutdown=pause"])
            .arg("-semihosting-config")
            .arg(format!("enable=on,target=native,arg=update{watchdog}"))
            .arg("-chardev")
            .arg(format!("socket,id=monitor,host=127.0.0.1,port={port}"))
            .args(["-mon", "chardev=monitor,mode=control"])
            .env("QEMU_AUDIO_DRV", "none");
        let [flash, _] = &files;
        if flash.is_file() {
            let (file, at) = (flash.display(), board.model_slot.origin);
            command.arg("-device").arg(format!("loader,file={file},addr={at:#x},force-raw=on"));
        }
        command.arg("-kernel").arg(elf);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command
            .spawn()
            .map_err(|source| XtaskError::Spawn { program: process::show(&command), source })?;
        let monitor = accept(&listener, &mut child).map_err(failed)?;
        let (send, events) = mpsc::channel();
        let (Some(line), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(problem_of(board, "QEMU has no standard streams"));
        };
        read_line(output, send.clone());
        read_monitor(monitor.try_clone().map_err(failed)?, send);
        let mut emulator = Self {
            board,
            files,
            child,
            line,
            monitor,
            events,
            bytes: VecDeque::new(),
            answers: VecDeque::new(),
            is_reset: false,
            has_ended: false,
            is_off: false,
        };
        emulator.order(&json!({"execute": "qmp_capabilities"}))?;
        Ok(emulator)
    }

    /// Sends bytes to the board.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<(), XtaskError> {
        let sent = self.line.write_all(bytes).and_then(|()| self.line.flush());
        sent.map_err(|problem| problem_of(self.board, &problem.to_string()))
    }

    /// The next byte from the board; `None` when there is none before `end`, or none will come, as the firmware
    /// has reset the board.
    pub(super) fn byte(&mut self, end: Instant) -> Result<Option<u8>, XtaskError> {
        while self.bytes.is_empty() && !self.is_reset && self.wait(end)? {}
        if self.bytes.is_empty() && self.is_reset {
            // What was sent before may still be on its way: the end of the process is behind it.
            self.halt()?;
        } else if self.bytes.is_empty() && self.has_ended && !self.is_off {
            let status = self.child.wait().map_or_else(|_| String::new(), |s| s.to_string());
            return Err(problem_of(self.board, &format!("the firmware ended by itself: {status}")));
        }
        Ok(self.bytes.pop_front())
    }

    /// Power goes: flash and RAM are saved, and the process ends.
    pub(super) fn halt(&mut self) -> Result<(), XtaskError> {
        if self.is_off {
            return Ok(());
        }
        self.order(&json!({"execute": "stop"}))?;
        let [flash, ram] = self.files.clone();
        let origin = self.board.model_slot.origin;
        self.save(Region { origin, length: FLASH_BYTES }, &flash)?;
        self.save(self.board.ram, &ram)?;
        // It ends before it answers, or behind that.
        self.tell(&json!({"execute": "quit"}))?;
        let end = Instant::now() + MONITOR_LIMIT;
        while self.wait(end)? {}
        let ended = self.child.wait();
        ended.map_err(|problem| problem_of(self.board, &problem.to_string()))?;
        self.is_off = true;
        Ok(())
    }

    /// Writes some of the board's memory, as its processor sees it, to a file.
    fn save(&mut self, region: Region, file: &Path) -> Result<(), XtaskError> {
        let place = json!({"val": region.origin, "size": region.length, "filename": file});
        self.order(&json!({"execute": "memsave", "arguments": place}))
    }

    /// Gives the monitor an order, and waits until it is done.
    fn order(&mut self, order: &Value) -> Result<(), XtaskError> {
        self.tell(order)?;
        let end = Instant::now() + MONITOR_LIMIT;
        while self.answers.is_empty() && self.wait(end)? {}
        match self.answers.pop_front() {
            Some(answer) if answer.get("return").is_some() => Ok(()),
            other => Err(problem_of(self.board, &format!("QEMU's monitor: {order}: {other:?}"))),
        }
    }

    fn tell(&mut self, order: &Value) -> Result<(), XtaskError> {
        let sent = writeln!(self.monitor, "{order}");
        sent.map_err(|problem| problem_of(self.board, &problem.to_string()))
    }

    /// Takes what comes next; false when nothing came before `end`, or all is at its end.
    fn wait(&mut self, end: Instant) -> Result<bool, XtaskError> {
        if self.has_ended {
            return Ok(false);
        }
        match self.events.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(Event::Line(bytes)) => self.bytes.extend(bytes),
            Ok(Event::Monitor(value)) if value["event"] == "SHUTDOWN" => {
                self.is_reset |= value["data"]["reason"] == "guest-reset";
            }
            Ok(Event::Monitor(value)) => {
                let is_answer = value.get("return").or(value.get("error")).is_some();
                self.answers.extend(is_answer.then_some(value));
            }
            Ok(Event::End) => {}
            Err(RecvTimeoutError::Timeout) => return Ok(false),
            // Both readers are at their ends: the process is.
            Err(RecvTimeoutError::Disconnected) => {
                self.has_ended = true;
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // It has ended already, unless something went wrong.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn problem_of(board: &Board, problem: &str) -> XtaskError {
    XtaskError::Update { core: board.core, problem: problem.to_owned() }
}

/// Waits for QEMU to connect its monitor.
fn accept(listener: &TcpListener, child: &mut Child) -> std::io::Result<TcpStream> {
    listener.set_nonblocking(true)?;
    let end = Instant::now() + MONITOR_LIMIT;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                return Ok(stream);
            }
            Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => return Err(error),
            Err(_) => {
                let has_ended = child.try_wait()?.is_some();
                if has_ended || Instant::now() >= end {
                    let _ = child.kill();
                    return Err(std::io::Error::other("QEMU doesn't connect its monitor"));
                }
            }
        }
        thread::sleep(POLL);
    }
}

/// Hands on what the board sends.
fn read_line(output: impl Read + Send + 'static, events: Sender<Event>) {
    thread::spawn(move || {
        let mut output = output;
        let mut buffer = [0; 512];
        while let Ok(len @ 1..) = output.read(&mut buffer) {
            let bytes = buffer.get(..len).unwrap_or_default().to_vec();
            if events.send(Event::Line(bytes)).is_err() {
                return;
            }
        }
        // Nobody may be left to hear it.
        let _ = events.send(Event::End);
    });
}

/// Hands on what the monitor says, an object a line.
fn read_monitor(monitor: TcpStream, events: Sender<Event>) {
    thread::spawn(move || {
        for line in BufReader::new(monitor).lines().map_while(Result::ok) {
            let value = serde_json::from_str(&line).unwrap_or(Value::Null);
            if events.send(Event::Monitor(value)).is_err() {
                return;
            }
        }
        // As above.
        let _ = events.send(Event::End);
    });
}
