//! The section of a file that has a sentinel, read where it lies. `docs/FORMAT.md` gives the bytes.

use super::{
    BINS, CLASSES_AT, Fault, MAPPED_CLASSES, MAX_BETS, MAX_CLASSES, MAX_INPUTS, MAX_OUTPUTS,
    MAX_THRESHOLD, ORDINALS, SECTION_MAGIC, TAILS_AT, TILTS, proof,
};
use crate::model::Model;
use crate::ops::OpKind;

/// Bytes before the edges.
pub(super) const HEAD_LEN: usize = 8;
/// Bytes behind the bounds: the length and the magic.
#[cfg(any(test, feature = "writer"))]
pub(crate) const TAIL_LEN: usize = 6;
/// Bits of the kind.
pub(super) const ANSWER: u8 = 1;
pub(super) const INPUTS: u8 = 2;
pub(super) const CLASSES: u8 = 4;
pub(super) const VALUES: u8 = 8;
pub(super) const MAP: u8 = 16;
/// A stored upper bound that stands for [`proof::CERTAIN`].
const STORED_CERTAIN: u16 = 4095;
/// Bets on events: those of places from [`TAILS_AT`] on.
pub(super) const EVENTS: usize = MAX_BETS - TAILS_AT;
/// The place of the first bet on a tail of the inputs.
const FIRST_OF_INPUTS: usize = TAILS_AT + 2;
/// Bounds on each ordinal statistic.
pub(super) const BOUNDS: usize = 14;

/// A bet on an event: what it gains when the event happens, and loses when not, in sixteenths of a bit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// Added, 0 to 127.
    pub hit: u8,
    /// Taken off, 1 to 127.
    pub loss: u8,
}

impl Event {
    pub(super) fn is_sound(self) -> bool {
        self.hit <= 127 && (1..=127).contains(&self.loss)
    }

    pub(super) fn read([hit, loss]: [u8; 2]) -> Self {
        Self { hit, loss }
    }
}

/// An ordinal statistic: its bins, the bets on it, and what bounds its law. Probabilities are in 4096ths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ordinal {
    /// A value's bin is the number of edges that it has reached; ascending, 0 to 255 for the answer.
    pub edges: [i16; 7],
    /// For each bin the scores of the four bets `lo2`, `lo6`, `hi2`, `hi6`, in sixteenths of a bit.
    pub table: [[i8; TILTS]; 8],
    /// The bet on the lowest bin, or on the two lowest of the answer.
    pub low: Event,
    /// The bet on the highest bin.
    pub high: Event,
    /// The probability of bins 1, 2, … 7 and beyond is at most this: 0 to 4094, or 4096.
    pub up: [u16; 7],
    /// It is at least this: 0 to 4095.
    pub lo: [u16; 7],
}

/// The bet on a class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClassBet {
    /// The bet.
    pub event: Event,
    /// The class's probability is at most this, in 4096ths: 0 to 4094, or 4096.
    pub up: u16,
}

/// What a model's outputs are to its sentinel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(all(feature = "defmt", target_os = "none"), derive(defmt::Format))]
pub enum Answers {
    /// Nothing: inputs alone are looked at.
    None,
    /// A score for each of several classes.
    Scores,
    /// The class alone, as an argmax gives it.
    Class,
    /// Values, whose mean is the answer.
    Values,
}

/// A row of scores for each bin.
pub(super) type Table = [[u8; TILTS]; BINS];

/// Of a statistic that isn't there.
const NO_SCORES: &Table = &[[0; TILTS]; BINS];

/// A model's sentinel: its section, read and, but for [`Sentinel::trust`], proved.
#[derive(Clone, Copy, Debug)]
pub struct Sentinel<'a> {
    threshold: u16,
    tolerance: u16,
    shift: u8,
    decimate: u8,
    answers: Answers,
    class_bets: u8,
    kind: u8,
    /// Of ordinal statistics; any of those that aren't there.
    edges: [[i16; 7]; ORDINALS],
    map: &'a [[u8; 2]],
    /// For each ordinal statistic a row of scores for each bin.
    tables: [&'a Table; ORDINALS],
    /// Hits and losses by their places, behind those of tables; 0 of bets that aren't there.
    events: [[u8; 2]; EVENTS],
    bounds: &'a [u8],
}

impl<'a> Sentinel<'a> {
    /// The sentinel of a model's file, `None` if it has none. Every bet is [proved](proof) again, from the
    /// section's own bounds; how they came about nobody can tell from them.
    pub fn new<const KINDS: u32>(model: &Model<'a, KINDS>) -> Result<Option<Self>, Fault> {
        let is_class = model.last_kind() == OpKind::Argmax;
        let Some(section) = find(model.section())? else { return Ok(None) };
        let sentinel = Self::prove(section, is_class)?;
        let header = model.header();
        sentinel.fit(header.output_len as usize, header.input_len as usize)?;
        Ok(Some(sentinel))
    }

