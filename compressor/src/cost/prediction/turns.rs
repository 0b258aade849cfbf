//! How an inference runs a model's operators, one after the other: where it has their weights, and which
//! poolings are done by the convolution before them.

use bitsback_runtime::ops::{CodedConv2d, MaxPool2d};
use bitsback_runtime::{Model, Op, Source, Step};

/// Where weights that are unpacked begin: `UNPACKED_ALIGNMENT`.
const ALIGNMENT: usize = 4;
/// Bytes of a bias.
const BIAS: usize = 4;

/// How an operator is run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum How {
    /// As it is stored; coded filters are decoded some at a time, on the stack.
    Stored,
    /// A convolution whose filters are all decoded into what is free of the arena; it does the pooling
    /// behind it, if that is there.
    InArena(Option<MaxPool2d>),
    /// With weights that were unpacked before, and that pooling; whether other layers' weights lie behind
    /// its own.
    Unpacked(Option<MaxPool2d>, bool),
    /// A pooling that was done.
    Done,
}

/// An operator's turn in an inference.
#[derive(Clone, Debug)]
pub(crate) struct Turn {
    pub(crate) step: Step,
    pub(crate) how: How,
}

impl Turn {
    /// An operator by itself.
    pub(crate) fn stored(step: &Step) -> Self {
        Self { step: step.clone(), how: How::Stored }
    }

    /// Those of a model, in order, with weights unpacked into so many bytes of RAM as
    /// [`Unpacked::new`](bitsback_runtime::Unpacked::new) does; without any, as
    /// [`Interpreter::new`](bitsback_runtime::Interpreter::new) runs it.
    pub(crate) fn all(model: &Model<'_>, room: usize) -> Vec<Self> {
        let steps: Vec<Step> = model.ops().collect();
        let is_previous = |source: &Source| *source == Source::Previous;
        let is_chain = steps.iter().all(|step| step.op.inputs().iter().all(is_previous));
        // Which poolings could be done depends on no room.
        let (able, chosen) = (model.unpacked_ops(usize::MAX), model.unpacked_ops(room));
        let behind = steps.iter().skip(1).map(Some).chain([None]);
        let mut done = false;
        let turn = |(step, behind): (&Step, Option<&Step>)| {
            let pools = able.iter().any(|op| op.index == step.index && op.pools);
            let pool = match behind.map(|behind| &behind.op) {
                Some(Op::MaxPool2d(pool)) if pools => Some(pool.clone()),
                _ => None,
            };
            let is_chosen = chosen.iter().any(|op| op.index == step.index);
            let how = match &step.op {
                _ if std::mem::take(&mut done) => How::Done,
                _ if is_chosen && room > 0 => {
                    How::Unpacked(pool, chosen.last().is_some_and(|last| last.index > step.index))
                }
                Op::CodedConv2d(op) if room == 0 && is_chain && fits(op, step, model) => {
                    How::InArena(pool)
                }
                _ => How::Stored,
            };
            done = matches!(how, How::InArena(Some(_)) | How::Unpacked(Some(_), _));
            Self { step: step.clone(), how }
        };
        steps.iter().zip(behind).map(turn).collect()
    }
}

/// Whether a convolution's filters and biases fit into what neither its input nor its output has of the arena,
/// which begins at a word.
fn fits(op: &CodedConv2d, step: &Step, model: &Model<'_>) -> bool {
    let (input, output) = (op.input.resolve(&step.previous), &op.output);
    let (one, two) = if input.offset <= output.offset { (input, output) } else { (output, input) };
    let gaps = [
        (0, one.offset as usize),
        (one.end(), two.offset as usize),
        (two.end(), model.arena_len()),
    ];
    if one.end() > two.offset as usize {
        return false;
    }
    // The longest of them, and the first of equals.
    let longest = gaps.into_iter().rev().max_by_key(|(begin, end)| end.saturating_sub(*begin));
    let room =
        longest.map_or(0, |(begin, end)| end.saturating_sub(begin.next_multiple_of(ALIGNMENT)));
    let biases = output.shape.channels().saturating_mul(BIAS);
    let wanted = step.parameters().weights.saturating_add(biases);
    wanted.next_multiple_of(ALIGNMENT) <= room
}

#[cfg(test)]
mod tests {
    use super::super::tests::golden;
    use super::*;
    use bitsback_runtime::OpKind;

    #[test]
    fn a_pooling_is_done_by_the_convolution_before_it() {
        let bytes = golden("coded-lenet");
        let model = Model::parse(&bytes).unwrap();
        for room in [0, model.weights_len()] {
            let turns = Turn::all(&model, room);
            for (turn, next) in turns.iter().zip(&turns[1..]) {
                let is_done = next.how == How::Done;
                assert_eq!(is_done, next.step.kind() == OpKind::MaxPool2d);
                let pools = matches!(turn.how, How::InArena(Some(_)) | How::Unpacked(Some(_), _));
                assert_eq!(pools, is_done);
            }
        }
    }

    #[test]
    fn weights_that_have_no_room_stay_as_they_are_stored() {
        let bytes = golden("coded-lenet");
        let model = Model::parse(&bytes).unwrap();
        let stored =
            |room| Turn::all(&model, room).iter().filter(|turn| turn.how == How::Stored).count();
        let (whole, half) = (stored(model.weights_len()), stored(model.weights_len() / 2));
        assert!(whole < half && half < model.ops().count(), "{whole}, {half}");
        let bytes = golden("lists");
        let turns = Turn::all(&Model::parse(&bytes).unwrap(), 0);
        let in_arena = turns.iter().filter(|turn| matches!(turn.how, How::InArena(_))).count();
        assert!(in_arena > 0 && in_arena < turns.len(), "{turns:?}");
    }
}
