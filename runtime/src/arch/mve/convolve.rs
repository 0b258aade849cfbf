//! Convolutions with weights of bytes, in rows or in pairs of them: some rows at a time over all positions.
//!
//! Rows' parameters are put into vectors once, then three positions at a time are gathered, multiplied
//! with all of these rows and made outputs. Filters longer than a [`PIECE`] are gathered and multiplied in
//! pieces; there is no limit to their length or number. What lies in one row of pixels isn't gathered.

use core::mem::MaybeUninit;

use super::outputs::{self, outputs_any, outputs_right, raise};
use super::parameters::{Quad, hold};
use super::positions::{Pixels, Spots};
use super::products::{Six, Sums, pairs_are_bytes};
use super::weights::Calls;
use super::windows::{Patch, Window, Windows, fill};
use super::{PIECE, POSITIONS, QUAD};
use crate::format::{Layout, PAIR_BLOCK_ROWS};
use crate::ops::{Axis, Image, Layer};

/// Most rows at a time, a multiple of a block's, and fewer where sums are compared: less stack.
const ROWS: usize = 40;
const POOLED_ROWS: usize = 32;

/// Room for what is at hand of some rows; kernels write it before they read it.
struct Room<const QUADS: usize> {
    patches: [Patch; POSITIONS],
    biases: [[MaybeUninit<Six>; 2]; QUADS],
    sums: [[MaybeUninit<Six>; 2]; QUADS],
    quads: [MaybeUninit<Quad>; QUADS],
}

impl<const QUADS: usize> Room<QUADS> {
    #[inline(always)] // else it is made elsewhere and copied
    const fn new() -> Self {
        Self {
            patches: [const { [const { MaybeUninit::uninit() }; PIECE] }; POSITIONS],
            biases: [[const { MaybeUninit::uninit() }; 2]; QUADS],
            sums: [[const { MaybeUninit::uninit() }; 2]; QUADS],
            quads: [const { MaybeUninit::uninit() }; QUADS],
        }
    }
}

/// All values of an image, if they are there: sizes whose product fits no number have none.
fn all_values<'a>(image: &Image<'a>) -> Option<&'a [i8]> {
    let [rows, columns] = &image.axes;
    let count = rows.input.checked_mul(columns.input)?.checked_mul(image.channels)?;
    image.values.get(..count)
}

/// The outputs of a layer's rows at all positions; its rows may be some of `all`, from the `first` one
/// on. `None` where a weight is no byte, or values or weights are missing.
#[inline(never)]
pub(super) fn convolve(
    image: &Image<'_>,
    layer: &Layer<'_>,
    [first, all]: [usize; 2],
    output: &mut [i8],
) -> Option<()> {
    all_values(image)?;
    let mut room = Room::<{ ROWS / QUAD }>::new();
    let (mut sweep, sums) = Sweep::new(image, layer, &mut room);
    // Windows at the image's edge are slower, and wait for one another.
    let (mut inside, mut edge) = (Spots::default(), Spots::default());
    while sweep.next_rows(sums)? {
        let mut at = first.wrapping_add(sweep.start);
        for down in 0..sweep.windows.lines {
            let line = sweep.windows.line(down);
            let mut right = 0;
            while right < sweep.windows.positions {
                let window = sweep.windows.window(&line, right);
                let mut done = 1;
                if let Some(begin) = window.begin() {
                    let count = sweep.windows.inside.end.wrapping_sub(right);
                    let [_, next] = sweep.windows.next;
                    let both = [&mut *sums, &mut []];
                    done =
                        sweep.run::<false>([begin, next, count], [1; 2], [at, all], both, output);
                    if done == 0 {
                        inside.add(window, at);
                        done = 1;
                    }
                } else {
                    edge.add(window, at);
                }
                right = right.wrapping_add(done);
                at = at.wrapping_add(all.wrapping_mul(done));
                for spots in [&mut inside, &mut edge] {
                    if spots.count == POSITIONS {
                        sweep.finish(spots, sums, output);
                    }
                }
            }
        }
        for spots in [&mut inside, &mut edge] {
            if spots.count > 0 {
                sweep.finish(spots, sums, output);
            }
        }
    }
    sweep.is_exact()
}

