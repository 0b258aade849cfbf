//! Depthwise convolutions of at most sixteen taps: all taps of a channel at once.
//!
//! Pixels' channels lie next to each other, so that a channel's taps are far apart. What a tile of positions sees
//! is therefore put together first, what is around the image included, in a plane for each four channels: pixel
//! after pixel, four bytes each, six instructions for those of sixteen channels. There, taps are no more than 255
//! bytes apart, and one instruction gathers all of a channel's: three instructions for its products, and 27 for
//! four outputs. Edges are no different from what is inside.

use core::arch::naked_asm;
use core::mem::{MaybeUninit, offset_of};
use core::ops::Range;

use super::QUAD;
use super::parameters::Quad;
use super::windows::fill;
use crate::arch::Finish;
use crate::ops::{Axis, Image};

/// Most taps.
pub(super) const TAPS: usize = 16;
/// Bytes of all planes, and of the weights of their channels.
pub(super) const BYTES: usize = 1920;
/// The farthest pixel of a window, from its first on: four bytes each, within a byte.
const FARTHEST: usize = 63;
/// Planes that are made at once where more would leave room for fewer rows: there, rows of 24 positions by 3 × 3 taps
/// are taken by twos.
const FEW: usize = 4;
/// Pixels that there is room for in each.
const FEW_PIXELS: usize = BYTES / FEW / QUAD - TAPS;

/// How a layer is cut into tiles.
pub(super) struct Cut {
    /// Planes at once.
    pub(super) quads: usize,
    /// Positions of a tile, down and across, and the pixels that they see.
    positions: [usize; 2],
    pixels: [usize; 2],
    /// Bytes from a window's first pixel to its taps.
    offsets: [u8; TAPS],
}

/// Channels whose parameters are held.
pub(super) struct Held<'a> {
    pub(super) channels: Range<usize>,
    pub(super) quads: &'a [MaybeUninit<Quad>],
    /// [`TAPS`] of each.
    pub(super) weights: &'a [MaybeUninit<u8>],
}

/// What the kernel is told; it knows the order of the first three.
#[repr(C)]
struct Task {
    parameters: *const Quad,
    weights: *const u8,
    quads: usize,
    /// The first position's window in the first plane, and its outputs.
    x: *const u8,
    y: *mut i8,
    /// Bytes of a plane.
    plane: usize,
    /// What is added behind a position, and behind a row of them.
    next: [usize; 2],
    next_row: [usize; 2],
    /// Bytes of a row of positions' outputs, and from one to the next.
    outputs: [usize; 2],
    rows: usize,
    offsets: [u8; TAPS],
    zero_point: i32,
    min: i32,
    max: i32,
}

/// What [`spread`] is told; it knows the order.
#[repr(C)]
struct Pixels {
    channels: usize,
    to: *mut u8,
    from: *const i8,
    plane: usize,
    size: [usize; 2],
    /// From a pixel to the next.
    pitch: usize,
    /// From behind a row to the next one: from and to.
    next: [usize; 2],
}

/// What some positions along an axis see.
struct Seen {
    /// Pixels before the image, those inside, from which on, and whether they are all.
    before: usize,
    inside: usize,
    from: usize,
    is_all: bool,
}

/// Pixels from a window's first to its last one.
fn reach(axis: &Axis) -> Option<usize> {
    axis.size.checked_sub(1)?.checked_mul(axis.dilation)?.checked_add(1)
}

/// Pixels that so many positions see.
#[inline(never)]
fn pixels(axis: &Axis, positions: usize) -> Option<usize> {
    positions.checked_sub(1)?.checked_mul(axis.stride)?.checked_add(reach(axis)?)
}

/// How many positions see no more than `pixels`, alike for all tiles.
#[inline(never)]
fn positions(axis: &Axis, pixels: usize) -> Option<usize> {
    let most = pixels.checked_sub(reach(axis)?)?.checked_div(axis.stride)?.wrapping_add(1);
    let tiles = axis.output.div_ceil(most.max(1)).max(1);
    Some(axis.output.div_ceil(tiles).max(1))
}

