//! What four rows need to become outputs, as vectors: six instructions for their multipliers, three to seven
//! for their biases.

use core::arch::naked_asm;
use core::mem::MaybeUninit;
use core::slice;

use super::QUAD;
use crate::arch::{Finish, Multipliers};
use crate::format::{BiasWidth, CHANNEL_MULTIPLIER_LEN};

/// Parameters of four rows, a vector each; kernels know the order.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Quad {
    pub(super) bias: [i32; QUAD],
    pub(super) multiplier: [i32; QUAD],
    pub(super) shift: [i32; QUAD],
}

/// Takes the parameters of `rows` rows from `first` on, at most four for each of `quads`; what is missing is
/// 0. Returns those quads, and the greatest shift, at least that of a row that shifts furthest to the right.
#[inline(never)]
pub(super) fn hold<'q>(
    quads: &'q mut [MaybeUninit<Quad>],
    finish: &Finish<'_>,
    first: usize,
    rows: usize,
) -> (&'q mut [Quad], i32) {
    let rows = rows.min(quads.len().wrapping_mul(QUAD));
    let quads = quads.get_mut(..rows.div_ceil(QUAD)).unwrap_or_default();
    let (value, shift) = match finish.multipliers {
        Multipliers::PerTensor(multiplier) => (multiplier.value, multiplier.shift.into()),
        Multipliers::PerChannel(_) => (0, 0),
    };
    if quads.is_empty() {
        return (&mut [], 0);
    }
    let (all, count) = (quads.as_mut_ptr().cast(), quads.len());
    // SAFETY: there are as many quads, not none: `fill`'s conditions. It writes all of them, and they are borrowed
    // for as long as what is returned.
    let quads = unsafe {
        fill(all, count, value, shift);
        slice::from_raw_parts_mut(all, count)
    };
    if let Some((width, shift, bytes)) = finish.bias {
        let start = first.wrapping_mul(width.bytes());
        let rest = bytes.get(start..).unwrap_or_default();
        let rows = rows.min(rest.len() / width.bytes());
        if rows > 0 {
            let kernel = match width {
                BiasWidth::I8 => biases_8,
                BiasWidth::I16 => biases_16,
                BiasWidth::I32 => biases_32,
            };
            // SAFETY: there are as many biases, not none, and as many quads: the kernels' conditions.
            unsafe { kernel(rest.as_ptr(), quads.as_mut_ptr(), rows, shift.into()) }
        }
    }
    let Multipliers::PerChannel(table) = finish.multipliers else { return (quads, shift) };
    let rest = table.get(first..).unwrap_or_default();
    let rows = rows.min(rest.len());
    if rows == 0 {
        return (quads, 0);
    }
    // SAFETY: there are as many multipliers, not none, and as many quads: `multipliers`' conditions.
    let shift = unsafe { multipliers(rest.as_ptr(), quads.as_mut_ptr(), rows) };
    (quads, shift)
}

/// Sets quads without biases.
///
/// # Safety
/// There are `count` quads, not none. The core has access to its vectors.
// SAFETY: the body follows the C calling convention (four arguments in r0-r3; lr saved and restored, the stack
// as it was). Each turn writes one quad.
#[unsafe(naked)]
unsafe extern "C" fn fill(quads: *mut Quad, count: usize, multiplier: i32, shift: i32) {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        "push {{r7, lr}}",
        "vmov.i32 q0, #0",
        "vdup.32 q1, r2",
        "vdup.32 q2, r3",
        "dls lr, r1",
        "2:",
        "vstrw.32 q0, [r0], #16",
        "vstrw.32 q1, [r0], #16",
        "vstrw.32 q2, [r0], #16",
        "le lr, 2b",
        "pop {{r7, pc}}",
    )
}

/// Where the bytes of four multipliers are in the table.
static OFFSETS: [u8; 16] = [0, 1, 2, 3, 5, 6, 7, 8, 10, 11, 12, 13, 15, 16, 17, 18];

/// Multipliers and shifts, and the greatest shift.
///
/// # Safety
/// There are `rows` multipliers to read, not none, and quads for all of them. The core has access to its
/// vectors.
// SAFETY: the body follows the C calling convention (three arguments in r0-r2, the result in r0; r4 and lr
// saved and restored, the stack as it was). LETP masks loads and stores beyond `rows`; sixteen bytes are loaded
// of OFFSETS, single ones of the table.
#[unsafe(naked)]
unsafe extern "C" fn multipliers(
    table: *const [u8; CHANNEL_MULTIPLIER_LEN],
    quads: *mut Quad,
    rows: usize,
) -> i32 {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        "push {{r4, lr}}",
        "movw r3, #:lower16:{offsets}",
        "movt r3, #:upper16:{offsets}",
        "vldrb.u8 q1, [r3]",
        "movs r4, #0",
        "vidup.u32 q2, r4, #1",
        "movs r3, #5",
        "vmul.i32 q2, q2, r3",
        "movs r3, #4",
        "vadd.i32 q2, q2, r3",
        "mvn r4, #31",
        "adds r1, #16",
        "dlstp.32 lr, r2",
        "2:",
        "vldrb.u8 q0, [r0, q1]",
        "vstrw.32 q0, [r1], #16",
        "vldrb.s32 q0, [r0, q2]",
        "vstrw.32 q0, [r1], #32",
        "vmaxv.s32 r4, q0",
        "adds r0, #20",
        "letp lr, 2b",
        "mov r0, r4",
        "pop {{r4, pc}}",
        offsets = sym OFFSETS,
    )
}

/// A kernel that loads biases of a width.
macro_rules! biases {
    ($name:ident, $before:literal, $load:literal) => {
        /// Biases, shifted to the left.
        ///
        /// # Safety
        /// There are `rows` biases to read, not none, and quads for all of them. The core has access to its
        /// vectors.
        // SAFETY: the body follows the C calling convention (four arguments in r0-r3; lr saved and restored,
        // the stack as it was). LETP masks loads, which are of bytes, and stores beyond `rows`.
        #[unsafe(naked)]
        unsafe extern "C" fn $name(biases: *const u8, quads: *mut Quad, rows: usize, shift: u32) {
            naked_asm!(
                env!("BITSBACK_CPU"), // see build.rs
                "push {{r7, lr}}",
                $before,
                "dlstp.32 lr, r2",
                "2:",
                $load,
                "vshl.s32 q0, r3",
                "vstrw.32 q0, [r1], #48",
                "letp lr, 2b",
                "pop {{r7, pc}}",
            )
        }
    };
}

biases!(biases_8, "", "vldrb.s32 q0, [r0], #4");
biases!(
    biases_16,
    "mov r12, #0\nvidup.u32 q2, r12, #2",
    "vldrb.u32 q1, [r0, q2]\n\
     adds r0, #1\n\
     vldrb.s32 q0, [r0, q2]\n\
     vshl.i32 q0, q0, #8\n\
     vorr q0, q0, q1\n\
     adds r0, #7"
);
biases!(biases_32, "", "vldrb.u8 q0, [r0], #16");
