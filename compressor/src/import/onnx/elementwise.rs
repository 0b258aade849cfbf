//! Operators that work number by number: sums, products, activations.

use super::constant::Constant;
use super::convert::{Activation, Converter, Site, Tensor};
use super::order::strides;
use super::weighted::TRANSPOSED;
use crate::float_graph::{Kind, Window};
use crate::import::ImportError;
use crate::network::Affine;

/// A constant as it meets another tensor.
enum Broadcast {
    /// One number per channel (or feature), or the same for all.
    Channels(Vec<f32>),
    /// A number for each.
    Whole(Vec<f32>),
}

impl Converter {
    /// `Add`.
    pub(super) fn add(&mut self, site: &Site<'_>) -> Result<(), ImportError> {
        match self.operands(site)? {
            (Tensor::Activation(a), Tensor::Activation(b)) => self.pair(site, Kind::Add, a, b),
            (Tensor::Activation(a), Tensor::Constant(c))
            | (Tensor::Constant(c), Tensor::Activation(a)) => self.scale(site, &a, None, Some(&c)),
            (Tensor::Constant(a), Tensor::Constant(b)) => self.computed_constant(site, &a, &b),
        }
    }

    /// `Sub`: a sum with the opposite.
    pub(super) fn sub(&mut self, site: &Site<'_>) -> Result<(), ImportError> {
        let minus = Constant::of_floats(Vec::new(), vec![-1.0]);
        match self.operands(site)? {
            (Tensor::Activation(a), Tensor::Constant(c)) => {
                let opposite = each(&c, |number| -number);
                self.scale(site, &a, None, Some(&opposite))
            }
            (Tensor::Constant(c), Tensor::Activation(a)) => {
                self.scale(site, &a, Some(&minus), Some(&c))
            }
            (Tensor::Activation(a), Tensor::Activation(b)) => {
                let kept = &self.graph().values[b.value].dims;
                if kept.len() > 3 {
                    let problem = "at most three dimensions besides the batch are supported";
                    return Err(site.shape_error(problem, &[&a.dims, &b.dims]));
                }
                let channels = kept.last().copied().unwrap_or(1);
                let affine = Affine { weight: vec![-1.0; channels], bias: vec![0.0; channels] };
                let kind = Kind::DepthwiseConv2d(Window::ONE, affine);
                let opposite = self.step_like(site, kind, &b)?;
                self.pair(site, Kind::Add, a, opposite)
            }
            (Tensor::Constant(a), Tensor::Constant(b)) => self.computed_constant(site, &a, &b),
        }
    }

    /// `Mul`.
    pub(super) fn mul(&mut self, site: &Site<'_>) -> Result<(), ImportError> {
        match self.operands(site)? {
            (Tensor::Activation(a), Tensor::Activation(b)) => self.pair(site, Kind::Mul, a, b),
            (Tensor::Activation(a), Tensor::Constant(c))
            | (Tensor::Constant(c), Tensor::Activation(a)) => self.scale(site, &a, Some(&c), None),
            (Tensor::Constant(a), Tensor::Constant(b)) => self.computed_constant(site, &a, &b),
        }
    }

    /// `Div` by a constant.
    pub(super) fn div(&mut self, site: &Site<'_>) -> Result<(), ImportError> {
        match self.operands(site)? {
            (Tensor::Activation(a), Tensor::Constant(c)) => {
                let inverse = each(&c, |number| 1.0 / number);
                self.scale(site, &a, Some(&inverse), None)
            }
            (Tensor::Constant(a), Tensor::Constant(b)) => self.computed_constant(site, &a, &b),
            (_, Tensor::Activation(b)) => {
                Err(site.shape_error("the divisor must be a constant", &[&b.dims]))
            }
        }
    }

    fn operands(&self, site: &Site<'_>) -> Result<(Tensor, Tensor), ImportError> {
        let first = self.operand(site, 0, "its first operand")?;
        Ok((first, self.operand(site, 1, "its second operand")?))
    }

    /// Arithmetic on two constants, number by number: shapes that exporters compute.
    fn computed_constant(
        &mut self,
        site: &Site<'_>,
        a: &Constant,
        b: &Constant,
    ) -> Result<(), ImportError> {
        let (Some(x), Some(y)) = (a.integers(), b.integers()) else {
            return Err(site.shape_error("constants must be integers", &[&a.dims, &b.dims]));
        };
        let (longer, dims) = if x.len() >= y.len() { (x, &a.dims) } else { (y, &b.dims) };
        if x.is_empty()
            || y.is_empty()
            || x.len() != longer.len() && x.len() != 1
            || y.len() != longer.len() && y.len() != 1
        {
            return Err(site.shape_error("the constants don't fit", &[&a.dims, &b.dims]));
        }
        let pairs = x.iter().cycle().zip(y.iter().cycle()).take(longer.len());
        let numbers = pairs.map(|(&x, &y)| match site.node.operator.as_str() {
            "Add" => x.checked_add(y),
            "Sub" => x.checked_sub(y),
            "Mul" => x.checked_mul(y),
            _ => x.checked_div(y),
        });
        let numbers: Option<Vec<i64>> = numbers.collect();
        let numbers = numbers.ok_or_else(|| site.missing("a finite result"))?;
        self.define(site, Tensor::Constant(Constant::of_ints(dims.clone(), a.kind, numbers)))
    }