/// The largest outputs in each window of a pooling, of rows that shift nothing to the left. `None` where a
/// weight is no byte, or values or weights are missing.
#[inline(never)]
pub(super) fn convolve_and_pool(
    image: &Image<'_>,
    layer: &Layer<'_>,
    pool: &[Axis; 2],
    output: &mut [i8],
) -> Option<()> {
    let [rows, columns] = pool;
    if rows.size == 0 || columns.size == 0 {
        return None;
    }
    all_values(image)?;
    let mut room = Room::<{ POOLED_ROWS / QUAD }>::new();
    let mut largest = [const { MaybeUninit::uninit() }; POOLED_ROWS / 2];
    let (mut sweep, sums) = Sweep::new(image, layer, &mut room);
    while sweep.next_rows(sums)? {
        let mut pixels = Pixels::default();
        let mut at = sweep.start;
        for down in 0..rows.output {
            let mut right = 0usize;
            while right < columns.output {
                let both = [&mut largest, &mut *sums];
                let done = sweep.pool_run(pool, [down, right], at, both, output);
                if done == 0 {
                    pixels.add(pool, [down, right], at);
                }
                right = right.wrapping_add(done.max(1));
                at = at.wrapping_add(layer.matrix.rows.wrapping_mul(done.max(1)));
                if pixels.count == POSITIONS {
                    sweep.pool(&mut pixels, [&mut largest, &mut *sums], output);
                }
            }
        }
        if pixels.count > 0 {
            sweep.pool(&mut pixels, [&mut largest, &mut *sums], output);
        }
    }
    sweep.is_exact()
}

/// Some rows at some positions.
struct Sweep<'a> {
    windows: Windows<'a>,
    layer: &'a Layer<'a>,
    offset: i32,
    patches: &'a mut [Patch; POSITIONS],
    biases: &'a mut Sums,
    quads: &'a mut [MaybeUninit<Quad>],
    /// Rows, from which on.
    start: usize,
    rows: usize,
    /// How they are multiplied: those of the first piece, if there is one piece.
    calls: Calls<'a>,
    /// Whether all rows shift to the right.
    are_right: bool,
}

impl<'a> Sweep<'a> {
    #[inline(always)]
    fn new<const QUADS: usize>(
        image: &'a Image<'a>,
        layer: &'a Layer<'a>,
        room: &'a mut Room<QUADS>,
    ) -> (Self, &'a mut Sums) {
        if layer.matrix.layout() == Layout::Pairs {
            // SAFETY: it changes a flag alone, which says no more what came before.
            unsafe { pairs_are_bytes() };
        }
        let Room { patches, biases, sums, quads } = room;
        let sweep = Self {
            windows: Windows::new(image),
            layer,
            offset: if layer.folded { 0 } else { -i32::from(image.zero_point) },
            patches,
            biases: biases.as_flattened_mut(),
            quads,
            start: 0,
            rows: 0,
            calls: Calls::default(),
            are_right: true,
        };
        (sweep, sums.as_flattened_mut())
    }

    /// Whether all weights were bytes.
    fn is_exact(&self) -> Option<()> {
        // SAFETY: it changes a flag alone.
        let is_exact =
            self.layer.matrix.layout() == Layout::RowMajor || unsafe { pairs_are_bytes() } != 0;
        is_exact.then_some(())
    }

    /// Takes the next rows, if there are any: their parameters, and what the inputs' offset adds. There is room
    /// for the sums of all of them. `None` where weights are missing.
    #[inline(never)]
    fn next_rows(&mut self, sums: &mut Sums) -> Option<bool> {
        self.start = self.start.wrapping_add(self.rows);
        let left = self.layer.matrix.rows.saturating_sub(self.start);
        let chunks = left.div_ceil(self.quads.len().wrapping_mul(QUAD).max(1)).max(1);
        self.rows = left.div_ceil(chunks).next_multiple_of(PAIR_BLOCK_ROWS).min(left);
        if self.rows == 0 {
            return Some(false);
        }
        self.calls.take(&self.layer.matrix, [self.start, self.rows])?;
        let (calls, mut are_aimed) = (&mut self.calls, Some(()));
        self.windows
            .for_few_pieces(&mut |piece| are_aimed = are_aimed.and_then(|()| calls.aim(piece)));
        are_aimed?;
        self.hold_parameters();
        if self.offset != 0 {
            self.fold(sums);
        }
        Some(true)
    }

