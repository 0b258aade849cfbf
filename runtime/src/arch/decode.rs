//! Coded weights on cores with the whole of Thumb-2: Cortex-M3 and up.
//!
//! What a compiler makes of the portable loop keeps half of the decoder on the stack, and takes 60 to
//! 65 instructions for a weight that is 0, which most are. Here all that such a weight needs is in
//! registers, 32 instructions, and the bytes that follow and what other weights need lie beside what
//! is learnt, within reach of one base.

use core::arch::naked_asm;
use core::cell::Cell;
use core::mem::offset_of;
use core::ptr;

use crate::coding::{Decoder, Found, STEPS, Weights};

/// There is a kernel.
pub(crate) const HAS_CODED: bool = true;

/// What the kernel is told, and what it leaves.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Stretch {
    range: u32,
    code: u32,
    /// The stream's next bytes.
    next: *const u8,
    end: *const u8,
    /// Of the columns that are left, and of all.
    activities: *mut u8,
    activities_end: *mut u8,
    /// From an activity to where its weight goes, and to the weight that it sees.
    place: isize,
    before: isize,
    /// To its input; 0: there are none.
    inputs: isize,
    zero_point: i32,
    sum: i32,
    share: u32,
    /// All bits, if the weight that is being read is below 0.
    negative: u32,
}

impl Stretch {
    /// Nothing to read.
    pub(crate) const NEW: Self = Self {
        range: 0,
        code: 0,
        next: ptr::null(),
        end: ptr::null(),
        activities: ptr::null_mut(),
        activities_end: ptr::null_mut(),
        place: 0,
        before: 0,
        inputs: 0,
        zero_point: 0,
        sum: 0,
        share: 0,
        negative: 0,
    };
}

/// Reads a weight for each of `activities` into `places`, which are 0, each of them seeing the one `before`,
/// which may be one of those that are read. `None`: those aren't as many as activities, or there are none.
#[inline(never)]
pub(crate) fn read_coded(
    weights: &mut Weights,
    decoder: &mut Decoder<'_>,
    [before, places]: [&[Cell<u8>]; 2],
    activities: &mut [u8],
    (x, zero_point): (&[i8], i8),
    share: u32,
) -> Option<Found> {
    let len = activities.len();
    if len == 0 || before.len() < len || places.len() < len || !x.is_empty() && x.len() < len {
        return None;
    }
    let ends = activities.as_mut_ptr_range();
    let from_activities = |to: usize| to.wrapping_sub(ends.start as usize) as isize;
    let bytes = decoder.bytes.as_slice();
    let next = bytes.as_ptr_range();
    weights.stretch = Stretch {
        range: decoder.range,
        code: decoder.code,
        next: next.start,
        end: next.end,
        activities: ends.start,
        activities_end: ends.end,
        place: from_activities(places.as_ptr() as usize),
        before: from_activities(before.as_ptr() as usize),
        // Not 0 where there are inputs, as the activities are elsewhere.
        inputs: if x.is_empty() { 0 } else { from_activities(x.as_ptr() as usize) },
        zero_point: zero_point.into(),
        sum: 0,
        share,
        negative: 0,
    };
    // SAFETY: there is an activity, and for each of them a place, a weight before it and, unless there
    // are none, an input. Cells are written through. Those are `read_stretch`'s conditions; the
    // states are as many as steps name.
    let open = unsafe { read_stretch(weights, STEPS.as_ptr()) };
    let stretch = &weights.stretch;
    let left = (ends.end as usize).wrapping_sub(stretch.activities as usize);
    let taken = (stretch.next as usize).wrapping_sub(next.start as usize);
    (decoder.range, decoder.code) = (stretch.range, stretch.code);
    decoder.bytes = bytes.get(taken..).unwrap_or_default().iter();
    let open = (open != 0).then_some(stretch.negative != 0);
    // Without inputs, each counts as 1.
    let factor = if x.is_empty() { i32::from(zero_point).wrapping_neg() } else { 1 };
    Some(Found { count: len.wrapping_sub(left), sum: stretch.sum.wrapping_mul(factor), open })
}

