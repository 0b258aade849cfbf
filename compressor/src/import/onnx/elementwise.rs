//! Operators that work number by number: sums, products, activations.

use super::constant::Constant;
use super::convert::Converter;
use super::shape::Shape;
use super::site::{Activation, Site, Tensor};
use crate::graph::ops::{Add, Clip, HardSigmoid, Mul};
use crate::graph::{Affine, Computation};
use crate::import::ImportError;

impl Converter<'_> {
    /// `Add`.
    pub(super) fn add(&mut self, site: &Site<'_>) -> Result<(), ImportError> {
        match self.operands(site)? {
            (Tensor::Activation(a), Tensor::Activation(b)) => self.pair(site, Add {}, a, b),
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
                let opposite = self.affine_step(site, &b, -1.0, 0.0)?;
                self.pair(site, Add {}, a, opposite)
            }
            (Tensor::Constant(a), Tensor::Constant(b)) => self.computed_constant(site, &a, &b),
        }
    }

    /// `Mul`.
    pub(super) fn mul(&mut self, site: &Site<'_>) -> Result<(), ImportError> {
        match self.operands(site)? {
            (Tensor::Activation(a), Tensor::Activation(b)) => self.pair(site, Mul {}, a, b),
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

    /// An operator that keeps shape and order.
    pub(super) fn unary(
        &mut self,
        site: &Site<'_>,
        op: impl Into<Computation>,
    ) -> Result<(), ImportError> {
        let input = self.computed_rows(site, 0)?;
        self.push_like(site, op, vec![input.value], &input).map(drop)
    }

    /// One factor and one summand for all numbers, as a step of the node.
    pub(super) fn affine_step(
        &mut self,
        site: &Site<'_>,
        input: &Activation,
        factor: f32,
        summand: f32,
    ) -> Result<Activation, ImportError> {
        let last = self.kept(input).last().copied().unwrap_or(1);
        let kept = match self.kept(input) {
            kept if kept.len() <= 3 => kept.to_vec(),
            _ => vec![input.len() / last, last],
        };
        let read = self.arranged(site, input, kept.clone())?;
        let affine = Affine { weight: vec![factor; last], bias: vec![summand; last] };
        let shape = Shape { kept, ..self.shape_of(input) };
        self.step_shape(site, Computation::per_channel(affine), read, shape)
    }

    /// `HardSigmoid`: a line between 0 and 1.
    pub(super) fn hard_sigmoid(&mut self, site: &Site<'_>) -> Result<(), ImportError> {
        let (alpha, beta) = (site.float("alpha", 0.2), site.float("beta", 0.5));
        let input = self.computed_rows(site, 0)?;
        if beta == 0.5 && alpha > 0.0 {
            let op = HardSigmoid { slope: alpha };
            return self.push_like(site, op, vec![input.value], &input).map(drop);
        }
        let line = self.affine_step(site, &input, alpha, beta)?;
        let kept = self.kept(&input).to_vec();
        let read = self.arranged(site, &line, kept)?;
        self.push_like(site, Clip { low: 0.0, high: 1.0 }, vec![read], &input).map(drop)
    }

    /// `Max` and `Min`: of a value and a number a limit, of constants their comparison.
    pub(super) fn extreme(&mut self, site: &Site<'_>) -> Result<(), ImportError> {
        let (input, limit) = match self.operands(site)? {
            (Tensor::Activation(a), Tensor::Constant(c))
            | (Tensor::Constant(c), Tensor::Activation(a)) => (a, c),
            (Tensor::Constant(a), Tensor::Constant(b)) => {
                return self.computed_constant(site, &a, &b);
            }
            (Tensor::Activation(a), Tensor::Activation(b)) => {
                let problem = "one of its operands must be a constant";
                return Err(site.shape_error(problem, &[&a.dims, &b.dims]));
            }
        };
        let limit = limit.single().filter(|limit| !limit.is_nan() && site.node.inputs.len() == 2);
        let limit = limit.ok_or_else(|| site.missing("the only number of a limit"))?;
        let op = if site.node.operator == "Max" {
            Clip { low: limit, high: f32::INFINITY }
        } else {
            Clip { low: f32::NEG_INFINITY, high: limit }
        };
        self.push_like(site, op, vec![input.value], &input).map(drop)
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
        self.unary(site, Clip { low, high })
    }
}

fn each(constant: &Constant, f: impl Fn(f32) -> f32) -> Constant {
    let numbers = constant.floats().into_iter().map(f).collect();
    Constant::of_floats(constant.dims.clone(), numbers)
}
