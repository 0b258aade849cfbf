//! What lies under a convolution's kernel, a piece of it at a time.

use core::arch::naked_asm;
use core::mem::MaybeUninit;
use core::ops::Range;

use super::{PIECE, POSITIONS};
use crate::ops::{Axis, Image};

/// A part of every filter whose weights lie one after the other: some rows of taps, or a part of one.
#[derive(Clone)]
pub(super) struct Piece {
    /// Rows of taps.
    rows: Range<usize>,
    /// Values of a row of taps.
    values: Range<usize>,
    /// Weights of a filter before it, and its own.
    pub(super) start: usize,
    pub(super) columns: usize,
    /// Values from the beginning of a window inside the image to that of the piece, and its stretches there and
    /// in a patch.
    begin: usize,
    stretches: Stretches,
}

/// The kernel over an image, at any position.
pub(super) struct Windows<'a> {
    image: &'a Image<'a>,
    /// Values of a row of taps, and from one to the next in the image.
    len: usize,
    stride: usize,
    /// Rows of taps and values of a row that a piece has at most.
    step: [usize; 2],
    /// The first piece.
    first: Piece,
    /// Values from a window's first to its last one's end.
    reach: usize,
    /// Values from a window's first to each, in the filters' order, where it is small: no stretches then.
    offsets: [u8; SMALL],
    is_small: bool,
    /// Rows of positions, and positions of a row whose windows are as wide as the kernel, of so many. Where
    /// every pixel is a window, there is one row of them.
    pub(super) lines: usize,
    pub(super) inside: Range<usize>,
    pub(super) positions: usize,
    /// Values from the window of a position to the next one's.
    pub(super) next: [usize; 2],
}

/// One position's window: where it begins if it is inside the image, else [`OUTSIDE`], and the position.
#[derive(Clone, Copy, Default)]
pub(super) struct Window {
    begin: usize,
    place: [usize; 2],
}

impl Window {
    /// Where it begins, if it is inside the image.
    pub(super) fn begin(&self) -> Option<usize> {
        (self.begin != OUTSIDE).then_some(self.begin)
    }
}

/// What lies under a piece at a position, as far as it was gathered.
pub(super) type Patch = [MaybeUninit<i8>; PIECE];

/// Most values of a window that is small.
const SMALL: usize = 64;
/// No value's place.
const OUTSIDE: usize = usize::MAX;

/// The windows of a row of positions.
pub(super) struct Line {
    down: usize,
    /// Where the one at the first column of pixels would begin, if all are as high as the kernel.
    begin: Option<usize>,
}

impl<'a> Windows<'a> {
    #[inline(never)]
    pub(super) fn new(image: &'a Image<'a>) -> Self {
        let [rows, columns] = image.axes;
        let len = columns.size.wrapping_mul(image.channels);
        // Parts of a row begin at whole steps of the kernels.
        let step = match PIECE.checked_div(len) {
            Some(rows) if rows > 0 => [rows, len],
            _ => [1, len.div_ceil(len.div_ceil(PIECE).max(1)).next_multiple_of(16).min(PIECE)],
        };
        let stride = rows.dilation.wrapping_mul(columns.input).wrapping_mul(image.channels);
        let first = Piece {
            rows: 0..0,
            values: 0..0,
            start: 0,
            columns: 0,
            begin: 0,
            stretches: Stretches { len: 0, rows: 0, steps: [0; 2], next: 0 },
        };
        let is_inside = |&right: &usize| columns.inside(right).is_some();
        let start = (0..columns.output).find(is_inside).unwrap_or(columns.output);
        let count = (start..columns.output).take_while(is_inside).count();
        let inside = start..start.wrapping_add(count);
        let reach = rows.size.wrapping_sub(1).wrapping_mul(stride).wrapping_add(len);
        let is_dense = |axis: Axis| {
            axis.size == 1 && axis.stride == 1 && axis.padding == 0 && axis.output == axis.input
        };
        let (mut lines, mut inside, mut positions) = (rows.output, inside, columns.output);
        if is_dense(rows) && is_dense(columns) {
            (lines, positions) = (1, lines.wrapping_mul(positions));
            inside = 0..positions;
        }
        let right = columns.stride.wrapping_mul(image.channels);
        let down = rows.stride.wrapping_mul(columns.input).wrapping_mul(image.channels);
        let next = [down, right];
        let count = rows.size.wrapping_mul(len);
        let is_small = rows.size > 1 && count <= SMALL && reach <= usize::from(u8::MAX);
        let mut windows = Self {
            image,
            len,
            stride,
            step,
            first,
            reach,
            offsets: [0; SMALL],
            is_small,
            lines,
            inside,
            positions,
            next,
        };
        if is_small {
            let taps = (0..rows.size).flat_map(|row| (0..len).map(move |value| (row, value)));
            for (to, (row, value)) in windows.offsets.iter_mut().zip(taps) {
                *to = row.wrapping_mul(stride).wrapping_add(value) as u8;
            }
        }
        windows.first = windows.piece(0, 0);
        windows
    }

