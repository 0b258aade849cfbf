//! Weights as integers of a width, with a scale per output, or one for all.

/// Scales tried, in 64ths of the one that holds the largest weight: narrow integers gain from
/// cutting off their largest weights.
const CUTS: std::ops::RangeInclusive<u16> = 20..=64;

/// The largest integer of a symmetric width.
pub(crate) fn largest(bits: u8) -> i16 {
    ((1i32 << (bits.clamp(2, 16) - 1)) - 1) as i16
}

/// Integers of a layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    /// Row after row.
    pub values: Vec<i16>,
    /// Real value of one step, per row.
    pub scales: Vec<f32>,
    /// Width.
    pub bits: u8,
}

impl Rows {
    /// The nearest integers of `bits` bits (2 to 8), each row at the scale with the least squared
    /// error. `least[row]` is the finest scale allowed: its bias has to fit the accumulator.
    pub fn nearest(weight: &[f32], least: &[f32], bits: u8) -> Self {
        let columns = (weight.len() / least.len().max(1)).max(1);
        let most = f32::from(largest(bits));
        let of_layer = weight.iter().fold(0f32, |most, w| most.max(w.abs())) / most;
        let scale = |(row, &least): (&[f32], &f32)| {
            let of_row = row.iter().fold(0f32, |most, w| most.max(w.abs())) / most;
            // A row of zeros takes any scale.
            let widest = if of_row > 0.0 { of_row } else { of_layer };
            let widest = if widest > 0.0 { widest } else { 1.0 / most };
            best(row, widest, most).max(least).max(f32::MIN_POSITIVE)
        };
        let scales = weight.chunks_exact(columns).zip(least).map(scale).collect();
        let mut rows = Self { values: Vec::new(), scales, bits };
        rows.values = rows.round(weight, columns, -largest(bits), largest(bits));
        rows
    }

    /// The integers at given scales, one for all rows or one per row: weights of a quantised file.
    pub fn given(weight: &[f32], scales: &[f32], outputs: usize) -> Self {
        let scales = scales.iter().copied().cycle().take(outputs).collect();
        let columns = (weight.len() / outputs.max(1)).max(1);
        let mut rows = Self { values: Vec::new(), scales, bits: 16 };
        rows.values = rows.round(weight, columns, i16::MIN, i16::MAX);
        let narrow = rows.values.iter().all(|&w| i8::try_from(w).is_ok());
        let nibbles = rows.values.iter().all(|w| (-8..8).contains(w));
        rows.bits = if nibbles {
            4
        } else if narrow {
            8
        } else {
            16
        };
        rows
    }

    /// The weights as the integers stand for them.
    pub fn dequantized(&self) -> Vec<f32> {
        let rows = self.scales.len().max(1);
        let columns = (self.values.len() / rows).max(1);
        let rows = self.values.chunks(columns).zip(self.scales.iter().cycle());
        rows.flat_map(|(row, scale)| row.iter().map(move |&v| f32::from(v) * scale)).collect()
    }

    /// The largest step of a row.
    pub fn coarsest(&self) -> f32 {
        self.scales.iter().copied().fold(0.0, f32::max)
    }

    /// The smallest step of a row.
    pub fn finest(&self) -> f32 {
        self.scales.iter().copied().fold(f32::INFINITY, f32::min)
    }

    /// Variance of the noise that rounding to the steps adds, over all rows: that of a uniform
    /// distribution.
    pub fn rounding_noise(&self) -> f64 {
        let squares: f64 = self.scales.iter().map(|&scale| f64::from(scale).powi(2)).sum();
        squares / self.scales.len().max(1) as f64 / 12.0
    }