    /// As [`Self::new`] of a file that it has accepted before, say in the firmware's build script: the proof
    /// isn't linked. Of other files, alarms mean nothing; nothing else depends on them.
    pub fn trust<const KINDS: u32>(model: &Model<'a, KINDS>) -> Result<Option<Self>, Fault> {
        match find(model.section())? {
            Some(section) => Self::read(section, model.last_kind() == OpKind::Argmax).map(Some),
            None => Ok(None),
        }
    }

    /// That there can be such a section.
    fn check(head: &[u8; HEAD_LEN]) -> Result<(), Fault> {
        let [h0, h1, kind, _, _, class_bets, ..] = *head;
        if !(1..=MAX_THRESHOLD).contains(&u16::from_le_bytes([h0, h1])) {
            return Err(Fault::Numbers);
        }
        if kind & !(ANSWER | INPUTS | CLASSES | VALUES | MAP) != 0 {
            return Err(Fault::Reserved);
        }
        if kind & (ANSWER | INPUTS | CLASSES) == 0
            || (kind & VALUES != 0 && kind & (ANSWER | CLASSES) != ANSWER)
        {
            return Err(Fault::Kind);
        }
        let class_bets = usize::from(class_bets);
        let fits = match kind & (CLASSES | MAP) {
            0 => class_bets == 0,
            CLASSES => (1..=MAX_CLASSES).contains(&class_bets),
            MAP => false,
            _ => class_bets == MAPPED_CLASSES,
        };
        if fits { Ok(()) } else { Err(Fault::Classes) }
    }

    /// Takes a section's parts, without the length and the magic at its end, of a model that may give the
    /// class alone.
    #[inline(never)]
    pub(super) fn read(section: &'a [u8], is_class: bool) -> Result<Self, Fault> {
        let (head, rest) = section.split_first_chunk::<HEAD_LEN>().ok_or(Fault::Length)?;
        let [h0, h1, kind, shift, decimate, class_bets, t0, t1] = *head;
        let class_bets = usize::from(class_bets);
        let has = |bit: u8| usize::from(kind & bit != 0);
        let statistics = has(ANSWER).wrapping_add(has(INPUTS).wrapping_mul(2));
        let mut rest = Rest { bytes: rest, is_short: false };
        let mut edges = [[0; 7]; ORDINALS];
        let [of_answer, of_inputs @ ..] = &mut edges;
        for (edge, &byte) in of_answer.iter_mut().zip(rest.bytes(has(ANSWER).wrapping_mul(7))) {
            *edge = byte.into();
        }
        let bytes = rest.take(has(INPUTS).wrapping_mul(14));
        for (edge, &bytes) in of_inputs.as_flattened_mut().iter_mut().zip(bytes) {
            *edge = i16::from_le_bytes(bytes);
        }
        let map = rest.take(MAPPED_CLASSES.wrapping_mul(has(MAP)));
        let mut table = |is_there: usize| {
            rest.take(BINS.wrapping_mul(is_there)).first_chunk().unwrap_or(NO_SCORES)
        };
        let tables = [table(has(ANSWER)), table(has(INPUTS)), table(has(INPUTS))];
        let tails = rest.take::<2>(statistics.wrapping_mul(2));
        let classes = rest.take::<2>(class_bets);
        if rest.is_short {
            return Err(Fault::Length);
        }
        let mut events = [[0; 2]; EVENTS];
        let first = if has(ANSWER) == 1 { 0 } else { 2 };
        for (place, &event) in events.iter_mut().skip(first).zip(tails) {
            *place = event;
        }
        for (place, &event) in events.iter_mut().skip(CLASSES_AT - TAILS_AT).zip(classes) {
            *place = event;
        }
        Ok(Self {
            threshold: u16::from_le_bytes([h0, h1]).min(MAX_THRESHOLD), // of one that isn't proved
            tolerance: u16::from_le_bytes([t0, t1]),
            shift,
            decimate,
            answers: match kind & (ANSWER | CLASSES | VALUES) {
                0 => Answers::None,
                _ if is_class => Answers::Class,
                bits if bits & VALUES != 0 => Answers::Values,
                _ => Answers::Scores,
            },
            class_bets: class_bets as u8,
            kind,
            edges,
            map,
            tables,
            events,
            // Of whatever length: only the proof looks at them.
            bounds: rest.bytes,
        })
    }