    /// The piece that begins with a value of a row of taps.
    #[inline(never)]
    fn piece(&self, row: usize, value: usize) -> Piece {
        let [rows, values] = self.step;
        let rows = row..row.wrapping_add(rows).min(self.image.axes[0].size);
        let values = value..value.wrapping_add(values).min(self.len);
        let begin = row.wrapping_mul(self.stride).wrapping_add(value);
        let (len, columns) = (values.len(), rows.len().wrapping_mul(values.len()));
        let gone = len.next_multiple_of(16);
        let steps = [self.stride, len].map(|stride| stride.wrapping_sub(gone));
        let next = PIECE.wrapping_sub(columns);
        Piece {
            start: row.wrapping_mul(self.len).wrapping_add(value),
            columns,
            begin,
            stretches: Stretches { len, rows: rows.len(), steps, next },
            rows,
            values,
        }
    }

    /// As [`Self::for_pieces`], in less code.
    #[inline(never)]
    pub(super) fn for_few_pieces(&self, take: &mut dyn FnMut(&Piece)) {
        self.for_pieces(take);
    }

    /// Takes the pieces, in the order of the weights.
    #[inline(always)]
    pub(super) fn for_pieces(&self, mut take: impl FnMut(&Piece)) {
        let size = self.image.axes[0].size;
        let (mut piece, mut own);
        piece = &self.first;
        let [mut row, mut value] = [0, 0usize];
        loop {
            take(piece);
            value = value.wrapping_add(self.step[1].max(1));
            if value >= self.len {
                (row, value) = (self.step[0].wrapping_add(row), 0);
            }
            if row >= size {
                return;
            }
            own = self.piece(row, value);
            piece = &own;
        }
    }

    /// The windows of a row of positions.
    #[inline(never)]
    pub(super) fn line(&self, down: usize) -> Line {
        let [rows, columns] = &self.image.axes;
        let are_together = columns.dilation == 1 || columns.size == 1;
        let top = rows.inside(down).filter(|_| are_together);
        let line = columns.input.wrapping_mul(self.image.channels);
        Line { down, begin: top.map(|top| top.wrapping_mul(line)) }
    }

    /// The window of a position.
    #[inline(always)]
    pub(super) fn window(&self, line: &Line, right: usize) -> Window {
        let axis = &self.image.axes[1];
        let left = right.wrapping_mul(axis.stride).wrapping_sub(axis.padding);
        let begin = match line.begin {
            Some(begin) if self.inside.contains(&right) => {
                begin.wrapping_add(left.wrapping_mul(self.image.channels))
            }
            _ => OUTSIDE,
        };
        Window { begin, place: [line.down, right] }
    }

    /// The first piece.
    pub(super) const fn first(&self) -> &Piece {
        &self.first
    }

    /// The window of a position, apart.
    #[inline(never)]
    pub(super) fn position(&self, down: usize, right: usize) -> Window {
        self.window(&self.line(down), right)
    }

    /// Where windows that begin at `begins` have their values, if windows of so many positions, `next` apart,
    /// are inside the image from there on.
    #[inline(always)]
    pub(super) fn inside(
        &self,
        begins: [usize; POSITIONS],
        count: usize,
        next: usize,
    ) -> Option<[*const i8; POSITIONS]> {
        let reach = count.checked_sub(1)?.checked_mul(next)?.checked_add(self.reach)?;
        let end = self.image.values.len().checked_sub(reach)?;
        let from = self.image.values.as_ptr();
        begins.iter().all(|&begin| begin <= end).then(|| begins.map(|at| from.wrapping_add(at)))
    }

