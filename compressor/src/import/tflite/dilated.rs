//! Dilated convolutions as Keras writes them where the batch is open: `SPACE_TO_BATCH_ND` deals the
//! rows and columns of an image out to several images, a convolution goes over each of these, and
//! `BATCH_TO_SPACE_ND` puts the results together. One convolution with a dilation gives the same.
//!
//! TensorFlow Lite Micro needs a file that states the true number of images, and fills borders with
//! the byte 0, which a border of its own does here. A file whose batch is open says 1; TensorFlow
//! Lite Micro then leaves images out, so that it is TensorFlow Lite's result that is given: its
//! borders are the zero point, as a convolution's are.

use super::convert::{Converter, Site, integers};
use super::schema::{Tensor, Type};
use super::window::padding_and_stride;
use crate::graph::ops::IntegerPad;
use crate::graph::{IntegerValue, Origin, ValueId};
use crate::import::ImportError;

/// What a tensor between the two operators is made of.
#[derive(Clone)]
pub(super) struct SpaceToBatch<'a> {
    /// The tensor before it.
    source: ValueId,
    /// Into how many images along each dimension that is not the batch or the channels.
    block: Vec<usize>,
    /// Border before and behind, along these.
    borders: Vec<[usize; 2]>,
    /// Whether the file leaves the number of images open.
    open: bool,
    /// The convolution that went over it.
    convolution: Option<Site<'a>>,
}

/// Ends and geometry of the convolution that all three make.
#[derive(Clone, Copy)]
pub(super) struct Dilated {
    pub(super) input: ValueId,
    pub(super) output: ValueId,
    pub(super) dilation: [i32; 2],
    /// Positions before the image.
    pub(super) before: [usize; 2],
}

/// What may be between the two operators.
const BETWEEN: &str = "between SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND one convolution is supported, with stride 1 \
     and padding VALID, and views";

impl<'a> Converter<'a> {
    /// `SPACE_TO_BATCH_ND`: nothing is computed before its counterpart comes.
    pub(super) fn space_to_batch(&mut self, site: &Site<'a>) -> Result<(), ImportError> {
        let source = self.operand(site, 0, "its input")?;
        let (_, from) = self.input(site, 0, "its input")?;
        let (id, to) = self.output(site);
        same_quantization(site, from, to)?;
        let (block, borders) = self.blocks(site)?;
        let dims = self.of(source).dims.clone();
        let wrong = |problem| site.shape_error(problem, &[&dims, &block]);
        if dims.len() != block.len() + 1 {
            return Err(wrong("each dimension but batch and channels must have its block"));
        }
        let mut expected = vec![block.iter().product::<usize>()];
        for ((dim, block), border) in dims.iter().zip(&block).zip(&borders) {
            let whole = dim.saturating_add(border[0] + border[1]);
            if !whole.is_multiple_of(*block) {
                return Err(wrong("blocks don't fill a dimension"));
            }
            expected.push(whole / block);
        }
        expected.extend(dims.last());
        // Where the batch is open, the file says 1 whatever it becomes.
        let open = shape(to).next() == Some(1) && expected.first() != Some(&1);
        let follows = shape(to).skip(1).eq(expected.iter().skip(1).copied());
        if !follows || !open && shape(to).next() != expected.first().copied() {
            return Err(wrong("the output's shape doesn't follow from the blocks"));
        }
        self.batched.insert(id, SpaceToBatch { source, block, borders, open, convolution: None });
        Ok(())
    }

    /// Blocks and borders, from the operator's second and third operand.
    fn blocks(&self, site: &Site<'a>) -> Result<(Vec<usize>, Vec<[usize; 2]>), ImportError> {
        let (_, block) = self.input(site, 1, "its block")?;
        let (_, borders) = self.input(site, 2, "its borders")?;
        let small = |number: i64| u16::try_from(number).ok().map(usize::from);
        let block: Option<Vec<usize>> =
            integers(site, block)?.into_iter().map(|b| small(b).filter(|&b| b > 0)).collect();
        let borders = integers(site, borders)?;
        let pair = |&[before, after]: &[i64; 2]| Some([small(before)?, small(after)?]);
        let borders: Option<Vec<[usize; 2]>> = borders.as_chunks().0.iter().map(pair).collect();
        match (block, borders) {
            (Some(block), Some(borders))
                if block.len() == borders.len() && (1..=2).contains(&block.len()) =>
            {
                Ok((block, borders))
            }
            _ => Err(site.shape_error("blocks and borders must be those of one or two axes", &[])),
        }
    }

