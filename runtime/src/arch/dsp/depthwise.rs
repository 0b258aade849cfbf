//! Depthwise convolutions, four channels at a time; those by 3 × 3 are in `threes`.
//!
//! Four channels of a pixel are a word, which SXTAB16 spreads to two, with the inputs' offset; each of the four
//! then meets its weight in an SMLABB or one of its like: eight instructions for four products. Two of a
//! window's taps for one channel don't lie in one word, so that SMLAD would need as many instructions to bring
//! them together as it saves. Outputs are made of the four sums where they are.
//!
//! Weights lie channel by channel. They are arranged tap after tap, column by column, for all rows of positions that
//! have the same rows of taps inside the image: 11 instructions a tap, the way to its pixel included.

use core::arch::naked_asm;
use core::mem::{MaybeUninit, offset_of};

use super::super::{Finish, Isa, Kernels, Matrix, Sight, Span};
use super::finish::Bytes;
use super::scales::{Scale, hold};
use super::taps::{TAPS_MAX, Tap, arrange};
use super::twice;

/// Channels that are taken at once.
pub(super) const LANES: usize = 4;
/// Most that a channel's sum may differ from its bias by, with weights of 16 bits, whether what the
/// inputs' offset adds is in the bias or not.
const MOST: u32 = 49 * (1 << 15) * (255 + 128);

/// What the kernel is told, and where it keeps what has no register.
#[repr(C)]
struct Task {
    /// Of the first row; the kernel moves them on, and `rows` down.
    x: *const i8,
    y: *mut i8,
    rows: usize,
    /// Bytes from a row of windows to the next.
    down: usize,
    runs: *const Span,
    /// The next run at hand.
    run: *const Span,
    runs_end: *const Span,
    taps: *const Tap,
    /// Bytes of the taps of a column.
    column: usize,
    /// Bytes from a column of taps, a window and an output to the next one.
    tap: usize,
    right: usize,
    channels: usize,
    /// What is added, twice.
    offsets: u32,
    /// Of the run at hand: the end of its taps, their beginning and their bytes modulo those of three, and
    /// the window behind it.
    last: *const Tap,
    first: *const Tap,
    odd: usize,
    end: *const i8,
    scales: [[i32; 2]; LANES - 1],
    /// The output's zero point, above the least byte.
    zero_point: i32,
    last_scale: [i32; 2],
    bytes: Bytes,
    biases: [i32; LANES],
}

/// What becomes of the sums of the channels from `first` on, and whether there are some that kernels don't
/// take.
#[inline(always)] // else it is copied
pub(super) fn take_scales(finish: &Finish<'_>, first: usize) -> (bool, [Scale; LANES]) {
    let mut held = [const { MaybeUninit::uninit() }; LANES];
    let rare = hold(&mut held, finish, first, MOST);
    // SAFETY: `hold` writes all places.
    (rare, held.map(|held: MaybeUninit<Scale>| unsafe { held.assume_init() }))
}

/// Calls `rare` for those of the channels from `first` on that kernels don't take.
#[inline(never)]
pub(super) fn redo(
    finish: &Finish<'_>,
    first: usize,
    output: &mut [i8],
    rare: &mut dyn FnMut(usize, &mut [i8]),
) {
    let (_, scales) = take_scales(finish, first);
    for (scale, channel) in scales.iter().zip(first..) {
        if scale.is_rare() {
            rare(channel, output);
        }
    }
}

/// As [`Kernels::depthwise_layer`](super::Kernels::depthwise_layer).
#[inline(never)]
pub(super) fn depthwise(
    sight: &Sight<'_>,
    matrix: &Matrix<'_>,
    finish: &Finish<'_>,
    output: &mut [i8],
    rare: &mut dyn FnMut(usize, &mut [i8]),
) -> Option<()> {
    let turned;
    let mut sight = sight;
    if [sight.input[1], sight.size[1], sight.output[1]] == [1; 3] {
        turned = turned_of(sight);
        sight = &turned;
    }
    let &Sight { values, channels, spans: [rows, columns], .. } = sight;
    is_within(sight, matrix.columns, output.len())?;
    let last = channels.checked_sub(LANES)?;
    let mut taps = [const { MaybeUninit::uninit() }; TAPS_MAX];
    let mut task = Task::new(sight, finish, &taps, columns);
    let line = sight.input[1].wrapping_mul(channels);
    for channel in (0..channels).step_by(LANES) {
        let channel = channel.min(last); // the last group ends with the last channel
        let some_left = task.take(sight, matrix, finish, channel);
        task.y = output.as_mut_ptr().wrapping_add(channel);
        for span in rows {
            arrange(sight, matrix, channel, span, &mut taps)?;
            let from = span.position.wrapping_mul(line).wrapping_add(channel);
            task.x = values.as_ptr().wrapping_add(from);
            task.rows = span.count;
            task.column = span.len.wrapping_mul(size_of::<Tap>());
            // SAFETY: the spans are those of the image's axes, whose values and outputs are all there, as
            // `is_within` has shown, and the group's channels are among them. There are rows and runs, each
            // run has positions, and taps inside the image, which are arranged: `depthwise_rows`'
            // conditions.
            unsafe { depthwise_rows(&mut task) };
        }
        if some_left {
            redo(finish, channel, output, rare);
        }
    }
    Some(())
}

