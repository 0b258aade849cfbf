//! Depthwise convolutions, eight channels at a time: nine instructions for the eight products of a
//! tap, 24 for eight outputs, with the rounding of `quads_w8a8`.
//!
//! VMULLB and VMULLT multiply even and odd channels, so that sums, and all that becomes of them, are
//! two vectors of four until their outputs are narrowed into one.

use core::arch::naked_asm;
use core::mem::offset_of;

use super::super::depthwise::{Run, Steps, Tap};
use super::super::{Finish, Group, LANES};

/// Channels of a vector of sums.
const HALF: usize = LANES / 2;

/// What becomes of every other channel's sum: positions to the left, a fraction, and positions to
/// the right, negative.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct Scales {
    left: [i32; HALF],
    value: [i32; HALF],
    right: [i32; HALF],
}

/// What the kernel is told.
#[repr(C)]
struct Task {
    /// Of the first row; the kernel moves it on, and `rows` down.
    x: *const i8,
    rows: usize,
    y: *mut i8,
    /// Bytes from a row of windows to the next, and from behind a row of outputs.
    down: usize,
    rest: usize,
    runs: *const Run,
    runs_end: *const Run,
    taps: *const Tap,
    /// Bytes from a window to the next one, and from an output.
    right: usize,
    channels: usize,
    zero_point: i32,
    min: i32,
    max: i32,
    /// Of even channels, then of odd ones.
    scales: [Scales; 2],
}

/// As [`Kernels::depthwise`](super::Kernels::depthwise).
#[inline(never)]
pub(super) fn depthwise(
    group: &Group,
    finish: &Finish<'_>,
    first: usize,
    rows: usize,
    (x, y): (&[i8], &mut [i8]),
) -> Option<()> {
    if !group.is_within(rows, x.len(), y.len()) {
        return None;
    }
    let Steps { input: [down, right], output: [y_down, channels], .. } = *group.steps();
    let runs = group.runs().as_ptr_range();
    let mut task = Task {
        x: x.as_ptr(),
        rows,
        y: y.as_mut_ptr(),
        down,
        rest: y_down.wrapping_sub(group.positions.wrapping_mul(channels)),
        runs: runs.start,
        runs_end: runs.end,
        taps: group.taps().as_ptr(),
        right,
        channels,
        zero_point: finish.zero_point.into(),
        min: finish.clamp.min.into(),
        max: finish.clamp.max.into(),
        scales: [scales(finish, first), scales(finish, first.wrapping_add(1))],
    };
    // SAFETY: `is_within` has shown that there are rows and runs, that each run has positions, and
    // taps among `taps`, that LANES bytes can be read of `x` at each tap of each position, and
    // that as many can be written of `y` at each position: `depthwise_rows`' conditions.
    unsafe { depthwise_rows(&mut task) };
    Some(())
}

/// Of every other row from `first` on.
fn scales(finish: &Finish<'_>, first: usize) -> Scales {
    let mut scales = Scales::default();
    let Scales { left, value, right } = &mut scales;
    let lanes = left.iter_mut().zip(value).zip(right);
    for (((left, value), right), row) in lanes.zip((first..).step_by(2)) {
        let multiplier = finish.multiplier(row);
        let shift = i32::from(multiplier.shift);
        (*left, *value, *right) = (shift.max(0), multiplier.value, shift.min(0));
    }
    scales
}

/// Rescales four sums, with the scales that many bytes behind the first.
macro_rules! scale {
    ($sums:literal, $at:literal) => {
        concat!(
            "vldrw.32 q2, [r11, #{scales}+",
            $at,
            "]\n",
            "vshl.s32 ",
            $sums,
            ", ",
            $sums,
            ", q2\n",
            "vldrw.32 q2, [r11, #{scales}+",
            $at,
            "+16]\n",
            "vqrdmulh.s32 ",
            $sums,
            ", ",
            $sums,
            ", q2\n",
            "vldrw.32 q2, [r11, #{scales}+",
            $at,
            "+32]\n",
            "vand q3, ",
            $sums,
            ", q2\n",
            "vshr.s32 q3, q3, #31\n",
            "vqadd.s32 ",
            $sums,
            ", ",
            $sums,
            ", q3\n",
            "vrshl.s32 ",
            $sums,
            ", ",
            $sums,
            ", q2",
        )
    };
}

