//! Fixed-point bit widths from the posterior's variance.
//!
//! A weight that the posterior leaves uncertain by V\[w\] need not be stored more precisely. On a
//! grid of step 2^−t rounding adds a noise of variance 4^−t/12. The rule here takes, per weight, the
//! fewest fractional bits t whose rounding noise is no more than the posterior's variance, and per
//! layer the mean of those, rounded up.
//!
//! The paper (Louizos et al. 2017, section 3.3 and its code) instead counts the steps 2^−i with
//! 2·V\[w\] < 2^−i: it compares a variance with a step, which are different units, and about doubles
//! t. It is kept as [`BitRule::Paper`], to reproduce the published widths.
//!
//! The step stays a power of two, the integer is round(w·2^t), and the width is the narrowest that
//! holds the largest. Where each output channel has a step, the rule is applied to each row of weights,
//! and the layer's width is the widest row's.

mod raise;

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use raise::raise_until;

use crate::graph::{Affine, Graph};
use crate::ledger::BitRecord;
use crate::numbers::Rows;
use crate::prune::parameters::check_layer_count;
use crate::prune::{PruneError, check_parameters};

/// Most fractional bits: the precision of an `f32` about 1, beyond which nothing is left to keep.
pub(crate) const MAX_FRACTION: i32 = 23;
/// Fewest fractional bits: steps of 256, for layers whose weights are huge.
pub(crate) const MIN_FRACTION: i32 = -8;
/// Most fractional bits of a row above its layer's fewest: with finer steps than that, its bias would
/// have many more steps than the others' and couldn't be coded together with them.
const FINER: i32 = 5;
/// Largest sum of |w|·255 and |bias| of one output: half of what 32 bits hold, which leaves the
/// other half for the bias.
const MAX_ROW_SUM: i64 = 1 << 30;

/// How fractional bits follow from the posterior's variance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BitRule {
    /// Rounding noise 4^−t/12 at most the variance.
    #[default]
    Posterior,
    /// The paper's: the number of i in 1..=23 with twice the variance below 2^−i.
    Paper,
}

/// `[bits]`: how precisely weights are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BitWidthConfig {
    /// How fractional bits follow from the posterior: `posterior` or `paper`.
    pub rule: BitRule,
    /// Narrowest width allowed.
    pub least: u8,
    /// Widest width allowed: 1 to 8, or 16.
    pub most: u8,
    /// How many points of percent of validation error the integer model may lose against the float
    /// network before layers are widened.
    pub tolerance_points: f64,
}

impl Default for BitWidthConfig {
    fn default() -> Self {
        Self { rule: BitRule::Posterior, least: 2, most: 8, tolerance_points: 0.1 }
    }
}

/// Why widths can't be chosen.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum BitWidthError {
    /// The network and what goes with it don't fit together.
    #[error(transparent)]
    Network(#[from] PruneError),
    /// `least` and `most` are not widths in order.
    #[error("[bits]: least = {least} and most = {most}; both must be 1 to 8 or 16, least ≤ most")]
    Limits {
        /// As configured.
        least: u8,
        /// As configured.
        most: u8,
    },
}

/// Weights on the grid 2^−fraction; `None` when they need more than 16 bits.
fn on_grid(weights: &[f32], fraction: i32) -> Option<Rows> {
    let step = 2f64.powi(fraction);
    let values: Option<Vec<i16>> = weights
        .iter()
        .map(|&w| {
            let value = (f64::from(w) * step).round();
            (-32768.0..=32767.0).contains(&value).then_some(value as i16)
        })
        .collect();
    let values = values?;
    let bits = values.iter().map(|&v| width_of(v)).max().unwrap_or(1);
    let bits = if bits > 8 { 16 } else { bits };
    Some(Rows { values, bits, scales: vec![2f32.powi(-fraction)] })
}

/// Whether an output's sum of products stays within 32 bits, whatever the activations.
fn fits_accumulator(rows: &Rows, columns: usize) -> bool {
    rows.values.chunks(columns.max(1)).all(|row| {
        let sum: i64 = row.iter().map(|&v| i64::from(v).abs()).sum();
        sum * 255 <= MAX_ROW_SUM
    })
}

/// Bits of two's complement that a value takes.
fn width_of(value: i16) -> u8 {
    let magnitude = if value < 0 { !value } else { value } as u16;
    (17 - magnitude.leading_zeros()) as u8
}

