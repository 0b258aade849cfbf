//! What a model of integers leaves out, as it is known beforehand or nothing reads it.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use serde::{Deserialize, Serialize};

/// Why a unit (a channel of an image, or a feature) isn't computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Why {
    /// Its row has no weight but 0.
    NoWeight,
    /// It is the least that the activation lets through, or zero, whatever the input is.
    Dead,
    /// It is the greatest that the activation lets through.
    Saturated(i8),
    /// It is another byte.
    Always(i8),
    /// What is made of it further on is constant.
    Later,
    /// No layer has a weight for it.
    Unread,
}

impl Display for Why {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoWeight => f.write_str("no weight"),
            Self::Dead => f.write_str("dead after the clamp"),
            Self::Saturated(byte) => write!(f, "saturated at {byte}"),
            Self::Always(byte) => write!(f, "always {byte}"),
            Self::Later => f.write_str("constant further on"),
            Self::Unread => f.write_str("nobody reads it"),
        }
    }
}

impl From<Why> for String {
    fn from(why: Why) -> Self {
        why.to_string()
    }
}

impl TryFrom<String> for Why {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let byte = || text.rsplit(' ').next().and_then(|byte| byte.parse().ok());
        let known = [Self::NoWeight, Self::Dead, Self::Later, Self::Unread]
            .into_iter()
            .chain(byte().map(Self::Saturated))
            .chain(byte().map(Self::Always));
        let mut known = known.filter(|why| why.to_string() == text);
        known.next().ok_or_else(|| format!("no reason to leave a channel out: {text}"))
    }
}

/// A unit that is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOutUnit {
    /// Which channel or feature, before any left.
    pub channel: usize,
    /// Why.
    pub reason: Why,
}

/// What left of one layer with weights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOutLayer {
    /// The node's name.
    pub name: String,
    /// Outputs (filters, neurons) before.
    pub of_channels: usize,
    /// Multiply-accumulates of an inference that aren't made.
    pub products: u64,
    /// Multiply-accumulates before.
    pub of_products: u64,
    /// Outputs that left.
    pub left_out: Vec<LeftOutUnit>,
    /// Channels of the image, or features, that it no longer reads.
    #[serde(skip)]
    pub inputs_left_out: Vec<LeftOutUnit>,
}

/// What isn't computed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Outputs of layers with weights that left.
    pub channels: usize,
    /// Outputs of all layers with weights before.
    pub of_channels: usize,
    /// Multiply-accumulates of an inference that aren't made.
    pub products: u64,
    /// Multiply-accumulates before.
    pub of_products: u64,
    /// Layers of which something left, in order.
    pub layers: Vec<LeftOutLayer>,
    /// Which units stay, of the values that stand for a value of the graph of floats, by that one's
    /// number; of those that lost some.
    #[serde(skip)]
    pub(crate) kept: BTreeMap<usize, Vec<bool>>,
}

impl LeftOut {
    /// What left of a layer, by its name.
    pub fn layer(&self, name: &str) -> Option<&LeftOutLayer> {
        self.layers.iter().find(|layer| layer.name == name)
    }

    /// Of a value of the graph of floats, of one or more examples, what the integers compute as well.
    pub fn computed(&self, value: usize, numbers: &[f32]) -> Vec<f32> {
        let Some(kept) = self.kept.get(&value) else { return numbers.to_vec() };
        let kept = kept.iter().cycle();
        numbers.iter().zip(kept).filter(|(_, kept)| **kept).map(|(&number, _)| number).collect()
    }

    /// How many outputs left for each reason.
    pub fn counts(&self) -> BTreeMap<Why, usize> {
        let mut counts = BTreeMap::new();
        for unit in self.layers.iter().flat_map(|layer| &layer.left_out) {
            *counts.entry(unit.reason).or_default() += 1;
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_read_back() {
        use Why::{Always, Dead, Later, NoWeight, Saturated, Unread};
        for why in [NoWeight, Dead, Saturated(127), Saturated(-4), Always(-128), Later, Unread] {
            assert_eq!(Why::try_from(why.to_string()), Ok(why));
        }
        for text in ["", "saturated at 128", "always", "dead"] {
            assert!(Why::try_from(text.to_owned()).is_err(), "{text}");
        }
    }

    #[test]
    fn values_of_floats_are_those_that_stay() {
        let kept = BTreeMap::from([(3, vec![true, false, true])]);
        let left_out = LeftOut { kept, ..LeftOut::default() };
        assert_eq!(left_out.computed(3, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), [1.0, 3.0, 4.0, 6.0]);
        assert_eq!(left_out.computed(2, &[1.0, 2.0]), [1.0, 2.0]);
    }
}