    /// Whether the operator reads the images of a space-to-batch; then it is remembered for its
    /// counterpart.
    pub(super) fn is_within_blocks(
        &mut self,
        site: &Site<'a>,
        convolution: bool,
    ) -> Result<bool, ImportError> {
        let (from_id, from) = self.input(site, 0, "its input")?;
        let Some(mut batched) = self.batched.get(&from_id).cloned() else { return Ok(false) };
        let (id, to) = self.output(site);
        let keeps_ends = from.shape.first() == to.shape.first();
        let is_view = shape(from).product::<usize>() == shape(to).product::<usize>()
            && from.shape.last() == to.shape.last();
        if !keeps_ends
            || (convolution && batched.convolution.is_some())
            || !(convolution || is_view)
        {
            return Err(self.between(site));
        }
        if convolution {
            batched.convolution = Some(*site);
        } else {
            same_quantization(site, from, to)?;
        }
        self.batched.insert(id, batched);
        Ok(true)
    }

    /// The operator can't be between the two.
    pub(super) fn between(&self, site: &Site<'a>) -> ImportError {
        let dims: Vec<Vec<usize>> = site
            .operator
            .inputs
            .iter()
            .filter_map(|&id| self.model.tensors.get(usize::try_from(id).ok()?))
            .map(|tensor| shape(tensor).collect())
            .collect();
        let dims: Vec<&[usize]> = dims.iter().map(Vec::as_slice).collect();
        site.shape_error(BETWEEN, &dims)
    }

    /// `BATCH_TO_SPACE_ND`: the convolution, dilated.
    pub(super) fn batch_to_space(&mut self, site: &Site<'a>) -> Result<(), ImportError> {
        let (from_id, from) = self.input(site, 0, "its input")?;
        let Some(batched) = self.batched.get(&from_id).cloned() else {
            return Err(self.between(site));
        };
        let Some(convolution) = batched.convolution else { return Err(self.between(site)) };
        let (block, crops) = self.blocks(site)?;
        let (_, to) = self.output(site);
        let (_, convolved) = self.output(&convolution);
        same_quantization(site, from, to)?;
        same_quantization(site, convolved, to)?;
        let output = self.result(site)?;
        let dims = self.of(output).dims.clone();
        let wrong = |problem| site.shape_error(problem, &[&dims, &block]);
        if block != batched.block || dims.len() != block.len() + 1 {
            return Err(wrong("its blocks must be those of SPACE_TO_BATCH_ND"));
        }
        let taps = self.taps(&convolution)?;
        let columns = block.len() == 1 && self.is_in_columns(&convolution)?;
        let (source, output) =
            (self.image(batched.source, columns, false), self.image(output, columns, true));
        let spread = |values: &[usize], one: usize| match *values {
            [rows, columns] => [rows, columns],
            [along] if columns => [one, along],
            ref other => [other.first().copied().unwrap_or(one), one],
        };
        let first = |pairs: &[[usize; 2]], end: usize| {
            spread(&pairs.iter().map(|pair| pair[end]).collect::<Vec<_>>(), 0)
        };
        let dilation = spread(&block, 1);
        let [before, behind] = [first(&batched.borders, 0), first(&batched.borders, 1)];
        let [start, end] = [first(&crops, 0), first(&crops, 1)];
        let (inner, outer) = (self.of(source).dims.clone(), self.of(output).dims.clone());
        let mut padding = [0; 2];
        for axis in 0..2 {
            let reach = (taps[axis] - 1).saturating_mul(dilation[axis]);
            let whole = inner[axis] + before[axis] + behind[axis];
            let left = outer[axis].saturating_add(reach).saturating_add(start[axis] + end[axis]);
            padding[axis] = before[axis].saturating_sub(start[axis]);
            let starts_inside = padding[axis] <= reach && before[axis] >= start[axis];
            if whole != left || !starts_inside || outer[axis] > padding[axis] + inner[axis] {
                return Err(wrong("the output's size doesn't follow from blocks and borders"));
            }
        }
        let mut source = source;
        let bordered = before.iter().chain(&behind).any(|&border| border > 0);
        if !batched.open && bordered && self.of(source).quantization.zero_point != 0 {
            if start != [0, 0] {
                return Err(wrong("only ends can be cropped where borders aren't zeros"));
            }
            let read = [0, 1].map(|axis| {
                let reach = (taps[axis] - 1).saturating_mul(dilation[axis]);
                outer[axis].saturating_add(reach).max(inner[axis] + before[axis])
            });
            source = self.bordered(site, source, before, read);
            padding = [0; 2];
        }
        let dilation = dilation.map(|number| number as i32);
        let dilated = Dilated { input: source, output, dilation, before: padding };
        self.convolution(&convolution, Some(dilated))
    }