/// Learns an outcome: of the decision at lr and `offset`, with its probability in r7.
macro_rules! learn {
    () => {
        ".macro learn offset, outcome
        ldrh r0, [lr, #\\offset + 2]
        mov r10, #0x8000
        udiv r10, r10, r0
        cmp r0, #502
        it ls
        addls r0, r0, #2
        strh r0, [lr, #\\offset + 2]
        .if \\outcome
        movw r0, #65471
        subs r0, r0, r7
        .else
        rsb r0, r7, #64
        .endif
        mul r0, r0, r10
        add r7, r7, r0, lsr #14
        strh r7, [lr, #\\offset]
        .endm"
    };
}

/// The decision at lr and `offset`: its probability in r7, and the part of the range that is `true` in
/// r10, with the flags of a comparison (lower: `true`).
macro_rules! decide {
    () => {
        ".macro decide offset
        ldrh r7, [lr, #\\offset]
        lsr r10, r4, #12
        lsrs r0, r7, #4
        mul r10, r10, r0
        cmp r5, r10
        .endm"
    };
}

/// Takes bytes where the range has become small, elsewhere: from `away` on, and back to `back`.
macro_rules! renormalise {
    () => {
        ".macro renormalise away, back
        lsrs r0, r4, #24
        beq \\away\\()f
        \\back:
        .endm"
    };
}

/// A weight: is it 0? The end, at 20, and what follows a weight that isn't 0, at 5.
macro_rules! is_zero {
    () => {
        "2:
        ldrb r12, [r2]
        ldrsb r7, [r2, r6]
        lsr lr, r12, #2
        ldrb lr, [r1, lr]
        cbnz r7, 5f
        3:
        add lr, r9, lr, lsl #2
        decide {zero}
        bhs 6f
        mov r4, r10
        learn {zero}, 1
        mul r0, r8, r12
        sub r12, r12, r0, lsr #16
        strb r12, [r2], #1
        lsrs r0, r4, #24
        beq 4f
        cmp r2, r11
        bne 2b
        b 20f
        5:
        ldrb r0, [r9, #{neighbour}]
        cmp r0, #0
        beq 3b
        cmp r7, #0
        it mi
        rsbmi r7, r7, #0
        cmp r7, #2
        it hi
        movhi r7, #2
        add lr, lr, r7
        b 3b
        4:
        bl 9f
        cmp r2, r11
        bne 2b
        20:
        movs r0, #0
        21:
        strd r4, r5, [r9, #{range}]
        str r2, [r9, #{activities}]
        pop {{r4-r11, pc}}"
    };
}

/// It isn't 0: its sign.
macro_rules! sign {
    () => {
        "6:
        subs r4, r4, r10
        subs r5, r5, r10
        learn {zero}, 0
        renormalise 31, 41
        ldrb r0, [r9, #{sign}]
        cbnz r0, 22f
        lsr r10, r4, #12
        lsl r10, r10, #11
        subs r0, r5, r10
        itee lo
        movlo r4, r10
        subhs r4, r4, r10
        movhs r5, r0
        sbc r0, r0, r0
        b 25f
        22:
        ldrsb r7, [r2, r6]
        asrs r0, r7, #31
        cmp r7, #0
        it gt
        movgt r0, #1
        add lr, r9, r0, lsl #2
        decide {negative_same}
        bhs 24f
        mov r4, r10
        learn {negative_same}, 1
        mov r0, #-1
        b 25f
        24:
        subs r4, r4, r10
        subs r5, r5, r10
        learn {negative_same}, 0
        movs r0, #0
        25:
        str r0, [r9, #{negative}]
        renormalise 32, 42"
    };
}

/// Its magnitude, in r12: up to what is counted, beyond which it may go on.
macro_rules! magnitude {
    () => {
        "ldrb r0, [r9, #{counted}]
        mov r12, #1
        cmp r0, #1
        beq 8f
        add lr, r9, #4
        7:
        decide {more_before}
        bhs 27f
        mov r4, r10
        learn {more_before}, 1
        renormalise 33, 43
        ldrb r0, [r9, #{counted}]
        add r12, r12, #1
        add lr, r9, r12, lsl #2
        cmp r12, r0
        bne 7b
        cmp r0, #15
        bne 8f
        ldrb r0, [r9, #{limit}]
        cmp r0, #15
        bhi 26f
        b 8f
        27:
        subs r4, r4, r10
        subs r5, r5, r10
        learn {more_before}, 0
        renormalise 34, 44"
    };
}

/// It is there: the activity moves to 80 times its magnitude, up to 3.
macro_rules! place {
    () => {
        "8:
        usat r0, #2, r12
        add r0, r0, r0, lsl #2
        ldrb r7, [r2]
        rsbs r0, r7, r0, lsl #4
        it mi
        rsbmi r0, r0, #0
        mul r0, r0, r8
        ite pl
        addpl r7, r7, r0, lsr #16
        submi r7, r7, r0, lsr #16
        ldr r0, [r9, #{negative}]
        eor r12, r12, r0
        sub r12, r12, r0
        strb r12, [r2, r3]
        ldr r0, [r9, #{inputs}]
        cbz r0, 28f
        ldrsb r10, [r2, r0]
        ldr r0, [r9, #{zero_point}]
        sub r10, r10, r0
        mul r12, r12, r10
        28:
        strb r7, [r2], #1
        ldr r0, [r9, #{sum}]
        add r0, r0, r12
        str r0, [r9, #{sum}]
        cmp r2, r11
        bne 2b
        b 20b"
    };
}

/// The end where a magnitude goes on, at 26; one byte of the stream or two, zeros behind the last, at 9:
/// r0, r7 and r10 change.
macro_rules! bytes {
    () => {
        "26:
        movs r0, #1
        b 21b
        31:
        bl 9f
        b 41b
        32:
        bl 9f
        b 42b
        33:
        bl 9f
        b 43b
        34:
        bl 9f
        b 44b
        9:
        ldrd r0, r7, [r9, #{next}]
        29:
        cmp r0, r7
        ite ne
        ldrbne r10, [r0], #1
        moveq r10, #0
        orr r5, r10, r5, lsl #8
        lsls r4, r4, #8
        cmp r4, #0x1000000
        blo 29b
        str r0, [r9, #{next}]
        bx lr"
    };
}

/// Reads weights of a row up to the last activity, or to a weight whose magnitude goes on as a number:
/// then the result isn't 0.
///
/// # Safety
/// `weights.stretch` bounds at least one activity to read and write, and for each of them there are a
/// place to write, a weight `before` it to read and, unless `inputs` is 0, an input; `next` and `end`
/// bound bytes to read. `steps` are 64, each at most 24.
// SAFETY: the body follows the C calling convention (arguments in r0 and r1, r4–r11 and lr saved and
// restored, the stack as it was). Each turn reads and writes one activity, at r2, up to r11, and may write one
// place, r3 from there; what it reads besides are the weight before and an input, as far from the
// activity as it was told, and decisions: state 24 + 2 is one of 32, signs are 0 to 2, and of magnitudes the 14th is
// the last before r12 is 15, as `counted` is 1 to 15, and the turn ends. Bytes are read at `next` while it isn't `end`. The
// divisors of decisions aren't 0, and if they were UDIV would give 0 unless a program wants a fault.
#[unsafe(naked)]
unsafe extern "C" fn read_stretch(weights: *mut Weights, steps: *const u8) -> u32 {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        learn!(),
        decide!(),
        renormalise!(),
        "push {{r4-r11, lr}}",
        "mov r9, r0",
        "ldrd r4, r5, [r9, #{range}]",
        "ldrd r2, r11, [r9, #{activities}]",
        "ldrd r3, r6, [r9, #{place}]",
        "ldr r8, [r9, #{share}]",
        is_zero!(),
        sign!(),
        magnitude!(),
        place!(),
        bytes!(),
        zero = const offset_of!(Weights, zero),
        negative_same = const offset_of!(Weights, negative) + 4,
        more_before = const offset_of!(Weights, more) - 4,
        limit = const offset_of!(Weights, limit),
        counted = const offset_of!(Weights, counted),
        neighbour = const offset_of!(Weights, prediction.neighbour),
        sign = const offset_of!(Weights, prediction.sign),
        range = const offset_of!(Weights, stretch.range),
        activities = const offset_of!(Weights, stretch.activities),
        place = const offset_of!(Weights, stretch.place),
        next = const offset_of!(Weights, stretch.next),
        inputs = const offset_of!(Weights, stretch.inputs),
        zero_point = const offset_of!(Weights, stretch.zero_point),
        sum = const offset_of!(Weights, stretch.sum),
        share = const offset_of!(Weights, stretch.share),
        negative = const offset_of!(Weights, stretch.negative),
    )
}
