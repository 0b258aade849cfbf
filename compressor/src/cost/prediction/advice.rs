//! Whether a file's weights lie as a core is fastest with.

use bitsback_runtime::format::{Layout, PAIR_BLOCK_ROWS, pairs_pay};
use bitsback_runtime::ops::FILTER_MAX;
use bitsback_runtime::{Model, Op, Step};

use super::cores::Core;
use super::operator;

/// What a layout costs beyond the other before it is worth a word.
const WORTH_SAYING: f64 = 1.05;

/// A file whose weights lie for another core.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Misfit {
    core: Core,
    /// How they lie.
    layout: Layout,
    /// Instructions by those of the core's own layout, as predicted.
    pub(crate) times: f64,
}

impl Misfit {
    /// Looks for one, on a core.
    pub(crate) fn find(core: Core, model: &Model<'_>) -> Option<Self> {
        let section = model.section();
        let (mut now, mut own) = (0u64, 0u64);
        for mut step in model.ops() {
            let stored = operator(core, &step, section);
            now = now.saturating_add(stored);
            // Coded weights would be decoded for the count again.
            let changed = arrange(&mut step, core.layout());
            own = own.saturating_add(if changed { operator(core, &step, section) } else { stored });
        }
        let times = now as f64 / own.max(1) as f64;
        let layout = match core.layout() {
            Layout::Pairs => Layout::RowMajor,
            Layout::RowMajor => Layout::Pairs,
        };
        (times >= WORTH_SAYING).then_some(Self { core, layout, times })
    }

    /// What to say about it.
    pub(crate) fn advice(&self) -> String {
        let Self { core, layout, times } = *self;
        let lie = match layout {
            Layout::Pairs => "in pairs of rows, for Cortex-M4, M7 and M33",
            Layout::RowMajor => "row by row",
        };
        // Rows are also what the fewest bytes are stored as.
        let goal = match layout {
            Layout::Pairs => "",
            Layout::RowMajor => ", and not for --goal flash",
        };
        format!(
            "weights lie {lie}; on the {core} this takes about {times:.1} times the instructions; store \
             the model with --target {}{goal}",
            core.name()
        )
    }
}

/// Has the operator's 8-bit weights lie so, where the compiler would lay them so; tells whether that changes
/// it.
fn arrange(step: &mut Step, wanted: Layout) -> bool {
    let (rows, weights) = (step.output().shape.channels(), step.parameters().weights);
    let columns = weights.checked_div(rows).unwrap_or_default();
    let (affine, longest) = match &mut step.op {
        Op::Dense(op) => (&mut op.affine, usize::MAX),
        Op::Conv2d(op) => (&mut op.affine, FILTER_MAX),
        Op::Conv2dMaxPool2d(op) => (&mut op.affine, FILTER_MAX),
        _ => return false,
    };
    let fits = rows >= PAIR_BLOCK_ROWS && pairs_pay(rows, columns) && columns <= longest;
    let changes = affine.weights.bits == 8
        && affine.weights.layout != wanted
        && (fits || wanted == Layout::RowMajor);
    if changes {
        affine.weights.layout = wanted;
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::super::tests::golden;
    use super::*;

    #[test]
    fn pairs_are_told_to_cores_that_take_rows() {
        let bytes = golden("pairs");
        let model = Model::parse(&bytes).unwrap();
        assert_eq!(Misfit::find(Core::CortexM4, &model), None);
        let misfit = Misfit::find(Core::CortexM55, &model).unwrap();
        assert!(misfit.times >= WORTH_SAYING, "{misfit:?}");
        let advice = misfit.advice();
        for part in ["in pairs of rows", "on the Cortex-M55", "--target cortex-m55"] {
            assert!(advice.contains(part), "{advice}");
        }
    }

    #[test]
    fn rows_cost_more_on_cores_that_take_pairs() {
        let bytes = golden("pairs");
        let model = Model::parse(&bytes).unwrap();
        let (mut pairs, mut rows) = (0, 0);
        for mut step in model.ops() {
            pairs += operator(Core::CortexM4, &step, model.section());
            arrange(&mut step, Layout::RowMajor);
            rows += operator(Core::CortexM4, &step, model.section());
        }
        assert!(rows > pairs, "{rows} {pairs}");
        let misfit = Misfit { core: Core::CortexM4, layout: Layout::RowMajor, times: 1.5 };
        let advice = misfit.advice();
        for part in ["row by row", "on the Cortex-M4", "1.5 times", "--target cortex-m4"] {
            assert!(advice.contains(part), "{advice}");
        }
    }

    #[test]
    fn what_has_one_layout_alone_is_no_misfit() {
        let bytes = golden("coded");
        let model = Model::parse(&bytes).unwrap();
        assert!(Core::ALL.into_iter().all(|core| Misfit::find(core, &model).is_none()));
    }
}