    /// An image with borders of the byte 0, `before` it and up to the new `sides`.
    fn bordered(
        &mut self,
        site: &Site<'a>,
        image: ValueId,
        before: [usize; 2],
        sides: [usize; 2],
    ) -> ValueId {
        let value = self.of(image).clone();
        let channels = value.dims.last().copied().unwrap_or(1);
        let dims = vec![sides[0], sides[1], channels];
        self.graph.values.push(IntegerValue { dims, origin: Origin::Computed, ..value });
        let output = self.graph.values.len() - 1;
        let before = vec![before[0] as u16, before[1] as u16, 0];
        self.push(site, IntegerPad { before, value: 0 }, vec![image], output);
        output
    }

    /// Rows and columns of the weights of a convolution within blocks.
    fn taps(&self, site: &Site<'a>) -> Result<[usize; 2], ImportError> {
        let options = site.operator.options.ok_or_else(|| site.missing("its options"))?;
        let (padding, stride) = padding_and_stride(site, &options)?;
        // The schema numbers dilations behind other options of either operator.
        let first = if self.is_depthwise(site) { 5 } else { 4 };
        let dilation = [options.i32(first + 1, 1)?, options.i32(first, 1)?];
        let (_, weights) = self.input(site, 1, "its weights")?;
        match shape(weights).collect::<Vec<_>>().as_slice() {
            &[_, rows, columns, _] if rows > 0 && columns > 0 => {
                let valid = padding == 1 || [rows, columns] == [1, 1];
                if valid && stride == [1, 1] && dilation == [1, 1] {
                    return Ok([rows, columns]);
                }
                Err(self.between(site))
            }
            other => Err(site.shape_error("the weights have another rank", &[other])),
        }
    }

    /// Whether a sequence lies along the columns of the images that the convolution reads.
    fn is_in_columns(&self, site: &Site<'a>) -> Result<bool, ImportError> {
        let (_, read) = self.input(site, 0, "its input")?;
        match shape(read).collect::<Vec<_>>().as_slice() {
            [_, 1, _, _] => Ok(true),
            [_, _, 1, _] => Ok(false),
            _ => Err(self.between(site)),
        }
    }

    /// A value as an image: a sequence gets a dimension of 1. What is `written` is one that the
    /// sequence is a view of.
    fn image(&mut self, id: ValueId, columns: bool, written: bool) -> ValueId {
        let value = self.of(id).clone();
        let dims = match *value.dims.as_slice() {
            [along, channels] if columns => vec![1, along, channels],
            [along, channels] => vec![along, 1, channels],
            _ => return id,
        };
        let origin = if written { Origin::Computed } else { Origin::View(id, 0) };
        self.graph.values.push(IntegerValue { dims, origin, ..value });
        let image = self.graph.values.len() - 1;
        if written {
            self.make_view(image, id);
        }
        image
    }
}

