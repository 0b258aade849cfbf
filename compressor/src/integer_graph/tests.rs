//! Graphs that can't be lowered, each for its reason.

use bitsback_runtime::format::Clamp;
use bitsback_runtime::requantize::Multiplier;

use super::*;

fn value(dims: &[usize], origin: Origin) -> Value {
    Value { name: "v".into(), dims: dims.to_vec(), scale: 1.0, zero_point: 0, origin }
}

fn node(kind: Kind, inputs: &[ValueId], output: ValueId) -> Node {
    Node { name: "n".into(), kind, inputs: inputs.to_vec(), output }
}

/// Input 0, a limit to 1, its view 2.
fn graph() -> IntegerGraph {
    IntegerGraph {
        values: vec![
            value(&[4], Origin::Computed),
            value(&[4], Origin::Computed),
            value(&[2, 2], Origin::View(1)),
        ],
        nodes: vec![node(Kind::Limit(Clamp::NONE), &[0], 1)],
        input: 0,
        output: 2,
        bytes: Vec::new(),
        arrangement: Arrangement::Pairs,
        fused: true,
    }
}

#[test]
fn what_can_be_lowered_works_in_place_and_drops_the_rest() {
    let mut graph = graph();
    graph.values.push(value(&[4], Origin::Computed));
    graph.nodes.push(node(Kind::Limit(Clamp::NONE), &[1], 3));
    let lowered = graph.lower().unwrap();
    assert_eq!(lowered.ops.len(), 1);
    assert_eq!((lowered.input.offset, lowered.ops[0].output().offset), (0, 0));
}

#[test]
fn a_value_that_is_needed_later_is_not_overwritten() {
    let mut graph = graph();
    graph.values.push(value(&[4], Origin::Computed));
    let half = Multiplier { value: 1 << 30, shift: 0 };
    graph.nodes.push(node(Kind::Add([half; 2], half, Clamp::NONE), &[0, 1], 3));
    graph.output = 3;
    let lowered = graph.lower().unwrap();
    assert_ne!(lowered.input.offset, lowered.ops[0].output().offset);
}

#[test]
fn each_error() {
    let mut late = graph();
    late.nodes[0].inputs = vec![2];
    assert!(matches!(late.lower(), Err(IntegerGraphError::Order { .. })));
    let mut twice = graph();
    twice.nodes.push(twice.nodes[0].clone());
    assert!(matches!(twice.lower(), Err(IntegerGraphError::Twice { .. })));
    let mut nothing = graph();
    nothing.output = 0;
    assert!(matches!(nothing.lower(), Err(IntegerGraphError::NothingComputed { .. })));
    let mut circle = graph();
    circle.values[2].origin = Origin::View(2);
    assert!(matches!(circle.lower(), Err(IntegerGraphError::NothingComputed { .. })));
    let mut large = graph();
    large.values[0].dims = vec![1 << 20, 1 << 20];
    assert!(matches!(large.lower(), Err(IntegerGraphError::Values { .. })));
    let mut deep = graph();
    deep.values[0].dims = vec![1; 5];
    assert!(matches!(deep.lower(), Err(IntegerGraphError::Rank { rank: 5, .. })));
    let mut wide = graph();
    wide.values[0].dims = vec![70_000];
    assert!(matches!(wide.lower(), Err(IntegerGraphError::Lower(_))));
    let mut constant = graph();
    let most = prepare::MAX_CONSTANT_LEN;
    constant.values.push(value(&[most + 1], Origin::Constant(vec![0; most + 1])));
    constant.nodes[0].inputs.push(3);
    assert!(matches!(constant.lower(), Err(IntegerGraphError::Values { .. })));
}