/// What so many positions of an axis see, from one on.
#[inline(never)]
fn seen(axis: &Axis, first: usize, count: usize) -> Option<Seen> {
    let begin = first.checked_mul(axis.stride)?;
    let all = pixels(axis, count)?;
    let from = begin.saturating_sub(axis.padding);
    let end = begin.checked_add(all)?.saturating_sub(axis.padding).min(axis.input);
    let inside = end.saturating_sub(from);
    let before = axis.padding.saturating_sub(begin);
    Some(Seen { before, inside, from, is_all: inside == all })
}

impl Cut {
    /// How tiles are cut, or `None` where windows have too many taps, or reach too far.
    #[inline(never)]
    pub(super) fn new([rows, columns]: &[Axis; 2], channels: usize, most: usize) -> Option<Self> {
        rows.size.checked_mul(columns.size).filter(|&taps| taps <= TAPS)?;
        let [high, wide] = [reach(rows)?, reach(columns)?];
        let across = FARTHEST.checked_sub(wide.wrapping_sub(1))?;
        let across = across.checked_div(high.wrapping_sub(1)).unwrap_or(usize::MAX);
        let across = positions(columns, across.min(FEW_PIXELS.checked_div(high)?))?;
        let wide = pixels(columns, across)?;
        // The whole of planes if there is room for that, and their weights.
        let whole = pixels(rows, rows.output)?.checked_mul(wide)?.checked_add(TAPS)?;
        let most = (BYTES / QUAD).checked_div(whole)?.min(most / QUAD).max(FEW);
        let quads = channels / QUAD;
        let quads = quads.div_ceil(quads.div_ceil(most).max(1));
        let room = (BYTES / QUAD).checked_div(quads)?.checked_sub(TAPS)?;
        let down = positions(rows, room.checked_div(wide)?)?;
        let mut offsets = [0; TAPS];
        let mut to = offsets.iter_mut();
        for y in 0..rows.size {
            let mut pixel = y.wrapping_mul(rows.dilation).wrapping_mul(wide);
            for to in to.by_ref().take(columns.size) {
                *to = pixel.wrapping_mul(QUAD) as u8;
                pixel = pixel.wrapping_add(columns.dilation);
            }
        }
        Some(Self {
            quads,
            positions: [down, across],
            pixels: [pixels(rows, down)?, wide],
            offsets,
        })
    }

    /// The outputs of the channels that are held, at all positions.
    ///
    /// # Safety
    /// The image has all of its pixels, and `output` all positions' outputs, of as many channels. Parameters of
    /// whole fours of channels are held, of rows that shift to the right, no more of them than [`Self::quads`].
    #[inline(never)]
    pub(super) unsafe fn run(
        &self,
        image: &Image<'_>,
        finish: &Finish<'_>,
        held: &Held<'_>,
        planes: &mut [MaybeUninit<u8>],
        output: *mut i8,
    ) -> Option<()> {
        let Image { axes: [rows, columns], channels, .. } = *image;
        let [high, wide] = self.pixels;
        let [start, quads] = [held.channels.start, held.channels.len() / QUAD];
        let plane = high.checked_mul(wide)?.checked_mul(QUAD)?;
        let planes = planes.get_mut(..plane.checked_mul(quads)?)?;
        let line = columns.output.wrapping_mul(channels);
        let mut task = Task {
            parameters: held.quads.as_ptr().cast(),
            weights: held.weights.as_ptr().cast(),
            quads,
            x: planes.as_ptr().cast(),
            y: output,
            plane,
            next: [
                columns.stride.wrapping_mul(QUAD).wrapping_sub(plane.wrapping_mul(quads)),
                channels.wrapping_sub(quads.wrapping_mul(QUAD)),
            ],
            next_row: [0; 2],
            outputs: [0, line],
            rows: 0,
            offsets: self.offsets,
            zero_point: finish.zero_point.into(),
            min: finish.clamp.min.into(),
            max: finish.clamp.max.into(),
        };
        let mut down = 0;
        while down < rows.output {
            let count = self.positions[0].min(rows.output.wrapping_sub(down));
            let vertical = seen(&rows, down, count)?;
            task.rows = count;
            let mut right = 0;
            while right < columns.output {
                let count = self.positions[1].min(columns.output.wrapping_sub(right));
                let horizontal = seen(&columns, right, count)?;
                if !(vertical.is_all && horizontal.is_all) {
                    fill(planes, image.zero_point);
                }
                // SAFETY: the image has all pixels, says the caller.
                unsafe { self.copy(image, [&vertical, &horizontal], &held.channels, planes) }
                let position = down.wrapping_mul(columns.output).wrapping_add(right);
                task.y = output.wrapping_add(position.wrapping_mul(channels).wrapping_add(start));
                let across = count.wrapping_mul(channels);
                task.outputs[0] = across;
                let steps = [rows.stride.wrapping_mul(wide), count.wrapping_mul(columns.stride)];
                task.next_row =
                    [steps[0].wrapping_sub(steps[1]).wrapping_mul(QUAD), line.wrapping_sub(across)];
                // SAFETY: channels' parameters are held and the output has all positions, says the caller; planes
                // have all pixels that these positions see.
                unsafe { outputs(&task) }
                right = right.wrapping_add(self.positions[1].max(1));
            }
            down = down.wrapping_add(self.positions[0].max(1));
        }
        Some(())
    }

