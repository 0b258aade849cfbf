//! Models that a fuzzer draws.

use arbitrary::{Arbitrary, Result, Unstructured};
use bitsback_runtime::Op;
use bitsback_runtime::format::{
    Affine, Bias, BiasWidth, ByteAffine, Clamp, Layout, Meta, Preprocess, Requantization, Shape,
    Source, StoredBias, Tensor, Weights, Window,
};
use bitsback_runtime::ops::{
    Add, Argmax, AvgPool2d, CodedAffine, CodedConv2d, CodedDense, CodedDepthwiseConv2d, Concat,
    Conv2d, Conv2dMaxPool2d, Dense, DepthwiseConv2d, HardSwish, LeakyRelu, Logistic, MaxPool2d,
    Mean, Mul, Pad, Rescale, ResizeNearest, Select, Slice, Softmax, Tanh,
};
use bitsback_runtime::requantize::Multiplier;
use bitsback_runtime::writer::{model_len, write_model};

/// Bytes of the weight section of built models.
const SECTION_LEN: usize = 700;

/// A model that the fuzzer draws.
#[derive(Debug)]
pub struct DrawnModel {
    pub(super) meta: Meta<'static>,
    pub(super) ops: Vec<Op>,
    pub(super) section: Vec<u8>,
    pub(super) fill: i8,
}

impl DrawnModel {
    /// The file, if it can be written at all.
    pub fn write(&self) -> Option<Vec<u8>> {
        let mut file = vec![0; model_len(&self.meta, &self.ops, &self.section).ok()?];
        write_model(&self.meta, &self.ops, &self.section, &mut file).ok()?;
        Some(file)
    }

    /// The value that fills the input.
    pub fn fill(&self) -> i8 {
        self.fill
    }
}

impl<'a> Arbitrary<'a> for DrawnModel {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let mut draw = Draw { u, next: 0 };
        let input = draw.tensor_of(&[1, 3, 3])?;
        let mut previous = input.clone();
        let mut ops = Vec::new();
        for _ in 0..draw.u.int_in_range(1..=4)? {
            let op = draw.op(&previous)?;
            previous = op.output().clone();
            ops.push(op);
        }
        let preprocess = draw.preprocess()?;
        let meta =
            Meta { input, input_scale: 1.0, output_scale: 0.5, preprocess, ..Meta::default() };
        let fill = draw.u.arbitrary()?;
        // What is left becomes the weight section, repeated: long enough for small layers.
        let rest = draw.u.bytes(draw.u.len())?;
        let section = rest.iter().copied().cycle().take(SECTION_LEN).collect();
        Ok(Self { meta, ops, section, fill })
    }
}

/// Draws records.
struct Draw<'u, 'a> {
    u: &'u mut Unstructured<'a>,
    /// Where the next tensor goes, unless the fuzzer wants otherwise.
    next: u32,
}

impl Draw<'_, '_> {
    /// Draws a dimension that is mostly small and sometimes anything.
    fn dim(&mut self) -> Result<u16> {
        if self.u.ratio(1, 50)? { self.u.arbitrary() } else { self.u.int_in_range(0..=9) }
    }

    fn place(&mut self, shape: Shape) -> Result<Tensor> {
        let offset = match self.u.int_in_range(0..=9)? {
            0 => self.u.int_in_range(0..=64)?,
            1 => self.u.arbitrary()?,
            _ => self.next,
        };
        let zero_point = match self.u.int_in_range(0..=4)? {
            0 => self.u.arbitrary()?,
            1 => -128,
            _ => 0,
        };
        let tensor = Tensor { offset, shape, zero_point };
        if let Ok(end) = u32::try_from(tensor.end()) {
            self.next = self.next.max(end);
        }
        Ok(tensor)
    }

    fn tensor_of(&mut self, ranks: &[usize]) -> Result<Tensor> {
        let rank = *self.u.choose(ranks)?;
        let dims: Vec<u16> = (0..rank).map(|_| self.dim()).collect::<Result<_>>()?;
        self.place(Shape::new(&dims))
    }

    fn source(&mut self, previous: &Tensor) -> Result<Source> {
        Ok(match self.u.int_in_range(0..=5)? {
            0 => Source::At(self.tensor_of(&[1, 2, 3, 4])?),
            1 => Source::At(previous.clone()),
            _ => Source::Previous,
        })
    }

    fn multiplier(&mut self) -> Result<Multiplier> {
        if self.u.ratio(1, 10)? {
            return Ok(Multiplier { value: self.u.arbitrary()?, shift: self.u.arbitrary()? });
        }
        let value = self.u.int_in_range(1 << 30..=i32::MAX)?;
        Ok(Multiplier { value, shift: self.u.int_in_range(-31..=30)? })
    }

    fn clamp(&mut self) -> Result<Clamp> {
        if self.u.ratio(1, 2)? {
            return Ok(Clamp::NONE);
        }
        Ok(Clamp { min: self.u.arbitrary()?, max: self.u.arbitrary()? })
    }

