//! Where values live in the arena and how they are arranged.

use heapless::Vec;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::form::Form;
use super::reader::{Read, Reader, read_fields};

/// Most dimensions of a shape, without the batch.
pub const MAX_RANK: usize = 4;

/// Dimensions of one example, slowest first: features, or height × width × channels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[repr(align(4))] // copied as words
pub struct Shape {
    /// Those beyond `rank` are 0.
    dims: [u16; MAX_RANK],
    rank: u8,
}

impl Read for Shape {
    const FORM: Form = Form::Many(&u16::FORM);

    #[inline(never)]
    fn read(reader: &mut Reader<'_>) -> Self {
        let mut shape = Self::default();
        for _ in 0..reader.varint(u32::BITS) {
            if !shape.push(reader.take()) {
                reader.refuse();
            }
            if !reader.is_sound() {
                break;
            }
        }
        shape
    }
}

impl Serialize for Shape {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.dims().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::<u16, MAX_RANK>::deserialize(deserializer).map(|dims| Self::new(&dims))
    }
}

impl Shape {
    /// The shape of these dimensions; those beyond [`MAX_RANK`] are folded into the last one
    /// (saturating), which keeps the number of values.
    pub fn new(dims: &[u16]) -> Self {
        let mut shape = Self::default();
        for &dim in dims {
            if !shape.push(dim)
                && let Some(last) = shape.dims.last_mut()
            {
                *last = last.saturating_mul(dim);
            }
        }
        shape
    }

    /// Appends a dimension; false if there are [`MAX_RANK`] already.
    fn push(&mut self, dim: u16) -> bool {
        let Some(place) = self.dims.get_mut(usize::from(self.rank)) else { return false };
        *place = dim;
        self.rank = self.rank.wrapping_add(1);
        true
    }

    /// A vector of `n` features.
    pub fn flat(n: u16) -> Self {
        Self::new(&[n])
    }

    /// The dimensions.
    pub fn dims(&self) -> &[u16] {
        self.dims.get(..usize::from(self.rank)).unwrap_or_default()
    }

    /// Number of values, saturating.
    #[inline(never)] // asked for everywhere, and never in a loop
    pub fn len(&self) -> usize {
        if self.rank == 1 {
            return usize::from(self.dims[0]); // a vector, in no time
        }
        self.dims().iter().fold(1, |product: usize, &dim| product.saturating_mul(usize::from(dim)))
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.dims().contains(&0)
    }

    /// Height, width and channels of an image.
    pub fn image(&self) -> Option<[usize; 3]> {
        match *self.dims() {
            [h, w, c] => Some([usize::from(h), usize::from(w), usize::from(c)]),
            _ => None,
        }
    }

    /// The fastest-moving dimension: channels of an image, or all features.
    pub fn channels(&self) -> usize {
        self.dims().last().map_or(0, |&c| usize::from(c))
    }
}

/// Values in the arena: real value = scale · (q − zero point).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tensor {
    /// First byte in the arena.
    pub offset: u32,
    /// Arrangement.
    pub shape: Shape,
    /// The integer that stands for zero.
    pub zero_point: i8,
}

impl Read for Tensor {
    const FORM: Form = Form::Fields(&[u32::FORM, Shape::FORM, i8::FORM]);

    #[inline(never)]
    fn read(reader: &mut Reader<'_>) -> Self {
        Self { offset: reader.take(), shape: reader.take(), zero_point: reader.take() }
    }
}

impl Tensor {
    /// Number of values.
    pub fn len(&self) -> usize {
        self.shape.len()
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.shape.is_empty()
    }

    /// First position after it in the arena, saturating.
    #[inline(never)] // as `Shape::len`
    pub fn end(&self) -> usize {
        (self.offset as usize).saturating_add(self.len())
    }
}

/// Where an operator reads from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// The output of the operator before, or the model's input.
    #[default]
    Previous,
    /// Values anywhere in the arena, in any arrangement: operands of residual graphs, reshapes.
    At(Tensor),
}

impl Read for Source {
    const FORM: Form = Form::Cases(&[Form::NOTHING, Tensor::FORM]);

    #[inline(never)]
    fn read(reader: &mut Reader<'_>) -> Self {
        match reader.case(2) {
            1 => Self::At(reader.take()),
            _ => Self::Previous,
        }
    }
}

impl AsRef<[Self]> for Source {
    fn as_ref(&self) -> &[Self] {
        core::slice::from_ref(self)
    }
}

impl AsMut<[Self]> for Source {
    fn as_mut(&mut self) -> &mut [Self] {
        core::slice::from_mut(self)
    }
}

impl Source {
    /// The tensor, given the previous operator's output.
    pub fn resolve<'t>(&'t self, previous: &'t Tensor) -> &'t Tensor {
        match self {
            Self::Previous => previous,
            Self::At(tensor) => tensor,
        }
    }
}

/// How a window moves over an image: rows first, then columns.
///
/// Padding below and to the right follows from the output's shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Height and width.
    pub size: [u16; 2],
    /// Steps down and right.
    pub stride: [u16; 2],
    /// Positions outside the image at the top and on the left.
    pub padding: [u16; 2],
}

read_fields!(Window { size, stride, padding });

impl Window {
    /// How many positions it covers, saturating.
    pub fn positions(&self) -> usize {
        let [h, w] = self.size.map(usize::from);
        h.saturating_mul(w)
    }

    /// Whether no position is in two windows.
    pub const fn is_apart(&self) -> bool {
        self.size[0] <= self.stride[0] && self.size[1] <= self.stride[1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_count_values() {
        assert_eq!(Shape::new(&[2, 3, 4]).len(), 24);
        assert_eq!(Shape::default().len(), 1);
        assert!(Shape::new(&[2, 0]).is_empty());
        assert_eq!(Shape::new(&[u16::MAX; 4]).len() as u64, 65535u64.pow(4));
        assert_eq!(Shape::new(&[1, 2, 3, 4, 5]).dims(), &[1, 2, 3, 20]);
    }

    #[test]
    fn images_have_three_dimensions() {
        assert_eq!(Shape::new(&[5, 6, 7]).image(), Some([5, 6, 7]));
        assert_eq!(Shape::flat(9).image(), None);
        assert_eq!(Shape::flat(9).channels(), 9);
    }
}
