//! Filters of which most weights are 0, as lists of those that aren't.
//!
//! An entry is a weight and the number of the words that it meets, which hold two columns at four
//! positions: 8.5 instructions for four products, of which a row that is stored plainly takes 3.4 and
//! its zeros as many. Entries are in pairs, so that one load and one SXTB16 serve two; those of columns
//! in lower halves of words come first, those of upper halves behind them.
//!
//! A list takes the place of its row, and is shorter. Each piece of a patch (see `patches`) has one of
//! its own, behind a head of four bytes: [`LISTED`], which no coded weight is, 0, and how many pairs
//! there are of each half.

use core::arch::naked_asm;
use core::ops::Range;

use super::super::{CHUNK_ROWS, Matrix, Sums};
use super::GROUP;
use super::patches::{PIECE_MAX, Patches, Room, pieces};
use super::positions::{POSITIONS, dot_packed};

/// What a row that is a list begins with.
const LISTED: u8 = 0x80;
/// Bytes of a head, and of two entries.
const PAIR: usize = 4;
/// Bits of the number of words, whatever an entry says.
const SLOT_BITS: u32 = 7;

const _: () = assert!(PIECE_MAX / 2 <= 1 << SLOT_BITS, "every column has a number");
const _: () = assert!(size_of::<Room>() >= 16 << SLOT_BITS, "every number has words in the room");

/// As [`Kernels::put_filter`](super::Kernels::put_filter).
pub(super) fn put_filter(weights: &[u8], row: &mut [u8]) {
    if list(weights, row).is_none() {
        for (to, &from) in row.iter_mut().zip(weights) {
            *to = from;
        }
    }
}

/// Makes a list of a row's weights, unless it would be slower, or longer; then `row` has no meaning.
fn list(weights: &[u8], row: &mut [u8]) -> Option<()> {
    let columns = row.len();
    // An entry takes as long as 2.4 of all columns.
    let limit = columns / 16 * 13 & !(PAIR - 1);
    let mut room = row.get_mut(..limit)?;
    let (_, step) = pieces(columns);
    // `max(1)`: there are columns, but the compiler can't know.
    for piece in weights.chunks(step.wrapping_mul(GROUP).max(1)) {
        let groups = piece.len() / GROUP;
        if groups == 0 {
            return None;
        }
        let (head, mut rest) = room.split_first_chunk_mut::<PAIR>()?;
        let mut pairs = [0; 2];
        for (half, pairs) in pairs.iter_mut().enumerate() {
            let ends = rest.as_mut_ptr_range();
            let from = piece.as_ptr().wrapping_add(half.wrapping_mul(2));
            // SAFETY: `piece` has `groups` > 0 whole groups, of which `from` is at the first or second half;
            // `ends` bound what can be written, a multiple of PAIR bytes, as `limit` and heads are.
            // Those are `list_half`'s conditions.
            let end = unsafe { list_half(from, groups, ends.start, ends.end) };
            let used = (end as usize).checked_sub(ends.start as usize)?;
            *pairs = u8::try_from(used / PAIR).ok()?;
            rest = rest.get_mut(used..)?;
        }
        *head = [LISTED, 0, pairs[0], pairs[1]];
        room = rest;
    }
    Some(())
}

