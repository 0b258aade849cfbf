//! The device: what it does at a start, and what it answers.

use core::fmt;

use bitsback_runtime::sentinel::{Alarm, Watch};
use bitsback_slots::package::{PackageGate, PublicKey, Unpacker};
use bitsback_slots::{Note, Other, Reason, Restart, Slots};
use board::flash::Flash;
use board::{Failure, reset};
use heapless::Vec;

use crate::frame::{Frame, Kind, MAX_BODY, MAX_FRAME};
use crate::line::Line;
use crate::self_test;
use crate::watched::{self, Seen};

/// An answer's body.
type Body = Vec<u8, MAX_BODY>;

/// A question that makes no sense.
#[derive(Debug)]
pub enum LineError {
    /// Line or flash are in use already.
    Taken,
    /// There is no such question, or something is missing of it.
    Question,
    /// No package has begun.
    NoPackage,
    /// No model runs.
    NoModel,
    /// A piece of the payload came that isn't the next.
    Gap {
        /// The byte that comes next.
        next: u32,
    },
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken => f.write_str("line or flash are in use already"),
            Self::Question => f.write_str("no question that this firmware knows"),
            Self::NoPackage => f.write_str("no package has begun"),
            Self::NoModel => f.write_str("no model runs"),
            Self::Gap { next } => write!(f, "byte {next} of the payload comes next"),
        }
    }
}

impl core::error::Error for LineError {}

/// Slots at the end of a line.
pub struct Device {
    line: Line,
    slots: Slots<Flash, PackageGate<PublicKey>>,
    /// Of the package that is coming.
    unpacker: Option<Unpacker>,
    /// The question that was answered last, and the answer.
    last: Option<(Kind, u8)>,
    answer: (Kind, Body),
    /// Of the model that runs, if it has a sentinel.
    watch: Option<Watch>,
    /// Whether the host was heard since the start.
    is_heard: bool,
    /// Whether the device starts anew when it has answered.
    starts_anew: bool,
}

impl Device {
    /// A device that has just started.
    pub fn new(line: Line, slots: Slots<Flash, PackageGate<PublicKey>>) -> Self {
        Self {
            line,
            slots,
            unpacker: None,
            last: None,
            answer: (Kind::Done, Body::new()),
            watch: None,
            is_heard: false,
            starts_anew: false,
        }
    }

    /// Says what runs and tests it, then answers for ever.
    pub fn run(mut self, restart: Restart) -> ! {
        self.say_state(restart);
        if let Err(failure) = self.test() {
            self.line.say(format_args!("error: {failure}"));
        }
        let is_on_trial = self.is_on_trial();
        self.watch = self.slots.model().and_then(|model| watched::start(model, is_on_trial));
        self.line.say(format_args!("ready"));
        loop {
            let mut buffer = [0; MAX_FRAME];
            match self.line.receive(&mut buffer) {
                Some(frame) => self.answer(frame),
                None => self.line.send(Kind::Damaged, 0, &[]),
            }
        }
    }

    fn say_state(&mut self, restart: Restart) {
        let Self { line, slots, .. } = self;
        line.say(format_args!(
            "started{}",
            if restart == Restart::Watchdog { " by the watchdog" } else { "" }
        ));
        if let Some(fault) = slots.fault() {
            line.say(format_args!("fault: {fault}"));
        }
        if let Some(Note { version, reason }) = slots.state().note() {
            line.say(format_args!("noted of version {version}: {}", words(reason)));
        }
        match (slots.chosen(), slots.state().other()) {
            (None, _) => line.say(format_args!("has no model")),
            (Some(chosen), Other::Trial { starts, allowed }) if chosen.is_on_trial => {
                let version = chosen.version;
                line.say(format_args!(
                    "runs version {version} on trial, start {starts} of {allowed}"
                ));
            }
            (Some(chosen), _) => line.say(format_args!("runs version {}", chosen.version)),
        }
    }

    /// Tests the model that runs. If it is on trial and fails, the device goes back.
    fn test(&mut self) -> Result<(), Failure> {
        let Some(model) = self.slots.model() else { return Ok(()) };
        let right = self_test::count(model);
        self.line.say(format_args!("self-test: {right} of {} inputs", self_test::INPUTS));
        if right < self_test::INPUTS && self.is_on_trial() {
            self.slots.roll_back(Reason::SelfTest)?;
            self.line.say(format_args!("goes back and starts anew"));
            reset::now();
        }
        Ok(())
    }

    fn is_on_trial(&self) -> bool {
        self.slots.chosen().is_some_and(|chosen| chosen.is_on_trial)
    }

    /// Answers a question, or once more the last one.
    fn answer(&mut self, frame: Frame<'_>) {
        let question = (frame.kind, frame.number);
        if self.last != Some(question) || frame.kind == Kind::Hello {
            self.answer = match self.done(frame) {
                Ok(body) => (Kind::Done, body),
                Err(failure) => (Kind::Refused, text(&failure)),
            };
            self.last = Some(question);
        }
        let (kind, body) = &self.answer;
        self.line.send(*kind, frame.number, body);
        if self.starts_anew {
            self.line.say(format_args!("starts anew"));
            reset::now();
        }
    }