    /// As [`Self::read`], and that the numbers are in range and each bet is fair.
    pub(super) fn prove(section: &'a [u8], is_class: bool) -> Result<Self, Fault> {
        Self::check(section.first_chunk().ok_or(Fault::Length)?)?;
        let sentinel = Self::read(section, is_class)?;
        sentinel.check_numbers()?;
        proof::check(&sentinel)?;
        Ok(sentinel)
    }

    fn check_numbers(&self) -> Result<(), Fault> {
        let bounds = BOUNDS.wrapping_mul(self.statistics()).wrapping_add(self.class_bets.into());
        if self.bounds.len() != packed_len(bounds) {
            return Err(Fault::Length);
        }
        if bounds & 1 == 1 && self.bounds.last().is_some_and(|last| last & 0xF0 != 0) {
            return Err(Fault::Reserved);
        }
        let sound = self.shift < 32 && self.decimate > 0 && self.tolerance <= proof::CERTAIN;
        if !sound {
            return Err(Fault::Numbers);
        }
        if !self.map_numbers().is_sorted_by(|before, after| before < after) {
            return Err(Fault::Map);
        }
        for (statistic, of) in self.ordinals() {
            if !of.edges.is_sorted_by(|before, after| before < after) {
                return Err(Fault::Edges { statistic });
            }
        }
        Ok(())
    }

    /// That the section is about a model with so many outputs and inputs.
    fn fit(&self, outputs: usize, inputs: usize) -> Result<(), Fault> {
        let fits = match self.answers {
            Answers::None => true,
            Answers::Values => outputs <= MAX_OUTPUTS,
            Answers::Class => !self.has_answer(),
            Answers::Scores => {
                let last = self.map_numbers().last().map_or(0, usize::from);
                let bets = usize::from(self.class_bets);
                outputs > 1 && last < outputs && (bets == outputs || bets == 0 || last > 0)
            }
        };
        let looks = !self.has_inputs() || inputs <= MAX_INPUTS;
        if fits && looks { Ok(()) } else { Err(Fault::Model) }
    }

    /// Evidence from which on it is an alarm, in sixteenths of a bit.
    pub fn threshold(&self) -> u16 {
        self.threshold
    }

    /// How far laws may be from the reference's bounds, in total variation: in 4096ths.
    pub fn tolerance(&self) -> u16 {
        self.tolerance
    }

    /// By how many bits the sums over an input are shifted right before edges are compared with them.
    pub fn shift(&self) -> u8 {
        self.shift
    }

    /// Every how many inferences one is fed; 1: all.
    pub fn decimate(&self) -> u8 {
        self.decimate
    }

    /// What the model's outputs are to it.
    pub fn answers(&self) -> Answers {
        self.answers
    }

    /// Whether the answer is a statistic.
    pub fn has_answer(&self) -> bool {
        self.kind & ANSWER != 0
    }

    /// Whether brightness and roughness of inputs are: if not, looks count for nothing.
    pub fn has_inputs(&self) -> bool {
        self.kind & INPUTS != 0
    }

    /// Whether classes have bets.
    pub fn has_classes(&self) -> bool {
        self.class_bets > 0
    }

    /// The number of bets.
    pub fn bets(&self) -> usize {
        (TILTS + 2).wrapping_mul(self.statistics()).wrapping_add(self.class_bets.into())
    }

    /// Whether there is a bet at this place.
    pub fn has_bet(&self, place: usize) -> bool {
        match place {
            0..TILTS | TAILS_AT..FIRST_OF_INPUTS => self.has_answer(),
            TILTS..CLASSES_AT => self.has_inputs(),
            _ => place.wrapping_sub(CLASSES_AT) < usize::from(self.class_bets),
        }
    }

    /// The ordinal statistics that there are, each with its number: 0 answer, 1 brightness, 2 roughness.
    pub fn ordinals(&self) -> impl Iterator<Item = (u8, Ordinal)> {
        let first = if self.has_answer() { 0 } else { 1 };
        (first..)
            .zip(0..self.statistics())
            .map(|(statistic, index)| (statistic, self.ordinal(statistic.into(), index)))
    }

    /// An ordinal statistic by its number, and its number among those that there are.
    fn ordinal(&self, statistic: usize, index: usize) -> Ordinal {
        let edges = self.edges.get(statistic).copied().unwrap_or_default();
        let table = **self.tables.get(statistic).unwrap_or(&NO_SCORES);
        let table = table.map(|row| row.map(|score| score as i8));
        let mut events =
            self.events.iter().skip(statistic.wrapping_mul(2)).map(|&event| Event::read(event));
        let mut bounds = (BOUNDS.wrapping_mul(index)..).map(|at| twelve_bits(self.bounds, at));
        let mut bound = || bounds.next().unwrap_or_default();
        Ordinal {
            edges,
            table,
            low: events.next().unwrap_or_default(),
            high: events.next().unwrap_or_default(),
            up: [(); 7].map(|()| upper(bound())),
            lo: [(); 7].map(|()| bound()),
        }
    }

