//! Depthwise convolutions by 3 × 3, four channels at a time.
//!
//! What a row of positions sees is spread once, column after column, to [`ROOM`] columns of memory:
//! upper and middle pixel of a channel are the halves of a word, lower pixels those of two channels.
//! A column is then loaded by two instructions for each of the windows that it is under, its weights
//! by two more, and takes four SMLAD and four SMLABB or the like: 12 for 12 products, 36 a
//! position, where `depthwise` takes 72. To spread a column takes 20. Pixels outside the image are
//! columns and rows like others, so that nothing depends on where a position is.

use core::arch::naked_asm;
use core::mem::{MaybeUninit, offset_of};

use super::super::{Finish, Matrix, Sight};
use super::depthwise::MOST;
use super::finish::{Bytes, hold};
use super::twice;
use crate::format::Fields;

/// Rows and columns of a window.
const SIZE: usize = 3;
/// Channels that are taken at once.
const LANES: usize = 4;
/// Most columns of pixels that are spread at once: those of 32 positions, a step apart.
const ROOM: usize = 34;

/// A column of three pixels or weights, of four channels: the upper two of each, then the third of the first
/// two channels and of the others. Pixels' are those of channels 0 and 2, then 1 and 3.
type Column = [u32; 6];

/// What the kernel is told; it knows the order.
#[repr(C)]
struct Task {
    /// The first pixels inside of the three rows, bytes to the next ones, and what is added.
    from: [*const i8; SIZE],
    steps: [usize; SIZE],
    offsets: u32,
    /// Where these are spread.
    to: *mut Column,
    to_end: *mut Column,
    /// The first window, and that behind the last.
    x: *const Column,
    x_end: *const Column,
    /// Bytes from behind a window to the next one.
    next: usize,
    y: *mut i8,
    channels: usize,
    scales: [[i32; 2]; LANES - 1],
    /// The output's zero point, above the least byte.
    zero_point: i32,
    last_scale: [i32; 2],
    bytes: Bytes,
    biases: [i32; LANES],
    weights: [Column; SIZE],
}

/// Neighbouring positions that are spread at once, the same of each row.
struct Segment {
    /// The first, and how many.
    first: usize,
    count: usize,
    /// Columns that they see, how many of them are before the image, and in it, the first of which.
    columns: usize,
    before: usize,
    inside: usize,
    left: usize,
}

impl Segment {
    fn new(sight: &Sight<'_>, first: usize) -> Self {
        let ([_, width], [_, right]) = (sight.size, sight.stride);
        let most = ROOM.wrapping_sub(SIZE).checked_div(right).unwrap_or_default();
        let count = sight.output[1].wrapping_sub(first).min(most.wrapping_add(1));
        let columns = count.wrapping_sub(1).wrapping_mul(right).wrapping_add(SIZE);
        let begin = first.wrapping_mul(right);
        let before = sight.padding[1].saturating_sub(begin).min(columns);
        let left = begin.wrapping_add(before).saturating_sub(sight.padding[1]);
        let inside = width.saturating_sub(left).min(columns.wrapping_sub(before));
        Self { first, count, columns, before, inside, left }
    }
}

/// As [`Kernels::depthwise_threes`](super::Kernels::depthwise_threes).
#[inline(never)]
pub(super) fn depthwise(
    sight: &Sight<'_>,
    matrix: &Matrix<'_>,
    finish: &Finish<'_>,
    output: &mut [i8],
    rare: &mut dyn FnMut(usize, &mut [i8]),
) -> Option<()> {
    let &Sight { values, size: [height, width], channels, stride, output: [down, right], .. } =
        sight;
    let len = |rows: usize, columns: usize| rows.checked_mul(columns)?.checked_mul(channels);
    if values.len() < len(height, width)? || output.len() < len(down, right)? {
        return None;
    }
    let last = channels.checked_sub(LANES)?;
    if matrix.columns != SIZE * SIZE || stride[1] == 0 {
        return None;
    }
    let mut room = [const { MaybeUninit::uninit() }; ROOM];
    let mut first = 0usize;
    while first < right {
        let segment = Segment::new(sight, first);
        let (before, rest) =
            room.get_mut(..segment.columns)?.split_at_mut_checked(segment.before)?;
        let behind = rest.get_mut(segment.inside..)?;
        for column in before.iter_mut().chain(behind) {
            column.write([twice(sight.outside); 6]);
        }
        for channel in (0..channels).step_by(LANES) {
            let channel = channel.min(last); // the last group ends with the last channel
            let mut mask =
                columns(sight, &segment, (matrix, finish), channel, (&mut room, output))?;
            while mask != 0 {
                rare(channel.wrapping_add(mask.trailing_zeros() as usize), output);
                mask &= mask.wrapping_sub(1);
            }
        }
        first = first.wrapping_add(segment.count);
    }
    Some(())
}

