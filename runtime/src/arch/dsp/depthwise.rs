//! Depthwise convolutions, four channels at a time.
//!
//! Four channels of a pixel are a word, which SXTB16 spreads to two; each of the four then meets its
//! weight in an SMLABB or one of its like: eight instructions for four products. Two of a window's taps
//! for one channel don't lie in one word, so that SMLAD would need as many instructions to bring
//! them together as it saves. Outputs are made of the four sums where they are, ten instructions each.

use core::arch::naked_asm;
use core::mem::{MaybeUninit, offset_of};

use super::super::depthwise::{Run, Steps, Tap};
use super::super::{Finish, Group, LANES};
use super::finish::{Bytes, hold};

/// What the kernel is told, and where it keeps what has no register.
#[repr(C)]
struct Task {
    /// Of the first row; the kernel moves them on, and `rows` down.
    x: *const i8,
    y: *mut i8,
    rows: usize,
    /// Bytes from a row of windows to the next, and from behind a row of outputs.
    down: usize,
    rest: usize,
    runs: *const Run,
    runs_end: *const Run,
    taps: *const Tap,
    /// Bytes from a window to the next one, and from an output.
    right: usize,
    channels: usize,
    /// Fraction and shift to the right of each channel.
    scales: [[i32; 2]; LANES],
    /// The output's zero point, above the least byte.
    zero_point: i32,
    bytes: Bytes,
    /// Of the run at hand: its first tap, its number of taps modulo 3, and the window behind it.
    first: *const Tap,
    odd: usize,
    end: *const i8,
}

/// Most that a channel's sum may differ from its bias by: of 49 taps, with weights of 16 bits, whether
/// what the inputs' offset adds is in the bias or not.
pub(super) const MOST: u32 = 49 * (1 << 15) * (255 + 128);

/// As [`Kernels::depthwise`](super::Kernels::depthwise).
#[inline(never)]
pub(super) fn depthwise(
    group: &Group,
    finish: &Finish<'_>,
    first: usize,
    rows: usize,
    (x, y): (&[i8], &mut [i8]),
) -> Option<u64> {
    let mut held = [MaybeUninit::uninit(); LANES];
    let rare = hold(&mut held, finish, first..usize::MAX, MOST);
    // SAFETY: `hold` writes all places.
    let scales =
        held.map(|held| unsafe { held.assume_init() }).map(|held| [held.value, held.right]);
    if !group.is_within(rows, x.len(), y.len()) {
        return None;
    }
    let Steps { input: [down, right], output: [y_down, channels], .. } = *group.steps();
    let runs = group.runs().as_ptr_range();
    let mut task = Task {
        x: x.as_ptr(),
        y: y.as_mut_ptr(),
        rows,
        down,
        rest: y_down.wrapping_sub(group.positions.wrapping_mul(channels)),
        runs: runs.start,
        runs_end: runs.end,
        taps: group.taps().as_ptr(),
        right,
        channels,
        scales,
        zero_point: i32::from(finish.zero_point).wrapping_add(128),
        bytes: Bytes::new(finish.clamp),
        first: core::ptr::null(),
        odd: 0,
        end: core::ptr::null(),
    };
    // SAFETY: `is_within` has shown that there are rows and runs, that each run has positions, and
    // taps among `taps`, that LANES bytes can be read of `x` at each tap of each position, and
    // that as many can be written of `y` at each position: `depthwise_rows`' conditions.
    unsafe { depthwise_rows(&mut task) };
    Some(rare)
}

/// A tap of four channels: sums in r4 to r7, the window at r0, the tap at r1, which moves on.
macro_rules! tap {
    () => {
        "ldm r1!, {{r8, r10, r11}}
        ldr r8, [r0, r8]
        sxtb16 r9, r8
        sxtb16 r8, r8, ror #8
        smlabb r4, r9, r10, r4
        smlabt r5, r8, r10, r5
        smlatb r6, r9, r11, r6
        smlatt r7, r8, r11, r7"
    };
}

/// The byte of a sum in a register, with the scale that many bytes behind the first: as in `finish`.
macro_rules! finish {
    ($sum:literal, $scale:literal) => {
        concat!(
            "ldrd r8, r9, [r12, #{scales}+",
            $scale,
            "]\n",
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
            ", r8\n",
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
            ", r9\n",
            "adc ",
            $sum,
            ", ",
            $sum,
            ", r10\n",
            "usat ",
            $sum,
            ", #8, ",
            $sum,
        )
    };
}

/// What the positions of the run at r2 begin with.
macro_rules! begin_run {
    () => {
        "ldr r0, [r12, #{x}]
        ldrd r4, r5, [r2, #{from}]
        add r0, r0, r4
        ldr r6, [r12, #{right}]
        mla r11, r5, r6, r0
        ldrd r6, r7, [r2, #{first}]
        ldr r8, [r12, #{taps}]
        movs r9, #{tap}
        mla r1, r6, r9, r8
        mla r3, r7, r9, r8
        subs r7, r7, r6
        movs r9, #3
        udiv r10, r7, r9
        mls r10, r10, r9, r7
        strd r1, r10, [r12, #{start}]
        str r11, [r12, #{end}]"
    };
}

/// Outputs of four channels at all positions of rows.
///
/// # Safety
/// `task.rows` isn't 0, and there are runs; each has positions, and taps of `task.taps`. At each
/// position, four bytes can be read where each of its taps leads to, and four be written.
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
        "ldm r2, {{r4-r7}}",
        "ldrd r1, r8, [r12, #{start}]",
        "cmp r8, #1",
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
        "ldr r10, [r12, #{zero_point}]",
        finish!("r4", "0"),
        finish!("r5", "8"),
        finish!("r6", "16"),
        finish!("r7", "24"),
        "bfi r4, r5, #8, #8",
        "bfi r4, r6, #16, #8",
        "bfi r4, r7, #24, #8",
        "ldrd r8, r9, [r12, #{bytes}]",
        "ldr r10, [r12, #{bytes}+8]",
        "uqadd8 r4, r4, r8",
        "uqsub8 r4, r4, r9",
        "ldrd r8, r9, [r12, #{right}]",
        "uadd8 r4, r4, r10",
        "ldr r10, [r12, #{end}]",
        "str r4, [lr]",
        "add r0, r0, r8",
        "add lr, lr, r9",
        "cmp r0, r10",
        "bne 3b",
        "ldr r4, [r12, #{runs_end}]",
        "adds r2, r2, #{run}",
        "cmp r2, r4",
        "bne 2b",
        "ldm r12, {{r4-r8}}",
        "add r4, r4, r7",
        "add lr, lr, r8",
        "str r4, [r12, #{x}]",
        "subs r6, r6, #1",
        "str r6, [r12, #{rows}]",
        "bne 1b",
        "pop {{r4-r11, pc}}",
        x = const offset_of!(Task, x), y = const offset_of!(Task, y),
        rows = const offset_of!(Task, rows), runs = const offset_of!(Task, runs),
        runs_end = const offset_of!(Task, runs_end), taps = const offset_of!(Task, taps),
        right = const offset_of!(Task, right), scales = const offset_of!(Task, scales),
        zero_point = const offset_of!(Task, zero_point), bytes = const offset_of!(Task, bytes),
        start = const offset_of!(Task, first), end = const offset_of!(Task, end),
        from = const offset_of!(Run, from), first = const offset_of!(Run, first),
        run = const size_of::<Run>(), tap = const size_of::<Tap>(),
    )
}