/// Widths for all layers and the ledger's records of them.
///
/// `variance` holds V\[w\] of every weight, per affine layer, in the order of the weights
/// (`prune::posterior_variance` of the *shrunk* posterior). With `per_channel`, each
/// output channel has a step of its own.
///
/// # Errors
/// When the limits are no widths or `variance` doesn't fit the network.
pub fn choose(
    network: &Graph<Affine>,
    variance: &[Vec<f32>],
    config: &BitWidthConfig,
    per_channel: bool,
) -> Result<(Vec<Rows>, Vec<BitRecord>), BitWidthError> {
    check_limits(config)?;
    check_parameters(network)?;
    check_layer_count("variances", network.layers().count(), variance.len())?;
    let mut weights = Vec::with_capacity(variance.len());
    let mut records = Vec::with_capacity(variance.len());
    for ((name, affine), variance) in layers(network).zip(variance) {
        let name = name.to_owned();
        let (expected, found) = (affine.weight.len(), variance.len());
        if expected != found {
            let what = "the weights' variances";
            return Err(PruneError::Length { layer: name, what, expected, found }.into());
        }
        let columns = (affine.weight.len() / affine.bias.len().max(1)).max(1);
        let rows = if per_channel { columns } else { variance.len().max(1) };
        let wanted: Vec<i32> =
            variance.chunks(rows).map(|variance| fraction(variance, config.rule)).collect();
        let (integers, fractions) = fit_rows(&affine.weight, columns, &wanted, config);
        records.push(BitRecord {
            layer: name,
            weights: affine.weight.len(),
            mean_variance: mean(variance),
            rounding_noise: integers.rounding_noise(),
            largest: affine.weight.iter().fold(0.0, |most, w| most.max(w.abs())),
            start_step: None,
            step: integers.coarsest(),
            fraction: fractions.iter().copied().min().unwrap_or(0),
            bits: integers.bits,
            rule: explain(config, &wanted, &fractions),
            effect: None,
            description_bits: None,
        });
        weights.push(integers);
    }
    Ok((weights, records))
}

/// Names and parameters of the layers with weights, in order.
fn layers(network: &Graph<Affine>) -> impl Iterator<Item = (&str, &Affine)> {
    let layers = network.layers();
    layers.filter_map(|node| Some((node.name.as_str(), node.parameters.as_ref()?)))
}

/// The mean of a layer's variances; 0 of none.
pub(crate) fn mean(variance: &[f32]) -> f64 {
    variance.iter().map(|&v| f64::from(v)).sum::<f64>() / variance.len().max(1) as f64
}

/// The finest power-of-two grid on which all weights fit `bits`.
pub fn at_width(weights: &[f32], bits: u8) -> (Rows, i32) {
    let config = BitWidthConfig { least: bits, most: bits, ..BitWidthConfig::default() };
    fit(weights, weights.len(), MAX_FRACTION, MAX_FRACTION, &config)
}

fn check_limits(config: &BitWidthConfig) -> Result<(), BitWidthError> {
    let BitWidthConfig { least, most, .. } = *config;
    let width = bitsback_runtime::format::is_width;
    if width(least) && width(most) && least <= most {
        return Ok(());
    }
    Err(BitWidthError::Limits { least, most })
}

/// A layer's fractional bits by the rule.
fn fraction(variance: &[f32], rule: BitRule) -> i32 {
    let of_weight = |&variance: &f32| -> i32 {
        let variance = f64::from(variance);
        match rule {
            // 4^−t/12 ≤ V, so t ≥ −½·log₂(12·V).
            BitRule::Posterior if variance > 0.0 => {
                let bits = (-0.5 * (12.0 * variance).log2()).ceil();
                (bits as i32).clamp(MIN_FRACTION, MAX_FRACTION)
            }
            BitRule::Posterior => MAX_FRACTION,
            BitRule::Paper => {
                (1..=MAX_FRACTION).filter(|&i| 2.0 * variance < 2f64.powi(-i)).count() as i32
            }
        }
    };
    let sum: i64 = variance.iter().map(|v| i64::from(of_weight(v))).sum();
    (sum as f64 / variance.len().max(1) as f64).ceil() as i32
}