/// The outputs of a group of channels at a segment of all rows; what is outside the image lies in
/// `room` already. Returns the channels that the kernel doesn't take, a bit each.
#[inline(never)]
fn columns(
    sight: &Sight<'_>,
    segment: &Segment,
    (matrix, finish): (&Matrix<'_>, &Finish<'_>),
    channel: usize,
    (room, output): (&mut [MaybeUninit<Column>; ROOM], &mut [i8]),
) -> Option<u64> {
    let &Sight { values, size: [height, width], channels, stride, .. } = sight;
    let mut held = [MaybeUninit::uninit(); LANES];
    let rare = hold(&mut held, finish, channel..usize::MAX, MOST);
    // SAFETY: `hold` writes all places.
    let [a, b, c, d] = held.map(|held| unsafe { held.assume_init() });
    let room = room.as_mut_ptr().cast::<Column>();
    let to = room.wrapping_add(segment.before);
    let step = stride[1].wrapping_mul(size_of::<Column>());
    let pixels = [sight.outside.wrapping_sub(sight.offset) as i8; LANES];
    let mut task = Task {
        from: [pixels.as_ptr().cast(); SIZE],
        steps: [0; SIZE],
        offsets: twice(sight.offset),
        to,
        to_end: to.wrapping_add(segment.inside),
        x: room,
        x_end: room.wrapping_add(segment.count.wrapping_mul(stride[1])),
        next: step.wrapping_sub(size_of::<[Column; SIZE]>()),
        y: output.as_mut_ptr(),
        channels,
        scales: [a, b, c].map(|scale| [scale.value, scale.right]),
        zero_point: i32::from(finish.zero_point).wrapping_add(128),
        last_scale: [d.value, d.right],
        bytes: Bytes::new(finish.clamp),
        biases: [a.bias, b.bias, c.bias, d.bias],
        weights: weights(matrix, channel)?,
    };
    let line = width.wrapping_mul(channels);
    let left = segment.left.wrapping_mul(channels).wrapping_add(channel);
    let mut to = segment.first.wrapping_mul(channels).wrapping_add(channel);
    let mut top = 0usize.wrapping_sub(sight.padding[0]);
    for _ in 0..sight.output[0] {
        let mut row = top;
        for (from, step) in task.from.iter_mut().zip(&mut task.steps) {
            // Where a row is above the image, its number is too great as well.
            (*from, *step) = if row < height {
                let at = row.wrapping_mul(line).wrapping_add(left);
                (values.as_ptr().wrapping_add(at), channels)
            } else {
                (pixels.as_ptr().cast(), 0)
            };
            row = row.wrapping_add(sight.dilation);
        }
        task.y = output.as_mut_ptr().wrapping_add(to);
        // SAFETY: `depthwise` has shown that there are as many values and outputs as the shapes
        // say, and that the group's channels are among them. From `from` on, `inside` pixels of a row
        // inside the image can be read, LANES bytes of each, or again and again those of
        // `pixels`; outputs of `count` > 0 positions of the row be written. `room` has the
        // segment's columns, of which `inside` are spread, and the others are written. Those are
        // `threes_row`'s conditions.
        unsafe { threes_row(&mut task) };
        to = to.wrapping_add(sight.output[1].wrapping_mul(channels));
        top = top.wrapping_add(stride[0]);
    }
    Some(rare)
}

/// The weights of the channels from `first` on.
fn weights(matrix: &Matrix<'_>, first: usize) -> Option<[Column; SIZE]> {
    let mut columns = [[[0u16; 2]; 6]; SIZE];
    let mut row = matrix.bytes_from(first);
    for lane in 0..LANES {
        let taps: [u16; SIZE * SIZE] = match matrix.bits() {
            8 => row.first_chunk()?.map(|byte: u8| i16::from(byte as i8) as u16),
            bits => {
                let mut fields = Fields::new(row, bits, 0);
                [(); SIZE * SIZE].map(|()| fields.take() as u16)
            }
        };
        let [top, middle, bottom] = taps.as_chunks::<SIZE>().0 else { return None };
        for (((column, &a), &b), &c) in columns.iter_mut().zip(top).zip(middle).zip(bottom) {
            *column.get_mut(lane)? = [a, b];
            *column.as_flattened_mut().get_mut(lane.wrapping_add(2 * LANES))? = c;
        }
        row = row.get(matrix.row_len..).unwrap_or_default();
    }
    Some(columns.map(|column| column.map(|[low, high]| u32::from(low) | u32::from(high) << 16)))
}

