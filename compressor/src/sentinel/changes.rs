//! What may become of a device's inputs, done to quantised reference inputs: to say beforehand what a sentinel
//! notices and how soon. It is no list of what it notices; proofs don't depend on it.

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// An input: height, width and channels in memory order; vectors have a height of 1 and one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// Rows.
    pub(super) height: usize,
    /// Columns.
    pub(super) width: usize,
    /// Values of a place.
    pub(super) channels: usize,
    /// The quantised value of 0.
    pub(super) zero_point: i8,
}

/// A change of inputs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Change {
    /// Nothing: what is predicted of it should be that it isn't noticed.
    Nothing,
    /// Normal noise of so many quantised steps.
    Noise(f64),
    /// Every value times a factor, about 0.
    Gain(f64),
    /// So many quantised steps more.
    Offset(i16),
    /// A binomial window of 7, which is 1.2 places wide.
    Blur,
    /// Turned about the middle, in degrees.
    Rotation(f64),
    /// So many columns to the right.
    Shift(usize),
    /// Every so manyth column at the lowest value.
    DeadColumns(usize),
    /// This share of places at the lowest or the highest value.
    SaltAndPepper(f64),
    /// A square of a third of the shorter side, somewhere, at 0.
    Occlusion,
    /// All values in another order, always the same.
    Permuted,
}

/// Changes of images.
const OF_IMAGES: [Change; 11] = [
    Change::Nothing,
    Change::Noise(16.0),
    Change::Gain(0.6),
    Change::Gain(0.2),
    Change::Blur,
    Change::Rotation(15.0),
    Change::Rotation(30.0),
    Change::Shift(2),
    Change::DeadColumns(7),
    Change::SaltAndPepper(0.05),
    Change::Occlusion,
];
/// Changes of everything else.
const OF_VECTORS: [Change; 6] = [
    Change::Nothing,
    Change::Noise(16.0),
    Change::Gain(0.6),
    Change::Gain(0.2),
    Change::Offset(16),
    Change::Permuted,
];
/// A row of Pascal's triangle: the window of a blur.
const WINDOW: [f64; 7] = [1.0, 6.0, 15.0, 20.0, 15.0, 6.0, 1.0];
/// Sides of images, at the least.
const LEAST_SIDE: usize = 8;
/// Sets all randomness of a change.
const SEED: u64 = 2;

impl Shape {
    /// Of a tensor's dimensions, in memory order: two or three that are long enough are an image.
    pub(super) fn of(dimensions: &[usize], zero_point: i8) -> Self {
        let (height, width, channels) = match *dimensions {
            [height, width] => (height, width, 1),
            [height, width, channels] => (height, width, channels),
            _ => (1, dimensions.iter().product(), 1),
        };
        if height < LEAST_SIDE || width < LEAST_SIDE {
            return Self { height: 1, width: height * width * channels, channels: 1, zero_point };
        }
        Self { height, width, channels, zero_point }
    }

    /// What may become of such an input.
    pub(super) fn changes(&self) -> &'static [Change] {
        if self.height > 1 { &OF_IMAGES } else { &OF_VECTORS }
    }

    fn len(&self) -> usize {
        self.height * self.width * self.channels
    }

    fn at(&self, row: usize, column: usize, channel: usize) -> usize {
        (row * self.width + column) * self.channels + channel
    }
}

impl Change {
    /// What it is called.
    pub(super) fn name(self) -> String {
        match self {
            Self::Nothing => "nothing changed".to_owned(),
            Self::Noise(steps) => format!("noise of {steps} steps"),
            Self::Gain(factor) => format!("values times {factor}"),
            Self::Offset(steps) => format!("{steps} steps added"),
            Self::Blur => "blurred".to_owned(),
            Self::Rotation(degrees) => format!("turned by {degrees}°"),
            Self::Shift(columns) => format!("moved by {columns} columns"),
            Self::DeadColumns(every) => format!("one column in {every} dead"),
            Self::SaltAndPepper(share) => format!("salt and pepper on {} %", 100.0 * share),
            Self::Occlusion => "a ninth covered".to_owned(),
            Self::Permuted => "values in another order".to_owned(),
        }
    }