/// A column of pixels as the row that it is in memory: then weights are arranged once.
fn turned_of<'a>(sight: &Sight<'a>) -> Sight<'a> {
    let turn = |[down, right]: [usize; 2]| [right, down];
    let [rows, columns] = sight.spans;
    Sight {
        input: turn(sight.input),
        size: turn(sight.size),
        output: turn(sight.output),
        padding: turn(sight.padding),
        stride: turn(sight.stride),
        dilation: turn(sight.dilation),
        spans: [columns, rows],
        ..*sight
    }
}

/// Whether all that windows see is in the image, weights of so many columns and outputs of so many
/// values are theirs.
fn is_within(sight: &Sight<'_>, columns: usize, outputs: usize) -> Option<()> {
    let &Sight { values, input, size, output, channels, stride, dilation, spans, .. } = sight;
    let len = |[rows, columns]: [usize; 2]| rows.checked_mul(columns)?.checked_mul(channels);
    let is_all = values.len() >= len(input)? && outputs >= len(output)?;
    let taps = size[0].checked_mul(size[1])?;
    for axis in 0..2 {
        let mut windows = 0usize;
        for &Span { first, len, position, count } in *spans.get(axis)? {
            let [stride, dilation] = [*stride.get(axis)?, *dilation.get(axis)?];
            let window = count.checked_sub(1)?.checked_mul(stride)?;
            let tap = len.checked_sub(1)?.checked_mul(dilation)?;
            let last = position.checked_add(window)?.checked_add(tap)?;
            let are_taps = first.checked_add(len)? <= *size.get(axis)?;
            (are_taps && last < *input.get(axis)?).then_some(())?;
            windows = windows.checked_add(count)?;
        }
        (windows == *output.get(axis)? && windows > 0).then_some(())?;
    }
    (is_all && taps <= TAPS_MAX && taps == columns && stride[1] > 0).then_some(())
}

impl Task {
    /// What is the same for all groups.
    #[inline(always)] // else it is made elsewhere and copied
    fn new(
        sight: &Sight<'_>,
        finish: &Finish<'_>,
        taps: &[MaybeUninit<Tap>; TAPS_MAX],
        columns: &[Span],
    ) -> Self {
        let &Sight { input: [_, width], channels, stride, .. } = sight;
        let runs = columns.as_ptr_range();
        let down = stride[0].wrapping_mul(width).wrapping_mul(channels);
        // Whole windows' biases are taken as they are.
        let is_plain = sight.folded && !is_clipped(sight);
        let offset = if is_plain { 0 } else { i16::from(sight.zero_point).wrapping_neg() };
        Self {
            x: core::ptr::null(),
            y: core::ptr::null_mut(),
            rows: 0,
            down,
            runs: runs.start,
            run: runs.start,
            runs_end: runs.end,
            taps: taps.as_ptr().cast(),
            column: 0,
            tap: sight.dilation[1].wrapping_mul(channels),
            right: stride[1].wrapping_mul(channels),
            channels,
            offsets: twice(offset),
            last: core::ptr::null(),
            first: core::ptr::null(),
            odd: 0,
            end: core::ptr::null(),
            scales: [[0; 2]; LANES - 1],
            zero_point: i32::from(finish.zero_point).wrapping_add(128),
            last_scale: [0; 2],
            bytes: Bytes::new(finish.clamp),
            biases: [0; LANES],
        }
    }

    /// Takes what makes outputs of the sums of the channels from `first` on. Returns whether there are
    /// some that the kernel doesn't take.
    fn take(
        &mut self,
        sight: &Sight<'_>,
        matrix: &Matrix<'_>,
        finish: &Finish<'_>,
        first: usize,
    ) -> bool {
        let (rare, [a, b, c, d]) = take_scales(finish, first);
        self.biases = [a.bias, b.bias, c.bias, d.bias];
        self.scales = [[a.value, a.right], [b.value, b.right], [c.value, c.right]];
        self.last_scale = [d.value, d.right];
        if sight.folded && self.offsets != 0 {
            for (bias, channel) in self.biases.iter_mut().zip(first..) {
                let row = matrix.bytes_from(channel);
                let sum = Isa::row_sum(matrix.bits(), row, 0, matrix.columns);
                *bias = bias.wrapping_add(sum.wrapping_mul(sight.zero_point.into()));
            }
        }
        rare
    }
}

/// Whether there are windows with taps outside the image.
fn is_clipped(sight: &Sight<'_>) -> bool {
    let Sight { spans: [rows, columns], size, .. } = sight;
    rows.iter().any(|span| span.len < size[0]) || columns.iter().any(|span| span.len < size[1])
}