    /// Puts parameters of the rows into vectors.
    fn hold_parameters(&mut self) {
        let (quads, shift) = hold(self.quads, &self.layer.finish, self.start, self.rows);
        self.are_right = shift < 0;
        let pairs = quads.iter().flat_map(|quad| quad.bias.as_chunks::<2>().0);
        for (six, &pair) in self.biases.iter_mut().zip(pairs) {
            six.write([pair; POSITIONS]);
        }
    }

    /// Adds offset·Σ w to the biases: what inputs of one make, times the offset.
    #[inline(never)]
    fn fold(&mut self, sums: &mut Sums) {
        let [ones, ..] = &mut *self.patches;
        fill(ones, 1);
        let pairs = self.rows.div_ceil(2);
        for sum in sums.iter_mut().take(pairs) {
            sum.write([[0; 2]; POSITIONS]);
        }
        let calls = &mut self.calls;
        self.windows.for_few_pieces(&mut |piece| {
            if calls.aim(piece).is_some() {
                // SAFETY: a piece has at most PIECE columns, and sums have a value.
                unsafe { calls.multiply_apart([ones.as_ptr().cast(); POSITIONS], None, sums) };
            }
        });
        for (bias, sum) in self.biases.iter_mut().zip(sums).take(pairs) {
            // SAFETY: `hold_parameters` has set those of all rows, and the loop above the sums.
            let ([sums, ..], [biases, ..]) =
                unsafe { (sum.assume_init_read(), bias.assume_init_read()) };
            let [a, b] = sums.map(|sum| sum.wrapping_mul(self.offset));
            bias.write([[biases[0].wrapping_add(a), biases[1].wrapping_add(b)]; POSITIONS]);
        }
    }

    /// The outputs at `count` neighbouring positions, `next` values apart, as far as they fall into threes, from
    /// a window inside the image on: that many. If `POOLS`, the largest ones of `size` positions from each on.
    #[inline(never)]
    fn run<const POOLS: bool>(
        &mut self,
        [begin, next, count]: [usize; 3],
        size: [usize; 2],
        [at, all]: [usize; 2],
        [largest, sums]: [&mut Sums; 2],
        output: &mut [i8],
    ) -> usize {
        let count = count.wrapping_sub(count % POSITIONS);
        let [below, beside] = self.windows.next;
        let [height, width] = size.map(|size| size.wrapping_sub(1));
        let last =
            begin.wrapping_add(height.wrapping_mul(below)).wrapping_add(width.wrapping_mul(beside));
        let first = self.windows.inside([begin; POSITIONS], count, next);
        let (Some([first, ..]), Some(_), Some(mut task)) = (
            first,
            self.windows.inside([last; POSITIONS], count, next),
            self.task([at; POSITIONS], [count, all], largest, output),
        ) else {
            return 0;
        };
        let kernel = if self.are_right { outputs_right } else { outputs_any };
        let threes = [0, next, next.wrapping_mul(2)];
        let mut places = threes.map(|next| first.wrapping_add(next));
        let [y, ..] = task.y;
        task.y = [0, all, all.wrapping_mul(2)].map(|next| y.wrapping_add(next));
        let step = next.wrapping_mul(POSITIONS);
        let output_step = all.wrapping_mul(POSITIONS);
        let words = self.words();
        for _ in 0..count / POSITIONS {
            // SAFETY: windows of `count` positions, from `begin` on and `next` apart, are inside the image, and those
            // of the last ones of a pooling, says `inside`; so many outputs of all rows are there, `all` apart,
            // says `task`. There is room for all rows' sums.
            unsafe {
                self.sum_inside(&places, largest);
                for y in 0..if POOLS { size[0] } else { 0 } {
                    for x in usize::from(y == 0)..size[1] {
                        let next = y.wrapping_mul(below).wrapping_add(x.wrapping_mul(beside));
                        self.sum_inside(&places.map(|place| place.wrapping_add(next)), sums);
                        raise(largest.as_mut_ptr().cast(), sums.as_ptr().cast(), words);
                    }
                }
                kernel(&task);
            }
            places = places.map(|place| place.wrapping_add(step));
            task.y = task.y.map(|y| y.wrapping_add(output_step));
        }
        count
    }

