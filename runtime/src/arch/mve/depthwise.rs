//! Depthwise convolutions: some channels at a time, at all positions.
//!
//! Parameters of some channels are put into vectors, and weights into whole vectors of taps, once. Windows of up to
//! sixteen taps go by [`planes`](super::planes). Others, and rows that shift to the left, gather eight taps of a
//! channel at once from pixels, whose distances are in vectors and alike for all channels and positions; taps beyond
//! the image are masked and replaced by the zero point.

use core::arch::naked_asm;
use core::mem::MaybeUninit;
use core::ops::Range;

use super::QUAD;
use super::parameters::{Quad, hold};
use super::planes::{BYTES, Cut, Held, TAPS};
use super::taps::{edge_any, edge_right, inside_right};
use crate::arch::{Finish, Matrix, Sight};
use crate::format::Fields;
use crate::ops::{Axis, Image, Layer};

/// Taps of a vector.
const LANES: usize = 8;
/// Most vectors of a window: 7 × 7 taps.
const VECTORS: usize = 7;
/// Most channels at once, whose parameters are at hand.
const CHANNELS: usize = 32;

/// Taps of a window, and which of them are inside the image: two bits each; kernels know the order.
#[derive(Clone, Copy)]
#[repr(C, align(4))]
pub(super) struct Taps {
    /// Values from the first tap on.
    offsets: [u16; LANES],
    mask: u32,
}

impl Taps {
    const NONE: Self = Self { offsets: [0; LANES], mask: 0 };
}

/// What kernels are told; they know the order of the first three.
#[repr(C)]
pub(super) struct Task {
    pub(super) parameters: *const Quad,
    pub(super) weights: *const u8,
    pub(super) quads: usize,
    /// Of the first position; kernels move them on by `next` at each of so many positions.
    pub(super) x: *const i8,
    pub(super) y: *mut i8,
    pub(super) next: [usize; 2],
    pub(super) count: usize,
    /// Weights behind those of taps, to the next channel's.
    pub(super) beyond: usize,
    pub(super) taps: Range<*const Taps>,
    /// The input's.
    pub(super) outside: i32,
    pub(super) zero_point: i32,
    pub(super) min: i32,
    pub(super) max: i32,
}

/// Parameters of some channels, as far as they are held.
struct Room {
    quads: [MaybeUninit<Quad>; CHANNELS / QUAD],
    bytes: Bytes,
}

/// Of whole words.
#[repr(C, align(4))]
struct Bytes([MaybeUninit<u8>; BYTES]);

/// The outputs of as many filters as there are channels, or `None` where these kernels don't take the layer.
#[inline(never)]
pub(super) fn depthwise(
    sight: &Sight<'_>,
    matrix: &Matrix<'_>,
    finish: &Finish<'_>,
    output: &mut [i8],
) -> Option<()> {
    let Sight { values, zero_point, channels, folded, .. } = *sight;
    let ([h, w], [kh, kw], [oh, ow]) = (sight.input, sight.size, sight.output);
    let ([down, right], [top, left], [dh, dw]) = (sight.stride, sight.padding, sight.dilation);
    let rows = Axis { size: kh, stride: down, padding: top, dilation: dh, input: h, output: oh };
    let columns =
        Axis { size: kw, stride: right, padding: left, dilation: dw, input: w, output: ow };
    // A column of pixels is a row.
    let is_column = w == 1 && kw == 1 && ow == 1;
    let axes = if is_column { [columns, rows] } else { [rows, columns] };
    let image = &Image { values, zero_point, axes, channels };
    let layer = &Layer { matrix: *matrix, folded, finish: *finish };
    let mut room = Room::new();
    let mut sweep = Sweep::new(image, layer, &mut room)?;
    let cut = Cut::new(&image.axes, channels, CHANNELS);
    let most = match &cut {
        Some(cut) => cut.quads.wrapping_mul(QUAD),
        None => CHANNELS.min(BYTES.checked_div(sweep.row)?),
    };
    let mut start = 0;
    while start < image.channels {
        // The last ones may have been there already.
        start = start.min(image.channels.checked_sub(QUAD)?);
        let most = most.min(image.channels.wrapping_sub(start));
        let channels = start..start.wrapping_add(most & !(QUAD - 1));
        sweep.hold(channels.clone())?;
        match &cut {
            Some(cut) if sweep.are_right => sweep.run_planes(cut, channels.clone(), output)?,
            _ => sweep.run(&channels, output)?,
        }
        start = channels.end;
    }
    Some(())
}

