//! Convolutions with weights of bytes, in rows or in pairs of them: some rows at a time over all positions.
//!
//! Rows' parameters are put into vectors once, then three positions at a time are gathered, multiplied
//! with all of these rows and made outputs. Filters longer than a [`PIECE`] are gathered and multiplied in
//! pieces; there is no limit to their length or number. What lies in one row of pixels isn't gathered.

use super::outputs::{self, outputs_any, outputs_right, raise};
use super::parameters::{Quad, hold};
use super::products::Six;
use super::weights::{Calls, ZERO};
use super::windows::{Window, Windows, fill};
use super::{PIECE, POSITIONS, QUAD};
use crate::format::PAIR_BLOCK_ROWS;
use crate::ops::{Axis, Image, Layer};

/// Most rows at a time, a multiple of a block's, and fewer where sums are compared: less stack.
const ROWS: usize = 40;
const POOLED_ROWS: usize = 32;

/// Room for what is at hand of some rows.
struct Room<const QUADS: usize> {
    patches: [[i8; PIECE]; POSITIONS],
    biases: [[Six; 2]; QUADS],
    sums: [[Six; 2]; QUADS],
    quads: [Quad; QUADS],
}

impl<const QUADS: usize> Room<QUADS> {
    #[inline(always)] // else it is made elsewhere and copied
    const fn new() -> Self {
        Self {
            patches: [[0; PIECE]; POSITIONS],
            biases: [[ZERO; 2]; QUADS],
            sums: [[ZERO; 2]; QUADS],
            quads: [Quad::ZERO; QUADS],
        }
    }
}

