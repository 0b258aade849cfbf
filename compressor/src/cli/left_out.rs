//! A line about channels that a model leaves out.

use crate::graph::{LeftOut, Why};
use crate::report::number::thousands;

/// How many there are, what that saves, and why; none where all is computed.
pub(super) fn line(left_out: &LeftOut) -> Option<String> {
    if left_out.layers.is_empty() {
        return None;
    }
    let mut counts: Vec<(String, u64)> = Vec::new();
    for (why, count) in left_out.counts() {
        let why = match why {
            // One byte or another makes no difference here.
            Why::Always(_) => "always the same".to_owned(),
            why => why.to_string(),
        };
        match counts.last_mut().filter(|(last, _)| *last == why) {
            Some((_, sum)) => *sum += count as u64,
            None => counts.push((why, count as u64)),
        }
    }
    let counts = counts.iter().map(|(why, count)| format!("{} {why}", thousands(*count)));
    let counts: Vec<String> = counts.collect();
    let why = if counts.is_empty() { String::new() } else { format!(": {}", counts.join(", ")) };
    Some(format!(
        "{} of {} channels never change or are never read, and are left out ({} of {} products){why}",
        thousands(left_out.channels as u64),
        thousands(left_out.of_channels as u64),
        thousands(left_out.products),
        thousands(left_out.of_products),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{LeftOutLayer, LeftOutUnit};

    #[test]
    fn reasons_are_counted() {
        assert_eq!(line(&LeftOut { of_channels: 9, ..LeftOut::default() }), None);
        let unit = |(channel, reason)| LeftOutUnit { channel, reason };
        let units = [
            (0, Why::Dead),
            (2, Why::Saturated(127)),
            (3, Why::Dead),
            (4, Why::Always(1)),
            (5, Why::Always(-3)),
        ];
        let layer = LeftOutLayer {
            name: "conv2d_1".to_owned(),
            of_channels: 8,
            products: 3_000,
            of_products: 8_000,
            left_out: units.map(unit).to_vec(),
            inputs_left_out: Vec::new(),
        };
        let mut left_out = LeftOut { channels: 5, of_channels: 12, ..LeftOut::default() };
        (left_out.products, left_out.of_products) = (3_000, 12_000);
        left_out.layers.push(layer);
        let text = line(&left_out).unwrap();
        assert!(text.starts_with("5 of 12 channels "), "{text}");
        assert!(
            text.ends_with(
                "(3,000 of 12,000 products): 2 dead after the clamp, 1 saturated at 127, 2 always the same"
            ),
            "{text}"
        );
    }
}
