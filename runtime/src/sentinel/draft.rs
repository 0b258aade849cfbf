//! A section that isn't written yet: for hosts, behind the feature `writer`.

use alloc::vec::Vec;

use super::section::{ANSWER, CLASSES, INPUTS, MAP, TAIL_LEN, VALUES, packed_len, put_twelve_bits};
use super::{
    Answers, ClassBet, Event, Fault, MAPPED_CLASSES, Ordinal, SECTION_MAGIC, Sentinel, proof,
};

/// All that a section says, by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draft {
    /// Evidence from which on it is an alarm, in sixteenths of a bit: 1 to [`super::MAX_THRESHOLD`].
    pub threshold: u16,
    /// By how many bits the sums over an input are shifted right, see [`super::shift_for`].
    pub shift: u8,
    /// Every how many inferences one is fed, at least 1.
    pub decimate: u8,
    /// How far laws may be from the bounds in total variation, in 4096ths.
    pub tolerance: u16,
    /// Whether answers are values, not classes.
    pub values: bool,
    /// How far the largest output leads, or the mean output.
    pub answer: Option<Ordinal>,
    /// Brightness and roughness.
    pub inputs: Option<[Ordinal; 2]>,
    /// Bets on the classes, at most ten; five with a map; none of values.
    pub classes: Vec<ClassBet>,
    /// The classes that have bets, ascending, where there are more than ten.
    pub map: Option<[u16; MAPPED_CLASSES]>,
}

impl Draft {
    /// The section's bytes, to be given to [`crate::writer::set_sentinel`]: only of bets that are proved, and
    /// of numbers that are in range.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Fault> {
        let mut bytes = self.head()?;
        if let Some(answer) = &self.answer {
            for edge in answer.edges {
                bytes.push(edge.try_into().map_err(|_| Fault::Edges { statistic: 0 })?);
            }
        }
        let inputs = self.inputs.iter().flatten();
        bytes.extend(inputs.flat_map(|of| of.edges).flat_map(i16::to_le_bytes));
        bytes.extend(self.map.iter().flatten().flat_map(|number| number.to_le_bytes()));
        bytes.extend(self.ordinals().flat_map(|of| of.table).flatten().map(|score| score as u8));
        let tails = self.ordinals().flat_map(|of| [of.low, of.high]);
        let events = tails.chain(self.classes.iter().map(|class| class.event));
        bytes.extend(events.flat_map(|Event { hit, loss }| [hit, loss]));
        self.put_bounds(&mut bytes)?;
        Sentinel::prove(&bytes, false)?;
        let len = bytes.len().saturating_add(TAIL_LEN) as u16;
        bytes.extend(len.to_le_bytes());
        bytes.extend(SECTION_MAGIC);
        Ok(bytes)
    }

    /// What a section says.
    pub fn of(sentinel: &Sentinel<'_>) -> Self {
        let mut ordinals = sentinel.ordinals().map(|(_, of)| of);
        let map: Vec<u16> = sentinel.map_numbers().collect();
        Self {
            threshold: sentinel.threshold(),
            shift: sentinel.shift(),
            decimate: sentinel.decimate(),
            tolerance: sentinel.tolerance(),
            values: sentinel.answers() == Answers::Values,
            answer: if sentinel.has_answer() { ordinals.next() } else { None },
            inputs: ordinals.next().zip(ordinals.next()).map(|(first, second)| [first, second]),
            classes: sentinel.class_bets().collect(),
            map: map.try_into().ok(),
        }
    }

    fn ordinals(&self) -> impl Iterator<Item = &Ordinal> {
        self.answer.iter().chain(self.inputs.iter().flatten())
    }

    fn head(&self) -> Result<Vec<u8>, Fault> {
        let kind = [
            (ANSWER, self.answer.is_some()),
            (INPUTS, self.inputs.is_some()),
            (CLASSES, !self.classes.is_empty()),
            (VALUES, self.values),
            (MAP, self.map.is_some()),
        ];
        let kind = kind.iter().fold(0, |kind, &(bit, is)| if is { kind | bit } else { kind });
        let classes = self.classes.len().try_into().map_err(|_| Fault::Classes)?;
        let mut bytes = Vec::with_capacity(super::MAX_SECTION_LEN);
        bytes.extend(self.threshold.to_le_bytes());
        bytes.extend([kind, self.shift, self.decimate, classes]);
        bytes.extend(self.tolerance.to_le_bytes());
        Ok(bytes)
    }

    /// Upper bounds that can't be stored are rounded up: 4095 stands for 4096.
    fn put_bounds(&self, bytes: &mut Vec<u8>) -> Result<(), Fault> {
        let mut bounds = Vec::new();
        for (statistic, of) in (u8::from(self.answer.is_none())..).zip(self.ordinals()) {
            if of.up.iter().any(|&up| up > proof::CERTAIN)
                || of.lo.iter().any(|&lo| lo >= proof::CERTAIN)
            {
                return Err(Fault::Bounds { statistic });
            }
            bounds.extend(of.up.map(|up| up.min(proof::CERTAIN.saturating_sub(1))));
            bounds.extend(of.lo);
        }
        for (place, class) in (super::CLASSES_AT as u8..).zip(&self.classes) {
            if class.up > proof::CERTAIN {
                return Err(Fault::Bet { place });
            }
            bounds.push(class.up.min(proof::CERTAIN.saturating_sub(1)));
        }
        let start = bytes.len();
        bytes.resize(start.saturating_add(packed_len(bounds.len())), 0);
        let packed = bytes.get_mut(start..).unwrap_or_default();
        for (position, bound) in bounds.into_iter().enumerate() {
            put_twelve_bits(packed, position, bound);
        }
        Ok(())
    }
}