    /// Copies what of the image a tile sees of some channels, whole fours of them, to planes that have room for them.
    ///
    /// # Safety
    /// The image has all of its pixels.
    #[inline(never)]
    unsafe fn copy(
        &self,
        image: &Image<'_>,
        [vertical, horizontal]: [&Seen; 2],
        some: &Range<usize>,
        planes: &mut [MaybeUninit<u8>],
    ) {
        if vertical.inside == 0 || horizontal.inside == 0 {
            return;
        }
        let Image { values, axes: [_, columns], channels, .. } = image;
        let [high, wide] = self.pixels;
        let pixel = vertical.from.wrapping_mul(columns.input).wrapping_add(horizontal.from);
        let to = vertical.before.wrapping_mul(wide).wrapping_add(horizontal.before);
        let row = columns.input.wrapping_sub(horizontal.inside);
        let task = Pixels {
            channels: some.len(),
            to: planes.as_mut_ptr().cast::<u8>().wrapping_add(to.wrapping_mul(QUAD)),
            from: values
                .as_ptr()
                .wrapping_add(pixel.wrapping_mul(*channels).wrapping_add(some.start)),
            plane: high.wrapping_mul(wide).wrapping_mul(QUAD),
            size: [horizontal.inside, vertical.inside],
            pitch: *channels,
            next: [
                row.wrapping_mul(*channels),
                wide.wrapping_sub(horizontal.inside).wrapping_mul(QUAD),
            ],
        };
        // SAFETY: there are channels and pixels, those that `Seen` has found inside, which the image has, says the
        // caller; with those before they are no more than a plane has, and there are as many planes as fours of
        // channels (`run`).
        unsafe { spread(&task) }
    }
}

/// Copies pixels to planes.
///
/// # Safety
/// There are channels, whole fours of them, and rows and columns of pixels, whose bytes can be read; planes of as
/// many fours can be written, on words, and don't overlap them. The core has access to its vectors.
// SAFETY: the body follows the C calling convention (the argument in r0; r4-r11 and lr saved and restored, the
// stack as it was). Loads and stores beyond the channels are masked.
#[unsafe(naked)]
unsafe extern "C" fn spread(task: &Pixels) {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        "push {{r4-r11, lr}}",
        "movs r2, #0",
        "vidup.u32 q1, r2, #1",
        "ldm r0, {{r0-r8}}",
        "vmul.i32 q1, q1, r3",
        "1:", // sixteen channels
        "vctp.8 r0",
        "mov r9, r1",
        "mov r10, r2",
        "mov r11, r5",
        "2:", // a row
        "dls lr, r4",
        "3:",
        "vpstt",
        "vldrbt.u8 q0, [r10]",
        "vstrwt.32 q0, [r9, q1]",
        "add r10, r10, r6",
        "adds r9, #4",
        "le lr, 3b",
        "add r10, r10, r7",
        "add r9, r9, r8",
        "subs r11, #1",
        "bne 2b",
        "add r1, r1, r3, lsl #2",
        "adds r2, #16",
        "subs r0, #16",
        "bhi 1b",
        "pop {{r4-r11, pc}}",
    )
}

