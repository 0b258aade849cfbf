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
use super::depthwise::{byte_of, redo, take_scales};
use super::finish::Bytes;
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
    /// The row of the image that the first window begins in; wraps where that is above it.
    top: usize,
    height: usize,
    /// Bytes of a row of pixels.
    line: usize,
    /// The first pixel that is spread, of the first row, and what those of other rows are.
    from: *const i8,
    outside: *const [i8; LANES],
    channels: usize,
    /// Between two rows of a window.
    dilation: usize,
    /// What is added, twice; where pixels are spread to.
    offsets: u32,
    to: *mut Column,
    to_end: *mut Column,
    /// Rows of positions, and rows of pixels from one to the next.
    rows: usize,
    down: usize,
    /// The first window, and that behind the last.
    x: *const Column,
    x_end: *const Column,
    /// Bytes from behind a window to the next one.
    next: usize,
    /// The output, to the next one, and from behind a row to the next.
    y: *mut i8,
    right: usize,
    rest: usize,
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
    /// How many.
    count: usize,
    /// Columns that they see, how many of them are before the image, and in it, the first of which.
    columns: usize,
    before: usize,
    inside: usize,
    left: usize,
}

impl Segment {
    fn new(sight: &Sight<'_>, first: usize) -> Self {
        let ([_, width], [_, right]) = (sight.input, sight.stride);
        let most = ROOM.wrapping_sub(SIZE).checked_div(right).unwrap_or_default();
        let count = sight.output[1].wrapping_sub(first).min(most.wrapping_add(1));
        let columns = count.wrapping_sub(1).wrapping_mul(right).wrapping_add(SIZE);
        let begin = first.wrapping_mul(right);
        let before = sight.padding[1].saturating_sub(begin).min(columns);
        let left = begin.wrapping_add(before).saturating_sub(sight.padding[1]);
        let inside = width.saturating_sub(left).min(columns.wrapping_sub(before));
        Self { count, columns, before, inside, left }
    }
}

/// Whether these windows are the kernel's.
pub(super) fn takes(sight: &Sight<'_>) -> bool {
    sight.size == [SIZE; 2] && sight.dilation[1] == 1
}

/// As [`Kernels::depthwise_layer`](super::Kernels::depthwise_layer), of windows that [`takes`] says.
#[inline(never)]
pub(super) fn depthwise(
    sight: &Sight<'_>,
    matrix: &Matrix<'_>,
    finish: &Finish<'_>,
    output: &mut [i8],
    rare: &mut dyn FnMut(usize, &mut [i8]),
) -> Option<()> {
    let &Sight { values, input: [height, width], channels, output: [down, right], .. } = sight;
    let len = |rows: usize, columns: usize| rows.checked_mul(columns)?.checked_mul(channels);
    if values.len() < len(height, width)? || output.len() < len(down, right)? || down == 0 {
        return None;
    }
    let last = channels.checked_sub(LANES)?;
    if matrix.columns != SIZE * SIZE || sight.stride[1] == 0 {
        return None;
    }
    let mut room = [const { MaybeUninit::uninit() }; ROOM];
    let outside = [sight.zero_point; LANES];
    let mut task = Task::new(sight, finish, &mut room, &outside);
    let mut first = 0usize;
    while first < right {
        let segment = Segment::new(sight, first);
        task.begin(sight, &segment, &mut room)?;
        for channel in (0..channels).step_by(LANES) {
            let channel = channel.min(last); // the last group ends with the last channel
            let some_left = task.take(matrix, finish, channel)?;
            let begin = segment.left.wrapping_mul(channels).wrapping_add(channel);
            let to = first.wrapping_mul(channels).wrapping_add(channel);
            task.top = 0usize.wrapping_sub(sight.padding[0]);
            task.rows = down;
            task.from = values.as_ptr().wrapping_add(begin);
            task.y = output.as_mut_ptr().wrapping_add(to);
            // SAFETY: there are as many values and outputs as the shapes say, as was just shown, and the
            // group's channels are among them. From `from` on, `inside` pixels of each of `height` rows
            // can be read, LANES bytes of each, and `outside`; outputs of `count` > 0 positions of each
            // of `rows` > 0 rows be written. `room` has the segment's columns, of which `inside` are
            // spread, and the others are written: `threes_rows`' conditions.
            unsafe { threes_rows(&mut task) };
            if some_left {
                redo(finish, channel, output, rare);
            }
        }
        first = first.wrapping_add(segment.count);
    }
    Some(())
}

/// What is added to inputs: nothing where the biases hold it, as what is outside counts as well.
fn offset(sight: &Sight<'_>) -> i16 {
    if sight.folded { 0 } else { i16::from(sight.zero_point).wrapping_neg() }
}

