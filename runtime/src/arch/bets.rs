//! Evidence of a sentinel's bets, four at a time, in portable Rust.

/// As [`Kernels::add_scores`](super::Kernels::add_scores).
#[inline(always)]
pub(super) fn add_scores(evidence: &mut [u16; 4], scores: &[u8; 4], most: i32) -> i32 {
    // Spelled out: a loop would take as many instructions as what it does.
    let ([a, b, c, d], [p, q, r, s]) = (evidence, scores);
    add(a, *p, most) | add(b, *q, most) | add(c, *r, most) | add(d, *s, most)
}

#[inline(always)]
fn add(evidence: &mut u16, score: u8, most: i32) -> i32 {
    let sum = i32::from(*evidence).wrapping_add((score as i8).into());
    let sum = sum & !(sum >> 31);
    *evidence = sum as u16;
    most.wrapping_sub(sum)
}

/// As [`Kernels::lose`](super::Kernels::lose).
#[inline(always)]
pub(super) fn lose(evidence: &mut [u16; 4], events: &[[u8; 2]; 4]) {
    let ([a, b, c, d], [[_, p], [_, q], [_, r], [_, s]]) = (evidence, events);
    *a = a.saturating_sub((*p).into());
    *b = b.saturating_sub((*q).into());
    *c = c.saturating_sub((*r).into());
    *d = d.saturating_sub((*s).into());
}
