//! Evidence of a sentinel's bets, two in a word.

use core::arch::asm;

use super::{spread, twice};

/// As [`Kernels::add_scores`](super::Kernels::add_scores).
#[inline(always)]
pub(super) fn add_scores(evidence: &mut [u16; 4], scores: &[u8; 4], most: i32) -> i32 {
    let [mut a, mut b] = words(evidence);
    let [even, odd] = spread(0, u32::from_le_bytes(*scores));
    let above: i32;
    // SAFETY: all instructions compute registers from registers, and set no flags but the four of GE, which
    // nothing relies on across a block of assembly; every core that this module is compiled for has them (build.rs).
    unsafe {
        asm!(
            "pkhbt {low}, {even}, {odd}, lsl #16",
            "pkhtb {odd}, {odd}, {even}, asr #16",
            "sadd16 {a}, {a}, {low}",
            "sel {a}, {a}, {zero}",
            "sadd16 {b}, {b}, {odd}",
            "sel {b}, {b}, {zero}",
            "ssub16 {low}, {most}, {a}",
            "ssub16 {odd}, {most}, {b}",
            "orr {low}, {low}, {odd}",
            "orr {low}, {low}, {low}, lsl #16",
            a = inout(reg) a,
            b = inout(reg) b,
            even = in(reg) even,
            odd = inout(reg) odd => _,
            low = out(reg) above,
            most = in(reg) twice(most as i16),
            zero = in(reg) 0,
            options(pure, nomem, nostack),
        );
    }
    put(evidence, [a, b]);
    above
}

/// As [`Kernels::lose`](super::Kernels::lose).
#[inline(always)]
pub(super) fn lose(evidence: &mut [u16; 4], events: &[[u8; 2]; 4]) {
    let [mut a, mut b] = words(evidence);
    let [[h, i], [j, k], [l, m], [n, o]] = *events;
    let (p, q) = (u32::from_le_bytes([h, i, j, k]), u32::from_le_bytes([l, m, n, o]));
    // SAFETY: all instructions compute registers from registers, and set no flags; every core that this module is
    // compiled for has them (build.rs).
    unsafe {
        asm!(
            "uxtb16 {p}, {p}, ror #8",
            "uxtb16 {q}, {q}, ror #8",
            "uqsub16 {a}, {a}, {p}",
            "uqsub16 {b}, {b}, {q}",
            a = inout(reg) a,
            b = inout(reg) b,
            p = inout(reg) p => _,
            q = inout(reg) q => _,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    put(evidence, [a, b]);
}

/// Evidence in pairs, the first of two in the lower half.
#[inline(always)]
fn words(&[a, b, c, d]: &[u16; 4]) -> [u32; 2] {
    [u32::from(a) | u32::from(b) << 16, u32::from(c) | u32::from(d) << 16]
}

/// Puts pairs back.
#[inline(always)]
fn put(evidence: &mut [u16; 4], [low, high]: [u32; 2]) {
    *evidence = [low as u16, (low >> 16) as u16, high as u16, (high >> 16) as u16];
}