    /// The bets on classes, in the order of class symbols.
    pub fn class_bets(&self) -> impl Iterator<Item = ClassBet> {
        let bets = self.events.iter().skip(CLASSES_AT - TAILS_AT).take(self.class_bets.into());
        let first = BOUNDS.wrapping_mul(self.statistics());
        bets.zip(first..).map(|(&event, at)| ClassBet {
            event: Event::read(event),
            up: upper(twelve_bits(self.bounds, at)),
        })
    }

    /// The class numbers that have bets, where not all classes have.
    pub fn map_numbers(&self) -> impl ExactSizeIterator<Item = u16> {
        self.map.iter().map(|&number| u16::from_le_bytes(number))
    }

    /// The number of the class that has this symbol.
    pub(super) fn class_number(&self, symbol: u8) -> u16 {
        self.map
            .get(usize::from(symbol))
            .map_or(symbol.into(), |&number| u16::from_le_bytes(number))
    }

    /// Ordinal statistics that there are.
    fn statistics(&self) -> usize {
        usize::from(self.has_answer()).wrapping_add(usize::from(self.has_inputs()).wrapping_mul(2))
    }

    pub(super) fn edges(&self) -> &[[i16; 7]; ORDINALS] {
        &self.edges
    }

    pub(super) fn tables(&self) -> &[&'a Table; ORDINALS] {
        &self.tables
    }

    pub(super) fn events(&self) -> &[[u8; 2]; EVENTS] {
        &self.events
    }
}

/// The bytes of the section at the end of a weight section, without the length and the magic, if it has one.
pub(crate) fn find(weights: &[u8]) -> Result<Option<&[u8]>, Fault> {
    let Some((rest, &magic)) = weights.split_last_chunk() else { return Ok(None) };
    if magic != SECTION_MAGIC {
        return Ok(None);
    }
    let (parts, &len) = rest.split_last_chunk().ok_or(Fault::Length)?;
    let len = usize::from(u16::from_le_bytes(len));
    let start = weights.len().checked_sub(len).and_then(|start| parts.get(start..));
    start.map(Some).ok_or(Fault::Length)
}

/// Parts of a section that weren't taken yet.
struct Rest<'a> {
    bytes: &'a [u8],
    /// More was to be taken than there was.
    is_short: bool,
}

impl<'a> Rest<'a> {
    /// The next bytes; none if there aren't so many.
    #[inline(never)]
    fn bytes(&mut self, len: usize) -> &'a [u8] {
        let Some((taken, rest)) = self.bytes.split_at_checked(len) else {
            self.is_short = true;
            return &[];
        };
        self.bytes = rest;
        taken
    }

    fn take<const N: usize>(&mut self, count: usize) -> &'a [[u8; N]] {
        self.bytes(count.wrapping_mul(N)).as_chunks().0
    }
}

/// Bytes of so many numbers of 12 bits, two of them in three bytes.
pub(super) const fn packed_len(count: usize) -> usize {
    count.wrapping_add(count.wrapping_add(1) / 2)
}

/// A number of 12 bits by its position: the low byte of the first of two, then the high nibble of the first and
/// above it the low one of the second, then the rest of that. 0 beyond the end.
pub(super) fn twelve_bits(bytes: &[u8], position: usize) -> u16 {
    let at = (position / 2).wrapping_mul(3);
    let byte = |at: usize| u16::from(bytes.get(at).copied().unwrap_or_default());
    let middle = byte(at.wrapping_add(1));
    if position & 1 == 0 {
        byte(at) | (middle & 15) << 8
    } else {
        middle >> 4 | byte(at.wrapping_add(2)) << 4
    }
}

/// Puts a number of 12 bits where [`twelve_bits`] reads it; nothing beyond the end.
pub(super) fn put_twelve_bits(bytes: &mut [u8], position: usize, number: u16) {
    let at = (position / 2).wrapping_mul(3);
    let [low, high] =
        if position & 1 == 0 { [number, number >> 8] } else { [number << 4, number >> 4] };
    let first = if position & 1 == 0 { at } else { at.wrapping_add(1) };
    for (place, part) in bytes.iter_mut().skip(first).zip([low, high]) {
        *place |= part as u8;
    }
}

/// The upper bound that a stored one stands for.
fn upper(stored: u16) -> u16 {
    if stored == STORED_CERTAIN { proof::CERTAIN } else { stored }
}
