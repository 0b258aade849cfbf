//! Two operands of different shapes: which numbers of one meet which of the other.

use super::constant::Constant;
use super::convert::Converter;
use super::order::strides;
use super::shape::Shape;
use super::site::{Activation, Site};
use crate::graph::ops::{Add, Concat, Mul};
use crate::graph::{Affine, Computation, ValueId};
use crate::import::ImportError;
use crate::import::layout::Role;

/// Most copies of an operand side by side.
const MAX_COPIES: usize = 64;

/// A constant as it meets another tensor.
enum Broadcast {
    /// One number per channel (or feature), or the same for all.
    Channels(Vec<f32>),
    /// A number for each.
    Whole(Vec<f32>),
}

/// How a value is repeated until it has as many numbers as another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Repeat {
    /// Runs of the value, of which each is repeated.
    outer: usize,
    /// How often.
    count: usize,
    /// Numbers of a run.
    inner: usize,
}

impl Converter<'_> {
    /// Two computed operands, of which one may be repeated along dimensions of 1.
    pub(super) fn pair(
        &mut self,
        site: &Site<'_>,
        op: impl Into<Computation>,
        a: Activation,
        b: Activation,
    ) -> Result<(), ImportError> {
        let (a, b) = if a.len() >= b.len() { (a, b) } else { (b, a) };
        let problem = "operands must be equal in shape, or one must have 1 where it is repeated";
        let wrong = || site.shape_error(problem, &[&a.dims, &b.dims]);
        let meets = self.meets(&a, &b).ok_or_else(wrong)?;
        let last = *self.kept(&a).last().unwrap_or(&1);
        let whole = Repeat { outer: 1, count: 1, inner: a.len() };
        let repeat = repetition(&meets, b.len()).ok_or_else(|| {
            site.shape_error(
                "an operand would have to be transposed in memory, or repeated along \
                              dimensions that are apart",
                &[&a.dims, &b.dims],
            )
        })?;
        if repeat == whole {
            let second = self.arranged(site, &b, self.kept(&a).to_vec())?;
            return self.push_like(site, op, vec![a.value, second], &a).map(drop);
        }
        if b.len() == 1 || repeat.outer == 1 && last == b.len() {
            return self.push_like(site, op, vec![a.value, b.value], &a).map(drop);
        }
        if repeat.outer == 1 {
            // A row of the first operand for each repetition.
            let rows = Shape { kept: vec![repeat.count, repeat.inner], ..self.shape_of(&a) };
            let first = self.arranged(site, &a, rows.kept.clone())?;
            let written = self.step_of(site, op, vec![first, b.value], rows)?;
            return self.view(site, written.value, self.shape_of(&a));
        }
        let second = self.repeated(site, &a, &b, repeat)?;
        self.push_like(site, op, vec![a.value, second], &a).map(drop)
    }

    /// For each number of `a` as it is kept, the one of `b` that it meets.
    fn meets(&self, a: &Activation, b: &Activation) -> Option<Vec<usize>> {
        let (whole, small) = (a.whole(self.batch), b.whole(self.batch));
        if small.len() > whole.len() || small.len() < whole.len() && self.batch > 1 {
            return None;
        }
        let missing = whole.len() - small.len();
        let mut steps = vec![0; missing];
        for ((&dim, &all), step) in small.iter().zip(&whole[missing..]).zip(strides(&small)) {
            match dim {
                dim if dim == all => steps.push(step),
                1 => steps.push(0),
                _ => return None,
            }
        }
        // Numbers of one example: the batch, which comes first, is the same for both.
        let mut kept_at = vec![0; b.len()];
        for at in 0..b.len() {
            *kept_at.get_mut(b.order.place(at))? = at;
        }
        let of_whole = strides(&whole);
        let meets = (0..a.len()).map(|at| {
            let place = a.order.place(at);
            let axes = of_whole.iter().zip(&whole).zip(&steps);
            let index: usize = axes.map(|((stride, dim), step)| place / stride % dim * step).sum();
            kept_at.get(index).copied()
        });
        meets.collect()
    }

    /// The value `b`, repeated until it is as large as `a`.
    fn repeated(
        &mut self,
        site: &Site<'_>,
        a: &Activation,
        b: &Activation,
        repeat: Repeat,
    ) -> Result<ValueId, ImportError> {
        let Repeat { outer, count, inner } = repeat;
        let shape = |kept: Vec<usize>, converter: &Self| Shape { kept, ..converter.shape_of(a) };
        let copies = if inner == 1 {
            let read = self.arranged(site, b, vec![outer, 1, 1])?;
            let affine = Affine { weight: vec![1.0; count], bias: vec![0.0; count] };
            self.count(count)?;
            let op = Computation::per_channel(affine);
            let shape = shape(vec![outer, 1, count], self);
            self.step_of(site, op, vec![read], shape)?
        } else {
            if count > MAX_COPIES {
                let what = "the number of an operand's copies";
                return Err(site.unsupported(what, count, "at most 64"));
            }
            let read = self.arranged(site, b, vec![outer, 1, inner])?;
            let shape = shape(vec![outer, count, inner], self);
            self.step_of(site, Concat { axis: 1 }, vec![read; count], shape)?
        };
        self.arranged(site, &copies, self.kept(a).to_vec())
    }

    /// A constant that differs along one dimension alone holds a parameter per channel.
    pub(super) fn hint_of_parameters(&mut self, constant: &Constant, input: &Activation) {
        let mut wide = constant.dims.iter().rev().enumerate().filter(|&(_, &dim)| dim > 1);
        if let (Some((from_end, _)), None) = (wide.next(), wide.next())
            && let Some(axis) = input.dims.len().checked_sub(from_end + 1)
        {
            self.evidence.hint(input.lineage.get(axis), Role::Channels);
        }
    }

    /// A factor and a summand, both constants that may be broadcast.
    pub(super) fn scale(
        &mut self,
        site: &Site<'_>,
        input: &Activation,
        factor: Option<&Constant>,
        summand: Option<&Constant>,
    ) -> Result<(), ImportError> {
        let kept = self.kept(input).to_vec();
        let channels = kept.last().copied().unwrap_or(1);
        for constant in factor.iter().chain(&summand) {
            self.hint_of_parameters(constant, input);
        }
        let mut meet = |constant: Option<&Constant>, neutral: f32| match constant {
            None => Ok(Broadcast::Channels(vec![neutral; channels])),
            Some(constant) => {
                self.count(input.len())?;
                broadcast(site, constant, input, channels)
            }
        };
        match (meet(factor, 1.0)?, meet(summand, 0.0)?) {
            (Broadcast::Channels(weight), Broadcast::Channels(bias)) if kept.len() <= 3 => {
                let op = Computation::per_channel(Affine { weight, bias });
                self.push_like(site, op, vec![input.value], input).map(drop)
            }
            (Broadcast::Channels(weight), Broadcast::Channels(bias)) => {
                let rows =
                    Shape { kept: vec![input.len() / channels, channels], ..self.shape_of(input) };
                let read = self.arranged(site, input, rows.kept.clone())?;
                let op = Computation::per_channel(Affine { weight, bias });
                let written = self.step_shape(site, op, read, rows)?;
                self.view(site, written.value, self.shape_of(input))
            }
            (Broadcast::Whole(numbers), _) if summand.is_none() => {
                let value = self.constant_value("", kept, numbers)?;
                self.push_like(site, Mul {}, vec![input.value, value], input).map(drop)
            }
            (_, Broadcast::Whole(numbers)) if factor.is_none() => {
                let value = self.constant_value("", kept, numbers)?;
                self.push_like(site, Add {}, vec![input.value, value], input).map(drop)
            }
            (Broadcast::Channels(weight), Broadcast::Whole(numbers))
                if weight.iter().all(|number| *number == weight[0]) =>
            {
                let scaled = self.affine_step(site, input, weight[0], 0.0)?;
                let read = self.arranged(site, &scaled, kept.clone())?;
                let value = self.constant_value("", kept, numbers)?;
                self.push_like(site, Add {}, vec![read, value], input).map(drop)
            }
            _ => {
                let problem = "a constant must be one number, or one per channel";
                Err(site.shape_error(problem, &[&input.dims]))
            }
        }
    }
}

