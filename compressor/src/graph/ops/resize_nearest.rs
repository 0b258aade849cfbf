//! Images in another size, of the nearest pixels.

use bitsback_runtime::format::Clamp;
use bitsback_runtime::{self as runtime, Step, ops};
use serde::{Deserialize, Serialize};

use super::super::Affine;
use super::super::execute::Operands;
use super::super::exporter::{Attribute, Exported, Exporter, nearest_pixel, resized_from};
use super::super::integer::{Emitter, IntegerOperator, Relation};
use super::super::known::{Known, Span};
use super::super::lower::{LowerError, Lowering};
use super::super::operator::{Operator, Prepared, Site, Units, unless};
use super::Op;
#[cfg(feature = "training")]
use crate::graph::tensor::{Inputs, Pass, Value, columns};
use crate::numbers::Quantization;

/// Each pixel of the output is one of the input: `RESIZE_NEAREST_NEIGHBOR` of TensorFlow Lite without
/// `align_corners`. How many there are follows from the output's size.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResizeNearest {
    /// Whether pixels are found by their centres, not by their corners.
    pub half_pixel_centers: bool,
}

/// How ONNX finds pixels.
struct Rule {
    /// Its `coordinate_transformation_mode`.
    of: &'static str,
    /// Its `nearest_mode`.
    mode: &'static str,
    /// Factors of rows and columns.
    factors: [f32; 2],
}

impl ResizeNearest {
    /// Which of `input` pixels along an axis is the pixel `at` of `output` ones, by TensorFlow Lite's
    /// arithmetic in floats of 32 bits.
    pub fn pixel(self, at: usize, input: usize, output: usize) -> usize {
        let half = if self.half_pixel_centers { 0.5 } else { 0.0 };
        let place = (at as f32 + half) * (input as f32 / output as f32);
        (place as usize).min(input.saturating_sub(1))
    }

    /// Rows and columns of the input for those of the output.
    fn axes(self, site: &Site<'_>) -> [Vec<usize>; 2] {
        let (Some(from), Some(to)) = (site.input().image(), site.output.image()) else {
            return Default::default();
        };
        [0, 1].map(|axis| (0..to[axis]).map(|at| self.pixel(at, from[axis], to[axis])).collect())
    }

    /// ONNX's rule that picks the same pixels, in its arithmetic, with the factors along both axes; none
    /// where they don't make the sizes.
    fn rule(self, from: [usize; 2], to: [usize; 2]) -> Option<Rule> {
        let factors = [0, 1].map(|axis| to[axis] as f32 / from[axis] as f32);
        let rules = [("asymmetric", "floor"), ("half_pixel", "round_prefer_ceil")];
        let picks = |&(of, mode): &(&str, &str), axis: usize| {
            let (from, to, factor) = (from[axis], to[axis], factors[axis]);
            let picked = |at| nearest_pixel(mode, resized_from(of, at, [from, to], factor)?, from);
            (from as f32 * factor) as usize == to
                && (0..to).all(|at| picked(at) == Some(self.pixel(at, from, to)))
        };
        let (of, mode) = rules.into_iter().find(|rule| picks(rule, 0) && picks(rule, 1))?;
        Some(Rule { of, mode, factors })
    }

    /// Where in the input each pixel of the output is.
    fn pixels(self, site: &Site<'_>) -> Vec<usize> {
        let width = site.input().image().map_or(0, |[_, width, _]| width);
        let [rows, columns] = self.axes(site);
        rows.iter().flat_map(|row| columns.iter().map(move |column| row * width + column)).collect()
    }
}