    /// Where the values of windows at these places under a piece are in the filters' order: there, or in
    /// `patches`, which they are copied to.
    ///
    /// # Safety
    /// Windows begin at `places`, which are inside the image.
    #[inline(always)]
    pub(super) unsafe fn ordered(
        &self,
        piece: &Piece,
        places: &[*const i8; POSITIONS],
        patches: &mut [Patch; POSITIONS],
    ) -> [*const i8; POSITIONS] {
        let places = places.map(|place| place.wrapping_add(piece.begin));
        if piece.stretches.rows == 1 {
            return places;
        }
        let places = places.as_ptr_range();
        if self.is_small {
            // SAFETY: such a window is one piece, of as many columns as there are offsets, up to where the
            // window ends, which is inside the image, says the caller: `gather_small_i8`'s conditions.
            unsafe {
                let (to, offsets) = (patches.as_mut_ptr().cast(), self.offsets.as_ptr());
                gather_small_i8(to, places.start, places.end, offsets, piece.columns);
            }
            return patches.each_ref().map(|patch| patch.as_ptr().cast());
        }
        // SAFETY: a piece has rows and values, no more than a patch has room for, and the image has them from
        // each place on, says the caller: `gather_i8`'s conditions.
        unsafe {
            let to = patches.as_mut_ptr().cast();
            gather_i8(to, places.start, places.end, &piece.stretches);
        }
        patches.each_ref().map(|patch| patch.as_ptr().cast())
    }

    /// Gathers a window under a piece: what of it is inside the image, and what isn't as the zero point.
    #[inline(never)]
    pub(super) fn gather(
        &self,
        piece: &Piece,
        &Window { begin, place: [down, right] }: &Window,
        patch: &mut Patch,
    ) -> Option<()> {
        if begin != OUTSIDE {
            let from = self.image.values.get(begin.wrapping_add(piece.begin)..)?;
            let len = piece.values.len();
            return copy_rows(from, patch, piece.rows.len(), len, [self.stride, len]);
        }
        let Image { values, axes: [rows, columns], channels, zero_point } = *self.image;
        let ((row_taps, top), (taps, left)) = (rows.taps(down), columns.taps(right));
        let inside = row_taps.start.max(piece.rows.start)..row_taps.end.min(piece.rows.end);
        fill(patch.get_mut(..piece.columns)?, zero_point);
        let above = inside.start.wrapping_sub(row_taps.start).wrapping_mul(rows.dilation);
        let pixel = top.wrapping_add(above).wrapping_mul(columns.input).wrapping_add(left);
        let pitch = piece.values.len();
        let to = inside.start.wrapping_sub(piece.rows.start).wrapping_mul(pitch);
        // Taps that are neighbours, and their values that the piece has, from the first tap on.
        let together = if columns.dilation == 1 { taps.len() } else { 1 };
        let mut number = 0;
        while number < taps.len() && !inside.is_empty() {
            let tap = taps.start.wrapping_add(number);
            let pixel = pixel.wrapping_add(number.wrapping_mul(columns.dilation));
            let [first, end] =
                [tap, tap.wrapping_add(together)].map(|tap| tap.wrapping_mul(channels));
            let start = first.max(piece.values.start);
            let len = end.min(piece.values.end).saturating_sub(start);
            if len > 0 {
                let from = pixel.wrapping_mul(channels).wrapping_add(start.wrapping_sub(first));
                let to = to.wrapping_add(start).wrapping_sub(piece.values.start);
                let (from, to) = (values.get(from..)?, patch.get_mut(to..)?);
                copy_rows(from, to, inside.len(), len, [self.stride, pitch])?;
            }
            number = number.wrapping_add(together.max(1));
        }
        Some(())
    }
}

/// Sets all values.
pub(super) fn fill<T: Byte>(values: &mut [MaybeUninit<T>], value: i8) {
    if !values.is_empty() {
        // SAFETY: there are as many bytes, which aren't none: `fill_i8`'s conditions.
        unsafe { fill_i8(values.as_mut_ptr().cast(), value.into(), values.len()) }
    }
}

/// A value of one byte, whose bits may be any.
pub(super) trait Byte {}

impl Byte for i8 {}
impl Byte for u8 {}

/// Copies `rows` stretches of `len` values, from `strides[0]` apart to `strides[1]` apart; `None` where they
/// don't fit.
#[inline(always)]
pub(super) fn copy_rows<T: Byte>(
    from: &[T],
    to: &mut [MaybeUninit<T>],
    rows: usize,
    len: usize,
    strides: [usize; 2],
) -> Option<()> {
    let room = [from.len(), to.len()];
    // SAFETY: the slices have as many bytes, and one is borrowed exclusively.
    unsafe { copy_bytes(from.as_ptr().cast(), to.as_mut_ptr().cast(), room, [rows, len], strides) }
}

