//! The reference: all that kernels do, in portable Rust.

use super::bodies::{self, compiled_for};
use super::panel::{Elements, GROUP, LANES, Line};
use super::sum::Sum;
use super::walk::Job;

compiled_for!();

/// As [`super::KernelSet::interleave`].
pub(super) fn interleave(elements: Elements, rows: [&[i8]; 4], to: &mut [u8]) {
    bodies::interleave(elements, rows, to);
}

/// As [`super::KernelSet::multiply`].
pub(super) fn multiply(job: &Job<'_>, outputs: &mut [i8]) {
    for block in 0..job.panel.starts.len() {
        each_position(job, block, outputs, |from, sums| {
            let segments = job.segments.iter().flat_map(|segment| {
                (0..job.groups).map(move |group| from + segment + group * GROUP)
            });
            for (line, at) in job.panel.block(block).iter().zip(segments) {
                let x = group(job.image, at);
                add_products(job.panel.elements, line, [x; LANES], sums);
            }
        });
    }
}

/// As [`super::KernelSet::channels`].
pub(super) fn channels(job: &Job<'_>, outputs: &mut [i8]) {
    for (block, &start) in job.panel.starts.iter().enumerate() {
        each_position(job, block, outputs, |from, sums| {
            for (line, segment) in job.panel.block(block).iter().zip(job.segments) {
                let at = from + segment + start * GROUP;
                let x = core::array::from_fn(|lane| group(job.image, at + lane * GROUP));
                add_products(job.panel.elements, line, x, sums);
            }
        });
    }
}

/// As [`super::KernelSet::add`].
pub(super) fn add(sum: &Sum, operands: [&[i8]; 2], outputs: &mut [i8]) {
    sum.each(operands, outputs, 0);
}

/// The outputs of a block at each position, whose sums `sum` makes.
fn each_position(
    job: &Job<'_>,
    block: usize,
    outputs: &mut [i8],
    sum: impl Fn(usize, &mut [i32; LANES]),
) {
    let panel = job.panel;
    let (Some(finish), Some(&start)) = (panel.finish.get(block), panel.starts.get(block)) else {
        return;
    };
    for (&from, &to) in job.from.iter().zip(job.to) {
        let mut sums = finish.start;
        sum(from, &mut sums);
        let outputs = outputs.get_mut(to + start..).unwrap_or_default();
        let places = outputs.iter_mut().take(panel.rows_from(block)).zip(sums);
        for (lane, (y, sum)) in places.enumerate() {
            *y = panel.output(finish, lane, sum);
        }
    }
}

fn group(image: &[u8], at: usize) -> [u8; GROUP] {
    image.get(at..).and_then(<[u8]>::first_chunk).copied().unwrap_or_default()
}

/// Adds the products of a group of each lane.
fn add_products(elements: Elements, line: &Line, x: [[u8; GROUP]; LANES], sums: &mut [i32; LANES]) {
    for ((sum, w), x) in sums.iter_mut().zip(line.0).zip(x) {
        let products = match elements {
            Elements::Halves => {
                let half = |bytes: [u8; GROUP], at: usize| {
                    i32::from(i16::from_le_bytes([bytes[at], bytes[at + 1]]))
                };
                half(w, 0)
                    .wrapping_mul(half(x, 0))
                    .wrapping_add(half(w, 2).wrapping_mul(half(x, 2)))
            }
            Elements::Bytes => {
                w.iter().zip(x).map(|(&w, x)| i32::from(w as i8) * i32::from(x as i8)).sum()
            }
            Elements::Flipped => {
                w.iter().zip(x).map(|(&w, x)| i32::from(w as i8) * i32::from(x)).sum()
            }
        };
        *sum = sum.wrapping_add(products);
    }
}