/// How a value of `len` numbers is repeated where `meets` has, for each number of the whole, the one
/// that it meets; `None` where that isn't the repetition of runs.
fn repetition(meets: &[usize], len: usize) -> Option<Repeat> {
    let count = meets.len().checked_div(len)?;
    // The length of the first run: until a number that isn't the next one.
    let run = meets.iter().enumerate().take_while(|&(at, &met)| at == met).count().max(1);
    let inner = if run == meets.len() || run == len { len } else { run };
    let repeat = Repeat { outer: len.checked_div(inner)?, count, inner };
    let expected = |at: usize| at / (count * inner) * inner + at % inner;
    let fits = meets.len() == repeat.outer * count * inner;
    (fits && meets.iter().enumerate().all(|(at, &met)| met == expected(at)))
        .then_some(if count == 1 { Repeat { outer: 1, count: 1, inner: len } } else { repeat })
}

/// A constant against each number of a tensor as it is kept; `channels` is the last dimension that
/// it is kept with.
fn broadcast(
    site: &Site<'_>,
    constant: &Constant,
    input: &Activation,
    channels: usize,
) -> Result<Broadcast, ImportError> {
    let wrong = || site.shape_error("the constant doesn't fit", &[&input.dims, &constant.dims]);
    let numbers = constant.floats();
    if let [number] = numbers.as_slice() {
        return Ok(Broadcast::Channels(vec![*number; channels]));
    }
    // Aligned at the end; what is before the tensor's own dimensions is the batch.
    let extra = constant.dims.len().saturating_sub(input.dims.len());
    if constant.dims[..extra].iter().any(|&dim| dim != 1) {
        return Err(wrong());
    }
    let own = &constant.dims[extra..];
    let missing = input.dims.len() - own.len();
    let mut steps = vec![0; missing];
    for ((&dim, &whole), step) in own.iter().zip(&input.dims[missing..]).zip(strides(own)) {
        match dim {
            1 => steps.push(0),
            dim if dim == whole => steps.push(step),
            _ => return Err(wrong()),
        }
    }
    let of_input = strides(&input.dims);
    let whole: Vec<f32> = (0..input.len())
        .map(|at| {
            let place = input.order.place(at);
            let axes = of_input.iter().zip(&input.dims).zip(&steps);
            let index: usize = axes.map(|((stride, dim), step)| place / stride % dim * step).sum();
            numbers[index]
        })
        .collect();
    let first = &whole[..channels.min(whole.len())];
    let periodic = whole.chunks(channels).all(|chunk| chunk == first);
    Ok(if periodic { Broadcast::Channels(first.to_vec()) } else { Broadcast::Whole(whole) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_that_are_repeated_are_found() {
        let repeat = |outer, count, inner| Some(Repeat { outer, count, inner });
        let table: [(&[usize], usize, Option<Repeat>); 6] = [
            (&[0, 1, 2, 3], 4, repeat(1, 1, 4)),
            (&[0, 1, 0, 1], 2, repeat(1, 2, 2)),
            (&[0, 0, 1, 1], 2, repeat(2, 2, 1)),
            (&[0, 1, 0, 1, 2, 3, 2, 3], 4, repeat(2, 2, 2)),
            (&[0, 0, 0], 1, repeat(1, 3, 1)),
            (&[1, 0, 1, 0], 2, None),
        ];
        for (meets, len, expected) in table {
            assert_eq!(repetition(meets, len), expected, "{meets:?}");
        }
    }
}