    /// As [`Self::run`], from a window of a pooling on: how many of them.
    #[inline(never)]
    fn pool_run(
        &mut self,
        [rows, columns]: &[Axis; 2],
        [down, right]: [usize; 2],
        at: usize,
        sums: [&mut Sums; 2],
        output: &mut [i8],
    ) -> usize {
        let size = [rows.size, columns.size];
        let find = || {
            let (top, left) = (rows.inside(down)?, columns.inside(right)?);
            let bottom = top.wrapping_add(rows.size).wrapping_sub(1);
            self.windows.position(bottom, left).begin()?;
            let begin = self.windows.position(top, left).begin()?;
            // What is left of the windows that are as wide as the kernel.
            let room = self.windows.inside.end.min(columns.input).wrapping_sub(left);
            let following = room.checked_sub(columns.size)?.checked_div(columns.stride)?;
            let count = following.wrapping_add(1).min(columns.output.wrapping_sub(right));
            Some([begin, columns.stride.wrapping_mul(self.windows.next[1]), count])
        };
        let Some(windows) = find() else { return 0 };
        self.run::<true>(windows, size, [at, self.layer.matrix.rows], sums, output)
    }

    /// The sums at three windows.
    #[inline(never)]
    fn sum(&mut self, windows: &[Window; POSITIONS], sums: &mut Sums) {
        let begins = windows.each_ref().map(|window| window.begin().unwrap_or(usize::MAX));
        if let Some(places) = self.windows.inside(begins, 1, 0) {
            // SAFETY: `inside` says so.
            unsafe { self.sum_inside(&places, sums) }
        } else {
            self.sum_edge(windows, sums);
        }
    }

    /// The sums at three windows inside the image.
    ///
    /// # Safety
    /// Windows inside the image begin at `places`.
    #[inline(never)]
    unsafe fn sum_inside(&mut self, places: &[*const i8; POSITIONS], sums: &mut Sums) {
        let (windows, piece) = (&self.windows, self.windows.first());
        let is_whole = piece.columns == self.layer.matrix.columns;
        if !is_whole && self.calls.aim(piece).is_none() {
            return;
        }
        // SAFETY: the caller says so, and `ordered` has as many values at each position as the piece has
        // columns, which the calls are aimed at (`next_rows`, if it is the only one); biases of all rows are set,
        // and there is room for as many sums.
        unsafe {
            let x = windows.ordered(piece, places, self.patches);
            self.calls.multiply(x, Some(self.biases), sums);
        }
        if !is_whole {
            // SAFETY: the caller says so.
            unsafe { self.sum_rest(places, sums) }
        }
    }

    /// Adds the sums of all pieces but the first.
    ///
    /// # Safety
    /// As [`Self::sum_inside`].
    #[inline(never)]
    unsafe fn sum_rest(&mut self, places: &[*const i8; POSITIONS], sums: &mut Sums) {
        let (patches, windows, calls) = (&mut *self.patches, &self.windows, &mut self.calls);
        windows.for_pieces(|piece| {
            if piece.start > 0 && calls.aim(piece).is_some() {
                // SAFETY: as above; the first piece has set the sums.
                unsafe {
                    let x = windows.ordered(piece, places, patches);
                    calls.multiply_apart(x, None, sums);
                }
            }
        });
    }