/// A tap of four channels: sums in r4 to r7, the window at r0, the tap at r1, which moves on, the offsets
/// in r2.
macro_rules! tap {
    () => {
        "ldm r1!, {{r8, r10, r11}}
        ldr r8, [r0, r8]
        sxtab16 r9, r2, r8
        sxtab16 r8, r2, r8, ror #8
        smlabb r4, r9, r10, r4
        smlabt r5, r8, r10, r5
        smlatb r6, r9, r11, r6
        smlatt r7, r8, r11, r7"
    };
}

/// The byte of a sum in a register, behind a fraction and a shift: as in `finish`, with the zero point in
/// r11.
macro_rules! byte_of {
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
pub(super) use byte_of;

/// What the positions of a run begin with; it leaves its taps' end in `last`.
macro_rules! begin_run {
    () => {
        "ldm r2!, {{r4-r7}}
        str r2, [r12, #{run}]
        ldr r0, [r12, #{x}]
        ldrd r8, r9, [r12, #{right}]
        ldr r10, [r12, #{tap}]
        mla r0, r6, r9, r0
        mls r0, r4, r10, r0
        mla r11, r7, r8, r0
        ldrd r8, r9, [r12, #{taps}]
        mla r1, r4, r9, r8
        mul r7, r5, r9
        add r3, r1, r7
        mov r9, #3*{tap_len}
        udiv r10, r7, r9
        mls r10, r10, r9, r7
        str r3, [r12, #{last}]
        strd r1, r10, [r12, #{first}]
        str r11, [r12, #{end}]"
    };
}

/// Outputs of four channels at all positions of rows.
///
/// # Safety
/// `task.rows` isn't 0, and there are runs; each has positions, and taps, `column` bytes of each
/// column of which are in `task.taps`. At each position, four bytes can be read where each of its taps leads to,
/// and four be written.
// SAFETY: the body follows the C calling convention (the argument in r0, r4–r11 and lr saved and
// restored, the stack as it was). A turn of the inner loop reads three taps; it is entered so far
// behind its beginning that the last one is the run's last. Each position then writes a word. LDR
// and STR take any address; LDM and LDRD are at words of `task`, of a run or of a tap.
#[unsafe(naked)]
unsafe extern "C" fn depthwise_rows(task: &mut Task) {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        "push {{r4-r11, lr}}",
        "mov r12, r0",
        "ldr lr, [r12, #{y}]",
        "1:", // a row
        "ldr r2, [r12, #{runs}]",
        "2:", // a run
        begin_run!(),
        "3:", // a position
        "add r1, r12, #{biases}",
        "ldm r1, {{r4-r7}}",
        "ldrd r1, r8, [r12, #{first}]",
        "ldrd r2, r3, [r12, #{offsets}]",
        "cmp r8, #{tap_len}",
        "beq 6f",
        "bhi 5f",
        "4:",
        tap!(),
        "5:",
        tap!(),
        "6:",
        tap!(),
        "cmp r1, r3",
        "bne 4b",
        "add r12, r12, #{scales}",
        "ldm r12!, {{r1-r3, r8-r11}}",
        byte_of!("r4", "r1", "r2"),
        byte_of!("r5", "r3", "r8"),
        byte_of!("r6", "r9", "r10"),
        "ldm r12, {{r1-r3, r8, r9}}", // the last scale, bytes
        "sub r12, r12, #{scales}+28",
        byte_of!("r7", "r1", "r2"),
        "bfi r4, r5, #8, #8",
        "bfi r4, r6, #16, #8",
        "bfi r4, r7, #24, #8",
        "uqadd8 r4, r4, r3",
        "uqsub8 r4, r4, r8",
        "uadd8 r4, r4, r9",
        "ldrd r8, r9, [r12, #{right}]",
        "ldr r10, [r12, #{end}]",
        "str r4, [lr]",
        "add r0, r0, r8",
        "add lr, lr, r9",
        "cmp r0, r10",
        "bne 3b",
        "ldrd r2, r4, [r12, #{run}]",
        "cmp r2, r4",
        "bne 2b",
        "ldm r12, {{r4-r7}}",
        "add r4, r4, r7",
        "str r4, [r12, #{x}]",
        "subs r6, r6, #1",
        "str r6, [r12, #{rows}]",
        "bne 1b",
        "str lr, [r12, #{y}]",
        "pop {{r4-r11, pc}}",
        x = const offset_of!(Task, x), y = const offset_of!(Task, y),
        rows = const offset_of!(Task, rows), runs = const offset_of!(Task, runs),
        run = const offset_of!(Task, run), taps = const offset_of!(Task, taps),
        tap = const offset_of!(Task, tap), right = const offset_of!(Task, right),
        offsets = const offset_of!(Task, offsets), last = const offset_of!(Task, last),
        first = const offset_of!(Task, first), end = const offset_of!(Task, end),
        scales = const offset_of!(Task, scales), biases = const offset_of!(Task, biases),
        tap_len = const size_of::<Tap>(),
    )
}