/// The outputs of a layer's rows at all positions; its rows may be some of `all`, from the `first` one
/// on. False where a weight is no byte.
#[inline(never)]
pub(super) fn convolve(
    image: &Image<'_>,
    layer: &Layer<'_>,
    [first, all]: [usize; 2],
    output: &mut [i8],
) -> bool {
    let mut room = Room::<{ ROWS / QUAD }>::new();
    let (mut sweep, sums) = Sweep::new(image, layer, &mut room);
    // Windows at the image's edge are slower, and wait for one another.
    let (mut inside, mut edge) = (Spots::default(), Spots::default());
    while sweep.next_rows(sums) {
        let mut at = first.wrapping_add(sweep.start);
        for down in 0..sweep.windows.lines {
            let line = sweep.windows.line(down);
            let mut right = 0;
            while right < sweep.windows.positions {
                let window = sweep.windows.window(&line, right);
                let mut done = 1;
                if let Some(begin) = window.begin() {
                    let count = sweep.windows.inside.end.wrapping_sub(right);
                    done = sweep.run(begin, count, [at, all], sums, output);
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
        if !sweep.is_exact {
            return false;
        }
    }
    true
}

/// The largest outputs in each window of a pooling, of rows that shift nothing to the left. False where a
/// weight is no byte.
#[inline(never)]
pub(super) fn convolve_and_pool(
    image: &Image<'_>,
    layer: &Layer<'_>,
    pool: &[Axis; 2],
    output: &mut [i8],
) -> bool {
    let mut room = Room::<{ POOLED_ROWS / QUAD }>::new();
    let mut largest = [ZERO; POOLED_ROWS / 2];
    let (mut sweep, sums) = Sweep::new(image, layer, &mut room);
    let [rows, columns] = pool;
    while sweep.next_rows(sums) {
        let mut pixels = Pixels::default();
        let mut at = sweep.start;
        for down in 0..rows.output {
            for right in 0..columns.output {
                pixels.add(pool, [down, right], at);
                at = at.wrapping_add(layer.matrix.rows);
                if pixels.count == POSITIONS {
                    sweep.pool(&mut pixels, [&mut largest, &mut *sums], output);
                }
            }
        }
        if pixels.count > 0 {
            sweep.pool(&mut pixels, [&mut largest, &mut *sums], output);
        }
        if !sweep.is_exact {
            return false;
        }
    }
    true
}

/// Positions at once, and where their outputs begin.
#[derive(Default)]
struct Spots {
    windows: [Window; POSITIONS],
    places: [usize; POSITIONS],
    count: usize,
}

impl Spots {
    /// Adds a position. Those that won't be there are as the first one.
    #[inline(always)]
    fn add(&mut self, window: Window, at: usize) {
        if self.count == 0 {
            (self.windows, self.places) = ([window; POSITIONS], [at; POSITIONS]);
        } else if let (Some(to), Some(place)) =
            (self.windows.get_mut(self.count), self.places.get_mut(self.count))
        {
            (*to, *place) = (window, at);
        }
        self.count = self.count.wrapping_add(1);
    }
}

/// Windows of a pooling whose largest outputs are made at once.
#[derive(Default)]
struct Pixels {
    /// The position that each begins with, and how many there are, down and right.
    windows: [[[usize; 2]; 2]; POSITIONS],
    places: [usize; POSITIONS],
    count: usize,
}

impl Pixels {
    /// Adds a window. Those that won't be there are as the last one.
    #[inline(always)]
    fn add(&mut self, [rows, columns]: &[Axis; 2], [down, right]: [usize; 2], at: usize) {
        let ((down, top), (right, left)) = (rows.taps(down), columns.taps(right));
        let window = [[top, left], [down.len(), right.len()]];
        for (to, place) in self.windows.iter_mut().zip(&mut self.places).skip(self.count) {
            (*to, *place) = (window, at);
        }
        self.count = self.count.wrapping_add(1);
    }
}

/// Some rows at some positions.
struct Sweep<'a> {
    windows: Windows<'a>,
    layer: &'a Layer<'a>,
    offset: i32,
    patches: &'a mut [[i8; PIECE]; POSITIONS],
    biases: &'a mut [Six],
    quads: &'a mut [Quad],
    /// Rows, from which on.
    start: usize,
    rows: usize,
    /// How the first piece is multiplied.
    calls: Calls<'a>,
    /// Whether all rows shift to the right.
    are_right: bool,
    /// Whether all weights were bytes.
    is_exact: bool,
}

impl<'a> Sweep<'a> {
    #[inline(always)]
    fn new<const QUADS: usize>(
        image: &'a Image<'a>,
        layer: &'a Layer<'a>,
        room: &'a mut Room<QUADS>,
    ) -> (Self, &'a mut [Six]) {
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
            is_exact: true,
        };
        (sweep, sums.as_flattened_mut())
    }

    /// Takes the next rows, if there are any: their parameters, and what the inputs' offset adds.
    #[inline(never)]
    fn next_rows(&mut self, sums: &mut [Six]) -> bool {
        self.start = self.start.wrapping_add(self.rows);
        let left = self.layer.matrix.rows.saturating_sub(self.start);
        let chunks = left.div_ceil(self.quads.len().wrapping_mul(QUAD).max(1)).max(1);
        self.rows = left.div_ceil(chunks).next_multiple_of(PAIR_BLOCK_ROWS).min(left);
        if self.rows == 0 {
            return false;
        }
        self.hold_parameters();
        self.calls = Calls::of(&self.layer.matrix, [self.start, self.rows]);
        if self.offset != 0 {
            self.fold(sums);
        }
        true
    }

    /// Puts parameters of the rows into vectors.
    fn hold_parameters(&mut self) {
        self.are_right = hold(self.quads, &self.layer.finish, self.start, self.rows) < 0;
        let pairs = self.quads.iter().flat_map(|quad| quad.bias.as_chunks::<2>().0);
        for (six, &pair) in self.biases.iter_mut().zip(pairs) {
            *six = [pair; POSITIONS];
        }
    }

    /// Adds offset·Σ w to the biases: what inputs of one make, times the offset.
    #[inline(never)]
    fn fold(&mut self, sums: &mut [Six]) {
        let [ones, ..] = &mut *self.patches;
        fill(ones, 1);
        sums.fill(ZERO);
        let (calls, mut is_exact) = (&self.calls, true);
        self.windows.for_pieces(|piece| {
            // SAFETY: a piece has at most PIECE columns.
            is_exact &=
                unsafe { calls.multiply_apart(piece, [ones.as_ptr(); POSITIONS], None, sums) };
        });
        self.is_exact &= is_exact;
        let sums = sums.as_flattened().iter().flatten();
        for (bias, sum) in self.biases.as_flattened_mut().iter_mut().flatten().zip(sums) {
            *bias = bias.wrapping_add(sum.wrapping_mul(self.offset));
        }
    }

    /// The outputs at `count` neighbouring positions, as far as they fall into threes, from a window inside
    /// the image on: that many.
    #[inline(never)]
    fn run(
        &mut self,
        begin: usize,
        count: usize,
        [at, all]: [usize; 2],
        sums: &mut [Six],
        output: &mut [i8],
    ) -> usize {
        let count = count.wrapping_sub(count % POSITIONS);
        let [_, next] = self.windows.next;
        let threes = [0, next, next.wrapping_mul(2)];
        let first = self.windows.inside([begin; POSITIONS], count, next);
        let places = [at; POSITIONS];
        let (Some([first, ..]), Some(mut task)) =
            (first, self.task(places, [count, all], sums, output))
        else {
            return 0;
        };
        let kernel = if self.are_right { outputs_right } else { outputs_any };
        let mut places = threes.map(|next| first.wrapping_add(next));
        let [y, ..] = task.y;
        task.y = [0, all, all.wrapping_mul(2)].map(|next| y.wrapping_add(next));
        let step = next.wrapping_mul(POSITIONS);
        let output_step = all.wrapping_mul(POSITIONS);
        for _ in 0..count / POSITIONS {
            // SAFETY: windows of `count` positions, from `begin` on and `next` apart, are inside the image, says
            // `inside`, and so many outputs of all rows are there, `all` apart, says `task`.
            unsafe {
                self.sum_inside(&places, sums);
                kernel(&task);
            }
            places = places.map(|place| place.wrapping_add(step));
            task.y = task.y.map(|y| y.wrapping_add(output_step));
        }
        count
    }

    /// The sums at three windows.
    #[inline(never)]
    fn sum(&mut self, windows: &[Window; POSITIONS], sums: &mut [Six]) {
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
    unsafe fn sum_inside(&mut self, places: &[*const i8; POSITIONS], sums: &mut [Six]) {
        let (windows, piece) = (&self.windows, self.windows.first());
        // SAFETY: the caller says so, and `ordered` has as many values at each position as the piece has
        // columns.
        self.is_exact &= unsafe {
            let x = windows.ordered(piece, places, self.patches);
            self.calls.multiply(piece, x, Some(self.biases), sums)
        };
        if piece.columns < self.layer.matrix.columns {
            // SAFETY: the caller says so.
            unsafe { self.sum_rest(places, sums) }
        }
    }

    /// Adds the sums of all pieces but the first.
    ///
    /// # Safety
    /// As [`Self::sum_inside`].
    #[inline(never)]
    unsafe fn sum_rest(&mut self, places: &[*const i8; POSITIONS], sums: &mut [Six]) {
        let (patches, windows, calls) = (&mut *self.patches, &self.windows, &self.calls);
        let mut is_exact = true;
        windows.for_pieces(|piece| {
            if piece.start > 0 {
                // SAFETY: as above.
                is_exact &= unsafe {
                    let x = windows.ordered(piece, places, patches);
                    calls.multiply_apart(piece, x, None, sums)
                };
            }
        });
        self.is_exact &= is_exact;
    }

    /// The sums at three windows, of which some are partly beyond the image.
    #[inline(never)]
    fn sum_edge(&mut self, seen: &[Window; POSITIONS], sums: &mut [Six]) {
        let (patches, biases) = (&mut *self.patches, &*self.biases);
        let (windows, calls, mut is_exact) = (&self.windows, &self.calls, true);
        let mut init = Some(biases);
        windows.for_pieces(|piece| {
            for (window, patch) in seen.iter().zip(&mut *patches) {
                windows.gather(piece, window, patch);
            }
            let x = patches.each_ref().map(|patch| patch.as_ptr());
            // SAFETY: a piece has at most PIECE columns.
            is_exact &= unsafe { calls.multiply_apart(piece, x, init.take(), sums) };
        });
        self.is_exact &= is_exact;
    }

    /// Writes the outputs at some positions, of which there is one at least.
    #[inline(never)]
    fn finish(&mut self, spots: &mut Spots, sums: &mut [Six], output: &mut [i8]) {
        spots.count = 0;
        self.sum(&spots.windows, sums);
        self.write(&spots.places, sums, output);
    }

    /// Writes the largest outputs of windows of a pooling, of which there is one at least.
    #[inline(never)]
    fn pool(&mut self, pixels: &mut Pixels, [largest, sums]: [&mut [Six]; 2], output: &mut [i8]) {
        pixels.count = 0;
        let [[_, a], [_, b], [_, c]] = pixels.windows;
        let [down, right] = [a[0].max(b[0]).max(c[0]), a[1].max(b[1]).max(c[1])];
        let words = self.rows.next_multiple_of(2).wrapping_mul(POSITIONS);
        let words = words.min(largest.len().min(sums.len()).wrapping_mul(2 * POSITIONS));
        let inside = self.pool_inside(&pixels.windows);
        for y in 0..down {
            for x in 0..right {
                let is_first = y == 0 && x == 0;
                let to = if is_first { &mut *largest } else { &mut *sums };
                if let Some(places) = inside {
                    let [down, right] = self.windows.next;
                    let next = y.wrapping_mul(down).wrapping_add(x.wrapping_mul(right));
                    // SAFETY: the windows at all of the poolings' positions are inside, says `pool_inside`.
                    unsafe { self.sum_inside(&places.map(|place| place.wrapping_add(next)), to) }
                } else {
                    // The last position of a smaller window is seen again.
                    let windows = pixels.windows.map(|[[top, left], [rows, columns]]| {
                        let y = y.min(rows.wrapping_sub(1));
                        let x = x.min(columns.wrapping_sub(1));
                        self.windows.position(top.wrapping_add(y), left.wrapping_add(x))
                    });
                    self.sum(&windows, to);
                }
                if !is_first {
                    // SAFETY: there are rows, no more than there is room for in both: `raise`'s conditions.
                    unsafe { raise(largest.as_mut_ptr(), sums.as_ptr(), words) }
                }
            }
        }
        self.write(&pixels.places, largest, output);
    }

    /// Where the windows at the first positions begin, if these windows of a pooling are alike and those at
    /// all of their positions are inside the image.
    #[inline(never)]
    fn pool_inside(
        &self,
        windows: &[[[usize; 2]; 2]; POSITIONS],
    ) -> Option<[*const i8; POSITIONS]> {
        let [[_, size], ..] = windows;
        let [mut first, mut last] = [[0; POSITIONS]; 2];
        for ((first, last), [[top, left], rows]) in first.iter_mut().zip(&mut last).zip(windows) {
            let [bottom, right] = [(top, rows[0]), (left, rows[1])]
                .map(|(first, count)| first.wrapping_add(count).wrapping_sub(1));
            *last = self.windows.position(bottom, right).begin().filter(|_| rows == size)?;
            *first = self.windows.position(*top, *left).begin()?;
        }
        self.windows.inside(last, 1, 0)?;
        self.windows.inside(first, 1, 0)
    }

    /// Writes the outputs of sums at three places.
    #[inline(never)]
    fn write(&self, places: &[usize; POSITIONS], sums: &[Six], output: &mut [i8]) {
        let Some(task) = self.task(*places, [1, 0], sums, output) else { return };
        let kernel = if self.are_right { outputs_right } else { outputs_any };
        // SAFETY: there are rows (`next_rows`), no more than there is room for, so that there are sums and
        // quads, and as many outputs at each position, says `task`: the kernels' conditions.
        unsafe { kernel(&task) }
    }

    /// What makes outputs of sums at three places, if the output has those of `count` positions, `next` apart,
    /// from each place on.
    #[inline(always)]
    fn task(
        &self,
        places: [usize; POSITIONS],
        [count, next]: [usize; 2],
        sums: &[Six],
        output: &mut [i8],
    ) -> Option<outputs::Task> {
        let finish = &self.layer.finish;
        let reach = count.checked_sub(1)?.checked_mul(next)?.checked_add(self.rows)?;
        let last = output.len().checked_sub(reach)?;
        let y = output.as_mut_ptr();
        places.iter().all(|&at| at <= last).then(|| outputs::Task {
            sums: sums.as_ptr(),
            quads: self.quads.as_ptr(),
            rows: self.rows,
            zero_point: finish.zero_point.into(),
            y: places.map(|at| y.wrapping_add(at)),
            min: finish.clamp.min.into(),
            max: finish.clamp.max.into(),
        })
    }
}
