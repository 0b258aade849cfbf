//! One conversion, or two: which order the input's dimensions have is known only when the operators
//! have been seen.

use super::FloatModel;
use super::convert::Converter;
use super::external::Folder;
use super::schema::Model;
use super::site::{Site, Tensor};
use crate::data::Layout;
use crate::import::ImportError;
use crate::import::layout::{Basis, Evidence, InputLayout};

/// A conversion, and what its operators say about the input's order.
struct Pass {
    layout: Layout,
    result: Result<FloatModel, ImportError>,
    evidence: Evidence,
}

/// The graph of a file whose input has the order that its operators prove, or else the one that
/// the caller says, or else the one that can be computed, or the likelier one.
pub(super) fn convert(
    model: &Model,
    folder: &Folder,
    given: Option<Layout>,
) -> Result<FloatModel, ImportError> {
    let dims = model.input.dims.get(1..).unwrap_or_default();
    let sizes: Vec<usize> = dims.iter().map(|dim| dim.unwrap_or_default()).collect();
    let has_order = matches!(sizes.len(), 2 | 3);
    if given.is_some() && !has_order {
        return Err(ImportError::NoLayout { rank: sizes.len() });
    }
    let start = given.unwrap_or_else(|| Layout::guess(&sizes));
    let first = pass(model, folder, start);
    if !has_order {
        return first.result;
    }
    if let (Some(given), Some([one, other])) = (given, first.evidence.contradiction()) {
        tracing::debug!(?given, %one, %other, "the operators contradict one another");
        return with(first.result, given, Basis::Given);
    }
    match given {
        Some(given) => match first.evidence.proof(given.other()) {
            Some(at) => Err(ImportError::Layout { at: at.clone(), given: given.name() }),
            None => with(first.result, given, Basis::Given),
        },
        None => chosen(model, folder, first, &sizes),
    }
}

/// Without the caller's word.
fn chosen(
    model: &Model,
    folder: &Folder,
    first: Pass,
    sizes: &[usize],
) -> Result<FloatModel, ImportError> {
    let start = first.layout;
    if let Some([one, other]) = first.evidence.contradiction() {
        // Unless only one of them can be computed.
        let second = pass(model, folder, start.other());
        return match (&first.result, &second.result) {
            (Ok(_), Ok(_)) => Err(ImportError::Layouts { first: one.clone(), last: other.clone() }),
            (Err(_), Ok(_)) => with(second.result, second.layout, Basis::Proved),
            (_, Err(_)) => with(first.result, start, Basis::Proved),
        };
    }
    match (first.evidence.layout_known(), &first.result) {
        (Some(known), _) if known == start => with(first.result, start, Basis::Proved),
        (None, Ok(_)) if sizes.len() == 3 => {
            // With one channel in front nothing depends on it.
            let same = sizes.first() == Some(&1);
            with(first.result, start, if same { Basis::Proved } else { Basis::Assumed })
        }
        // A sequence without any sign is a table: as the file has it.
        (None, Ok(_)) => first.result,
        (known, _) => {
            let second = pass(model, folder, start.other());
            let proved = known.is_some() || second.evidence.layout_known() == Some(start.other());
            match (&first.result, &second.result) {
                (_, Ok(_)) => with(second.result, second.layout, Basis::Proved),
                (Ok(_), Err(_)) => with(first.result, start, Basis::Proved),
                (Err(_), Err(_)) if proved => second.result,
                (Err(_), Err(_)) => first.result,
            }
        }
    }
}

fn with(
    result: Result<FloatModel, ImportError>,
    layout: Layout,
    basis: Basis,
) -> Result<FloatModel, ImportError> {
    let input_layout = Some(InputLayout { layout, basis });
    result.map(|model| FloatModel { input_layout, ..model })
}

/// All nodes in turn, for an input of that order.
fn pass(model: &Model, folder: &Folder, layout: Layout) -> Pass {
    let mut converter = Converter::new(model, folder);
    let result = run(&mut converter, model, layout);
    let result = result.map(|()| std::mem::take(&mut converter.model));
    Pass { layout, result, evidence: converter.evidence }
}

fn run(converter: &mut Converter<'_>, model: &Model, layout: Layout) -> Result<(), ImportError> {
    converter.initializers(model)?;
    converter.input(model, layout)?;
    for (index, node) in model.nodes.iter().enumerate() {
        converter.node(&Site { node, index })?;
    }
    let Some(Tensor::Activation(output)) = converter.tensor(&model.output) else {
        return Err(ImportError::NotComputed { output: model.output.clone() });
    };
    let (value, order) = (output.value, output.order.clone());
    // The device has channels last for maps, and for sequences if it takes one.
    let documented = match output.dims.len() {
        3 => output.is_image(),
        2 => output.is_image() && model.input.dims.len() == 3,
        _ => false,
    };
    let moved = !order.is_logical() && (output.rows || !documented);
    if !order.is_logical() {
        let len = output.len();
        converter.model.output_order = (0..len).map(|at| order.place(at)).collect();
    }
    converter.model.graph.output = value;
    if moved {
        let mut nodes = model.nodes.iter().enumerate().rev();
        let writer = nodes.find(|(_, node)| node.outputs.contains(&model.output));
        converter.model.moved_output = writer.map(|(index, node)| Site { node, index }.at());
    }
    Ok(())
}
