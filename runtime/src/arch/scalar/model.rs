//! What the kernels do, in plain Rust: hosts' tests run what is around them with it.

use super::{Job, Outputs, POSITIONS, Packed, Taps};

/// See [`Kernels`](super::Kernels).
pub(super) const NAME: &str = "scalar-model";
/// See [`Kernels`](super::Kernels).
pub(super) const DIVIDES: bool = true;
/// Columns that the unrolled loop takes at once.
pub(super) const STEP: usize = 4;
/// Rows that [`dot_packed`] takes at once.
pub(super) const PACKED_ROWS: usize = 2;

/// The sums of products of blocks of four rows.
///
/// # Safety
/// As those of the other modules.
pub(super) unsafe fn dot_blocks(job: &mut Job) {
    while job.sums != job.sums_end {
        let mut sums = [0; super::BLOCK_ROWS];
        for sum in &mut sums {
            let row = Job { weights: job.weights, ..*job };
            // SAFETY: as promised, of the next row.
            *sum = unsafe { dot_row(&row) };
            job.weights = job.weights.wrapping_add(job.columns);
        }
        // SAFETY: as promised, there is room for a block's sums.
        unsafe { job.sums.write(sums) };
        job.sums = job.sums.wrapping_add(1);
    }
}

/// The sum of products of one row.
///
/// # Safety
/// As those of the other modules.
pub(super) unsafe fn dot_row(job: &Job) -> i32 {
    (0..job.columns).fold(0i32, |sum, column| {
        let offset = if column < job.unrolled { 0 } else { job.offset };
        // SAFETY: as promised, there are so many inputs and weights.
        let (x, weight) = unsafe { (*job.x.add(column), *job.weights.add(column).cast::<i8>()) };
        sum.wrapping_add(i32::from(weight).wrapping_mul(i32::from(x).wrapping_add(offset)))
    })
}

/// Adds Σ w·x of rows at four positions to their sums.
///
/// # Safety
/// As those of the other modules.
pub(super) unsafe fn dot_packed(job: &mut Packed) {
    let rows = (job.sums_end as usize - job.sums as usize) / size_of::<[i32; POSITIONS]>();
    assert!(rows.is_multiple_of(PACKED_ROWS) && job.unrolled <= job.columns);
    while job.sums != job.sums_end {
        let mut words = [job.begin; 2];
        let mut column = 0;
        while column < job.columns {
            let count = if column < job.unrolled { 2 } else { 1 };
            let mut pair = [0x7FFF_7FFFi32; 2];
            for column in column..column + count {
                // SAFETY: as promised, there are so many weights and packed columns.
                let (weight, x) =
                    unsafe { (*job.weights.add(column).cast::<i8>(), *job.patch.add(column)) };
                for (sum, x) in pair.iter_mut().zip(x) {
                    *sum = sum.wrapping_add(x.wrapping_mul(weight.into()));
                }
            }
            for ([sum, upper], pair) in words.iter_mut().zip(pair) {
                *sum = sum.wrapping_add(pair);
                *upper = upper.wrapping_add((pair as u32 >> 16) as i32);
            }
            column += count;
        }
        // SAFETY: as promised, there are a row's sums.
        let sums = unsafe { &mut *job.sums };
        for (sums, [sum, upper]) in sums.as_chunks_mut::<2>().0.iter_mut().zip(words) {
            sums[0] = sums[0].wrapping_add(sum.wrapping_sub(upper << 16));
            sums[1] = sums[1].wrapping_add(upper);
        }
        job.weights = job.weights.wrapping_add(job.stride);
        job.sums = job.sums.wrapping_add(1);
    }
}

/// The sums of products of one channel at positions that are a step apart.
///
/// # Safety
/// As those of the other modules.
pub(super) unsafe fn dot_taps(job: &Taps) {
    let taps = (job.taps_end as usize - job.taps as usize) / size_of::<super::Tap>();
    assert!(job.count > 0 && taps > 0 && taps.is_multiple_of(super::TAPS_STEP));
    for position in 0..job.count.next_multiple_of(2) {
        // The last one is taken twice where it has no other.
        let from = job.x.wrapping_add(position.min(job.count - 1) * job.step);
        let mut sum = job.bias;
        for tap in 0..taps {
            // SAFETY: as promised, there are so many taps, and what they lead to.
            let x = unsafe {
                let tap = *job.taps.add(tap);
                i32::from(*from.add(tap.at)).wrapping_mul(tap.weight)
            };
            sum = sum.wrapping_add(x);
        }
        // SAFETY: as promised, there is room for an even number of sums.
        unsafe { job.sums.add(position).write(sum) };
    }
}

/// The outputs of rows from their sums.
///
/// # Safety
/// As those of the other modules.
pub(super) unsafe fn outputs(job: &mut Outputs) {
    while job.scales != job.scales_end {
        // SAFETY: as promised, there is a scale.
        let scale = unsafe { &*job.scales };
        let (mut sums, mut at) = (job.sums, 0);
        while at != job.span {
            // SAFETY: as promised, there are so many sums, and room for so many outputs.
            let (sum, y) = unsafe { (*sums, &mut *job.outputs.add(at)) };
            let value = scale.apply(sum).wrapping_add(job.zero_point);
            *y = value.max(job.min).min(job.max) as i8;
            sums = sums.wrapping_add(1);
            at += job.stride;
        }
        job.sums = job.sums.wrapping_byte_add(job.sums_step);
        job.scales = job.scales.wrapping_add(1);
        job.outputs = job.outputs.wrapping_add(1);
    }
}

impl super::Scale {
    /// A sum times the multiplier of a row that isn't rare, by halves of both as Cortex-M0 has them.
    fn apply(&self, sum: i32) -> i32 {
        let (low, high) = (i32::from(sum as i16), sum.wrapping_sub((sum as i16).into()) >> 16);
        let (fraction_low, fraction_high) = (self.value & 0xFFFF, self.value >> 16);
        let middle = high.wrapping_mul(fraction_low).wrapping_add(low.wrapping_mul(fraction_high));
        let middle = middle.wrapping_add(low.wrapping_mul(fraction_low) >> 16);
        let product = high.wrapping_mul(fraction_high).wrapping_mul(2).wrapping_add(middle >> 15);
        let product = product.wrapping_add(middle >> 14 & 1);
        let down = product.wrapping_add(product >> 31);
        let half = down.wrapping_shr(self.right.wrapping_sub(1)) & 1;
        down.wrapping_shr(self.right).wrapping_add(half)
    }
}