    fn round(&self, weight: &[f32], columns: usize, low: i16, high: i16) -> Vec<i16> {
        let rows = weight.chunks_exact(columns).zip(&self.scales);
        let round = |(row, &scale): (&[f32], &f32)| -> Vec<i16> {
            let steps = row.iter().map(|w| (f64::from(*w) / f64::from(scale)).round());
            steps.map(|q| q.clamp(f64::from(low), f64::from(high)) as i16).collect()
        };
        rows.flat_map(round).collect()
    }

    /// What the rounding of `weight` adds to each of `outputs` on average, where `mean` is what each
    /// column meets on average, or of a depthwise convolution each tap and channel.
    pub fn added_by_rounding(&self, weight: &[f32], outputs: usize, mean: &[f32]) -> Vec<f64> {
        let outputs = outputs.max(1);
        let columns = (weight.len() / outputs).max(1);
        // A depthwise convolution's row reads one channel alone.
        let channels = (mean.len() / columns).max(1);
        let integers = self.values.chunks_exact(columns);
        let scales = self.scales.iter().cycle();
        let each = integers.zip(weight.chunks_exact(columns)).zip(scales).enumerate();
        let added = each.map(|(row, ((integers, weights), &scale))| {
            let met = mean.iter().skip(row * channels / outputs).step_by(channels);
            let error = |(&q, &w): (&i16, &f32)| f64::from(q) * f64::from(scale) - f64::from(w);
            let errors = integers.iter().zip(weights).map(error);
            errors.zip(met).map(|(error, &mean)| error * f64::from(mean)).sum()
        });
        added.collect()
    }
}

/// The scale, at most `widest`, whose integers up to `most` have the least squared error.
fn best(row: &[f32], widest: f32, most: f32) -> f32 {
    if most >= 127.0 {
        // At 8 bits what is cut off costs more than finer steps gain.
        return widest;
    }
    let error = |cut: u16| -> f64 {
        let scale = widest * f32::from(cut) / 64.0;
        let miss = |w: &f32| f64::from(w - (w / scale).round().clamp(-most, most) * scale);
        row.iter().map(|w| miss(w).powi(2)).sum()
    };
    let cut = CUTS.min_by(|&a, &b| error(a).total_cmp(&error(b))).unwrap_or(64);
    widest * f32::from(cut) / 64.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_has_its_scale() {
        let rows = Rows::nearest(&[1.0, -0.5, 0.012, 0.02], &[0.0; 2], 8);
        assert_eq!(rows.values, [127, -64, 76, 127]);
        assert!((rows.scales[0] - 1.0 / 127.0).abs() < 1e-9);
        assert_eq!([rows.coarsest(), rows.finest()], [rows.scales[0], rows.scales[1]]);
        let noise = f64::from(rows.scales[0]).powi(2) / 24.0;
        assert!(rows.rounding_noise() > noise && rows.rounding_noise() < 1.001 * noise);
        let zeros = Rows::nearest(&[0.0; 4], &[0.0; 2], 4);
        assert_eq!((zeros.values, zeros.scales[0] > 0.0), (vec![0; 4], true));
    }

    #[test]
    fn narrow_integers_cut_off_a_lone_large_weight() {
        let mut row = vec![0.1f32; 63];
        row.push(1.0);
        let rows = Rows::nearest(&row, &[0.0], 3);
        assert!(rows.scales[0] < 1.0 / 3.0, "{:?}", rows.scales);
        assert!(rows.values.iter().all(|w| w.abs() <= 3));
    }

    #[test]
    fn integers_of_a_file_come_back() {
        let integers: Vec<i16> = (-128..128).collect();
        let weight: Vec<f32> = integers.iter().map(|&q| f32::from(q) * 0.0173).collect();
        let rows = Rows::given(&weight, &[0.0173], 2);
        assert_eq!((rows.values, rows.bits, rows.scales.len()), (integers, 8, 2));
        assert_eq!(Rows::given(&[0.5 * 255.0, -0.5], &[0.5], 1).bits, 16);
        assert_eq!(Rows::given(&[-4.0, 3.5], &[0.5], 1).bits, 4);
    }
}