/// A layer over an image.
struct Sweep<'a> {
    image: &'a Image<'a>,
    layer: &'a Layer<'a>,
    room: &'a mut Room,
    /// Weights of a channel in [`Room`], whole sixteens of them.
    row: usize,
    are_right: bool,
}

impl Room {
    #[inline(always)] // else it is made elsewhere and copied
    const fn new() -> Self {
        Self {
            quads: [const { MaybeUninit::uninit() }; CHANNELS / QUAD],
            bytes: Bytes([const { MaybeUninit::uninit() }; BYTES]),
        }
    }
}

impl<'a> Sweep<'a> {
    /// `None` where pixels are missing, or weights are wide.
    #[inline(always)]
    fn new(image: &'a Image<'a>, layer: &'a Layer<'a>, room: &'a mut Room) -> Option<Self> {
        let [rows, columns] = image.axes;
        let pixels = rows.input.checked_mul(columns.input)?;
        image.values.get(..pixels.checked_mul(image.channels)?)?;
        let taps = rows.size.checked_mul(columns.size).filter(|&taps| taps <= VECTORS * LANES)?;
        let row = taps.next_multiple_of(TAPS);
        (layer.matrix.bits() <= 8).then_some(Self { image, layer, room, row, are_right: true })
    }

    /// Takes the parameters of some channels, whole fours of them.
    #[inline(never)]
    fn hold(&mut self, channels: Range<usize>) -> Option<()> {
        let Layer { matrix, finish, folded } = self.layer;
        let Room { quads, bytes: Bytes(weights) } = &mut *self.room;
        let weights = weights.get_mut(..channels.len().checked_mul(self.row)?)?;
        let (quads, shift) = hold(quads, finish, channels.start, channels.len());
        self.are_right = shift < 0;
        // `max(1)` here and below: rows aren't empty, but the compiler can't know.
        let mut len = matrix.row_len;
        let from = matrix.bytes_from(channels.start).get(..channels.len().checked_mul(len)?)?;
        let mut from = from.as_ptr();
        if matrix.bits() != 8 {
            let bytes = matrix.bytes_from(channels.start).chunks_exact(len.max(1));
            let rows = weights.chunks_exact_mut(self.row.max(1)).zip(bytes);
            for (to, bytes) in rows.take(channels.len()) {
                let mut fields = Fields::new(bytes, matrix.bits(), 0);
                for to in to.iter_mut().take(matrix.columns) {
                    to.write(fields.take() as u8);
                }
            }
            (from, len) = (weights.as_ptr().cast(), self.row);
        }
        let mut first = 0;
        while first < matrix.columns.min(self.row) {
            let rows = Rows {
                to: weights.as_mut_ptr().cast::<u8>().wrapping_add(first),
                from: from.wrapping_add(first),
                quads: quads.as_mut_ptr(),
                pitches: [self.row, len],
                columns: matrix.columns.wrapping_sub(first),
                count: quads.len().min(channels.len() / QUAD),
                offset: if *folded { 0 } else { -i32::from(self.image.zero_point) },
            };
            // SAFETY: there are channels, whole fours of them, whose quads are held; each has `len` bytes to read
            // and `row` to write, whole sixteens of them, and columns from the first one on.
            unsafe { take_rows(&rows) }
            first = first.wrapping_add(TAPS);
        }
        Some(())
    }

