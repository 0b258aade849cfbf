//! From sums to outputs: a row's parameters are read once for all of its outputs.
//!
//! Both roundings are those of [`crate::requantize`], without what can't happen: sums stay below
//! [`SUM_MAX`], and multipliers shift to the right. Rows of others are *rare*, and made by the portable
//! function.

use super::{Outputs, isa};
use crate::arch::Finish;
use crate::requantize::Multiplier;

/// What sums stay below.
const SUM_MAX: u32 = 1 << 29;

/// What becomes of a row's sums; kernels know the order.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Scale {
    /// The multiplier's fraction.
    pub(super) value: i32,
    /// Positions that it shifts to the right by; 0 where the row is rare.
    pub(super) right: u32,
    /// What sums of products begin with.
    pub(super) bias: i32,
}

impl Scale {
    /// Of no row.
    pub(super) const NONE: Self = Self { value: 0, right: 0, bias: 0 };

    /// Of a row whose sums, the bias included, are no larger than `most`.
    pub(super) fn new(multiplier: Multiplier, bias: i32, most: u32) -> Self {
        let right = i32::from(multiplier.shift).wrapping_neg();
        let is_usual = (1..=31).contains(&right) && multiplier.value >= 0 && most < SUM_MAX;
        Self { value: multiplier.value, right: if is_usual { right as u32 } else { 0 }, bias }
    }

    /// Whether the portable function makes its outputs.
    pub(super) fn is_rare(&self) -> bool {
        self.right == 0
    }
}

/// Most that a sum of products with inputs less their zero point comes to, and its bias.
pub(super) fn most(bits: u8, columns: usize, bias: i32) -> u32 {
    let weight = 1u32 << bits.wrapping_sub(1).min(15);
    let columns = u32::try_from(columns).unwrap_or(u32::MAX);
    columns.saturating_mul(255).saturating_mul(weight).saturating_add(bias.unsigned_abs())
}

/// Where the outputs of some rows go.
#[derive(Clone, Copy)]
pub(super) struct Places {
    /// Outputs of a row, and from each to the next.
    pub(super) count: usize,
    pub(super) stride: usize,
    /// Sums from a row's first one to the next row's.
    pub(super) sums_step: usize,
}

impl Places {
    /// Whether so many rows, and outputs of each, aren't none, and there are so many sums and outputs
    /// for them.
    #[inline(always)]
    fn are_within(&self, rows: usize, sums: usize, outputs: usize) -> bool {
        let (last_row, last) = (rows.wrapping_sub(1), self.count.wrapping_sub(1));
        // Nothing wraps below: products are less than 2³¹.
        let are_few = last_row < 64 && last < 64 && self.sums_step < 1 << 20;
        let last_sum = last_row.wrapping_mul(self.sums_step).wrapping_add(last);
        let last_output = last.wrapping_mul(self.stride).wrapping_add(last_row);
        let are_apart = self.stride.wrapping_sub(1) < 1 << 25;
        are_few && are_apart && last_sum < sums && last_output < outputs
    }
}

/// The outputs of rows from their sums, which hold the biases: of the first one from `to` on, those of the
/// others behind it, each by its scale. `first` is the first row's number. `None` where there are none, or
/// they aren't there.
#[inline(never)]
pub(super) fn outputs(
    finish: &Finish<'_>,
    first: usize,
    (scales, sums): (&[Scale], &[i32]),
    places: Places,
    to: &mut [i8],
) -> Option<()> {
    if !places.are_within(scales.len(), sums.len(), to.len()) {
        return None;
    }
    let range = scales.as_ptr_range();
    let mut job = Outputs {
        sums: sums.as_ptr(),
        sums_step: places.sums_step.wrapping_mul(size_of::<i32>()),
        scales: range.start,
        scales_end: range.end,
        outputs: to.as_mut_ptr(),
        span: places.count.wrapping_mul(places.stride),
        stride: places.stride,
        zero_point: finish.zero_point.into(),
        min: finish.clamp.min.into(),
        max: finish.clamp.max.into(),
    };
    // SAFETY: there are scales, and as `are_within` has found, so many sums and outputs; `span` is as many times
    // the stride as there are outputs of a row, neither of which is 0.
    unsafe { isa::outputs(&mut job) }
    for (row, _) in scales.iter().enumerate().filter(|(_, scale)| scale.is_rare()) {
        finish_rare(finish, (first, row), sums, places, to);
    }
    Some(())
}

/// The outputs of a row by the portable function.
#[inline(never)]
fn finish_rare(
    finish: &Finish<'_>,
    (first, row): (usize, usize),
    sums: &[i32],
    places: Places,
    to: &mut [i8],
) {
    let sums = sums.get(row.wrapping_mul(places.sums_step)..).unwrap_or_default();
    let mut at = row;
    for &sum in sums.iter().take(places.count) {
        if let Some(y) = to.get_mut(at) {
            *y = finish.output(first.wrapping_add(row), sum);
        }
        at = at.wrapping_add(places.stride);
    }
}
