//! Batch normalisation folded into the layer before it.

use super::PruneError;
use super::parameters::check_parameters;
use crate::graph::{Affine, Graph, Op};

/// Folds every batch normalisation into the dense layer or convolution directly before it (a
/// dropout between them does not matter): W ← s·W, b ← s·(b − mean) + β with s = γ/√(var + ε).
///
/// # Errors
/// When one follows anything else (nonlinearities and pooling don't commute with a shift by
/// channel, nor with a negative scale), something else reads what is between, or parameters have the
/// wrong size.
pub(crate) fn fold_batch_norm(graph: Graph<Affine>) -> Result<Graph<Affine>, PruneError> {
    let mut graph = graph;
    graph.check_structure()?;
    check_parameters(&graph)?;
    let mut at = 0;
    while at < graph.nodes.len() {
        let node = &graph.nodes[at];
        let (Op::BatchNorm(norm), Some(affine)) = (&node.op, &node.parameters) else {
            at += 1;
            continue;
        };
        let factors = norm.factors(affine);
        let layer = before(&graph, at)?;
        if let Some(affine) = &mut graph.nodes[layer].parameters {
            fold(affine, &factors);
        }
        let norm = graph.nodes.remove(at);
        let writer = graph.writer(norm.inputs[0]).unwrap_or(layer);
        graph.nodes[writer].output = norm.output;
    }
    Ok(graph)
}

/// The layer before the batch normalisation at `norm`, with nothing but dropout between, and no other
/// reader.
fn before(graph: &Graph<Affine>, norm: usize) -> Result<usize, PruneError> {
    let mut at = norm;
    loop {
        let between = graph.nodes[at].inputs[0];
        let writer = graph.writer(between);
        let place = |before| {
            let layer = graph.nodes[norm].name.clone();
            Err(PruneError::BatchNormPlace { layer, before })
        };
        let Some(writer) = writer else { return place("the network's input") };
        let op = &graph.nodes[writer].op;
        if graph.only_reader(between) != Some(at) {
            return place("a layer whose output something else reads, too");
        }
        match op {
            Op::Dropout(_) => at = writer,
            op if op.is_affine() => return Ok(writer),
            op => return place(op.name()),
        }
    }
}

/// `factors` has one entry a channel; a dense layer may write an image.
fn fold(affine: &mut Affine, factors: &Affine) {
    let columns = affine.weight.len() / affine.bias.len().max(1);
    let rows = affine.weight.chunks_exact_mut(columns.max(1)).zip(&mut affine.bias);
    let factors = factors.weight.iter().zip(&factors.bias).cycle();
    for ((row, bias), (scale, shift)) in rows.zip(factors) {
        row.iter_mut().for_each(|w| *w *= scale);
        *bias = *bias * scale + shift;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::ops::{BatchNorm, Clip, Conv2d, Dropout, MaxPool2d};
    use crate::graph::{Executor, Padding, Window};

    fn image() -> Vec<usize> {
        vec![5, 4, 2]
    }

    /// A convolution, and what is pushed behind it.
    fn network(behind: impl Fn(&mut Graph<Affine>)) -> Graph<Affine> {
        let mut graph = Graph::of_input(vec![5, 4, 1]);
        let weight = (0..18).map(|i| (i as f32 * 0.37).sin()).collect();
        let window = Window::with_rule([3; 2], [1; 2], [1; 2], Padding::Same, [5, 4]).unwrap().0;
        let affine = Affine { weight, bias: vec![0.5, -0.5] };
        graph.push("conv2d_1", Conv2d { window }, vec![0], image(), Some(affine));
        behind(&mut graph);
        graph
    }

    fn norm(graph: &mut Graph<Affine>) {
        let norm = BatchNorm { mean: vec![0.3, 0.4], variance: vec![2.0, 0.01] };
        let affine = Affine { weight: vec![-1.5, 0.5], bias: vec![0.1, -0.2] };
        graph.push("batch_norm_1", norm, vec![graph.output], image(), Some(affine));
    }

    #[test]
    fn a_folded_network_computes_the_same() {
        let net = network(|graph| {
            graph.push("dropout_1", Dropout { rate: 0.1 }, vec![graph.output], image(), None);
            norm(graph);
            graph.push("relu_1", Clip::RELU, vec![graph.output], image(), None);
        });
        let folded = fold_batch_norm(net.clone()).unwrap();
        assert_eq!(folded.nodes.len(), 3);
        let x: Vec<f32> = (0..20).map(|i| (i as f32).cos()).collect();
        let before = Executor::new(&net).unwrap().run(&x).unwrap();
        let after = Executor::new(&folded).unwrap().run(&x).unwrap();
        for (a, b) in before.iter().zip(&after) {
            assert!((a - b).abs() < 1e-5, "{a} {b}");
        }
    }

    #[test]
    fn behind_pooling_it_is_refused_by_name() {
        let net = network(|graph| {
            let pool = MaxPool2d { window: Window::ONE };
            graph.push("max_pool2d_1", pool, vec![graph.output], image(), None);
            norm(graph);
        });
        let error = fold_batch_norm(net).unwrap_err();
        let layer = "batch_norm_1".to_owned();
        assert_eq!(error, PruneError::BatchNormPlace { layer, before: "max_pool2d" });
    }

    #[test]
    fn missing_parameters_are_an_error() {
        let mut net = network(norm);
        net.nodes[1].parameters = Some(Affine::default());
        assert!(matches!(fold_batch_norm(net), Err(PruneError::Length { .. })));
    }
}
