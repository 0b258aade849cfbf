//! Graphs of integers made by hand: what is dropped, placed, joined, and refused.

use bitsback_runtime::Op;
use bitsback_runtime::format::Clamp;
use bitsback_runtime::ops::MAX_CONCAT;
use bitsback_runtime::requantize::Multiplier;

use super::*;
use crate::graph::ops::{IntegerAdd, IntegerConcat, IntegerDense, IntegerLimit, IntegerSelect};

const ONE: Quantization = Quantization { scale: 1.0, zero_point: 0 };

fn value(dims: &[usize], origin: Origin) -> IntegerValue {
    IntegerValue { name: "v".into(), dims: dims.to_vec(), quantization: ONE, origin, real: None }
}

fn node(op: impl Into<IntegerOp>, inputs: &[ValueId], output: ValueId) -> IntegerNode {
    let (name, inputs) = ("n".into(), inputs.to_vec());
    IntegerNode { name, op: op.into(), inputs, output, parameters: None }
}

/// Input 0, a limit to 1, its view 2.
fn graph() -> IntegerGraph {
    IntegerGraph {
        values: vec![
            value(&[4], Origin::Computed),
            value(&[4], Origin::Computed),
            value(&[2, 2], Origin::View(1, 0)),
        ],
        nodes: vec![node(IntegerLimit { clamp: Clamp::NONE }, &[0], 1)],
        input: 0,
        output: 2,
    }
}

fn input() -> InputQuantization {
    InputQuantization { quantization: ONE, residual: 0.0, raw: RawInput::Nothing }
}

fn compiled(graph: IntegerGraph) -> Result<Compiled, CompileError> {
    compile(graph, &input(), &CompileOptions::default())
}

fn add() -> IntegerAdd {
    let half = Multiplier { value: 1 << 30, shift: 0 };
    // Operands are shifted by 20 positions before they are halved.
    let output_multiplier = Multiplier { value: 1 << 30, shift: -18 };
    IntegerAdd { multipliers: [half; 2], output_multiplier, clamp: Clamp::NONE }
}

#[test]
fn what_can_be_lowered_works_in_place_and_drops_the_rest() {
    let mut graph = graph();
    graph.values.push(value(&[4], Origin::Computed));
    graph.nodes.push(node(IntegerLimit { clamp: Clamp::NONE }, &[1], 3));
    let compiled = compiled(graph).unwrap();
    assert_eq!(compiled.ops.len(), 1);
    assert_eq!((compiled.input.offset, compiled.ops[0].output().offset), (0, 0));
}

#[test]
fn a_value_that_is_needed_later_is_not_overwritten() {
    let mut graph = graph();
    graph.values.push(value(&[4], Origin::Computed));
    graph.nodes.push(node(add(), &[0, 1], 3));
    graph.output = 3;
    let compiled = compiled(graph).unwrap();
    assert_ne!(compiled.input.offset, compiled.ops[0].output().offset);
}

#[test]
fn each_error() {
    let mut late = graph();
    late.nodes[0].inputs = vec![2];
    assert!(matches!(compiled(late), Err(CompileError::Order { .. })));
    let mut twice = graph();
    twice.nodes.push(twice.nodes[0].clone());
    assert!(matches!(compiled(twice), Err(CompileError::Twice { .. })));
    let mut nothing = graph();
    nothing.output = 0;
    assert!(matches!(compiled(nothing), Err(CompileError::NothingComputed { .. })));
    let mut circle = graph();
    circle.values[2].origin = Origin::View(2, 0);
    assert!(matches!(compiled(circle), Err(CompileError::NothingComputed { .. })));
    let mut large = graph();
    large.values[0].dims = vec![1 << 20, 1 << 20];
    assert!(matches!(compiled(large), Err(CompileError::Values { .. })));
    let mut deep = graph();
    deep.values[0].dims = vec![1; 5];
    assert!(matches!(compiled(deep), Err(CompileError::Rank { rank: 5, .. })));
    let mut wide = graph();
    wide.values[0].dims = vec![70_000];
    assert!(matches!(compiled(wide), Err(CompileError::Lower(LowerError::TooLarge { .. }))));
    let mut constant = graph();
    let most = super::super::prepare::MAX_CONSTANT_LEN;
    constant.values.push(value(&[most + 1], Origin::Constant(vec![0; most + 1])));
    constant.nodes[0].inputs.push(3);
    assert!(matches!(compiled(constant), Err(CompileError::Values { .. })));
    let mut bare = graph();
    bare.nodes[0].op = IntegerDense {}.into();
    assert!(matches!(compiled(bare), Err(CompileError::Lower(LowerError::Coded))));
    let empty = IntegerGraph::default();
    assert!(matches!(compiled(empty), Err(CompileError::NothingComputed { .. })));
}