    fn offset(&mut self) -> Result<u32> {
        if self.u.ratio(1, 20)? { self.u.arbitrary() } else { self.u.int_in_range(0..=64) }
    }

    fn affine(&mut self) -> Result<Affine> {
        let width = *self.u.choose(&[BiasWidth::I8, BiasWidth::I16, BiasWidth::I32])?;
        let stored =
            StoredBias { offset: self.offset()?, width, shift: self.u.int_in_range(0..=25)? };
        let bias = *self.u.choose(&[Bias::None, Bias::Plain(stored), Bias::Folded(stored)])?;
        let requantization = if self.u.ratio(1, 4)? {
            Requantization::PerChannel { offset: self.offset()? }
        } else {
            Requantization::PerTensor(self.multiplier()?)
        };
        let bits = match self.u.int_in_range(0..=9)? {
            0 => self.u.arbitrary()?,
            9 => 16,
            bits => bits,
        };
        let paired = bits == 8 && self.u.ratio(1, 2)?;
        let layout = if paired { Layout::Pairs } else { Layout::RowMajor };
        let weights = Weights { offset: self.offset()?, bits, layout };
        Ok(Affine { weights, bias, requantization, clamp: self.clamp()? })
    }

    fn coded_affine(&mut self) -> Result<CodedAffine> {
        let requantization = if self.u.ratio(1, 4)? {
            Requantization::PerChannel { offset: self.offset()? }
        } else {
            Requantization::PerTensor(self.multiplier()?)
        };
        Ok(CodedAffine {
            offset: self.offset()?,
            len: self.offset()?,
            bits: self.u.int_in_range(1..=9)?,
            bias: if self.u.ratio(1, 2)? { Some(self.u.int_in_range(0..=25)?) } else { None },
            requantization,
            clamp: self.clamp()?,
        })
    }

    /// A window over an image and the image that it makes: mostly one that fits.
    fn windowed(&mut self, previous: &Tensor, channels: u16) -> Result<(Window, Tensor)> {
        let (window, dims) = match previous.shape.image() {
            Some([h, w, _]) if !self.u.ratio(1, 8)? => {
                let mut along = |n: usize| -> Result<[u16; 4]> {
                    let (size, stride) = (self.u.int_in_range(1..=4)?, self.u.int_in_range(1..=3)?);
                    let padding = self.u.int_in_range(0..=size - 1)?;
                    let most = (usize::from(padding) + n).saturating_sub(1) / usize::from(stride);
                    Ok([size, stride, padding, self.u.int_in_range(1..=most.min(20) as u16 + 1)?])
                };
                let ([h, down, top, oh], [w, right, left, ow]) = (along(h)?, along(w)?);
                let window = Window { size: [h, w], stride: [down, right], padding: [top, left] };
                (window, [oh, ow])
            }
            _ => {
                let mut pair = || -> Result<[u16; 2]> { Ok([self.dim()?, self.dim()?]) };
                (Window { size: pair()?, stride: pair()?, padding: pair()? }, pair()?)
            }
        };
        let channels = if self.u.ratio(1, 10)? { self.dim()? } else { channels };
        let mut tensor = self.place(Shape::new(&[dims[0], dims[1], channels]))?;
        if !self.u.ratio(1, 10)? {
            tensor.zero_point = previous.zero_point;
        }
        Ok((window, tensor))
    }

    /// A tensor of the previous one's shape, sometimes in the same place.
    fn same(&mut self, previous: &Tensor) -> Result<Tensor> {
        let mut tensor = self.place(previous.shape.clone())?;
        if self.u.ratio(1, 3)? {
            tensor.offset = previous.offset;
        }
        Ok(tensor)
    }

    fn preprocess(&mut self) -> Result<Preprocess> {
        Ok(match self.u.int_in_range(0..=2)? {
            0 => Preprocess::None,
            1 => {
                let affine = ByteAffine {
                    mul: self.u.arbitrary()?,
                    add: self.u.arbitrary()?,
                    shift: self.u.arbitrary()?,
                };
                Preprocess::Bytes([affine].into_iter().collect())
            }
            _ => Preprocess::Features { offset: self.offset()? },
        })
    }