    fn done(&mut self, frame: Frame<'_>) -> Result<Body, Failure> {
        match frame.kind {
            Kind::Hello => self.hello(),
            Kind::Begin => self.begin(frame.body),
            Kind::Data => self.data(frame.body),
            Kind::Activate => self.activate(frame.body),
            Kind::Classify => self.classify(frame.body),
            Kind::Done | Kind::Refused | Kind::Text | Kind::Damaged => {
                Err(LineError::Question.into())
            }
        }
    }

    /// The host is there: what a model on trial still had to show.
    fn hello(&mut self) -> Result<Body, Failure> {
        self.is_heard = true;
        self.confirm()?;
        Ok(number(self.slots.chosen().map_or(0, |chosen| chosen.version)))
    }

    /// Ends a trial that has shown all that it has to.
    fn confirm(&mut self) -> Result<(), Failure> {
        let is_seen = self.watch.as_ref().is_none_or(|watch| watch.fed() >= 1 << watched::TRIAL);
        if self.is_on_trial() && self.is_heard && is_seen {
            self.slots.confirm()?;
            if let Some(watch) = &mut self.watch {
                watch.settle();
            }
            self.line.say(format_args!("the trial is confirmed"));
        }
        Ok(())
    }

    /// Classifies an input; a sentinel that alarms for the first time has a say.
    fn classify(&mut self, pixels: &[u8]) -> Result<Body, Failure> {
        let model = self.slots.model().ok_or(LineError::NoModel)?;
        let was_alarmed = self.watch.as_ref().is_some_and(Watch::is_in_alarm);
        let seen = watched::classify(model, pixels, self.watch.as_mut());
        let Seen { class, alarm } = seen.ok_or(LineError::Question)?;
        if let Some(alarm) = alarm.filter(|_| !was_alarmed) {
            self.alarmed(alarm)?;
        }
        self.confirm()?;
        Ok(Body::from_slice(&[class as u8, alarm.is_some().into()]).unwrap_or_default())
    }

    /// The field doesn't look like the reference. Of a model on trial that is a reason to go back, unless the
    /// model before had alarmed, too: then it is the field that has changed.
    fn alarmed(&mut self, Alarm { bet, evidence }: Alarm) -> Result<(), Failure> {
        self.line.say(format_args!("alarm: {bet}, {} bits", evidence / 16));
        if !self.is_on_trial() {
            return Ok(self.slots.note(Reason::Alarm)?);
        }
        let before = self.slots.version_before();
        let noted = self.slots.state().note().filter(|note| note.reason == Reason::Alarm);
        if before.is_some() && noted.map(|note| note.version) == before {
            self.slots.note(Reason::FieldChanged)?;
            self.line.say(format_args!("the model before had alarmed, too: the field has changed"));
        } else {
            self.slots.roll_back(Reason::Alarm)?;
            self.line.say(format_args!("goes back"));
            self.starts_anew = true;
        }
        Ok(())
    }

    /// Checks signature, requirements, version and base, then begins or goes on.
    fn begin(&mut self, package: &[u8]) -> Result<Body, Failure> {
        self.unpacker = None;
        let unpacker = self.slots.begin_package(package)?;
        let next = unpacker.next();
        self.unpacker = Some(unpacker);
        Ok(number(next))
    }

    fn data(&mut self, body: &[u8]) -> Result<Body, Failure> {
        let (at, piece) = body.split_first_chunk().ok_or(LineError::Question)?;
        let unpacker = self.unpacker.as_mut().ok_or(LineError::NoPackage)?;
        let next = unpacker.next();
        if u32::from_le_bytes(*at) != next {
            return Err(LineError::Gap { next }.into());
        }
        self.slots.take(unpacker, piece)?;
        Ok(number(unpacker.next()))
    }

    /// Ends a package that is coming, checks digest and model, and has the next start try it. Without a package,
    /// that is the model that has failed before.
    fn activate(&mut self, body: &[u8]) -> Result<Body, Failure> {
        let &starts = body.first().ok_or(LineError::Question)?;
        if self.unpacker.is_some() {
            self.slots.finish()?;
            self.unpacker = None;
        }
        self.slots.activate(starts)?;
        self.starts_anew = true;
        Ok(Body::new())
    }
}

fn number(value: u32) -> Body {
    // Four bytes have room.
    Body::from_slice(&value.to_le_bytes()).unwrap_or_default()
}

/// As much of a message as an answer holds.
fn text(failure: &Failure) -> Body {
    let mut text = heapless::String::<MAX_BODY>::new();
    // A failure is shorter.
    let _ = fmt::Write::write_fmt(&mut text, format_args!("{failure}"));
    text.into_bytes()
}

fn words(reason: Reason) -> &'static str {
    match reason {
        Reason::Alarm => "its sentinel raised an alarm",
        Reason::Unconfirmed => "it wasn't confirmed within its starts",
        Reason::Watchdog => "the watchdog had to reset the device",
        Reason::SelfTest => "it failed its self-test",
        Reason::FieldChanged => "its sentinel raised an alarm, and that before it, too",
        Reason::Damaged => "its flash was damaged",
    }
}