/// As [`copy_rows`], of bytes.
///
/// # Safety
/// `room[0]` bytes of `from` can be read and `room[1]` of `to` written, and they don't overlap.
#[inline(never)]
unsafe fn copy_bytes(
    from: *const i8,
    to: *mut i8,
    room: [usize; 2],
    [rows, len]: [usize; 2],
    strides: [usize; 2],
) -> Option<()> {
    let Some(last) = rows.checked_sub(1).filter(|_| len > 0) else { return Some(()) };
    for (stride, room) in strides.into_iter().zip(room) {
        last.checked_mul(stride)?.checked_add(len).filter(|&end| end <= room)?;
    }
    let gone = len.next_multiple_of(16);
    let steps = strides.map(|stride| stride.wrapping_sub(gone));
    let task = Stretches { len, rows, steps, next: 0 };
    let from = [from];
    let places = from.as_ptr_range();
    // SAFETY: neither rows nor values are none, and all stretches lie within the bytes, as just checked, which
    // don't overlap, says the caller: `gather_i8`'s conditions.
    unsafe { gather_i8(to, places.start, places.end, &task) }
    Some(())
}

/// What [`gather_i8`] is told; it knows the order.
#[derive(Clone)]
#[repr(C)]
struct Stretches {
    len: usize,
    rows: usize,
    /// From the end of a stretch, in whole steps of sixteen, to the next one: from and to.
    steps: [usize; 2],
    /// From behind one's stretches to the next one's.
    next: usize,
}

/// Copies stretches of bytes for each of some places.
///
/// # Safety
/// There are places, rows and bytes of a row. From each place on, as many rows can be read, and from `to`
/// on written, and they don't overlap. The core has access to its vectors.
// SAFETY: the body follows the C calling convention (four arguments in r0-r3; r4-r9 and lr saved and
// restored, the stack as it was). LETP masks loads and stores beyond a row; words are loaded from the places
// and the task.
#[unsafe(naked)]
unsafe extern "C" fn gather_i8(
    to: *mut i8,
    from: *const *const i8,
    end: *const *const i8,
    task: &Stretches,
) {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        "push {{r4-r9, lr}}",
        "ldm r3, {{r3-r7}}",
        "1:",
        "ldr r9, [r1], #4",
        "mov r8, r4",
        "2:",
        "dlstp.8 lr, r3",
        "3:",
        "vldrb.u8 q0, [r9], #16",
        "vstrb.8 q0, [r0], #16",
        "letp lr, 3b",
        "add r9, r9, r5",
        "add r0, r0, r6",
        "subs r8, #1",
        "bne 2b",
        "add r0, r0, r7",
        "cmp r1, r2",
        "bne 1b",
        "pop {{r4-r9, pc}}",
    )
}

/// Gathers bytes for each of some places, a patch after the other.
///
/// # Safety
/// There are places and offsets, `count` of these and no more than PIECE. From each place on, a byte can be read at
/// each offset, and from `to` on, a patch can be written for each place. The core has access to its vectors.
// SAFETY: the body follows the C calling convention (four arguments in r0-r3 and one on the stack; r4-r7 and lr
// saved and restored, the stack as it was). LETP masks loads and stores beyond `count`.
#[unsafe(naked)]
unsafe extern "C" fn gather_small_i8(
    to: *mut i8,
    from: *const *const i8,
    end: *const *const i8,
    offsets: *const u8,
    count: usize,
) {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        "push {{r4-r7, lr}}",
        "ldr r4, [sp, #20]",
        "1:",
        "ldr r5, [r1], #4",
        "mov r6, r3",
        "mov r7, r0",
        "dlstp.8 lr, r4",
        "2:",
        "vldrb.u8 q1, [r6], #16",
        "vldrb.u8 q0, [r5, q1]",
        "vstrb.8 q0, [r7], #16",
        "letp lr, 2b",
        "add r0, r0, #{piece}",
        "cmp r1, r2",
        "bne 1b",
        "pop {{r4-r7, pc}}",
        piece = const PIECE,
    )
}

/// Sets bytes.
///
/// # Safety
/// `count` isn't 0, and as many bytes can be written. The core has access to its vectors.
// SAFETY: the body follows the C calling convention (three arguments in r0-r2; lr saved and restored,
// the stack as it was). LETP masks stores beyond `count`.
#[unsafe(naked)]
unsafe extern "C" fn fill_i8(to: *mut i8, value: i32, count: usize) {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        "push {{r7, lr}}",
        "vdup.8 q0, r1",
        "dlstp.8 lr, r2",
        "2:",
        "vstrb.8 q0, [r0], #16",
        "letp lr, 2b",
        "pop {{r7, pc}}",
    )
}