/// Dimensions with the batch; what isn't known counts as 0.
fn shape(tensor: &Tensor<'_>) -> impl Iterator<Item = usize> {
    tensor.shape.iter().map(|&dim| usize::try_from(dim).unwrap_or_default())
}

/// Bytes are only moved.
fn same_quantization(
    site: &Site<'_>,
    from: &Tensor<'_>,
    to: &Tensor<'_>,
) -> Result<(), ImportError> {
    if [from.kind, to.kind] != [Type::I8; 2] {
        let other = if from.kind == Type::I8 { to } else { from };
        let (tensor, found) = (other.name.clone(), other.kind.name());
        return Err(ImportError::Type { at: site.at(), tensor, found, supported: "INT8" });
    }
    if from.scales != to.scales || from.zero_points != to.zero_points {
        return Err(site.quantization(to, "has another scale or zero point than the input"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::import::ImportError;
    use crate::import::tflite::builder::{Field, I8, ModelBuilder, single};

    /// A sequence of 4, a border of 1 on both sides, two taps 2 apart. `images` is what the file
    /// says of their number.
    fn sequence(images: i32, crops: [i32; 2], activation: bool) -> ModelBuilder {
        let mut builder = ModelBuilder::new();
        let input = builder.tensor(&[1, 4, 1], 0.5, 2);
        let (block, borders) = (builder.integers(&[2]), builder.integers(&[1, 1]));
        let mut at = builder.tensor(&[images, 3, 1], 0.5, 2);
        builder.operator(38, &[input, block, borders], at, vec![]);
        if activation {
            let limited = builder.tensor(&[images, 3, 1], 0.5, 2);
            builder.operator(19, &[at], limited, vec![]);
            at = limited;
        }
        let axis = builder.integers(&[1]);
        let expanded = builder.tensor(&[images, 1, 3, 1], 0.5, 2);
        builder.operator(70, &[at, axis], expanded, vec![]);
        let weights = builder.typed(&[1, 1, 2, 1], I8, &[1, 2], 1.0, 0);
        let convolved = builder.tensor(&[images, 1, 2, 1], 0.5, 1);
        let valid = vec![(0, Field::I8(1)), (1, Field::I32(1)), (2, Field::I32(1))];
        builder.operator(3, &[expanded, weights, -1], convolved, valid);
        let flat = builder.tensor(&[images, 2, 1], 0.5, 1);
        builder.operator(22, &[convolved], flat, vec![]);
        let crops = builder.integers(&crops);
        let output = builder.tensor(&[1, 4, 1], 0.5, 1);
        builder.operator(37, &[flat, block, crops], output, vec![]);
        (builder.inputs, builder.outputs) = (vec![input], vec![output]);
        builder
    }

    #[test]
    fn three_operators_are_one_convolution() {
        // 1, 2, 3, 4 above the zero point. The border is the zero point, or the byte 0: 2 below it.
        assert_eq!(sequence(1, [0, 0], false).run(&[3, 4, 5, 6]), [5, 8, 11, 4]);
        assert_eq!(sequence(2, [0, 0], false).run(&[3, 4, 5, 6]), [3, 8, 11, 0]);
    }

    #[test]
    fn what_does_not_belong_together_is_refused() {
        let between = sequence(2, [0, 0], true).refused();
        assert!(between.to_string().contains("one convolution is supported"), "{between}");
        for builder in [sequence(2, [0, 1], false), sequence(3, [0, 0], false)] {
            let error = builder.refused();
            assert!(matches!(error, ImportError::Shape { .. }), "{error}");
        }
        let mut alone = single(37, &[2, 2, 1], &[1, 4, 1], vec![]);
        let (block, crops) = (alone.integers(&[2]), alone.integers(&[0, 0]));
        alone.operators[0][1].1 = Field::I32s(vec![0, block, crops]);
        assert!(alone.refused().to_string().contains("one convolution is supported"));
        let mut blocks = sequence(2, [0, 0], false);
        let other = blocks.integers(&[4]);
        if let Some((_, Field::I32s(inputs))) = blocks.operators[4].get_mut(1) {
            inputs[1] = other;
        }
        assert!(blocks.refused().to_string().contains("must be those of"));
    }
}