    /// The outputs of the channels that are held, at all positions, by planes.
    #[inline(never)]
    fn run_planes(&mut self, cut: &Cut, channels: Range<usize>, output: &mut [i8]) -> Option<()> {
        let Image { axes: [rows, columns], channels: all, .. } = *self.image;
        let positions = rows.output.checked_mul(columns.output)?;
        output.get(..positions.checked_mul(all)?)?;
        let Room { quads, bytes: Bytes(bytes) } = &mut *self.room;
        let (weights, planes) = bytes.split_at_mut_checked(channels.len().checked_mul(TAPS)?)?;
        let held = &Held { channels, quads, weights };
        let finish = &self.layer.finish;
        // SAFETY: all outputs are there, as just checked, and all pixels (`new`); parameters of these channels are
        // held, of rows that shift to the right, and no more than `cut` has planes for.
        unsafe { cut.run(self.image, finish, held, planes, output.as_mut_ptr()) }
    }

    /// The taps of a window, or `None` where they are too many, or too far from each other.
    #[inline(never)]
    fn taps<'t>(&self, taps: &'t mut [Taps; VECTORS]) -> Option<&'t mut [Taps]> {
        let Image { axes: [rows, columns], channels, .. } = self.image;
        // Of a model that was only trusted: windows are then not where `Axis` says.
        if rows.dilation == 0 || columns.dilation == 0 {
            return None;
        }
        let taps = taps.get_mut(..rows.size.wrapping_mul(columns.size).div_ceil(LANES))?;
        let mut each = taps.iter_mut().flat_map(|taps| &mut taps.offsets);
        for y in 0..rows.size {
            let mut pixel = y.wrapping_mul(rows.dilation).wrapping_mul(columns.input);
            for _ in 0..columns.size {
                *each.next()? = u16::try_from(pixel.checked_mul(*channels)?).ok()?;
                pixel = pixel.wrapping_add(columns.dilation);
            }
        }
        drop(each);
        Some(taps)
    }

    /// The outputs of the channels that are held, at all positions. `None` where there are too many taps or they
    /// are too far from each other.
    #[inline(never)]
    fn run(&mut self, channels: &Range<usize>, output: &mut [i8]) -> Option<()> {
        let Image { values, axes: [rows, columns], channels: all, zero_point } = *self.image;
        let finish = &self.layer.finish;
        let mut room = [Taps::NONE; VECTORS];
        let taps = self.taps(&mut room)?;
        let positions = rows.output.checked_mul(columns.output)?;
        // All outputs are there, and all pixels (`new`): what follows stays inside.
        output.get(..positions.checked_mul(all)?)?;
        let Room { quads, bytes: Bytes(weights) } = &*self.room;
        let mut task = Task {
            parameters: quads.as_ptr().cast(),
            weights: weights.as_ptr().cast(),
            quads: channels.len() / QUAD,
            x: values.as_ptr(),
            y: output.as_mut_ptr(),
            next: [0; 2],
            count: 1,
            // What is left over of a row's sixteens.
            beyond: self.row.wrapping_sub(taps.len().wrapping_mul(LANES)),
            taps: taps.as_ptr_range(),
            outside: zero_point.into(),
            zero_point: finish.zero_point.into(),
            min: finish.clamp.min.into(),
            max: finish.clamp.max.into(),
        };
        let (x, y) = (task.x.wrapping_add(channels.start), task.y.wrapping_add(channels.start));
        for (down, row_run) in rows.runs() {
            for (right, column_run) in columns.runs() {
                let inside = [row_run.taps.clone(), column_run.taps.clone()];
                let are_all = inside[0].len() == rows.size && inside[1].len() == columns.size;
                let kernel = match (self.are_right, are_all) {
                    (true, true) => inside_right,
                    (true, false) => edge_right,
                    (false, _) => edge_any,
                };
                mask(taps, columns.size, &inside);
                // The longer side of the positions that have these taps is the inner loop's.
                let is_high = row_run.count > column_run.count;
                let [lines, count] = if is_high {
                    [column_run.count, row_run.count]
                } else {
                    [row_run.count, column_run.count]
                };
                let steps = [rows, columns].map(|axis| axis.stride);
                let down_step = [steps[0].wrapping_mul(columns.input), columns.output];
                let right_step = [steps[1], 1];
                let [line, next] =
                    if is_high { [right_step, down_step] } else { [down_step, right_step] };
                let mut pixel = begin(&rows, down).wrapping_mul(columns.input);
                pixel = pixel.wrapping_add(begin(&columns, right));
                let mut position = down.wrapping_mul(columns.output).wrapping_add(right);
                task.next = next.map(|next| next.wrapping_mul(all));
                for _ in 0..lines {
                    task.x = x.wrapping_add(pixel.wrapping_mul(all));
                    task.y = y.wrapping_add(position.wrapping_mul(all));
                    task.count = count;
                    // SAFETY: there are whole fours of channels, whose parameters are held, and positions. Taps
                    // that aren't masked lead to pixels, which the image has, from the channels' first value on:
                    // all of them where windows are inside, else those that are inside of all windows of the
                    // runs. Each position has its outputs.
                    unsafe { kernel(&mut task) };
                    pixel = pixel.wrapping_add(line[0]);
                    position = position.wrapping_add(line[1]);
                }
            }
        }
        Some(())
    }
}

