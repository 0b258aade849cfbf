//! Windows of convolutions and poolings, and the poolings.

use super::convert::Converter;
use super::site::{Activation, Site};
use crate::graph::Window;
use crate::graph::ops::{AvgPool2d, MaxPool2d, Op, Pad};
use crate::import::ImportError;

/// Attributes of a window along both axes; sequences are images of height 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Geometry {
    size: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    padding: Border,
    /// Whether windows that reach beyond the end count.
    partial: bool,
}

#[derive(Clone, Copy, Debug)]
enum Border {
    /// Above and to the left, below and to the right.
    Explicit([usize; 2], [usize; 2]),
    /// As much as makes ⌈size / stride⌉ windows; the odd one before or behind.
    Same { odd_before: bool },
}

impl Geometry {
    /// Of a window with these taps.
    pub(super) fn new(site: &Site<'_>, taps: &[usize]) -> Result<Self, ImportError> {
        let axes = taps.len();
        let rank_error = || site.shape_error("attributes of a window have another rank", &[taps]);
        if let Some(kernel) = site.ints("kernel_shape")
            && !kernel
                .iter()
                .map(|&size| usize::try_from(size).ok())
                .eq(taps.iter().map(|&t| Some(t)))
        {
            return Err(rank_error());
        }
        let pair = |numbers: &[i64], from: usize, least: i64, fill: usize| {
            let numbers = numbers.get(from..from + axes).ok_or_else(rank_error)?;
            let mut pair = [fill; 2];
            for (to, &number) in pair[2 - axes..].iter_mut().zip(numbers) {
                if number < least || number > i64::from(u16::MAX) {
                    return Err(site.unsupported("an attribute of its window", number, LIMITS));
                }
                *to = number as usize;
            }
            Ok(pair)
        };
        let ones = vec![1; axes];
        let steps = |name| pair(site.ints(name).unwrap_or(&ones), 0, 1, 1);
        let zeros = vec![0; 2 * axes];
        let pads = site.ints("pads").unwrap_or(&zeros);
        if pads.len() != 2 * axes {
            return Err(rank_error());
        }
        let padding = match site.text("auto_pad").as_deref() {
            None | Some("" | "NOTSET") => {
                Border::Explicit(pair(pads, 0, 0, 0)?, pair(pads, axes, 0, 0)?)
            }
            Some("VALID") => Border::Explicit([0; 2], [0; 2]),
            Some("SAME_UPPER") => Border::Same { odd_before: false },
            Some("SAME_LOWER") => Border::Same { odd_before: true },
            Some(other) => {
                let supported = "NOTSET, VALID, SAME_UPPER or SAME_LOWER";
                return Err(site.unsupported("auto_pad", other, supported));
            }
        };
        let mut size = [1; 2];
        size[2 - axes..].copy_from_slice(taps);
        if size.contains(&0) || size.iter().any(|&size| size > usize::from(u16::MAX)) {
            return Err(site.unsupported("the kernel", format!("{taps:?}"), LIMITS));
        }
        let partial = site.int("ceil_mode", 0) != 0;
        Ok(Self {
            size,
            stride: steps("strides")?,
            dilation: steps("dilations")?,
            padding,
            partial,
        })
    }

    /// Where the windows along an axis of this length are. One that would start in the border behind
    /// the image doesn't exist.
    fn along(&self, axis: usize, len: usize) -> Along {
        let extent = (self.size[axis] - 1) * self.dilation[axis] + 1;
        let stride = self.stride[axis];
        let (before, after) = match self.padding {
            Border::Explicit(before, after) => (before[axis], after[axis]),
            Border::Same { odd_before } => {
                let sum = ((len.div_ceil(stride) - 1) * stride + extent).saturating_sub(len);
                let half = sum / 2;
                if odd_before { (sum - half, half) } else { (half, sum - half) }
            }
        };
        let Some(room) = (len + before + after).checked_sub(extent) else {
            return Along { before, after, count: 0 };
        };
        let mut count = room / stride + 1;
        if self.partial && !room.is_multiple_of(stride) && count * stride < len + before {
            count += 1;
        }
        Along { before, after, count }
    }

    fn window(&self, places: [Along; 2]) -> Window {
        let padding = places.map(|place| place.before);
        Window { size: self.size, stride: self.stride, dilation: self.dilation, padding }
    }

    /// The windows of an image of these sides.
    fn places(&self, site: &Site<'_>, dims: &[usize]) -> Result<[Along; 2], ImportError> {
        let sides = sides(dims);
        let places = [self.along(0, sides[0]), self.along(1, sides[1])];
        if places.iter().any(|place| place.count == 0) {
            return Err(site.shape_error("no window fits", &[dims, &self.size]));
        }
        Ok(places)
    }
}

