//! What sums and products share: two values of one shape; the second, which may be a constant, may
//! also have one number per channel, or one.

use super::super::execute::Operands;
use super::super::exporter::{Exported, Exporter};
use super::super::operator::{Site, unless};

/// The shape rule of an operator of two values.
pub(super) fn check(site: &Site<'_>) -> Option<&'static str> {
    let &[first, second] = site.inputs.as_slice() else { return None };
    let whole = first.dims == site.output.dims && first.constant.is_none();
    let broadcast = second.len() == 1 || first.channels() == second.len();
    unless(
        whole && (second.len() == first.len() || broadcast),
        "operands must be equal in shape, or the second one number per channel",
    )
}

/// Each value of the first operand with its counterpart of the second.
pub(super) fn forward(site: &Site<'_>, x: &Operands<'_>, f: impl Fn(f32, f32) -> f32) -> Vec<f32> {
    let mut y = Vec::with_capacity(x.count() * site.output.len());
    for example in 0..x.count() {
        let lens = site.inputs.iter().map(|value| value.len());
        if let [a, b] = x.of(example, lens)[..] {
            y.extend(a.iter().zip(b.iter().cycle()).map(|(&a, &b)| f(a, b)));
        }
    }
    y
}

/// The node of an ONNX file: there the dimensions of a second operand with one number per channel
/// must say so.
pub(super) fn export(site: &Site<'_>, operator: &str, file: &mut dyn Exporter) -> Exported {
    let (first, mut second) = (file.operand(0), file.operand(1));
    let (x, y) = (site.input(), site.inputs.get(1).copied().unwrap_or(site.output));
    if y.len() > 1 && y.dims != x.dims && x.dims.len() == 3 {
        let shaped = file.fresh();
        file.shape(&second, &[y.len(), 1, 1], &shaped);
        second = shaped;
    }
    let output = file.output();
    file.emit(operator, &[&first, &second], &output, Vec::new());
    Ok(())
}