/// Where a window begins, before the image as well, wrapping.
fn begin(axis: &Axis, index: usize) -> usize {
    index.wrapping_mul(axis.stride).wrapping_sub(axis.padding)
}

/// What [`take_rows`] is told; it knows the order.
#[repr(C)]
struct Rows {
    to: *mut u8,
    from: *const u8,
    quads: *mut Quad,
    /// From a row to the next: to and from.
    pitches: [usize; 2],
    columns: usize,
    /// Fours of rows.
    count: usize,
    /// What the sum of a row is multiplied with, and added to its bias.
    offset: i32,
}

/// Copies up to sixteen weights of some rows, filled up with zeros, and adds what inputs' offset makes of them to
/// biases: 30 instructions for four rows.
///
/// # Safety
/// There are fours of rows, not none, and a quad for each. Each row has so many columns, not none, up to sixteen of
/// which can be read, and sixteen bytes to write, which may be the same. The core has access to its vectors.
// SAFETY: the body follows the C calling convention (the argument in r0; r4-r8, r10 and lr saved and restored, the
// stack as it was). Loads beyond the columns are masked.
#[unsafe(naked)]
unsafe extern "C" fn take_rows(rows: &Rows) {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        ".macro take_row sum",
        "vpst",
        "vldrbt.u8 q0, [r1]",
        "add r1, r1, r4",
        "vstrb.8 q0, [r0]",
        "add r0, r0, r3",
        "vaddv.s8 \\sum, q0",
        ".endm",
        "push {{r4-r8, r10, lr}}",
        "ldm r0, {{r0-r7}}",
        "vctp.8 r5",
        "dls lr, r6",
        "2:",
        "take_row r6",
        "take_row r8",
        "take_row r10",
        "take_row r12",
        "vmov q1[2], q1[0], r6, r10",
        "vmov q1[3], q1[1], r8, r12",
        "vldrw.u32 q0, [r2]",
        "vmla.i32 q0, q1, r7",
        "vstrw.32 q0, [r2], #48",
        "le lr, 2b",
        "pop {{r4-r8, r10, pc}}",
        ".purgem take_row",
    )
}

/// Masks all but these rows and columns of taps.
#[inline(never)]
fn mask(taps: &mut [Taps], width: usize, [rows, columns]: &[Range<usize>; 2]) {
    let ones = 1u64.wrapping_shl(columns.len() as u32).wrapping_sub(1);
    let first = rows.start.wrapping_mul(width).wrapping_add(columns.start);
    let mut row = ones.wrapping_shl(first as u32);
    let mut all = 0;
    for _ in rows.clone() {
        all |= row;
        row = row.wrapping_shl(width as u32);
    }
    for taps in taps {
        // Each bit twice.
        let mut bits = all as u32 & 0xFF;
        bits = (bits | bits << 4) & 0x0F0F;
        bits = (bits | bits << 2) & 0x3333;
        bits = (bits | bits << 1) & 0x5555;
        taps.mask = bits | bits << 1;
        all >>= LANES;
    }
}