/// As [`dot_packed`], of rows that may be lists.
#[inline(never)]
pub(super) fn dot_listed(
    matrix: &Matrix<'_>,
    first: usize,
    rows: Range<usize>,
    patches: &mut Patches<'_>,
    sums: &mut [Sums; POSITIONS],
) {
    let (mut row, end) = (rows.start, rows.end.min(CHUNK_ROWS));
    let len = matrix.row_len;
    let bytes = matrix.bytes_from(first.wrapping_add(row));
    let count = end.saturating_sub(row).min(bytes.len().checked_div(len).unwrap_or_default());
    let mut next = bytes.as_ptr();
    let last = next.wrapping_add(count.wrapping_mul(len));
    while row < end {
        if next < last && len >= PAIR {
            let lists = Lists { next, last, len, piece: patches.number() };
            let to = sums.as_mut_ptr().cast::<i32>().wrapping_add(row);
            // SAFETY: from `next` to `last` are whole rows of `len` bytes, PAIR at least, within `bytes`; from
            // `to` on, at a row of a chunk that has as many, each position has sums, which were begun
            // unless this is the first piece. Those are `dot_lists`' conditions.
            let done = unsafe { dot_lists(patches.room, &lists, to) };
            row = row.wrapping_add(done.checked_div(len).unwrap_or_default());
            next = next.wrapping_add(done);
        }
        // Rows that are no lists, if any are left: up to the next one that is.
        let behind = (row..end).zip(bytes.chunks(len.max(1)).skip(row.wrapping_sub(rows.start)));
        let others = behind.skip(1).take_while(|(_, row)| row.first() != Some(&LISTED)).count();
        if row < end {
            let others = others.wrapping_add(1);
            dot_packed(matrix, first, row..row.wrapping_add(others), patches, sums);
            (row, next) = (row.wrapping_add(others), next.wrapping_add(others.wrapping_mul(len)));
        }
    }
}

/// Rows as the kernel loads them.
#[repr(C)]
struct Lists {
    next: *const u8,
    last: *const u8,
    /// Bytes of each.
    len: usize,
    /// Lists of a row before the one that is wanted.
    piece: usize,
}

/// Writes entries of the weights of half of each group that aren't 0, an even number of them, and
/// returns their end; null where there isn't enough room.
///
/// # Safety
/// `groups` isn't 0; of so many groups from `from` on, four bytes apart, two weights can be read. `to`
/// and `end` bound a multiple of four bytes to write.
// SAFETY: the body follows the C calling convention (arguments in r0–r3, r4–r6 saved and restored, the
// stack as it was). It reads two bytes a group, and writes two at r2 where that isn't r3: both are
// multiples of two from the beginning, and one that is no multiple of four isn't r3 either. LDRH and STRH
// take any address.
#[unsafe(naked)]
unsafe extern "C" fn list_half(
    from: *const u8,
    groups: usize,
    to: *mut u8,
    end: *mut u8,
) -> *mut u8 {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        ".macro list_entry word",
        "cmp r2, r3",
        "beq 5f",
        "strh \\word, [r2], #2",
        ".endm",
        "push {{r4-r6}}",
        "mov r12, r2",
        "movs r4, #0", // the number of the words, above a weight
        "1:",
        "ldrh r5, [r0], #4",
        "cbz r5, 3f",
        "lsls r6, r5, #24",
        "beq 2f",
        "orr r6, r4, r6, lsr #24",
        "list_entry r6",
        "2:",
        "lsrs r5, r5, #8",
        "beq 3f",
        "add r6, r4, #0x100",
        "orrs r6, r6, r5",
        "list_entry r6",
        "3:",
        "add r4, r4, #0x200",
        "subs r1, r1, #1",
        "bne 1b",
        "subs r12, r2, r12",
        "lsls r12, r12, #30",
        "beq 4f",
        "strh r1, [r2], #2", // an entry of 0
        "4:",
        "mov r0, r2",
        "pop {{r4-r6}}",
        "bx lr",
        "5:",
        "movs r0, #0",
        "pop {{r4-r6}}",
        "bx lr",
        ".purgem list_entry",
    )
}

/// A pair of entries at r1, which moves on, and the products of their halves of words in the room, at r0: sums in
/// r4 to r7.
macro_rules! list_pair {
    () => {
        ".macro list_products at, product
        ubfx r8, r12, #\\at, #{bits}
        add r8, r0, r8, lsl #4
        ldm r8, {{r8-r11}}
        \\product r4, r8, lr, r4
        \\product r5, r9, lr, r5
        \\product r6, r10, lr, r6
        \\product r7, r11, lr, r7
        .endm
        .macro list_pair first, second
        ldr r12, [r1], #4
        sxtb16 lr, r12
        list_products 8, \\first
        list_products 24, \\second
        .endm"
    };
}