/// Rounds all weights to one grid, or each row of `columns` weights to its own, as many as `wanted`
/// has; and their fractional bits. The width is that of the widest row.
fn fit_rows(
    weights: &[f32],
    columns: usize,
    wanted: &[i32],
    config: &BitWidthConfig,
) -> (Rows, Vec<i32>) {
    if let &[wanted] = wanted {
        let (rows, fraction) = fit(weights, columns, wanted, MAX_FRACTION, config);
        return (rows, vec![fraction]);
    }
    let rows = || weights.chunks(columns.max(1)).zip(wanted);
    let nonzero = rows().filter(|(row, _)| row.iter().any(|&w| w != 0.0));
    let coarsest = nonzero.map(|(row, &wanted)| fit(row, columns, wanted, MAX_FRACTION, config).1);
    let finest = coarsest.min().unwrap_or(0).saturating_add(FINER).min(MAX_FRACTION);
    let mut all = Rows { values: Vec::new(), bits: config.least, scales: Vec::new() };
    let mut fractions = Vec::with_capacity(wanted.len());
    for (row, &wanted) in rows() {
        let (integers, fraction) = fit(row, columns, wanted.min(finest), finest, config);
        all.values.extend(integers.values);
        all.scales.extend(integers.scales);
        all.bits = all.bits.max(integers.bits);
        fractions.push(fraction);
    }
    (all, fractions)
}

/// Rounds to the grid that was asked for, made coarser until the width is at most `most`, or finer,
/// up to `finest` fractional bits, as long as it stays within `least`, which is paid for anyway.
fn fit(
    weights: &[f32],
    row: usize,
    wanted: i32,
    finest: i32,
    config: &BitWidthConfig,
) -> (Rows, i32) {
    let allowed = |integers: &Rows| integers.bits <= config.most && fits_accumulator(integers, row);
    let mut fraction = wanted.clamp(MIN_FRACTION, MAX_FRACTION);
    let mut best = None;
    while best.is_none() {
        best = on_grid(weights, fraction).filter(allowed);
        if best.is_none() {
            fraction -= 1;
        }
        if fraction < -126 {
            break;
        }
    }
    let (values, scales) = (vec![0; weights.len()], vec![1.0]);
    let zeros = Rows { values, bits: config.least, scales };
    let mut best = best.unwrap_or(zeros);
    while best.bits < config.least && fraction < finest {
        let finer = on_grid(weights, fraction + 1).filter(allowed);
        let Some(finer) = finer.filter(|f| f.bits <= config.least) else { break };
        best = finer;
        fraction += 1;
    }
    best.bits = best.bits.max(config.least);
    (best, fraction)
}