    /// The sums at three windows, of which some are partly beyond the image.
    #[inline(never)]
    fn sum_edge(&mut self, seen: &[Window; POSITIONS], sums: &mut Sums) {
        let (patches, biases) = (&mut *self.patches, &*self.biases);
        let (windows, calls) = (&self.windows, &mut self.calls);
        let mut init = Some(biases);
        windows.for_few_pieces(&mut |piece| {
            for (window, patch) in seen.iter().zip(&mut *patches) {
                windows.gather(piece, window, patch);
            }
            let x = patches.each_ref().map(|patch| patch.as_ptr().cast());
            if calls.aim(piece).is_some() {
                // SAFETY: a piece has at most PIECE columns; biases of all rows are set, there is room for as
                // many sums, and the first piece sets them.
                unsafe { calls.multiply_apart(x, init.take(), sums) };
            }
        });
    }

    /// Writes the outputs at some positions, of which there is one at least.
    #[inline(never)]
    fn finish(&mut self, spots: &mut Spots, sums: &mut Sums, output: &mut [i8]) {
        spots.count = 0;
        self.sum(&spots.windows, sums);
        self.write(&spots.places, sums, output);
    }

    /// Words of all rows' sums.
    fn words(&self) -> usize {
        self.rows.next_multiple_of(2).wrapping_mul(POSITIONS)
    }

    /// Writes the largest outputs of windows of a pooling, of which there is one at least.
    #[inline(never)]
    fn pool(&mut self, pixels: &mut Pixels, [largest, sums]: [&mut Sums; 2], output: &mut [i8]) {
        pixels.count = 0;
        let [[_, a], [_, b], [_, c]] = pixels.windows;
        let [down, right] = [a[0].max(b[0]).max(c[0]), a[1].max(b[1]).max(c[1])];
        if down == 0 || right == 0 {
            return;
        }
        for y in 0..down {
            for x in 0..right {
                let is_first = y == 0 && x == 0;
                let to = if is_first { &mut *largest } else { &mut *sums };
                // The last position of a smaller window is seen again.
                let windows = pixels.windows.map(|[[top, left], [rows, columns]]| {
                    let y = y.min(rows.wrapping_sub(1));
                    let x = x.min(columns.wrapping_sub(1));
                    self.windows.position(top.wrapping_add(y), left.wrapping_add(x))
                });
                self.sum(&windows, to);
                if !is_first {
                    let [largest, sums] = [largest.as_mut_ptr().cast(), sums.as_mut_ptr().cast()];
                    // SAFETY: there are rows, no more than there is room for in both, which the loop has set:
                    // `raise`'s conditions.
                    unsafe { raise(largest, sums, self.words()) }
                }
            }
        }
        self.write(&pixels.places, largest, output);
    }

    /// Writes the outputs of sums at three places.
    #[inline(never)]
    fn write(&self, places: &[usize; POSITIONS], sums: &Sums, output: &mut [i8]) {
        let Some(task) = self.task(*places, [1, 0], sums, output) else { return };
        let kernel = if self.are_right { outputs_right } else { outputs_any };
        // SAFETY: there are rows (`next_rows`), no more than there is room for, so that there are sums and
        // quads, which are set, and as many outputs at each position, says `task`: the kernels' conditions.
        unsafe { kernel(&task) }
    }

    /// What makes outputs of sums at three places, if the output has those of `count` positions, `next` apart,
    /// from each place on.
    #[inline(always)]
    fn task(
        &self,
        places: [usize; POSITIONS],
        [count, next]: [usize; 2],
        sums: &Sums,
        output: &mut [i8],
    ) -> Option<outputs::Task> {
        let finish = &self.layer.finish;
        let reach = count.checked_sub(1)?.checked_mul(next)?.checked_add(self.rows)?;
        let last = output.len().checked_sub(reach)?;
        let y = output.as_mut_ptr();
        places.iter().all(|&at| at <= last).then(|| outputs::Task {
            sums: sums.as_ptr().cast(),
            quads: self.quads.as_ptr().cast(),
            rows: self.rows,
            zero_point: finish.zero_point.into(),
            y: places.map(|at| y.wrapping_add(at)),
            min: finish.clamp.min.into(),
            max: finish.clamp.max.into(),
        })
    }
}