    /// Two computed operands: of one shape, or the second with one number per channel.
    fn pair(
        &mut self,
        site: &Site<'_>,
        kind: Kind,
        a: Activation,
        b: Activation,
    ) -> Result<(), ImportError> {
        let (a, b) = if a.len() >= b.len() { (a, b) } else { (b, a) };
        let kept = |x: &Activation| self.graph().values[x.value].dims.clone();
        let fits = if a.dims == b.dims {
            if a.order != b.order {
                return Err(site.shape_error(TRANSPOSED, &[&a.dims, &b.dims]));
            }
            kept(&a) == kept(&b)
        } else {
            let ones = b.dims.iter().skip(1).all(|&dim| dim == 1);
            let channels = b.dims.len() == a.dims.len() && ones && a.dims[0] == b.dims[0];
            b.len() == 1 || channels && kept(&a).last() == Some(&b.len())
        };
        if !fits {
            let problem =
                "operands must be equal in shape, or one must have one number per channel";
            return Err(site.shape_error(problem, &[&a.dims, &b.dims]));
        }
        self.push_like(site, kind, vec![a.value, b.value], &a).map(drop)
    }

    /// A factor and a summand, both constants that may be broadcast.
    pub(super) fn scale(
        &mut self,
        site: &Site<'_>,
        input: &Activation,
        factor: Option<&Constant>,
        summand: Option<&Constant>,
    ) -> Result<(), ImportError> {
        let kept = self.graph().values[input.value].dims.clone();
        let channels = kept.last().copied().unwrap_or(1);
        let mut meet = |constant: Option<&Constant>, neutral: f32| match constant {
            None => Ok(Broadcast::Channels(vec![neutral; channels])),
            Some(constant) => {
                self.count(input.len())?;
                broadcast(site, constant, input, channels)
            }
        };
        match (meet(factor, 1.0)?, meet(summand, 0.0)?) {
            (Broadcast::Channels(weight), Broadcast::Channels(bias)) if kept.len() <= 3 => {
                let kind = Kind::DepthwiseConv2d(Window::ONE, Affine { weight, bias });
                self.push_like(site, kind, vec![input.value], input).map(drop)
            }
            (Broadcast::Whole(numbers), _) if summand.is_none() => {
                let value = self.constant_value("", kept, numbers)?;
                self.push_like(site, Kind::Mul, vec![input.value, value], input).map(drop)
            }
            (_, Broadcast::Whole(numbers)) if factor.is_none() => {
                let value = self.constant_value("", kept, numbers)?;
                self.push_like(site, Kind::Add, vec![input.value, value], input).map(drop)
            }
            _ => {
                let problem = "a constant must be one number, or one per channel";
                Err(site.shape_error(problem, &[&input.dims]))
            }
        }
    }

    /// An operator that keeps shape and order.
    pub(super) fn unary(&mut self, site: &Site<'_>, kind: Kind) -> Result<(), ImportError> {
        let input = self.computed(site, 0)?;
        self.push_like(site, kind, vec![input.value], &input).map(drop)
    }

    /// `Clip`: its limits are operands, or attributes in old files.
    pub(super) fn clip(&mut self, site: &Site<'_>) -> Result<(), ImportError> {
        let limit = |place: usize, name: &str, open: f32| match site.attribute(name) {
            Some(attribute) => Ok(attribute.float),
            None => match self.optional_parameter(site, place)? {
                None => Ok(open),
                Some(constant) => {
                    constant.single().ok_or_else(|| site.missing("the only number of a limit"))
                }
            },
        };
        let low = limit(1, "min", f32::NEG_INFINITY)?;
        let high = limit(2, "max", f32::INFINITY)?;
        if low.is_nan() || high.is_nan() || low > high {
            return Err(site.unsupported("the range", format!("{low} to {high}"), "low to high"));
        }
        self.unary(site, Kind::Clip(low, high))
    }

    /// `Softmax` and its logarithm.
    pub(super) fn softmax(&mut self, site: &Site<'_>, kind: Kind) -> Result<(), ImportError> {
        // Before version 13 everything from the dimension on was taken together.
        let together = self.opset < 13;
        let input = self.computed(site, 0)?;
        let rank = input.dims.len();
        let axis = self.axis(site, site.int("axis", if together { 1 } else { -1 }), rank)?;
        let kept = &self.graph().values[input.value].dims;
        let last = if together && axis + 1 < rank {
            None
        } else if rank == 1 || input.order.is_logical() && *kept == input.dims {
            Some(rank - 1)
        } else if input.is_image() {
            Some(0)
        } else {
            None
        };
        if last != Some(axis) {
            let problem = "softmax must be over the channels or features";
            return Err(site.shape_error(problem, &[&input.dims]));
        }
        self.push_like(site, kind, vec![input.value], &input).map(drop)
    }
}

fn each(constant: &Constant, f: impl Fn(f32) -> f32) -> Constant {
    let numbers = constant.floats().into_iter().map(f).collect();
    Constant::of_floats(constant.dims.clone(), numbers)
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