#[test]
fn a_constant_operand_is_written_by_an_operator() {
    let mut graph = graph();
    graph.values.push(value(&[4], Origin::Constant(vec![1, -2, 3, -4])));
    graph.values.push(value(&[4], Origin::Computed));
    graph.nodes.push(node(add(), &[1, 3], 4));
    graph.output = 4;
    let found = outputs(&graph, &input(), &[10, 20, 30, 40, 0, 0, 0, 0]);
    assert_eq!(found, [11, 18, 33, 36, 1, -2, 3, -4]);
}

#[test]
fn a_wide_join_becomes_several() {
    let count = MAX_CONCAT as i8 * 2 + 1;
    let mut graph = graph();
    let mut parts = Vec::new();
    for most in 0..count {
        graph.values.push(value(&[4], Origin::Computed));
        let output = graph.values.len() - 1;
        graph.nodes.push(node(
            IntegerLimit { clamp: Clamp { min: -128, max: most } },
            &[0],
            output,
        ));
        parts.push(output);
    }
    graph.values.push(value(&[4 * parts.len()], Origin::Computed));
    graph.output = graph.values.len() - 1;
    graph.nodes.push(node(IntegerConcat { axis: 0 }, &parts, graph.output));
    let found = outputs(&graph, &input(), &[1, 5, 127, -7]);
    let expected: Vec<i8> =
        (0..count).flat_map(|most| [1, 5, 127, -7].map(|x: i8| x.min(most))).collect();
    assert_eq!(found, expected);
    // Each takes what the one before has joined, too.
    let ops = compiled(graph).unwrap().ops;
    assert_eq!(ops.iter().filter(|op| matches!(op, Op::Concat(_))).count(), 3);
}

/// A selection of all but one of 16, a dense layer of two rows behind it.
fn selecting() -> IntegerGraph {
    let mut graph = graph();
    graph.values[0].dims = vec![16];
    graph.values[1].dims = vec![15];
    graph.values[2] = value(&[2], Origin::Computed);
    let keep: Vec<u32> = (0..16).filter(|&at| at != 5).collect();
    let mut dense = node(IntegerDense {}, &[1], 2);
    dense.parameters = Some(Matrix {
        rows: 2,
        columns: 15,
        bits: 8,
        values: (1..31).collect(),
        multipliers: vec![Multiplier { value: 1 << 30, shift: -7 }],
        clamp: Clamp::NONE,
        ..Matrix::default()
    });
    graph.nodes = vec![node(IntegerSelect { keep }, &[0], 1), dense];
    graph
}

#[test]
fn a_selection_becomes_columns_of_zeros_unless_others_read_it() {
    let graph = selecting();
    let values: Vec<i8> = (0..16).map(|at| at * 3 - 20).collect();
    let found = outputs(&graph, &input(), &values);
    let folded = compiled(graph).unwrap();
    assert!(matches!(folded.ops[..], [Op::Dense(_)]), "{:?}", folded.ops);
    let mut shared = selecting();
    shared.values.push(value(&[17], Origin::Computed));
    shared.nodes.push(node(IntegerConcat { axis: 0 }, &[1, 2], 3));
    shared.output = 3;
    let apart = compiled(shared.clone()).unwrap();
    assert!(matches!(apart.ops[..], [Op::Select(_), Op::Dense(_), Op::Concat(_)]));
    let joined = outputs(&shared, &input(), &values);
    assert_eq!(joined[15..], found);
    let kept: Vec<i8> = (0..16).filter(|&at| at != 5).map(|at| values[at]).collect();
    assert_eq!(joined[..15], kept);
}
