//! Parts of the input image.

use serde::{Deserialize, Serialize};

use super::super::Affine;
use super::super::execute::Operands;
use super::super::exporter::{Exported, Exporter};
use super::super::lower::{LowerError, Lowering};
use super::super::operator::{Operator, Prepared, Site, Units, unless};
#[cfg(feature = "training")]
use crate::graph::tensor::{Inputs, Pass, Value, rows_and_columns};

/// The part of the input image that the network reads; its size is the output's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Crop {
    /// Rows and columns left out before it.
    pub before: [usize; 2],
}

impl Operator for Crop {
    fn name(&self) -> &'static str {
        "crop"
    }

    fn check(&self, site: &Site<'_>) -> Option<&'static str> {
        let (&[height, width, channels], &[rows, columns, same]) =
            (site.input().dims.as_slice(), site.output.dims.as_slice())
        else {
            return Some("it crops images");
        };
        let [top, left] = self.before;
        let fits = top.saturating_add(rows) <= height && left.saturating_add(columns) <= width;
        unless(fits && channels == same, "it must lie within the image")
    }

    fn forward(&self, site: &Site<'_>, x: &Operands<'_>, _: Option<&Prepared<'_>>) -> Vec<f32> {
        let (&[_, width, channels], &[rows, columns, _]) =
            (site.input().dims.as_slice(), site.output.dims.as_slice())
        else {
            return Vec::new();
        };
        let [top, left] = self.before;
        let part = left * channels..(left + columns) * channels;
        let rows = x.examples().flat_map(|x| x.chunks_exact(width * channels).skip(top).take(rows));
        rows.flat_map(|row| &row[part.clone()]).copied().collect()
    }

    #[cfg(feature = "training")]
    fn train(&self, site: &Site<'_>, x: Inputs, _: &mut Pass<'_>) -> Value {
        x.first.crop(self.before, rows_and_columns(site))
    }

    fn units(&self, _site: &Site<'_>) -> Units {
        Units::Alike
    }

    fn constant(&self, operands: &[f32]) -> Option<f32> {
        operands.first().copied()
    }

    fn copies_scale(&self) -> bool {
        true
    }

    fn lower(&self, lowering: &mut Lowering<'_>) -> Result<(), LowerError> {
        let (&[_, width, channels], [rows, ..]) =
            (lowering.operand_dims(0), lowering.output_dims())
        else {
            return Err(lowering.unsupported("an operator on images"));
        };
        if !lowering.is_read_by_inner_windows() {
            return Err(lowering.unsupported(
                "a crop of the input, behind which only windows stand that stay within it",
            ));
        }
        // The same rows, from another place on: what is beyond the part is in the arena, and no
        // window reads it.
        let [top, left] = self.before;
        lowering.view(vec![*rows, width, channels], (top * width + left) * channels)
    }

    fn export(&self, site: &Site<'_>, _: Option<&Affine>, file: &mut dyn Exporter) -> Exported {
        let size = [0, 1].map(|axis| site.output.dims[axis]);
        let [starts, ends] = [[0; 2], size]
            .map(|size| [0, 1].map(|axis| (self.before[axis] + size[axis]) as i64))
            .map(|corner| file.longs(&corner));
        let (axes, x, output) = (file.longs(&[2, 3]), file.operand(0), file.output());
        file.emit("Slice", &[&x, &starts, &ends, &axes], &output, Vec::new());
        Ok(())
    }
}