impl Task {
    /// What is the same for all segments and groups.
    #[inline(always)] // else it is made elsewhere and copied
    fn new(
        sight: &Sight<'_>,
        finish: &Finish<'_>,
        room: &mut [MaybeUninit<Column>; ROOM],
        outside: &[i8; LANES],
    ) -> Self {
        let &Sight { input: [height, width], channels, stride: [down, right], .. } = sight;
        let room = room.as_mut_ptr().cast::<Column>();
        let step = right.wrapping_mul(size_of::<Column>());
        Self {
            top: 0,
            height,
            line: width.wrapping_mul(channels),
            from: core::ptr::null(),
            outside,
            channels,
            dilation: sight.dilation[0],
            offsets: twice(offset(sight)),
            to: room,
            to_end: room,
            rows: 0,
            down,
            x: room,
            x_end: room,
            next: step.wrapping_sub(size_of::<[Column; SIZE]>()),
            y: core::ptr::null_mut(),
            right: channels,
            rest: 0,
            scales: [[0; 2]; LANES - 1],
            zero_point: i32::from(finish.zero_point).wrapping_add(128),
            last_scale: [0; 2],
            bytes: Bytes::new(finish.clamp),
            biases: [0; LANES],
            weights: [[0; 6]; SIZE],
        }
    }

    /// Goes to a segment, whose columns outside the image it writes.
    fn begin(
        &mut self,
        sight: &Sight<'_>,
        segment: &Segment,
        room: &mut [MaybeUninit<Column>; ROOM],
    ) -> Option<()> {
        let columns = room.get_mut(..segment.columns)?;
        let (before, inside) = columns.split_at_mut_checked(segment.before)?;
        let (inside, behind) = inside.split_at_mut_checked(segment.inside)?;
        for column in before.iter_mut().chain(behind) {
            column.write([twice(i16::from(sight.zero_point).wrapping_add(offset(sight))); 6]);
        }
        let ends = inside.as_mut_ptr_range();
        (self.to, self.to_end) = (ends.start.cast(), ends.end.cast());
        let end = segment.count.wrapping_mul(sight.stride[1]);
        self.x_end = self.x.wrapping_add(end);
        self.rest = sight.output[1].wrapping_sub(segment.count).wrapping_mul(self.right);
        Some(())
    }

    /// Takes the weights of the channels from `first` on, and what makes outputs of their sums. Returns
    /// whether there are some that the kernel doesn't take.
    fn take(&mut self, matrix: &Matrix<'_>, finish: &Finish<'_>, first: usize) -> Option<bool> {
        let (rare, [a, b, c, d]) = take_scales(finish, first);
        self.biases = [a.bias, b.bias, c.bias, d.bias];
        self.scales = [[a.value, a.right], [b.value, b.right], [c.value, c.right]];
        self.last_scale = [d.value, d.right];
        let row = matrix.bytes_from(first);
        if matrix.bits() != 8 {
            self.weights = weights(matrix, row)?;
            return Some(rare);
        }
        let row_len = matrix.row_len;
        row.get(..row_len.checked_mul(LANES - 1)?.checked_add(SIZE * SIZE)?)?;
        // SAFETY: SIZE · SIZE bytes can be read `row_len` apart LANES times, as was just checked.
        unsafe { take_weights(row.as_ptr(), row_len, &mut self.weights) };
        Some(rare)
    }
}

/// The weights of rows that aren't bytes, the first of which `row` begins with.
#[inline(never)]
fn weights(matrix: &Matrix<'_>, mut row: &[u8]) -> Option<[Column; SIZE]> {
    let mut columns = [[[0u16; 2]; 6]; SIZE];
    for lane in 0..LANES {
        let mut fields = Fields::new(row, matrix.bits(), 0);
        let taps = [[(); SIZE]; SIZE].map(|row| row.map(|()| fields.take() as u16));
        let [top, middle, bottom] = taps;
        for (((column, a), b), c) in columns.iter_mut().zip(top).zip(middle).zip(bottom) {
            *column.get_mut(lane)? = [a, b];
            *column.as_flattened_mut().get_mut(lane.wrapping_add(2 * LANES))? = c;
        }
        row = row.get(matrix.row_len..).unwrap_or_default();
    }
    Some(columns.map(|column| column.map(|[low, high]| u32::from(low) | u32::from(high) << 16)))
}

/// The weights of four rows of bytes.
///
/// # Safety
/// SIZE · SIZE bytes can be read from `row` on, and each `row_len` behind it for LANES rows.
// SAFETY: the body follows the C calling convention (arguments in r0–r2, r4 saved and restored). It
// reads the bytes of four rows, and writes a word and a half-word of each column for each.
#[unsafe(naked)]
unsafe extern "C" fn take_weights(row: *const u8, row_len: usize, weights: &mut [Column; SIZE]) {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        ".macro take_column column, lane",
        "ldrsb r3, [r0, #\\column]",
        "ldrsb r12, [r0, #\\column+3]",
        "ldrsb r4, [r0, #\\column+6]",
        "pkhbt r3, r3, r12, lsl #16",
        "str r3, [r2, #24*\\column+4*\\lane]",
        "strh r4, [r2, #24*\\column+16+2*\\lane]",
        ".endm",
        ".macro take_row lane",
        "take_column 0, \\lane",
        "take_column 1, \\lane",
        "take_column 2, \\lane",
        "add r0, r0, r1",
        ".endm",
        "push {{r4, lr}}",
        "take_row 0",
        "take_row 1",
        "take_row 2",
        "take_row 3",
        "pop {{r4, pc}}",
        ".purgem take_row",
        ".purgem take_column",
    )
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

