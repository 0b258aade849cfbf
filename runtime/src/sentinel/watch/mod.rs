//! What a device keeps: the evidence of each bet, and what it has counted.

use super::record::{self, RECORD_LEN};
use super::section::Table;
use super::{Alarm, BINS, Look, MAX_BETS, MAX_CLASSES, ORDINALS, Sentinel, TAILS_AT, TILTS};
use crate::arch::{Isa, Kernels};

/// Most inferences that a window counts: numbers of 12 bits. Evidence goes on when it is full.
pub const MAX_WINDOW: u16 = 4095;
/// [`Watch::alarm_at`] without an alarm.
const NO_ALARM: u8 = u8::MAX;
/// Counts of symbols.
pub(super) const COUNTS: usize = ORDINALS * BINS + MAX_CLASSES;

/// The evidence against the reference, and counts of symbols for a [record](Self::record): 128 bytes.
///
/// An alarm stays until [`Self::reset`]. A watch belongs to one sentinel; with another's, alarms mean nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// By the places of bets.
    evidence: [u16; MAX_BETS],
    /// Bins of answer, brightness and roughness, and class symbols.
    pub(super) counts: [u16; COUNTS],
    pub(super) fed: u16,
    /// Inferences to pass over before the next that is fed.
    wait: u8,
    /// The place of the bet that is in alarm.
    pub(super) alarm_at: u8,
}

const _: () = assert!(size_of::<Watch>() <= 128, "a watch's RAM is promised");

impl Watch {
    /// Without evidence and counts.
    pub const fn new() -> Self {
        Self { evidence: [0; MAX_BETS], counts: [0; COUNTS], fed: 0, wait: 0, alarm_at: NO_ALARM }
    }

    /// For the trial of a new model: every bet starts with the logarithm of N, the inferences that the trial
    /// has, so that a model that is wrong from its first answer on is found sooner. Within N inferences that are fed, the
    /// probability of an alarm on a field like the reference is at most
    /// 2^([`Sentinel::trial_exponent`] / 16). [`Self::settle`] ends the trial.
    pub fn on_trial(sentinel: &Sentinel<'_>, log2_inferences: u8) -> Self {
        let start = u16::from(log2_inferences).wrapping_mul(16);
        let start = start.min(sentinel.threshold().saturating_sub(1));
        let mut watch = Self::new();
        for (place, evidence) in watch.evidence.iter_mut().enumerate() {
            if sentinel.has_bet(place) {
                *evidence = start;
            }
        }
        watch
    }

    /// Whether the next inference counts: if not, nobody needs to look at its input.
    pub fn is_due(&self) -> bool {
        self.wait == 0
    }

    /// Takes an inference in, of those that are due: a look at its input, and the output. Gives the alarm, if
    /// there is one. To be called once for each inference.
    pub fn feed(&mut self, sentinel: &Sentinel<'_>, look: Look, output: &[i8]) -> Option<Alarm> {
        if self.wait > 0 {
            self.wait = self.wait.wrapping_sub(1);
        } else {
            self.wait = sentinel.decimate().wrapping_sub(1);
            let (bins, class) = sentinel.places(look, output);
            self.count(bins, class);
            if self.alarm_at == NO_ALARM && self.bet(sentinel, bins, class) {
                self.alarm_at = self.highest().0;
            }
        }
        if self.alarm_at == NO_ALARM { None } else { self.alarm(sentinel) }
    }

    /// Counts the symbols: those of statistics that aren't there, too, which no record has.
    #[inline(always)]
    fn count(&mut self, bins: [usize; ORDINALS], class: usize) {
        let fed = self.fed.wrapping_add(1);
        if fed > MAX_WINDOW {
            return;
        }
        self.fed = fed;
        let (counts, classes) = self.counts.split_at_mut(ORDINALS * BINS);
        if let ([answers, brightness, roughness], _) = counts.as_chunks_mut::<BINS>() {
            let [answer, bright, rough] = bins;
            increment(answers, answer);
            increment(brightness, bright);
            increment(roughness, rough);
        }
        // What is beyond the last one is counted with it, as a record has it.
        increment(classes, class.min(MAX_CLASSES - 1));
    }

    /// Adds the scores of the symbols to all bets, and says whether one has reached the threshold. What isn't
    /// there scores 0.
    #[inline(always)]
    fn bet(&mut self, sentinel: &Sentinel<'_>, bins: [usize; ORDINALS], class: usize) -> bool {
        let (tables, events) = self.evidence.split_at_mut(TAILS_AT);
        let bets = sentinel.events();
        let (tails, classes) = events.split_at_mut(2 * ORDINALS);
        let (on_tails, on_classes) = bets.split_at(2 * ORDINALS);
        let mut rise = Rise { most: i32::from(sentinel.threshold()).wrapping_sub(1), room: 0 };
        let [answer, brightness, roughness] = bins;
        let [of_answer, of_brightness, of_roughness] = sentinel.tables();
        if let ([a, b, c], [d, e, f], [g, h, i]) =
            (tables.as_chunks_mut().0, tails.as_chunks_mut().0, on_tails.as_chunks().0)
        {
            rise.table(a, of_answer, answer);
            rise.tails(d, g, answer, 1);
            rise.table(b, of_brightness, brightness);
            rise.tails(e, h, brightness, 0);
            rise.table(c, of_roughness, roughness);
            rise.tails(f, i, roughness, 0);
        }
        rise.win(classes, on_classes, class);
        if let ([a, b, c, d], [e, f, g, h]) = (events.as_chunks_mut().0, bets.as_chunks().0) {
            Isa::lose(a, e);
            Isa::lose(b, f);
            Isa::lose(c, g);
            Isa::lose(d, h);
        }
        rise.room < 0
    }