/// Outputs of positions that planes were made for.
///
/// # Safety
/// `task` has parameters of its quads of channels, which aren't none, of rows that shift to the right, and as many
/// planes; rows of positions, whose windows they have, and whose outputs can be written. The core has access to
/// its vectors.
// SAFETY: the body follows the C calling convention (the argument in r0; r4-r11, lr and q4-q7 saved and restored,
// the stack as it was). Each turn takes four channels: it reads sixteen bytes of a plane for each, those of its taps
// or the first one's, and of its weights, and a quad, and writes four outputs.
#[unsafe(naked)]
unsafe extern "C" fn outputs(task: &Task) {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        ".macro plane_products sum, taps",
        "vldrb.u8 q0, [r1, \\taps]",
        "vldrb.u8 q1, [r5], #16",
        "vmladava.s8 \\sum, q0, q1",
        ".endm",
        "push {{r4-r11, lr}}",
        "vpush {{d8-d15}}",
        "mov r11, r0",
        "ldrd r4, r6, [r11, #{min}]",
        "vdup.32 q2, r4", "vdup.32 q3, r6",
        "ldr r2, [r11, #{zero_point}]",
        "add r4, r11, #{offsets}",
        "vldrb.u8 q4, [r4]",
        "movs r4, #1",
        "vadd.i8 q5, q4, r4", "vadd.i8 q6, q5, r4", "vadd.i8 q7, q6, r4",
        "ldrd r1, r0, [r11, #{x}]",
        "ldrd r12, r7, [r11, #{plane}]",
        "ldr r9, [r11, #{rows}]",
        "1:", // a row of positions
        "push {{r9}}",
        "ldr r9, [r11, #{outputs}]",
        "add r9, r9, r0",
        "2:", // a position
        "ldm r11, {{r3, r5, lr}}",
        "3:", // four channels
        "ldm r3!, {{r4, r6, r8, r10}}",
        "plane_products r4, q4", "plane_products r6, q5",
        "plane_products r8, q6", "plane_products r10, q7",
        "add r1, r1, r12",
        "vmov q0[2], q0[0], r4, r8", "vmov q0[3], q0[1], r6, r10",
        "vldrw.u32 q1, [r3], #16",
        "vqrdmulh.s32 q0, q0, q1", // as in `outputs`
        "vshr.s32 q1, q0, #31",
        "vqadd.s32 q0, q0, q1",
        "vldrw.u32 q1, [r3], #16",
        "vrshl.s32 q0, q0, q1",
        "vqadd.s32 q0, q0, r2",
        "vmax.s32 q0, q0, q2",
        "vmin.s32 q0, q0, q3",
        "vstrb.32 q0, [r0], #4",
        "le lr, 3b",
        "ldr r4, [r11, #{next_y}]",
        "add r1, r1, r7",
        "add r0, r0, r4",
        "cmp r0, r9",
        "bne 2b",
        "ldrd r4, r6, [r11, #{next_row}]",
        "add r1, r1, r4",
        "add r0, r0, r6",
        "pop {{r9}}",
        "subs r9, #1",
        "bne 1b",
        "vpop {{d8-d15}}",
        "pop {{r4-r11, pc}}",
        ".purgem plane_products",
        min = const offset_of!(Task, min), zero_point = const offset_of!(Task, zero_point),
        offsets = const offset_of!(Task, offsets), x = const offset_of!(Task, x),
        plane = const offset_of!(Task, plane), rows = const offset_of!(Task, rows),
        outputs = const offset_of!(Task, outputs), next_y = const offset_of!(Task, next) + 4,
        next_row = const offset_of!(Task, next_row),
    )
}
