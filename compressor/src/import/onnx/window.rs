//! Windows of convolutions and poolings, and the poolings.

use super::convert::{Activation, Converter, Site};
use super::order::Order;
use crate::float_graph::{Kind, Window};
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

    /// Borders and number of windows along an axis of this length.
    fn along(&self, axis: usize, len: usize) -> (usize, usize, Option<usize>) {
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
            return (before, after, None);
        };
        let mut count = room / stride + 1;
        if self.partial && !room.is_multiple_of(stride) && count * stride < len + before {
            count += 1;
        }
        (before, after, Some(count))
    }
}

/// What an attribute of a window may be.
const LIMITS: &str = "1 to 65535 (padding: 0 to 65535)";

impl Converter {
    /// The window between an image and its output, whose ONNX shape is given back. Where padding
    /// is wider than the runtime's windows allow, the image is padded first.
    pub(super) fn placed(
        &mut self,
        site: &Site<'_>,
        input: Activation,
        geometry: &Geometry,
        channels: usize,
        fill: f32,
    ) -> Result<(Activation, Window, Vec<usize>), ImportError> {
        let wrong = |dims: &[usize]| site.shape_error("no window fits", &[dims, &geometry.size]);
        let sides = sides(&input.dims);
        let places = [geometry.along(0, sides[0]), geometry.along(1, sides[1])];
        let [Some(rows), Some(columns)] = places.map(|(_, _, count)| count) else {
            return Err(wrong(&input.dims));
        };
        let extents = Window { size: geometry.size, dilation: geometry.dilation, ..Window::ONE };
        let alone = |axis: usize| {
            let (before, _, count) = places[axis];
            let last = (count.unwrap_or(1) - 1) * geometry.stride[axis];
            before >= extents.extent()[axis] || last >= sides[axis] + before
        };
        let before = [places[0].0, places[1].0];
        let dims = match input.dims.len() {
            2 => vec![channels, columns],
            _ => vec![channels, rows, columns],
        };
        let stride = geometry.stride;
        let window = Window { stride, padding: before, ..extents };
        if !alone(0) && !alone(1) {
            return Ok((input, window, dims));
        }
        let after = [places[0].1, places[1].1];
        let input = self.padded(site, &input, before, after, fill)?;
        Ok((input, Window { padding: [0; 2], ..window }, dims))
    }

    /// An image with a border.
    pub(super) fn padded(
        &mut self,
        site: &Site<'_>,
        input: &Activation,
        before: [usize; 2],
        after: [usize; 2],
        fill: f32,
    ) -> Result<Activation, ImportError> {
        let mut dims = input.dims.clone();
        let axes = dims.len() - 1;
        for (dim, axis) in dims[1..].iter_mut().zip(2 - axes..) {
            *dim += before[axis] + after[axis];
        }
        let mut borders = before[2 - axes..].to_vec();
        borders.push(0);
        self.step(site, Kind::Pad(borders, fill), input.value, dims)
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
        let mut geometry = Geometry::new(site, &taps)?;
        if geometry.dilation != [1; 2] {
            return Err(site.unsupported("dilations", format!("{:?}", geometry.dilation), "1"));
        }
        let sides = sides(&input.dims);
        let borders = [geometry.along(0, sides[0]), geometry.along(1, sides[1])];
        let padded = borders.iter().any(|&(before, after, _)| before + after > 0);
        if !max && padded && site.int("count_include_pad", 0) != 0 {
            let (before, after) = (borders.map(|border| border.0), borders.map(|border| border.1));
            input = self.padded(site, &input, before, after, 0.0)?;
            geometry.padding = Border::Explicit([0; 2], [0; 2]);
        }
        let channels = input.dims[0];
        let (input, window, dims) =
            self.placed(site, input, &geometry, channels, f32::NEG_INFINITY)?;
        let kind = if max { Kind::MaxPool2d(window) } else { Kind::AvgPool2d(window) };
        self.push_image(site, kind, input.value, dims).map(drop)
    }

    /// `GlobalAveragePool`.
    pub(super) fn global_average_pool(&mut self, site: &Site<'_>) -> Result<(), ImportError> {
        let input = self.image(site)?;
        let mut dims = vec![1; input.dims.len()];
        dims[0] = input.dims[0];
        self.push(site, Kind::Mean, vec![input.value], dims, Order::LOGICAL).map(drop)
    }

    /// `GlobalMaxPool`: one window over everything.
    pub(super) fn global_max_pool(&mut self, site: &Site<'_>) -> Result<(), ImportError> {
        let input = self.image(site)?;
        let mut dims = vec![1; input.dims.len()];
        dims[0] = input.dims[0];
        let size = sides(&input.dims);
        if size.iter().any(|&side| side > usize::from(u16::MAX)) {
            return Err(site.unsupported("the kernel", format!("{size:?}"), LIMITS));
        }
        let kind = Kind::MaxPool2d(Window { size, ..Window::ONE });
        self.push_image(site, kind, input.value, dims).map(drop)
    }

    /// `ReduceMean` over rows and columns; of what isn't kept as an image over all but the last
    /// dimension.
    pub(super) fn reduce_mean(&mut self, site: &Site<'_>) -> Result<(), ImportError> {
        let given = self.axes(site)?;
        let mut axes = given.ok_or_else(|| site.missing("its axes"))?;
        axes.sort_unstable();
        let logical = self.computed(site, 0)?;
        let rank = logical.dims.len();
        let kept = &self.graph().values[logical.value].dims;
        let in_order = logical.order.is_logical() && *kept == logical.dims;
        if rank > 1 && in_order && axes.iter().copied().eq(1..rank) {
            let features = logical.dims[rank - 1];
            let keeps = site.int("keepdims", 1) != 0;
            let mut dims = vec![1; if keeps { rank } else { 1 }];
            dims.splice(dims.len() - 1.., [features]);
            let inputs = vec![logical.value];
            return self.push(site, Kind::Mean, inputs, dims, Order::LOGICAL).map(drop);
        }
        let input = self.image(site)?;
        if !axes.iter().copied().eq(2..=rank) {
            let supported = "all but batch and channels";
            return Err(site.unsupported("axes", format!("{axes:?}"), supported));
        }
        let mut dims = vec![input.dims[0]];
        if site.int("keepdims", 1) != 0 {
            dims.resize(rank, 1);
        }
        self.push(site, Kind::Mean, vec![input.value], dims, Order::LOGICAL).map(drop)
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