/// The list that is wanted, of those at r1 in a row up to r11, after as many as r12 says: its entries from r1 to
/// r2 and from there to r3. At 12 goes on what is no list, or not whole.
macro_rules! find_list {
    () => {
        "2:
        subs r12, r12, #1
        mov r1, r3
        3:
        adds r2, r1, #4
        cmp r2, r11
        bhi 12f
        ldrb r3, [r1]
        cmp r3, #{listed}
        bne 12f
        ldrb r3, [r1, #2]
        ldrb r4, [r1, #3]
        mov r1, r2
        add r2, r2, r3, lsl #2
        add r3, r2, r4, lsl #2
        cmp r3, r11
        bhi 12f
        cmp r12, #0
        bne 2b"
    };
}

/// The sums of products of rows that are lists at four positions, CHUNK_ROWS words apart; returns how many
/// bytes these are, up to the first that isn't one, or that isn't whole.
///
/// # Safety
/// From `lists.next` to `last` are rows of `len` bytes to read, one at least; `len` is no less than PAIR.
/// A sum for each can be written every 256 bytes; unless `piece` is 0, they can be read.
// SAFETY: the body follows the C calling convention (arguments in r0–r2, r4–r11 and lr saved and restored,
// the stack as it was). Of a row up to r3 it reads a head, skips as many words as that tells of while lists
// come before, and compares with the row's end before it reads the next head, or the list's pairs. For each
// entry it reads four words of the room, whose number has SLOT_BITS bits: no more than the room
// has. It adds to four sums, or writes them, at words. LDM is at multiples of four, as a room begins with
// words; LDR and LDRB take any address.
#[unsafe(naked)]
unsafe extern "C" fn dot_lists(room: &Room, lists: &Lists, sums: *mut i32) -> usize {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        list_pair!(),
        "push {{r1, r2, r4-r11, lr}}",
        "ldr r9, [r1]",
        "mov r10, r1",
        "1:", // a row, at r9, of the lists at r10
        "ldrd r11, r12, [r10, #8]", // the bytes of a row; lists before
        "mov r1, r9",
        "add r11, r9, r11",
        "b 3f",
        find_list!(),
        "ldr r12, [r10, #12]",
        "ldr lr, [sp, #4]",
        "movs r4, #0", "movs r5, #0", "movs r6, #0", "movs r7, #0",
        "cmp r12, #0",
        "beq 4f",
        "ldr r4, [lr]",
        "ldr r5, [lr, #256]",
        "ldr r6, [lr, #512]",
        "ldr r7, [lr, #768]",
        "4:",
        "push {{r11}}", // the next row
        "subs r12, r2, r1",
        "beq 7f",
        "tst r12, #4", // an odd number of pairs starts at the second one
        "bne 6f",
        "5:",
        "list_pair smlabb, smlabt",
        "6:",
        "list_pair smlabb, smlabt",
        "cmp r1, r2",
        "bne 5b",
        "7:",
        "subs r12, r3, r1",
        "beq 10f",
        "tst r12, #4",
        "bne 9f",
        "8:",
        "list_pair smlatb, smlatt",
        "9:",
        "list_pair smlatb, smlatt",
        "cmp r1, r3",
        "bne 8b",
        "10:",
        "pop {{r9, r10}}", // where it begins; the lists
        "ldr r1, [sp]",
        "str r4, [r1], #4",
        "str r5, [r1, #252]",
        "str r6, [r1, #508]",
        "str r7, [r1, #764]",
        "str r1, [sp]",
        "push {{r10}}",
        "ldr r11, [r10, #4]",
        "cmp r9, r11",
        "bne 1b",
        "12:",
        "pop {{r1, r2}}",
        "ldr r1, [r1]",
        "subs r0, r9, r1",
        "pop {{r4-r11, pc}}",
        ".purgem list_pair",
        ".purgem list_products",
        bits = const SLOT_BITS,
        listed = const LISTED,
    )
}