/// Outputs of eight channels at all positions of rows.
///
/// # Safety
/// `task.rows` isn't 0, and there are runs; each has positions, and taps of `task.taps`. At each
/// position, eight bytes can be read where each of its taps leads to, and eight be written. The core
/// has access to its vectors.
// SAFETY: the body follows the C calling convention (the argument in r0; r4–r11, lr and q4–q6 saved
// and restored, the stack as it was). The inner loop reads a tap a turn, as many as the run has,
// which aren't none, and eight bytes where it leads to; each position then writes eight bytes.
// Loads of words and half-words are at those of `task`, of a run or of a tap.
#[unsafe(naked)]
unsafe extern "C" fn depthwise_rows(task: &mut Task) {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        "push {{r4-r11, lr}}",
        "vpush {{d8-d13}}",
        "mov r11, r0",
        "ldr r0, [r11, #{y}]",
        "ldrd r4, r8, [r11, #{right}]",
        "ldr r3, [r11, #{zero_point}]",
        "ldrd r1, r2, [r11, #{min}]",
        "vdup.16 q5, r1", "vdup.16 q6, r2",
        "1:", // a row
        "ldr r9, [r11, #{runs}]",
        "2:", // a run
        "ldrd r10, r5, [r9, #{from}]",
        "ldr r1, [r11, #{x}]",
        "add r10, r10, r1",
        "ldrd r6, r7, [r9, #{first}]",
        "subs r7, r7, r6",
        "ldr r1, [r11, #{taps}]",
        "movs r2, #{tap}",
        "mla r6, r6, r2, r1",
        "3:", // a position
        "vld20.32 {{q0, q1}}, [r9]", "vld21.32 {{q0, q1}}, [r9]",
        "mov r1, r6",
        "dls lr, r7",
        "4:",
        "ldr r2, [r1], #4",
        "add r2, r2, r10",
        "vldrb.s16 q2, [r2]",
        "vldrh.s16 q3, [r1], #16",
        "vmullb.s16 q4, q2, q3",
        "vadd.i32 q0, q0, q4",
        "vmullt.s16 q4, q2, q3",
        "vadd.i32 q1, q1, q4",
        "le lr, 4b",
        scale!("q0", "0"),
        scale!("q1", "48"),
        "vqmovnb.s32 q0, q0", "vqmovnt.s32 q0, q1",
        "vqadd.s16 q0, q0, r3",
        "vmax.s16 q0, q0, q5",
        "vmin.s16 q0, q0, q6",
        "vstrb.16 q0, [r0]",
        "add r0, r0, r8",
        "add r10, r10, r4",
        "subs r5, r5, #1",
        "bne 3b",
        "ldr r1, [r11, #{runs_end}]",
        "adds r9, r9, #{run}",
        "cmp r9, r1",
        "bne 2b",
        "ldrd r6, r1, [r11, #{x}]",
        "ldrd r2, r5, [r11, #{down}]",
        "add r0, r0, r5",
        "add r6, r6, r2",
        "subs r1, r1, #1",
        "strd r6, r1, [r11, #{x}]",
        "bne 1b",
        "vpop {{d8-d13}}",
        "pop {{r4-r11, pc}}",
        x = const offset_of!(Task, x), y = const offset_of!(Task, y),
        down = const offset_of!(Task, down), runs = const offset_of!(Task, runs),
        runs_end = const offset_of!(Task, runs_end), taps = const offset_of!(Task, taps),
        right = const offset_of!(Task, right), zero_point = const offset_of!(Task, zero_point),
        min = const offset_of!(Task, min), scales = const offset_of!(Task, scales),
        from = const offset_of!(Run, from), first = const offset_of!(Run, first),
        run = const size_of::<Run>(), tap = const size_of::<Tap>(),
    )
}