/// Windows along an axis.
#[derive(Clone, Copy, Debug)]
struct Along {
    /// Border before and behind the image.
    before: usize,
    after: usize,
    /// How many there are.
    count: usize,
}

/// What an attribute of a window may be.
const LIMITS: &str = "1 to 65535 (padding: 0 to 65535)";

impl Converter<'_> {
    /// The window between an image and its output, whose ONNX shape is given back. Where padding
    /// is wider than the runtime's windows allow, the image is padded with zeros first.
    pub(super) fn placed(
        &mut self,
        site: &Site<'_>,
        input: Activation,
        geometry: &Geometry,
        channels: usize,
    ) -> Result<(Activation, Window, Vec<usize>), ImportError> {
        let places = geometry.places(site, &input.dims)?;
        let window = geometry.window(places);
        let dims = outputs(&input.dims, places, channels);
        if !window.lies_in_padding(sides(&input.dims), places) {
            return Ok((input, window, dims));
        }
        let input = self.padded(site, &input, places, 0.0)?;
        Ok((input, Window { padding: [0; 2], ..window }, dims))
    }

    /// An image with a border.
    fn padded(
        &mut self,
        site: &Site<'_>,
        input: &Activation,
        places: [Along; 2],
        fill: f32,
    ) -> Result<Activation, ImportError> {
        let mut dims = input.dims.clone();
        let axes = dims.len() - 1;
        for (dim, axis) in dims[1..].iter_mut().zip(2 - axes..) {
            *dim += places[axis].before + places[axis].after;
        }
        let mut borders: Vec<usize> = places[2 - axes..].iter().map(|place| place.before).collect();
        borders.push(0);
        self.step(site, Pad { before: borders, fill }, input.value, dims)
    }

    /// `MaxPool` and `AveragePool`.
    pub(super) fn pool(&mut self, site: &Site<'_>, max: bool) -> Result<(), ImportError> {
        let mut input = self.image(site)?;
        let taps = site.ints("kernel_shape").ok_or_else(|| site.missing("kernel_shape"))?;
        let size = |&tap: &i64| usize::try_from(tap).unwrap_or_default();
        let taps: Vec<usize> = taps.iter().map(size).collect();
        if taps.len() + 1 != input.dims.len() {
            return Err(site.shape_error("the kernel has another rank", &[&input.dims, &taps]));
        }
        let geometry = Geometry::new(site, &taps)?;
        if geometry.dilation != [1; 2] {
            return Err(site.unsupported("dilations", format!("{:?}", geometry.dilation), "1"));
        }
        let places = geometry.places(site, &input.dims)?;
        let dims = outputs(&input.dims, places, input.dims[0]);
        let mut window = geometry.window(places);
        if window.lies_in_padding(sides(&input.dims), places) {
            let problem = "a window lies in the padding alone, where there is nothing to pool";
            return Err(site.shape_error(problem, &[&input.dims, &window.size]));
        }
        let bordered = places.iter().any(|place| place.before + place.after > 0);
        if !max && bordered && site.int("count_include_pad", 0) != 0 {
            // The borders become a part of the image; what lies beyond them still doesn't count.
            input = self.padded(site, &input, places, 0.0)?;
            window.padding = [0; 2];
        }
        let op: Op = if max { MaxPool2d { window }.into() } else { AvgPool2d { window }.into() };
        self.push_image(site, op, input.value, dims).map(drop)
    }
}

/// Rows and columns of an image or a sequence.
fn sides(dims: &[usize]) -> [usize; 2] {
    match *dims {
        [_, columns] => [1, columns],
        [_, rows, columns] => [rows, columns],
        _ => [1; 2],
    }
}

/// The shape of what windows over an image give.
fn outputs(dims: &[usize], places: [Along; 2], channels: usize) -> Vec<usize> {
    let counts = places.map(|place| place.count);
    match dims.len() {
        2 => vec![channels, counts[1]],
        _ => vec![channels, counts[0], counts[1]],
    }
}

impl Window {
    /// Whether the first or the last window of an image of these sides touches nothing of it.
    fn lies_in_padding(&self, sides: [usize; 2], places: [Along; 2]) -> bool {
        (0..2).any(|axis| {
            let Along { before, count, .. } = places[axis];
            before >= self.extent()[axis] || (count - 1) * self.stride[axis] >= sides[axis] + before
        })
    }
}