/// The three rows of pixels of a row of positions, to r0 to r2, and their steps, to r10, r11 and lr: `outside` without a
/// step where the row, in r3, isn't in the image.
macro_rules! find_rows {
    () => {
        ".macro row_of_pixels from, step
        cmp r3, r4
        ittee lo
        mlalo \\from, r3, r5, r6
        movlo \\step, r8
        movhs \\from, r7
        movhs \\step, #0
        add r3, r3, r9
        .endm
        row_of_pixels r0, r10
        row_of_pixels r1, r11
        row_of_pixels r2, lr
        .purgem row_of_pixels"
    };
}

/// Spreads columns of the rows at r0 to r2, whose steps are in r10 to r12, from r7 up to r8; the offsets are in
/// r6.
macro_rules! spread_columns {
    () => {
        "b 3f
        2:
        ldr r3, [r0]
        ldr r5, [r1]
        add r0, r0, r10
        add r1, r1, r11
        sxtab16 r4, r6, r3, ror #8
        sxtab16 r3, r6, r3
        sxtab16 r9, r6, r5, ror #8
        sxtab16 r5, r6, r5
        pkhtb lr, r9, r4, asr #16
        pkhbt r4, r4, r9, lsl #16
        pkhtb r9, r5, r3, asr #16
        pkhbt r3, r3, r5, lsl #16
        stm r7!, {{r3, r4, r9, lr}}
        ldr r3, [r2]
        add r2, r2, r12
        sxtab16 r4, r6, r3, ror #8
        sxtab16 r3, r6, r3
        stm r7!, {{r3, r4}}
        3:
        cmp r7, r8
        bne 2b"
    };
}

/// The outputs of four channels at positions of rows.
///
/// # Safety
/// `task.rows` isn't 0. From `task.from` on, four bytes of as many pixels as there are columns between
/// `to` and `to_end` can be read, `channels` apart, of each of `height` rows, `line` apart; so can `outside`.
/// Those columns can be written; all columns of all windows from `x` to `x_end` can be read then, and
/// have been written. There is a window at least, and `next` leads from one to the next; for each of each
/// row, four bytes can be written from `y` on, `right` apart and `rest` behind a row.
// SAFETY: the body follows the C calling convention (the argument in r0, r4–r11 and lr saved and
// restored, the stack as it was). Of a row of positions, it reads a word of each of three rows and
// writes six of a column a step, up to `to_end`, where rows of the window outside the image read
// `outside` again and again; then reads three columns and writes a word a step, up to `x_end`. LDR and STR
// take any address; LDM, LDRD and STM are at words of `task` and of columns, which consist of words.
#[unsafe(naked)]
unsafe extern "C" fn threes_rows(task: &mut Task) {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        "add r12, r0, #{scales}",
        "mov r3, r12",
        "push {{r3-r11, lr}}",
        "1:", // a row; r12 the scales
        "sub r0, r12, #{scales}",
        "ldr lr, [r12, #{down}-{scales}]",
        "ldm r0, {{r3-r9}}",
        "add lr, lr, r3",
        "str lr, [r0]",
        find_rows!(),
        "ldrd r6, r7, [r12, #{offsets}-{scales}]",
        "ldr r8, [r12, #{to_end}-{scales}]",
        "mov r12, lr",
        spread_columns!(),
        "ldr r12, [sp]",
        "ldr r0, [r12, #{x}-{scales}]",
        "add r12, r12, #{biases}-{scales}",
        "4:", // a position; r12 the biases
        "mov r1, r12",
        "ldm r1!, {{r4-r7}}",
        column!(),
        column!(),
        column!(),
        "ldr r12, [sp]",
        "ldm r12!, {{r1-r3, r8-r11}}",
        byte_of!("r4", "r1", "r2"),
        byte_of!("r5", "r3", "r8"),
        byte_of!("r6", "r9", "r10"),
        "ldm r12!, {{r1-r3, r8, r9}}", // the last scale, bytes
        byte_of!("r7", "r1", "r2"),
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
        "bne 4b",
        "ldr r2, [r12, #{rest}-{biases}]",
        "ldr r3, [r12, #{rows}-{biases}]",
        "add r1, r1, r2",
        "str r1, [r12, #{y}-{biases}]",
        "subs r3, r3, #1",
        "str r3, [r12, #{rows}-{biases}]",
        "ldr r12, [sp]",
        "bne 1b",
        "pop {{r3-r11, pc}}",
        down = const offset_of!(Task, down), offsets = const offset_of!(Task, offsets),
        to_end = const offset_of!(Task, to_end), x = const offset_of!(Task, x),
        x_end = const offset_of!(Task, x_end), rows = const offset_of!(Task, rows),
        rest = const offset_of!(Task, rest), y = const offset_of!(Task, y),
        scales = const offset_of!(Task, scales), biases = const offset_of!(Task, biases),
    )
}