    fn op(&mut self, previous: &Tensor) -> Result<Op> {
        let input = self.source(previous)?;
        let second = self.source(previous)?;
        let dilation = if self.u.ratio(3, 4)? { [1, 1] } else { [self.u.int_in_range(0..=3)?, 2] };
        let channels = previous.shape.channels() as u16;
        Ok(match self.u.int_in_range(0..=23)? {
            0 => {
                let output = self.tensor_of(&[1])?;
                Op::Dense(Dense { input, output, affine: self.affine()? })
            }
            1 => {
                let filters = self.u.int_in_range(1..=5)?;
                let (window, output) = self.windowed(previous, filters)?;
                Op::Conv2d(Conv2d { input, output, window, dilation, affine: self.affine()? })
            }
            2 => {
                let (window, output) = self.windowed(previous, channels)?;
                Op::MaxPool2d(MaxPool2d { input, output, window, clamp: self.clamp()? })
            }
            3 => {
                let (window, output) = self.windowed(previous, channels)?;
                Op::AvgPool2d(AvgPool2d { input, output, window, clamp: self.clamp()? })
            }
            4 => {
                let output = self.tensor_of(&[1])?;
                Op::Select(Select { input, output, mask: self.offset()? })
            }
            5 => {
                let output = self.same(previous)?;
                Op::Softmax(Softmax { input, output, multiplier: self.multiplier()? })
            }
            6 => Op::Argmax(Argmax { input, output: self.place(Shape::flat(2))? }),
            7 => {
                let outputs = channels.saturating_mul(self.u.int_in_range(1..=3)?);
                let (window, output) = self.windowed(previous, outputs)?;
                let affine = self.affine()?;
                Op::DepthwiseConv2d(DepthwiseConv2d { input, output, window, dilation, affine })
            }
            8 => Op::Add(Add {
                inputs: [input, second],
                output: self.same(previous)?,
                multipliers: [self.multiplier()?, self.multiplier()?],
                output_multiplier: self.multiplier()?,
                clamp: self.clamp()?,
            }),
            9 => Op::Mul(Mul {
                inputs: [input, second],
                output: self.same(previous)?,
                multiplier: self.multiplier()?,
                clamp: self.clamp()?,
            }),
            10 => Op::Concat(Concat {
                inputs: [input, second].into_iter().collect(),
                output: self.tensor_of(&[1, 2, 3, 4])?,
                axis: self.u.int_in_range(0..=4)?,
            }),
            11 => {
                let output = self.tensor_of(&[1, 2, 3, 4])?;
                let before = output.shape.dims().iter().map(|_| self.dim());
                let before = before.collect::<Result<Vec<u16>>>()?.into_iter().collect();
                Op::Pad(Pad { input, output, before, value: self.u.arbitrary()? })
            }
            12 => {
                let output = self.place(Shape::flat(previous.shape.channels() as u16))?;
                let (multiplier, clamp) = (self.multiplier()?, self.clamp()?);
                Op::Mean(Mean { input, output, multiplier, clamp })
            }
            13 => {
                let (output, multiplier) = (self.same(previous)?, self.multiplier()?);
                Op::Rescale(Rescale { input, output, multiplier, clamp: self.clamp()? })
            }
            14 => {
                let (output, positive) = (self.same(previous)?, self.multiplier()?);
                Op::LeakyRelu(LeakyRelu { input, output, positive, negative: self.multiplier()? })
            }
            15 => {
                let output = self.same(previous)?;
                Op::Logistic(Logistic { input, output, multiplier: self.multiplier()? })
            }
            17 => {
                let output = self.tensor_of(&[1])?;
                Op::CodedDense(CodedDense { input, output, affine: self.coded_affine()? })
            }
            18 => {
                let filters = self.u.int_in_range(1..=5)?;
                let (window, output) = self.windowed(previous, filters)?;
                let affine = self.coded_affine()?;
                Op::CodedConv2d(CodedConv2d { input, output, window, dilation, affine })
            }
            19 => {
                let outputs = channels.saturating_mul(self.u.int_in_range(1..=3)?);
                let (window, output) = self.windowed(previous, outputs)?;
                let affine = self.coded_affine()?;
                Op::CodedDepthwiseConv2d(CodedDepthwiseConv2d {
                    input,
                    output,
                    window,
                    dilation,
                    affine,
                })
            }
            20 => {
                let filters = self.u.int_in_range(1..=5)?;
                let (window, convolved) = self.windowed(previous, filters)?;
                let (pool, output) = self.windowed(&convolved, filters)?;
                let positions = match *convolved.shape.dims() {
                    [height, width, _] => [height, width],
                    _ => [1, 1],
                };
                let affine = self.affine()?;
                Op::Conv2dMaxPool2d(Conv2dMaxPool2d {
                    input,
                    output,
                    window,
                    dilation,
                    affine,
                    positions,
                    pool,
                })
            }
            21 => {
                let (output, multiplier) = (self.same(previous)?, self.multiplier()?.narrowed());
                let gate = self.multiplier()?.narrowed();
                Op::HardSwish(HardSwish { input, output, multiplier, gate })
            }
            22 => {
                let output = self.tensor_of(&[1, 2, 3, 4])?;
                let mut each = || -> Result<Vec<u16>> {
                    output.shape.dims().iter().map(|_| self.dim()).collect()
                };
                let [begin, stride] = [each()?, each()?].map(|of| of.into_iter().collect());
                Op::Slice(Slice { input, output, begin, stride })
            }
            23 => {
                let shape = Shape::new(&[self.dim()?, self.dim()?, channels]);
                let output = self.place(shape)?;
                let half_pixel_centers = self.u.arbitrary()?;
                Op::ResizeNearest(ResizeNearest { input, output, half_pixel_centers })
            }
            _ => {
                let output = self.same(previous)?;
                Op::Tanh(Tanh { input, output, multiplier: self.multiplier()? })
            }
        })
    }
}
