//! What a device keeps: the evidence of each bet, and what it has counted.

use super::record::{self, RECORD_LEN};
use super::{
    Alarm, BINS, CLASSES_AT, Look, MAX_BETS, MAX_CLASSES, ORDINALS, Sentinel, Symbols, TAILS_AT,
    TILTS,
};

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
            self.wait = sentinel.decimate().saturating_sub(1);
            let symbols = sentinel.symbols(look, output);
            self.count(sentinel, &symbols);
            if self.alarm_at == NO_ALARM && self.bet(sentinel, &symbols) {
                self.alarm_at = self.highest().0;
            }
        }
        self.alarm(sentinel)
    }

    /// Counts the symbols that there are.
    fn count(&mut self, sentinel: &Sentinel<'_>, symbols: &Symbols) {
        if self.fed >= MAX_WINDOW {
            return;
        }
        self.fed = self.fed.wrapping_add(1);
        let [answer, brightness, roughness] = symbols.bins;
        if sentinel.has_answer() {
            increment(&mut self.counts, answer.into());
        }
        if sentinel.has_inputs() {
            increment(&mut self.counts, BINS.wrapping_add(brightness.into()));
            increment(&mut self.counts, (2 * BINS).wrapping_add(roughness.into()));
        }
        if sentinel.has_classes() {
            // What is beyond the last one is counted with it, as a record has it.
            let place = (3 * BINS).wrapping_add(symbols.class.into());
            increment(&mut self.counts, place.min(COUNTS - 1));
        }
    }

    /// Adds the scores of the symbols to all bets, and says whether one has reached the threshold. What isn't
    /// there scores 0.
    fn bet(&mut self, sentinel: &Sentinel<'_>, symbols: &Symbols) -> bool {
        let (tables, events) = self.evidence.split_at_mut(TAILS_AT);
        let below = i32::from(sentinel.threshold()).wrapping_sub(1);
        // Negative once one is above that.
        let mut room = 0;
        let tables = tables.as_chunks_mut::<TILTS>().0.iter_mut().zip(sentinel.tables());
        let (tails, _) = events.as_chunks_mut::<2>();
        let (bets, _) = sentinel.events().as_chunks::<2>();
        let mut lowest = 1;
        for (((tables, rows), &bin), (tails, bets)) in
            tables.zip(&symbols.bins).zip(tails.iter_mut().zip(bets))
        {
            let scores = rows.get(usize::from(bin)).unwrap_or(&[0; TILTS]);
            // Spelled out, as below: a loop would take as many instructions as what it does.
            let ([a, b, c, d], [p, q, r, s]) = (tables, scores);
            room |= below.wrapping_sub(add(a, (*p as i8).into()));
            room |= below.wrapping_sub(add(b, (*q as i8).into()));
            room |= below.wrapping_sub(add(c, (*r as i8).into()));
            room |= below.wrapping_sub(add(d, (*s as i8).into()));
            let ([low, high], [on_low, on_high]) = (tails, bets);
            if bin <= lowest {
                room |= below.wrapping_sub(win(low, *on_low));
            } else if usize::from(bin) == BINS - 1 {
                room |= below.wrapping_sub(win(high, *on_high));
            }
            lowest = 0;
        }
        let class = (CLASSES_AT - TAILS_AT).wrapping_add(symbols.class.into());
        if let (Some(evidence), Some(&bet)) = (events.get_mut(class), sentinel.events().get(class))
        {
            room |= below.wrapping_sub(win(evidence, bet));
        }
        for (events, bets) in
            events.as_chunks_mut().0.iter_mut().zip(sentinel.events().as_chunks().0)
        {
            let ([a, b, c, d], [[_, p], [_, q], [_, r], [_, s]]) = (events, bets);
            add(a, i32::from(*p).wrapping_neg());
            add(b, i32::from(*q).wrapping_neg());
            add(c, i32::from(*r).wrapping_neg());
            add(d, i32::from(*s).wrapping_neg());
        }
        room < 0
    }

    /// The alarm, if there is one.
    pub fn alarm(&self, sentinel: &Sentinel<'_>) -> Option<Alarm> {
        let bet = sentinel.bet_at(self.alarm_at)?;
        Some(Alarm { bet, evidence: self.highest().1 })
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
fn increment(counts: &mut [u16; COUNTS], place: usize) {
    if let Some(count) = counts.get_mut(place) {
        *count = count.wrapping_add(1);
    }
}

/// Adds the hit of an event, and the loss that is then taken off all of them; gives the evidence after both.
#[inline(always)]
fn win(evidence: &mut u16, [hit, loss]: [u8; 2]) -> i32 {
    let sum = i32::from(*evidence).wrapping_add(hit.into());
    *evidence = sum.wrapping_add(loss.into()) as u16;
    sum
}

/// Adds a score to evidence, which isn't below 0 then, and gives it.
#[inline(always)]
fn add(evidence: &mut u16, score: i32) -> i32 {
    let sum = i32::from(*evidence).wrapping_add(score);
    let sum = sum & !(sum >> 31);
    *evidence = sum as u16;
    sum
}

#[cfg(test)]
mod tests;