fn explain(config: &BitWidthConfig, wanted: &[i32], fractions: &[i32]) -> String {
    let rule = match config.rule {
        BitRule::Posterior => "rounding noise at most the posterior variance",
        BitRule::Paper => "the paper's count of steps above twice the variance",
    };
    let (&[wanted], &[fraction]) = (wanted, fractions) else {
        let (least, most) = (fractions.iter().min(), fractions.iter().max());
        let [least, most] = [least, most].map(|end| end.copied().unwrap_or(0));
        return format!("{rule}: {least} to {most} fractional bits, a step per channel");
    };
    match fraction.cmp(&wanted) {
        std::cmp::Ordering::Less => {
            format!("{rule}: {wanted} fractional bits, {fraction} fit {} bits", config.most)
        }
        std::cmp::Ordering::Equal => format!("{rule}: {wanted} fractional bits"),
        std::cmp::Ordering::Greater => {
            format!("{rule}: {wanted} fractional bits, {fraction} fit {} bits", config.least)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::ops::Dense;
    use proptest::prelude::*;

    pub(super) fn network(weight: Vec<f32>) -> Graph<Affine> {
        let mut graph = Graph::of_input(vec![weight.len()]);
        let affine = Affine { weight, bias: vec![0.0] };
        graph.push("dense_1", Dense {}, vec![0], vec![1], Some(affine));
        graph
    }

    #[test]
    fn fractional_bits_of_both_rules() {
        // Noise 4^−4/12 = 3.3e-4 ≤ 4e-4 < 4^−3/12 = 1.3e-3.
        assert_eq!(fraction(&[4e-4], BitRule::Posterior), 4);
        // 8e-4 is below 2^−10 = 9.8e-4, but not below 2^−11.
        assert_eq!(fraction(&[4e-4], BitRule::Paper), 10);
        assert_eq!(fraction(&[0.0], BitRule::Posterior), MAX_FRACTION);
        assert_eq!(fraction(&[0.0], BitRule::Paper), 23);
        assert_eq!(fraction(&[1e9], BitRule::Posterior), MIN_FRACTION);
        // 4 and 5 make 4.5, rounded up.
        assert_eq!(fraction(&[4e-4, 1e-4], BitRule::Posterior), 5);
    }

    #[test]
    fn widths_of_values() {
        let widths = [0, -1, 1, -2, 2, 127, -128, 128, i16::MIN].map(width_of);
        assert_eq!(widths, [1, 1, 2, 2, 3, 8, 8, 9, 16]);
    }

    #[test]
    fn the_largest_weight_fits_exactly() {
        let net = network(vec![0.5, -0.25, 0.1]);
        let (weights, records) =
            choose(&net, &[vec![4e-4; 3]], &BitWidthConfig::default(), false).unwrap();
        // Step 1/16: 8, −4, 2; 8 needs 5 bits.
        assert_eq!(weights[0].values, [8, -4, 2]);
        assert_eq!((weights[0].bits, records[0].fraction, records[0].bits), (5, 4, 5));
        assert_eq!(records[0].rounding_noise, 4f64.powi(-4) / 12.0);
    }

    #[test]
    fn most_coarsens_and_least_refines() {
        let net = network(vec![0.5, -0.25, 0.1]);
        let narrow = BitWidthConfig { least: 2, most: 3, ..Default::default() };
        let (weights, records) = choose(&net, &[vec![4e-4; 3]], &narrow, false).unwrap();
        assert_eq!((weights[0].bits, records[0].fraction), (3, 2));
        let wide = BitWidthConfig { least: 8, most: 8, ..Default::default() };
        let (weights, records) = choose(&net, &[vec![4e-4; 3]], &wide, false).unwrap();
        assert_eq!((weights[0].bits, records[0].fraction), (8, 7));
        assert!(records[0].rule.contains("7 fit 8 bits"), "{}", records[0].rule);
    }

    #[test]
    fn each_channel_has_the_grid_that_its_variance_allows() {
        let mut net = Graph::of_input(vec![3]);
        let weight = vec![0.5, -0.25, 0.1, 40.0, -20.0, 0.0, 0.0, 0.0, 0.0];
        let affine = Affine { weight, bias: vec![0.0; 3] };
        net.push("dense_1", Dense {}, vec![0], vec![3], Some(affine));
        // 4 fractional bits, none, and as many as there are for a row of zeros.
        let variance = [[vec![4e-4; 3], vec![0.1; 3], vec![0.0; 3]].concat()];
        let config = BitWidthConfig { most: 16, ..Default::default() };
        let (weights, records) = choose(&net, &variance, &config, true).unwrap();
        assert_eq!(weights[0].scales, [0.0625, 1.0, 0.03125]);
        assert_eq!(weights[0].values, [8, -4, 2, 40, -20, 0, 0, 0, 0]);
        assert_eq!((weights[0].bits, records[0].fraction), (7, 0));
        assert!(records[0].rule.contains("0 to 5 fractional bits, a step per channel"));
        // One grid for all costs 11 bits for the precision of the first row.
        let (weights, _) = choose(&net, &variance, &config, false).unwrap();
        assert_eq!((weights[0].scales.len(), weights[0].bits), (1, 16));
    }

    #[test]
    fn sixteen_bits_stay_within_the_accumulator() {
        let net = network(vec![1.0; 500]);
        let config = BitWidthConfig { least: 16, most: 16, ..Default::default() };
        let (weights, _) = choose(&net, &[vec![0.0; 500]], &config, false).unwrap();
        assert!(fits_accumulator(&weights[0], 500));
    }

    #[test]
    fn errors_name_the_key_or_the_layer() {
        let net = network(vec![1.0; 3]);
        for (least, most) in [(0, 8), (4, 3), (2, 9), (2, 12)] {
            let config = BitWidthConfig { least, most, ..Default::default() };
            let error = choose(&net, &[vec![1.0; 3]], &config, false).unwrap_err();
            assert_eq!(error, BitWidthError::Limits { least, most });
        }
        let error = choose(&net, &[vec![1.0; 2]], &BitWidthConfig::default(), false).unwrap_err();
        assert!(matches!(error, BitWidthError::Network(PruneError::Length { .. })));
    }

    proptest! {
        #[test]
        fn rounding_is_within_half_a_step_and_the_width_holds(
            weight in proptest::collection::vec(-40f32..40.0, 1..50),
            least in 1u8..=8, extra in 0u8..=7, log_variance in -20f32..2.0,
        ) {
            let most = (least + extra).min(8);
            let config = BitWidthConfig { least, most, ..Default::default() };
            let net = network(weight.clone());
            let variance = vec![log_variance.exp(); weight.len()];
            let (weights, _) = choose(&net, &[variance], &config, false).unwrap();
            prop_assert!((least..=most).contains(&weights[0].bits));
            for (w, &v) in weight.iter().zip(&weights[0].values) {
                prop_assert!(width_of(v) <= weights[0].bits);
                prop_assert!((w - f32::from(v) * weights[0].scales[0]).abs() <= weights[0].scales[0] * 0.5001);
            }
        }
    }
}