    /// Does it to inputs, one after the other; the same every time.
    pub(super) fn apply(self, inputs: &[i8], shape: &Shape) -> Vec<i8> {
        let mut noise = ChaCha8Rng::seed_from_u64(SEED);
        let mut order: Vec<usize> = (0..shape.len()).collect();
        if self == Self::Permuted {
            order.shuffle(&mut noise);
        }
        let mut changed = Vec::with_capacity(inputs.len());
        for input in inputs.chunks_exact(shape.len().max(1)) {
            match self {
                Self::Permuted => changed.extend(order.iter().map(|&from| input[from])),
                _ => changed.extend(self.one(input, shape, &mut noise)),
            }
        }
        changed
    }

    fn one(self, input: &[i8], shape: &Shape, noise: &mut ChaCha8Rng) -> Vec<i8> {
        let zero = f64::from(shape.zero_point);
        let each = |f: &mut dyn FnMut(f64) -> f64| {
            input.iter().map(|&x| rounded(f(f64::from(x)))).collect()
        };
        match self {
            Self::Nothing | Self::Permuted => input.to_vec(),
            Self::Noise(steps) => each(&mut |x| x + steps * normal(noise)),
            Self::Gain(factor) => each(&mut |x| zero + factor * (x - zero)),
            Self::Offset(steps) => each(&mut |x| x + f64::from(steps)),
            Self::SaltAndPepper(share) => each(&mut |x| match noise.random::<f64>() {
                draw if draw < 0.5 * share => i8::MIN.into(),
                draw if draw < share => i8::MAX.into(),
                _ => x,
            }),
            Self::DeadColumns(every) => moved(
                input,
                shape,
                |_, column| (column % every != every / 2).then_some((0, 0)),
                i8::MIN,
            ),
            Self::Shift(columns) => moved(
                input,
                shape,
                |_, column| (column >= columns).then_some((0, columns)),
                shape.zero_point,
            ),
            Self::Occlusion => {
                let side = shape.height.min(shape.width) / 3;
                let top = noise.random_range(0..=shape.height - side);
                let left = noise.random_range(0..=shape.width - side);
                let covers = |row, column| {
                    (top..top + side).contains(&row) && (left..left + side).contains(&column)
                };
                moved(
                    input,
                    shape,
                    |row, column| (!covers(row, column)).then_some((0, 0)),
                    shape.zero_point,
                )
            }
            Self::Blur => blurred(&blurred(input, shape, 0, 1), shape, 1, 0),
            Self::Rotation(degrees) => rotated(input, shape, degrees.to_radians()),
        }
    }
}

/// The nearest quantised value.
fn rounded(x: f64) -> i8 {
    x.round().clamp(i8::MIN.into(), i8::MAX.into()) as i8
}