    /// Whether there is an alarm.
    pub fn is_in_alarm(&self) -> bool {
        self.alarm_at != NO_ALARM
    }

    /// The alarm, if there is one.
    #[cold]
    #[inline(never)]
    pub fn alarm(&self, sentinel: &Sentinel<'_>) -> Option<Alarm> {
        if self.alarm_at == NO_ALARM {
            return None;
        }
        Some(Alarm { bet: sentinel.named(self.alarm_at), evidence: self.highest().1 })
    }

    /// The highest evidence, in sixteenths of a bit.
    pub fn evidence(&self) -> u16 {
        self.highest().1
    }

    /// The evidence of each bet, by its place: 0 where there is none.
    pub fn all(&self) -> &[u16; MAX_BETS] {
        &self.evidence
    }

    /// The place of the highest evidence, the first of equals, and that evidence.
    #[cold]
    #[inline(never)]
    fn highest(&self) -> (u8, u16) {
        let mut highest = (0, 0);
        for (place, &evidence) in (0..).zip(&self.evidence) {
            if evidence > highest.1 {
                highest = (place, evidence);
            }
        }
        highest
    }

    /// Forgets the alarm and all evidence, not the counts: the device goes on as if it had just started.
    pub fn reset(&mut self) {
        self.alarm_at = NO_ALARM;
        self.settle();
    }

    /// Ends a trial that went well: forgets all evidence. An alarm stays.
    pub fn settle(&mut self) {
        if self.alarm_at == NO_ALARM {
            self.evidence = [0; MAX_BETS];
        }
    }

    /// Inferences counted in this window, at most [`MAX_WINDOW`].
    pub fn fed(&self) -> u16 {
        self.fed
    }

    /// Starts counting anew, after a record was sent. Evidence and alarm stay.
    pub fn start_window(&mut self) {
        self.fed = 0;
        self.counts = [0; COUNTS];
    }

    /// Writes the record of this window, to be sent home: of the model with this id, which is its file's
    /// checksum, and with a number of the caller's. [`super::Record`] reads it.
    pub fn record(
        &self,
        sentinel: &Sentinel<'_>,
        model: u32,
        window: u16,
        out: &mut [u8; RECORD_LEN],
    ) {
        record::write(self, sentinel, (model, window), out);
    }
}

impl Default for Watch {
    fn default() -> Self {
        Self::new()
    }
}

impl Sentinel<'_> {
    /// The logarithm of what bounds the probability of a false alarm in a trial, in sixteenths of a bit: of
    /// 2 · N · J / 2^(h/16), for J bets, a threshold h, and N inferences by their logarithm. It is rounded up, and
    /// a bound only where it is below 0.
    pub fn trial_exponent(&self, log2_inferences: u8) -> i32 {
        let bets = LOG2_BETS.get(self.bets()).copied().unwrap_or(u8::MAX);
        let runs = i32::from(log2_inferences).wrapping_add(1).wrapping_mul(16);
        runs.wrapping_add(bets.into()).wrapping_sub(self.threshold().into())
    }
}

/// ⌈16 · log₂ J⌉ for numbers J of bets.
const LOG2_BETS: [u8; MAX_BETS + 1] = [
    0, 0, 16, 26, 32, 38, 42, 45, 48, 51, 54, 56, 58, 60, 61, 63, 64, 66, 67, 68, 70, 71, 72, 73,
    74, 75, 76, 77, 77,
];

/// One more of a symbol.
#[inline(always)]
fn increment(counts: &mut [u16], symbol: usize) {
    if let Some(count) = counts.get_mut(symbol) {
        *count = count.wrapping_add(1);
    }
}

/// Bets that rise.
struct Rise {
    /// One less than the threshold.
    most: i32,
    /// Negative once one is above that.
    room: i32,
}

impl Rise {
    /// Adds the scores of a bin to the four bets on a statistic.
    #[inline(always)]
    fn table(&mut self, evidence: &mut [u16; TILTS], table: &Table, bin: usize) {
        if let Some(row) = table.get(bin) {
            self.room |= Isa::add_scores(evidence, row, self.most);
        }
    }

    /// The bets on the lowest bins and the highest.
    #[inline(always)]
    fn tails(&mut self, tails: &mut [u16; 2], bets: &[[u8; 2]; 2], bin: usize, lowest: usize) {
        if bin <= lowest {
            self.win(tails, bets, 0);
        } else if bin == BINS - 1 {
            self.win(tails, bets, 1);
        }
    }

    /// Adds the hit of an event, and the loss that is then taken off all of them.
    #[inline(always)]
    fn win(&mut self, events: &mut [u16], bets: &[[u8; 2]], at: usize) {
        if let (Some(evidence), Some(&[hit, loss])) = (events.get_mut(at), bets.get(at)) {
            let sum = i32::from(*evidence).wrapping_add(hit.into());
            *evidence = sum.wrapping_add(loss.into()) as u16;
            self.room |= self.most.wrapping_sub(sum);
        }
    }
}

#[cfg(test)]
mod tests;
