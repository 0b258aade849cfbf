//! Wider layers where validation asks for them.

use super::{BitWidthConfig, MAX_FRACTION, fit_rows};
use crate::graph::{Affine, Graph};
use crate::ledger::BitRecord;
use crate::numbers::Rows;

/// Widens layers until `loss` (of the integer model, on *validation*) is at most `target`, or as
/// good as with all layers at their widest: bytes that bring nothing are not spent. Each round
/// tries one more bit on every layer and keeps the layer that gains most per byte, the earlier one
/// of equals; where no single layer helps, all are widened. Returns the loss reached; the records
/// say what was widened.
///
/// # Errors
/// What `loss` gives.
pub fn raise_until<E>(
    network: &Graph<Affine>,
    weights: &mut [Rows],
    records: &mut [BitRecord],
    config: &BitWidthConfig,
    target: f64,
    mut loss: impl FnMut(&[Rows]) -> Result<f64, E>,
) -> Result<f64, E> {
    let mut current = loss(weights)?;
    if current <= target {
        return Ok(current);
    }
    let target = target.max(loss(&widest(network, weights, config))?);
    while current > target {
        let next = |layer| widened(network, weights, layer, config);
        let candidates: Vec<Option<Wider>> = (0..weights.len()).map(next).collect();
        let mut best: Option<(f64, usize, f64)> = None;
        for (layer, wider) in candidates.iter().enumerate() {
            let Some((wider, _)) = wider else { continue };
            let extra = usize::from(wider.bits - weights[layer].bits) * wider.values.len();
            let kept = std::mem::replace(&mut weights[layer], wider.clone());
            let tried = loss(weights);
            weights[layer] = kept;
            let tried = tried?;
            let gain = (current - tried) / extra.max(1) as f64;
            if best.is_none_or(|(most, ..)| gain > most) {
                best = Some((gain, layer, tried));
            }
        }
        let Some((gain, helps, tried)) = best else { break };
        for (layer, wider) in candidates.into_iter().enumerate() {
            if let Some(wider) = wider.filter(|_| gain <= 0.0 || layer == helps) {
                widen(weights, records, layer, wider);
            }
        }
        current = if gain > 0.0 { tried } else { loss(weights)? };
    }
    Ok(current)
}

/// A layer at another width, and the fewest fractional bits of its steps.
type Wider = (Rows, i32);

/// All layers at the widest that is allowed.
fn widest(network: &Graph<Affine>, weights: &[Rows], config: &BitWidthConfig) -> Vec<Rows> {
    let mut all = weights.to_vec();
    for layer in 0..all.len() {
        while let Some((wider, _)) = widened(network, &all, layer, config) {
            all[layer] = wider;
        }
    }
    all
}

/// Takes a wider layer and says so in its record.
fn widen(weights: &mut [Rows], records: &mut [BitRecord], layer: usize, wider: Wider) {
    let (wider, fraction) = wider;
    if let Some(record) = records.get_mut(layer) {
        record.rule = format!(
            "{}; widened from {} to {} bits, because validation rose too much",
            record.rule, weights[layer].bits, wider.bits
        );
        record.bits = wider.bits;
        record.fraction = fraction;
        record.rounding_noise = wider.rounding_noise();
    }
    weights[layer] = wider;
}

/// The layer at the next width, with as many steps as it has; `None` when that isn't allowed or brings no finer grid.
fn widened(
    network: &Graph<Affine>,
    weights: &[Rows],
    layer: usize,
    config: &BitWidthConfig,
) -> Option<Wider> {
    let bits = match weights.get(layer)?.bits {
        bits @ 0..=7 => bits + 1,
        8..=15 => 16,
        16.. => return None,
    };
    if bits > config.most {
        return None;
    }
    let affine = network.layers().nth(layer)?.parameters.as_ref()?;
    let columns = affine.weight.len() / affine.bias.len().max(1);
    let config = BitWidthConfig { least: bits, most: bits, ..config.clone() };
    let wanted = vec![MAX_FRACTION; weights[layer].scales.len()];
    let (wider, fractions) = fit_rows(&affine.weight, columns, &wanted, &config);
    let finer = wider.rounding_noise() < weights[layer].rounding_noise();
    finer.then(|| (wider, fractions.into_iter().min().unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::super::at_width;
    use super::super::tests::network;
    use super::*;
    use crate::graph::ops::Dense;

    #[test]
    fn the_layer_that_helps_is_widened() {
        let mut net = network(vec![0.5, -0.25, 0.1]);
        let (second, output) = (net.nodes[0].parameters.clone(), net.output);
        let second = second.map(|affine| Affine { weight: vec![0.5], ..affine });
        net.push("dense_2", Dense {}, vec![output], vec![1], second);
        let config = BitWidthConfig { most: 8, ..Default::default() };
        let mut weights = vec![at_width(&[0.5, -0.25, 0.1], 2).0; 2];
        let mut records: Vec<BitRecord> = Vec::new();
        // Only the second layer's width matters.
        let loss = |w: &[Rows]| Ok::<f64, ()>(f64::from(8 - w[1].bits));
        let reached = raise_until(&net, &mut weights, &mut records, &config, 3.0, loss).unwrap();
        assert_eq!((reached, weights[0].bits, weights[1].bits), (3.0, 2, 5));
        // Bytes that bring nothing are not spent.
        let stuck = |_: &[Rows]| Ok::<f64, ()>(9.0);
        raise_until(&net, &mut weights, &mut records, &config, 3.0, stuck).unwrap();
        assert_eq!((weights[0].bits, weights[1].bits), (2, 5));
        // Where only both together help, both are widened.
        let both = |w: &[Rows]| Ok::<f64, ()>(f64::from(8 - w[0].bits.min(w[1].bits)));
        let reached = raise_until(&net, &mut weights, &mut records, &config, 2.0, both).unwrap();
        assert_eq!((reached, weights[0].bits), (2.0, 6));
    }
}