/// A standard normal number (Box and Muller).
fn normal(noise: &mut ChaCha8Rng) -> f64 {
    let (u, v): (f64, f64) = (1.0 - noise.random::<f64>(), noise.random());
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

/// Each place from so many rows and columns before it, or where there is none, from `fill`.
fn moved(
    input: &[i8],
    shape: &Shape,
    from: impl Fn(usize, usize) -> Option<(usize, usize)>,
    fill: i8,
) -> Vec<i8> {
    let mut changed = vec![fill; input.len()];
    for row in 0..shape.height {
        for column in 0..shape.width {
            let Some((up, left)) = from(row, column) else { continue };
            for channel in 0..shape.channels {
                changed[shape.at(row, column, channel)] =
                    input[shape.at(row - up, column - left, channel)];
            }
        }
    }
    changed
}

/// A blur along rows or columns, whose ends are repeated.
fn blurred(input: &[i8], shape: &Shape, down: usize, across: usize) -> Vec<i8> {
    let mut changed = input.to_vec();
    let all: f64 = WINDOW.iter().sum();
    for row in 0..shape.height {
        for column in 0..shape.width {
            for channel in 0..shape.channels {
                let mut sum = 0.0;
                for (k, weight) in WINDOW.iter().enumerate() {
                    let row = (row + k * down).saturating_sub(3 * down).min(shape.height - 1);
                    let column =
                        (column + k * across).saturating_sub(3 * across).min(shape.width - 1);
                    sum += weight * f64::from(input[shape.at(row, column, channel)]);
                }
                changed[shape.at(row, column, channel)] = rounded(sum / all);
            }
        }
    }
    changed
}

/// Turned about the middle, between the four nearest values; 0 outside.
fn rotated(input: &[i8], shape: &Shape, angle: f64) -> Vec<i8> {
    let mut changed = input.to_vec();
    let (sin, cos) = angle.sin_cos();
    let (middle_row, middle_column) =
        (0.5 * (shape.height as f64 - 1.0), 0.5 * (shape.width as f64 - 1.0));
    let inside = |at: f64, len: usize| at >= 0.0 && at < len as f64;
    for row in 0..shape.height {
        for column in 0..shape.width {
            let (down, across) = (row as f64 - middle_row, column as f64 - middle_column);
            let from_row = middle_row + cos * down - sin * across;
            let from_column = middle_column + sin * down + cos * across;
            for channel in 0..shape.channels {
                let value = |row: f64, column: f64| {
                    if inside(row, shape.height) && inside(column, shape.width) {
                        f64::from(input[shape.at(row as usize, column as usize, channel)])
                    } else {
                        f64::from(shape.zero_point)
                    }
                };
                let (r, c) = (from_row.floor(), from_column.floor());
                let (v, u) = (from_row - r, from_column - c);
                let upper = (1.0 - u) * value(r, c) + u * value(r, c + 1.0);
                let lower = (1.0 - u) * value(r + 1.0, c) + u * value(r + 1.0, c + 1.0);
                changed[shape.at(row, column, channel)] = rounded((1.0 - v) * upper + v * lower);
            }
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> (Vec<i8>, Shape) {
        let shape = Shape::of(&[9, 10, 2], -100);
        let input = (0..shape.len()).map(|i| (i * 37 % 200) as i8).collect();
        (input, shape)
    }

    #[test]
    fn small_things_are_vectors() {
        assert_eq!(Shape::of(&[28, 28, 1], 0).changes().len(), OF_IMAGES.len());
        assert_eq!(Shape::of(&[28, 28], 0).height, 28);
        for dimensions in [&[64][..], &[4, 16, 1], &[49, 2], &[2, 3, 4, 5]] {
            let shape = Shape::of(dimensions, 3);
            assert_eq!((shape.height, shape.len()), (1, dimensions.iter().product()));
        }
    }

    #[test]
    fn lengths_stay_and_changes_repeat() {
        let (input, shape) = image();
        let two = [&input[..], &input[..]].concat();
        for &change in OF_IMAGES.iter().chain(&OF_VECTORS) {
            let changed = change.apply(&two, &shape);
            assert_eq!(changed.len(), two.len());
            assert_eq!(changed, change.apply(&two, &shape), "{change:?}");
            assert_eq!(changed == two, change == Change::Nothing, "{change:?}");
        }
    }

    #[test]
    fn places_are_where_they_belong() {
        let (input, shape) = image();
        let moved = Change::Shift(2).apply(&input, &shape);
        assert_eq!(moved[shape.at(3, 5, 1)], input[shape.at(3, 3, 1)]);
        assert_eq!(moved[shape.at(3, 1, 0)], -100);
        let whole = Change::Rotation(360.0).apply(&input, &shape);
        assert_eq!(whole[shape.at(4, 4, 0)], input[shape.at(4, 4, 0)]);
        let half = Change::Rotation(180.0).apply(&input, &shape);
        assert_eq!(half[shape.at(2, 3, 1)], input[shape.at(6, 6, 1)]);
        let flat = vec![7i8; shape.len()];
        assert_eq!(Change::Blur.apply(&flat, &shape), flat);
        assert_eq!(Change::Gain(0.5).apply(&[-100, 100], &Shape::of(&[2], -100)), [-100, 0]);
        let dead = Change::DeadColumns(7).apply(&flat, &shape);
        assert_eq!(dead.iter().filter(|&&x| x == i8::MIN).count(), 2 * 9);
        let covered = Change::Occlusion.apply(&flat, &shape);
        assert_eq!(covered.iter().filter(|&&x| x == -100).count(), 3 * 3 * 2);
    }

    #[test]
    fn noise_is_as_wide_as_it_says() {
        let changed = Change::Noise(16.0).apply(&vec![0; 10_000], &Shape::of(&[100], 0));
        let square: f64 = changed.iter().map(|&x| f64::from(x).powi(2)).sum();
        assert!((square / 10_000.0 - 256.0).abs() < 12.0);
    }
}
