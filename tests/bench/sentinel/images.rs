//! What is done to images of 28 × 28 pixels. These changes are the benchmark's own: the program that seeds a
//! sentinel predicts others.

use crate::chance::Chance;

pub(crate) const SIDE: usize = 28;
pub(crate) const PIXELS: usize = SIDE * SIDE;

/// A change of every image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Change {
    Noise(f64),
    Gain(f64),
    Offset(f64),
    Blur(f64),
    Rotation(f64),
    Zoom(f64),
    Shift(isize),
    DeadColumns(usize),
    SaltAndPepper(f64),
    Occlusion(usize),
    Inverted,
    Transposed,
    Mirrored,
}

pub(crate) const CHANGES: [Change; 40] = [
    Change::Noise(4.0),
    Change::Noise(8.0),
    Change::Noise(16.0),
    Change::Noise(32.0),
    Change::Noise(64.0),
    Change::Gain(0.2),
    Change::Gain(0.4),
    Change::Gain(0.6),
    Change::Gain(0.8),
    Change::Gain(1.25),
    Change::Offset(-16.0),
    Change::Offset(8.0),
    Change::Offset(32.0),
    Change::Blur(0.6),
    Change::Blur(1.2),
    Change::Blur(2.0),
    Change::Rotation(7.5),
    Change::Rotation(15.0),
    Change::Rotation(22.0),
    Change::Rotation(30.0),
    Change::Rotation(45.0),
    Change::Zoom(0.8),
    Change::Zoom(0.9),
    Change::Zoom(1.2),
    Change::Shift(1),
    Change::Shift(2),
    Change::Shift(3),
    Change::Shift(5),
    Change::DeadColumns(1),
    Change::DeadColumns(2),
    Change::DeadColumns(4),
    Change::SaltAndPepper(0.01),
    Change::SaltAndPepper(0.05),
    Change::SaltAndPepper(0.1),
    Change::Occlusion(5),
    Change::Occlusion(9),
    Change::Occlusion(12),
    Change::Inverted,
    Change::Transposed,
    Change::Mirrored,
];

impl Change {
    pub(crate) fn name(self) -> String {
        match self {
            Self::Noise(sigma) => format!("noise, σ {sigma}"),
            Self::Gain(factor) => format!("pixels × {factor}"),
            Self::Offset(by) => format!("pixels {by:+}"),
            Self::Blur(sigma) => format!("blur, σ {sigma} px"),
            Self::Rotation(degrees) => format!("turned by {degrees}°"),
            Self::Zoom(factor) => format!("size × {factor}"),
            Self::Shift(pixels) => format!("moved by {pixels} px"),
            Self::DeadColumns(count) => format!("{count} dead columns"),
            Self::SaltAndPepper(share) => format!("salt and pepper, {} %", 100.0 * share),
            Self::Occlusion(side) => format!("{side} × {side} px covered"),
            Self::Inverted => "inverted".into(),
            Self::Transposed => "transposed".into(),
            Self::Mirrored => "mirrored".into(),
        }
    }

    pub(crate) fn apply(self, image: &[u8], chance: &mut Chance) -> Vec<u8> {
        let mut each = |f: &mut dyn FnMut(f64, &mut Chance) -> f64| -> Vec<u8> {
            image.iter().map(|&pixel| byte(f(f64::from(pixel), chance))).collect()
        };
        match self {
            Self::Noise(sigma) => each(&mut |x, chance| x + sigma * chance.normal()),
            Self::Gain(factor) => each(&mut |x, _| factor * x),
            Self::Offset(by) => each(&mut |x, _| x + by),
            Self::Inverted => each(&mut |x, _| 255.0 - x),
            Self::SaltAndPepper(share) => each(&mut |x, chance| match chance.share() {
                draw if draw < 0.5 * share => 0.0,
                draw if draw < share => 255.0,
                _ => x,
            }),
            Self::Blur(sigma) => blurred(&blurred(image, sigma, 1), sigma, SIDE),
            Self::Rotation(degrees) => {
                let (sin, cos) = degrees.to_radians().sin_cos();
                mapped(image, |down, across| (cos * down - sin * across, sin * down + cos * across))
            }
            Self::Zoom(factor) => mapped(image, |down, across| (down / factor, across / factor)),
            Self::Shift(pixels) => mapped(image, |down, across| (down, across - pixels as f64)),
            Self::Transposed => mapped(image, |down, across| (across, down)),
            Self::Mirrored => mapped(image, |down, across| (down, -across)),
            Self::DeadColumns(count) => masked(image, |_, column| {
                (0..count).any(|dead| column == SIDE / 2 + 3 * dead - 3 * (count / 2))
            }),
            Self::Occlusion(side) => {
                let (top, left) = (chance.below(SIDE - side), chance.below(SIDE - side));
                masked(image, |row, column| {
                    (top..top + side).contains(&row) && (left..left + side).contains(&column)
                })
            }
        }
    }
}

fn byte(x: f64) -> u8 {
    x.round().clamp(0.0, 255.0) as u8
}

/// The image with black where the mask says.
fn masked(image: &[u8], is_black: impl Fn(usize, usize) -> bool) -> Vec<u8> {
    let keep = |(at, &pixel): (usize, &u8)| {
        if is_black(at / SIDE, at % SIDE) { 0 } else { pixel }
    };
    image.iter().enumerate().map(keep).collect()
}

/// The image by where each place, counted from the middle, comes from; between pixels, and black outside.
fn mapped(image: &[u8], from: impl Fn(f64, f64) -> (f64, f64)) -> Vec<u8> {
    let middle = 0.5 * (SIDE as f64 - 1.0);
    let pixel = |row: f64, column: f64| -> f64 {
        let is_inside = |at: f64| (0.0..SIDE as f64).contains(&at);
        match is_inside(row) && is_inside(column) {
            true => image[row as usize * SIDE + column as usize].into(),
            false => 0.0,
        }
    };
    let place = |at: usize| {
        let (down, across) = ((at / SIDE) as f64 - middle, (at % SIDE) as f64 - middle);
        let (down, across) = from(down, across);
        let (row, column) = (down + middle, across + middle);
        let (r, c) = (row.floor(), column.floor());
        let (v, u) = (row - r, column - c);
        let line = |r: f64| (1.0 - u) * pixel(r, c) + u * pixel(r, c + 1.0);
        byte((1.0 - v) * line(r) + v * line(r + 1.0))
    };
    (0..PIXELS).map(place).collect()
}

/// A normal window along neighbours that are `step` apart.
fn blurred(image: &[u8], sigma: f64, step: usize) -> Vec<u8> {
    let reach = (3.0 * sigma).ceil() as isize;
    let weight = |k: isize| (-0.5 * (k as f64 / sigma).powi(2)).exp();
    let all: f64 = (-reach..=reach).map(weight).sum();
    let place = |at: usize| {
        let along = (at / step % SIDE) as isize;
        let sum: f64 = (-reach..=reach)
            .filter(|k| (0..SIDE as isize).contains(&(along + k)))
            .map(|k| weight(k) * f64::from(image[(at as isize + k * step as isize) as usize]))
            .sum();
        byte(sum / all)
    };
    (0..PIXELS).map(place).collect()
}