impl Operator for ResizeNearest {
    fn name(&self) -> &'static str {
        "resize_nearest"
    }

    fn check(&self, site: &Site<'_>) -> Option<&'static str> {
        let (from, to) = (site.input(), site.output);
        let images = from.image().is_some() && from.dims.len() == to.dims.len();
        let problem = "it makes an image of an image with the same channels";
        unless(images && from.channels() == to.channels(), problem)
    }

    fn forward(&self, site: &Site<'_>, x: &Operands<'_>, _: Option<&Prepared<'_>>) -> Vec<f32> {
        let (pixels, channels) = (self.pixels(site), site.output.channels());
        let resized = |x: &[f32]| -> Vec<f32> {
            pixels.iter().flat_map(|pixel| &x[pixel * channels..][..channels]).copied().collect()
        };
        x.examples().flat_map(resized).collect()
    }

    #[cfg(feature = "training")]
    fn train(&self, site: &Site<'_>, x: Inputs, _: &mut Pass<'_>) -> Value {
        let channels = site.output.channels();
        let pixels = self.pixels(site).into_iter();
        let places = pixels.flat_map(|pixel| (pixel * channels..).take(channels));
        let places = places.map(|place| place as i64).collect();
        Value::of_rows(columns(x.first.flat(), places), &site.output.dims)
    }

    fn units(&self, _site: &Site<'_>) -> Units {
        Units::Alike
    }

    fn constant(&self, operands: &[f32]) -> Option<f32> {
        operands.first().copied()
    }

    fn commutes_with_limits(&self) -> bool {
        true
    }

    fn keeps_range(&self) -> bool {
        true
    }

    fn copies_scale(&self) -> bool {
        true
    }

    fn lower(&self, lowering: &mut Lowering<'_>) -> Result<(), LowerError> {
        if lowering.operand_dims(0) == lowering.output_dims() {
            return lowering.pass();
        }
        lowering.pooled(IntegerResizeNearest { half_pixel_centers: self.half_pixel_centers })
    }

    /// What ONNX calls so, where a rule of it picks the same pixels; otherwise the very rows and columns.
    fn export(&self, site: &Site<'_>, _: Option<&Affine>, file: &mut dyn Exporter) -> Exported {
        let (&[height, width, _], &[rows, columns, _]) =
            (&site.input().dims[..], &site.output.dims[..])
        else {
            return Err("a resize of something else than an image");
        };
        let (x, output) = (file.operand(0), file.output());
        if let Some(rule) = self.rule([height, width], [rows, columns]) {
            let [along_height, along_width] = rule.factors;
            let factors = file.floats(&[4], &[1.0, 1.0, along_height, along_width]);
            let attributes = [
                ("mode", "nearest"),
                ("coordinate_transformation_mode", rule.of),
                ("nearest_mode", rule.mode),
            ];
            let attributes = attributes.map(|(name, text)| (name, Attribute::Text(text))).to_vec();
            file.emit("Resize", &[&x, "", &factors], &output, attributes);
            return Ok(());
        }
        let between = file.fresh();
        let [rows, columns] = self.axes(site).map(|pixels| {
            let pixels: Vec<i64> = pixels.into_iter().map(|pixel| pixel as i64).collect();
            file.longs(&pixels)
        });
        file.emit("Gather", &[&x, &rows], &between, vec![("axis", Attribute::Int(2))]);
        file.emit("Gather", &[&between, &columns], &output, vec![("axis", Attribute::Int(3))]);
        Ok(())
    }
}

/// Bytes of the nearest pixels, which are copied.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IntegerResizeNearest {
    /// Whether pixels are found by their centres, not by their corners.
    pub half_pixel_centers: bool,
}

impl IntegerOperator for IntegerResizeNearest {
    fn label(&self) -> &'static str {
        "resize_nearest"
    }

    fn of(step: &Step, _: &[u8]) -> Option<Self> {
        let runtime::Op::ResizeNearest(op) = &step.op else { return None };
        Some(Self { half_pixel_centers: op.half_pixel_centers })
    }

    fn emit(&self, emitter: &mut dyn Emitter) -> Result<runtime::Op, LowerError> {
        let (input, output) = (emitter.bytes(0)?, emitter.output()?);
        let half_pixel_centers = self.half_pixel_centers;
        Ok(runtime::Op::ResizeNearest(ops::ResizeNearest { input, output, half_pixel_centers }))
    }

    fn spans(&self, known: &Known<'_>) -> Vec<Span> {
        known.alike(0, |span| span)
    }

    fn scales(&self, _: &Step) -> Vec<Relation> {
        vec![Relation::Same]
    }

    fn real(&self, _to: Quantization) -> Option<(Op, Clamp)> {
        let half_pixel_centers = self.half_pixel_centers;
        Some((ResizeNearest { half_pixel_centers }.into(), Clamp::NONE))
    }
}
