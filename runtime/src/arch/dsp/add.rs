//! Sums of two tensors: 12.5 instructions each.
//!
//! A byte has 256 values: what each becomes when it is scaled is put into a table first, for both
//! operands, so that two loads take the place of two roundings. What follows is as in `finish`.

use core::arch::naked_asm;
use core::ops::Range;

use super::super::Addition;
use super::super::addition::LEFT_SHIFT;
use super::finish::Bytes;
use crate::format::Clamp;
use crate::requantize::{Multiplier, requantize};

/// Fewer sums than this take no longer without tables.
const MIN_COUNT: usize = 256;
/// Sums of a step.
const QUAD: usize = 4;

/// Twice a scaled value, by the byte that it is of.
type Table = [i32; 256];

/// What the kernel is told; it knows the order.
#[repr(C)]
struct Task {
    y: *mut i8,
    /// Steps.
    quads: usize,
    tables: [*const Table; 2],
    value: i32,
    right: i32,
    /// The zero point, above the least byte.
    zero_point: i32,
    bytes: Bytes,
}

/// As [`Kernels::add`](super::Kernels::add).
pub(super) fn add(
    arena: &mut [i8],
    [a, b]: [Range<usize>; 2],
    output: Range<usize>,
    addition: &Addition,
) -> Option<()> {
    let (count, right) = (output.len(), addition.shifts[2].wrapping_neg());
    let alike = a.len() == count && b.len() == count;
    if count < MIN_COUNT || !alike || !(1..=31).contains(&right) {
        return None;
    }
    arena.get(output.clone()).and(arena.get(a.clone())).and(arena.get(b.clone()))?;
    let (mut first, mut second) = ([0; 256], [0; 256]);
    tabulate(&mut first, addition, 0);
    tabulate(&mut second, addition, 1);
    let clamp = Clamp { min: addition.min as i8, max: addition.max as i8 };
    let base = arena.as_mut_ptr();
    let [x, z, y] = [&a, &b, &output].map(|range| base.wrapping_add(range.start));
    let task = Task {
        y,
        quads: count / QUAD,
        tables: [&raw const first, &raw const second],
        value: addition.values[2],
        right,
        zero_point: addition.zero_point.wrapping_add(128),
        bytes: Bytes::new(clamp),
    };
    // SAFETY: all three ranges lie within the arena, as just checked, and have `quads` quads of
    // bytes, not none; the pointers are derived from the one exclusive borrow. Both tables live.
    unsafe { add_quads(x, z, &task) };
    let multiplier = Multiplier { value: addition.values[2], shift: addition.shifts[2] as i8 };
    for i in count / QUAD * QUAD..count {
        let sum =
            scaled(arena, a.start, i, &first).wrapping_add(scaled(arena, b.start, i, &second));
        if let Some(y) = arena.get_mut(output.start.wrapping_add(i)) {
            *y = clamp.apply(requantize(sum / 2, multiplier, addition.zero_point as i8));
        }
    }
    Some(())
}

/// Twice what a value of a tensor becomes when it is scaled.
fn scaled(arena: &[i8], start: usize, i: usize, table: &Table) -> i32 {
    let byte = arena.get(start.wrapping_add(i)).map_or(0, |&x| x as u8);
    table.get(usize::from(byte)).copied().unwrap_or_default()
}

/// What the values of an operand become, doubled: they are of 29 bits, as no factor is above 1.
#[inline(never)]
fn tabulate(table: &mut Table, addition: &Addition, operand: usize) {
    let get = |of: &[i32]| of.get(operand).copied().unwrap_or_default();
    let zero = get(&addition.zeros);
    let multiplier =
        Multiplier { value: get(&addition.values), shift: get(&addition.shifts) as i8 };
    for (byte, twice) in (0u8..=255).zip(table) {
        let difference = i32::from(byte as i8).wrapping_sub(zero);
        *twice = multiplier.apply(difference.wrapping_shl(LEFT_SHIFT)).wrapping_mul(2);
    }
}

/// Adds quads of values.
///
/// # Safety
/// `task.quads` isn't 0; so many quads of bytes can be read at `a` and `b`, and written at `task.y`,
/// which may be the same ones; `task.tables` are two tables.
// SAFETY: the body follows the C calling convention (arguments in r0–r2, r4–r11 and lr saved and
// restored, the stack as it was), reads four bytes of each operand a step, a word of a table for
// each, and then writes four bytes, `quads` steps. STR takes any address.
#[unsafe(naked)]
unsafe extern "C" fn add_quads(a: *const i8, b: *const i8, task: &Task) {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        ".macro add_one to",
        "ldrb r11, [r0], #1",
        "ldrb r12, [r1], #1",
        "ldr r11, [r4, r11, lsl #2]",
        "ldr r12, [r5, r12, lsl #2]",
        "add r11, r11, r12",
        "smmulr r11, r11, r6",
        "add r11, r11, r11, asr #31",
        "asrs r11, r11, r7",
        "adc r11, r11, r8",
        "usat \\to, #8, r11",
        ".endm",
        "push {{r4-r11, lr}}",
        "ldr r12, [r2, #36]",
        "push {{r12}}",
        "ldm r2, {{r2-r10}}",
        "1:",
        "add_one lr",
        "add_one r11",
        "bfi lr, r11, #8, #8",
        "add_one r11",
        "bfi lr, r11, #16, #8",
        "add_one r11",
        "bfi lr, r11, #24, #8",
        "ldr r12, [sp]",
        "uqadd8 lr, lr, r9",
        "uqsub8 lr, lr, r10",
        "uadd8 lr, lr, r12",
        "str lr, [r2], #4",
        "subs r3, r3, #1",
        "bne 1b",
        "pop {{r12}}",
        "pop {{r4-r11, pc}}",
        ".purgem add_one",
    )
}
