//! What the records say: of each device, of all together, with false discoveries kept rare.

use std::collections::BTreeMap;

use bitsback_runtime::sentinel::{MAX_BETS, Sentinel};
use serde::Serialize;

use super::betting::{Evidence, add_logs, of_window};
use super::readings::Readings;

/// A device.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct DeviceResult {
    /// Its name.
    pub(crate) name: String,
    /// Windows that came.
    pub(crate) windows: usize,
    /// Windows between the first and the last that didn't.
    pub(crate) missing: usize,
    /// Inferences in the windows.
    pub(crate) inferences: u64,
    /// log₂ of the evidence against "the field looks like the reference"; 0 is none.
    pub(crate) evidence_bits: f64,
    /// The bet with most of it.
    pub(crate) cause: Option<String>,
    /// Whether the device itself reports an alarm, and by which bet.
    pub(crate) own_alarm: Option<String>,
    /// Whether it is among those that are reported.
    pub(crate) drifted: bool,
}

/// All devices together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Pooled {
    /// log₂ of the evidence that something happened to some or all of them.
    pub(crate) evidence_bits: f64,
    /// The bet with most of it, where there is one.
    pub(crate) cause: Option<String>,
    /// Whether that is enough.
    pub(crate) drifted: bool,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct FleetResult {
    /// Devices that sent something, those with most evidence first.
    pub(crate) devices: Vec<DeviceResult>,
    /// By counts added up: if devices see inputs that don't depend on one another.
    pub(crate) independent: Pooled,
    /// By the mean of the devices' evidence: however they depend on one another.
    pub(crate) any_dependence: Pooled,
}

impl FleetResult {
    /// Whether anything differs from the reference.
    pub(crate) fn drifted(&self) -> bool {
        self.independent.drifted
            || self.any_dependence.drifted
            || self.devices.iter().any(|device| device.drifted)
    }
}

/// Judges devices and fleet.
///
/// Of the devices that are reported as drifted, a share of at most `false_discoveries` (0 to 1) isn't, on average
/// and however devices depend on one another: the e-BH procedure (Wang and Ramdas, arXiv:2009.02824). The same
/// number is the probability with which each of the two joint tests is wrong, over all looks at it together.
pub(crate) fn judge(
    readings: &Readings,
    sentinel: &Sentinel<'_>,
    false_discoveries: f64,
) -> FleetResult {
    let name = |place: u8| sentinel.bet_at(place).map(|bet| bet.to_string());
    let mut devices = Vec::new();
    let mut rounds: BTreeMap<u16, [i64; MAX_BETS]> = BTreeMap::new();
    for (device, windows) in readings.devices().iter().filter(|(_, windows)| !windows.is_empty()) {
        let mut evidence = Evidence::new(sentinel);
        for (&number, record) in windows {
            let window = of_window(sentinel, record);
            evidence.add(&window);
            let round = rounds.entry(number).or_insert([0; MAX_BETS]);
            round.iter_mut().zip(window).for_each(|(sum, bet)| *sum += bet);
        }
        let (first, last) = (windows.keys().next(), windows.keys().next_back());
        let span = first.zip(last).map_or(0, |(first, last)| usize::from(last - first) + 1);
        devices.push(DeviceResult {
            name: device.clone(),
            windows: windows.len(),
            missing: span - windows.len(),
            inferences: windows.values().map(|record| u64::from(record.fed)).sum(),
            evidence_bits: evidence.log2(),
            cause: evidence.cause().and_then(name),
            own_alarm: windows.values().find_map(|record| record.alarm).and_then(name),
            drifted: false,
        });
    }
    devices.sort_by(|a, b| b.evidence_bits.total_cmp(&a.evidence_bits));
    let evidence: Vec<f64> = devices.iter().map(|device| device.evidence_bits).collect();
    let reported = discoveries(&evidence, false_discoveries);
    devices.iter_mut().take(reported).for_each(|device| device.drifted = true);
    let mut all = Evidence::new(sentinel);
    rounds.values().for_each(|round| all.add(round));
    let enough = -false_discoveries.log2();
    let pooled = |bits: f64, cause| {
        let bits = if bits.is_finite() { bits } else { 0.0 };
        Pooled { evidence_bits: bits, cause, drifted: bits >= enough }
    };
    let sum = evidence.iter().fold(f64::NEG_INFINITY, |sum, &bits| add_logs(sum, bits));
    FleetResult {
        independent: pooled(all.log2(), all.cause().filter(|_| !rounds.is_empty()).and_then(name)),
        any_dependence: pooled(sum - (evidence.len().max(1) as f64).log2(), None),
        devices,
    }
}

/// How many e-values, given as log₂ from the largest to the smallest, are discoveries.
fn discoveries(sorted: &[f64], share: f64) -> usize {
    let all = sorted.len() as f64;
    let enough = |(before, &bits): (usize, &f64)| {
        let count = before + 1;
        (bits >= (all / (share * count as f64)).log2()).then_some(count)
    };
    sorted.iter().enumerate().filter_map(enough).next_back().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By the procedure's own words: the largest k of which the k-th largest is at least m / (α · k).
    #[test]
    fn discoveries_are_those_of_the_procedure() {
        let logs = |values: &[f64]| values.iter().map(|value| value.log2()).collect::<Vec<_>>();
        // 4 devices at 5 %: 80, 40, 26.7, 20.
        assert_eq!(discoveries(&logs(&[79.0, 39.0, 26.0, 19.0]), 0.05), 0);
        assert_eq!(discoveries(&logs(&[81.0, 1.0, 1.0, 0.5]), 0.05), 1);
        assert_eq!(discoveries(&logs(&[79.0, 41.0, 1.0, 0.5]), 0.05), 2);
        assert_eq!(discoveries(&logs(&[21.0, 21.0, 21.0, 21.0]), 0.05), 4);
        assert_eq!(discoveries(&[], 0.05), 0);
    }
}