/// A column of a window at r0, and its weights at r1: sums in r4 to r7.
macro_rules! column {
    () => {
        "ldm r0!, {{r8-r11}}
        ldm r1!, {{r2, r3, r12, lr}}
        smlad r4, r8, r2, r4
        smlad r5, r9, r3, r5
        smlad r6, r10, r12, r6
        smlad r7, r11, lr, r7
        ldm r0!, {{r8, r9}}
        ldm r1!, {{r2, r3}}
        smlabb r4, r8, r2, r4
        smlabt r5, r9, r2, r5
        smlatb r6, r8, r3, r6
        smlatt r7, r9, r3, r7"
    };
}

/// The byte of a sum, behind a fraction and a shift: as in `finish`.
macro_rules! finish {
    ($sum:literal, $value:literal, $right:literal) => {
        concat!(
            "qadd ",
            $sum,
            ", ",
            $sum,
            ", ",
            $sum,
            "\n",
            "smmulr ",
            $sum,
            ", ",
            $sum,
            ", ",
            $value,
            "\n",
            "add ",
            $sum,
            ", ",
            $sum,
            ", ",
            $sum,
            ", asr #31\n",
            "asrs ",
            $sum,
            ", ",
            $sum,
            ", ",
            $right,
            "\n",
            "adc ",
            $sum,
            ", ",
            $sum,
            ", r11\n",
            "usat ",
            $sum,
            ", #8, ",
            $sum,
        )
    };
}

/// The outputs of four channels at positions of a row.
///
/// # Safety
/// From `task.from` on, four bytes of each pixel can be read, `steps` apart, as many as there are
/// columns between `to` and `to_end`, which can be written; all columns of all windows from `x` to
/// `x_end` can be read then, and have been written. There is a window at least, and `next` leads
/// from one to the next; for each, four bytes can be written from `y` on, `channels` apart.
// SAFETY: the body follows the C calling convention (the argument in r0, r4–r11 and lr saved and
// restored, the stack as it was). It reads a word of each row and writes six of a column a step, up
// to `to_end`; then reads three columns and writes a word a step, up to `x_end`. LDR and STR
// take any address; LDM, LDRD and STM are at words of `task` and of columns, which consist of words.
#[unsafe(naked)]
unsafe extern "C" fn threes_row(task: &mut Task) {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        "add r1, r0, #{scales}",
        "push {{r1, r4-r11, lr}}",
        "ldm r0, {{r0-r8}}", // rows, their steps, offsets, to where and its end
        "b 2f",
        "1:", // a column
        "ldr r9, [r0]",
        "ldr r11, [r1]",
        "add r0, r0, r3",
        "add r1, r1, r4",
        "sxtab16 r10, r6, r9, ror #8",
        "sxtab16 r9, r6, r9",
        "sxtab16 r12, r6, r11, ror #8",
        "sxtab16 r11, r6, r11",
        "pkhtb lr, r12, r10, asr #16",
        "pkhbt r10, r10, r12, lsl #16",
        "pkhtb r12, r11, r9, asr #16",
        "pkhbt r9, r9, r11, lsl #16",
        "stm r7!, {{r9, r10, r12, lr}}",
        "ldr r9, [r2]",
        "add r2, r2, r5",
        "sxtab16 r10, r6, r9, ror #8",
        "sxtab16 r9, r6, r9",
        "stm r7!, {{r9, r10}}",
        "2:",
        "cmp r7, r8",
        "bne 1b",
        "ldr r12, [sp]",
        "ldr r0, [r12, #{x}-{scales}]",
        "add r12, r12, #{biases}-{scales}",
        "3:", // a position; r12 the biases
        "mov r1, r12",
        "ldm r1!, {{r4-r7}}",
        column!(),
        column!(),
        column!(),
        "ldr r12, [sp]",
        "ldm r12!, {{r1-r3, r8-r11}}",
        finish!("r4", "r1", "r2"),
        finish!("r5", "r3", "r8"),
        finish!("r6", "r9", "r10"),
        "ldm r12!, {{r1-r3, r8, r9}}", // the last scale, bytes
        finish!("r7", "r1", "r2"),
        "bfi r4, r5, #8, #8",
        "bfi r4, r6, #16, #8",
        "bfi r4, r7, #24, #8",
        "ldrd r1, r2, [r12, #{y}-{biases}]",
        "uqadd8 r4, r4, r3",
        "uqsub8 r4, r4, r8",
        "uadd8 r4, r4, r9",
        "str r4, [r1]",
        "add r1, r1, r2",
        "str r1, [r12, #{y}-{biases}]",
        "ldrd r2, r3, [r12, #{x_end}-{biases}]",
        "add r0, r0, r3",
        "cmp r0, r2",
        "bne 3b",
        "pop {{r1, r4-r11, pc}}",
        x = const offset_of!(Task, x), x_end = const offset_of!(Task, x_end),
        y = const offset_of!(Task, y), scales = const offset_of!(Task, scales),
        biases = const offset_of!(Task, biases),
    )
}
