//! Which units stay or leave together, and who reads them with weights.

use super::spans::{Facts, is_aligned};
use crate::graph::{IntegerGraph, IntegerNode, Known, Matrix, Origin, Ties, ValueId};

/// A layer whose rows are made of all units of what it reads.
#[derive(Debug)]
pub(super) struct Reader {
    /// Which node.
    pub(super) node: usize,
    /// The value that holds the bytes that it reads.
    pub(super) reads: ValueId,
    /// Whether windows read padding beside the bytes.
    pub(super) padded: bool,
    /// Whether its biases can take constants: whatever the inputs are, no sum leaves 32 bits, nor does a
    /// bias with the zero point's part in it. A constant moves |w|·255 at most from the products to the
    /// bias, so that neither bound grows.
    pub(super) folds: bool,
}

/// Units by their classes.
#[derive(Debug)]
pub(super) struct Classes {
    /// Classes with their units, (which value, which of its units), in the order of values; of those
    /// that may leave.
    pub(super) groups: Vec<Vec<(ValueId, usize)>>,
    /// Layers that mix what they read, in order.
    pub(super) readers: Vec<Reader>,
}

impl Classes {
    /// Of a graph in order.
    pub(super) fn new(graph: &IntegerGraph, facts: &Facts) -> Self {
        let mut drawn = Drawn::new(graph, facts);
        drawn.fix(graph, graph.input);
        drawn.fix(graph, graph.output);
        for id in 0..graph.values.len() {
            let (storage, _) = graph.storage(id);
            if facts.units(storage) > 0 && !is_regular(graph, id) {
                drawn.fix(graph, id);
            }
        }
        for (at, node) in graph.nodes.iter().enumerate() {
            drawn.tie(graph, &facts.known(graph, node), (at, node));
        }
        drawn.done(graph, facts)
    }

    /// The layer at a node, if it mixes what it reads.
    pub(super) fn reader(&self, node: usize) -> Option<&Reader> {
        self.readers.iter().find(|reader| reader.node == node)
    }
}

/// Classes in the making: sets of units that are joined.
struct Drawn {
    /// The number of a value's first unit.
    first: Vec<usize>,
    /// By unit: one further on in its class, or itself.
    next: Vec<usize>,
    /// By value: whether all of its units stay.
    fixed: Vec<bool>,
    readers: Vec<Reader>,
}

impl Drawn {
    fn new(graph: &IntegerGraph, facts: &Facts) -> Self {
        let (mut first, mut count) = (Vec::with_capacity(graph.values.len()), 0);
        for value in 0..graph.values.len() {
            first.push(count);
            count += facts.units(value);
        }
        let fixed = vec![false; graph.values.len()];
        Self { first, next: (0..count).collect(), fixed, readers: Vec::new() }
    }

    /// All units of what a value is a view of stay.
    fn fix(&mut self, graph: &IntegerGraph, id: ValueId) {
        self.fixed[graph.storage(id).0] = true;
    }

    fn fix_node(&mut self, graph: &IntegerGraph, node: &IntegerNode) {
        self.fix(graph, node.output);
        node.inputs.iter().for_each(|&id| self.fix(graph, id));
    }

    /// The unit that stands for a class.
    fn root(&mut self, mut unit: usize) -> usize {
        while self.next[unit] != unit {
            self.next[unit] = self.next[self.next[unit]];
            unit = self.next[unit];
        }
        unit
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        self.next[a.max(b)] = a.min(b);
    }

    /// Ties a unit of what a node writes to a unit, or single value, of an operand. Of a value whose units
    /// don't repeat, which is fixed, any will do.
    fn join_operand(&mut self, graph: &IntegerGraph, output: usize, (id, unit): (ValueId, usize)) {
        let (storage, _) = graph.storage(id);
        let units = graph.values[storage].units();
        self.join(output, self.first[storage] + unit % units);
    }

    /// What a node says of its units.
    fn tie(&mut self, graph: &IntegerGraph, known: &Known<'_>, (at, node): (usize, &IntegerNode)) {
        let (units, first) = (known.units(), self.first[node.output]);
        let rows_fit = known
            .matrix
            .is_none_or(|matrix| matrix.is_whole() && matrix.rows.is_multiple_of(units));
        if !rows_fit {
            return self.fix_node(graph, node);
        }
        match node.op.ties(known) {
            Ties::Mixed => self.read(graph, known, (at, node)),
            Ties::Alike => {
                for &id in &node.inputs {
                    let value = &graph.values[id];
                    if value.units() == units {
                        for unit in 0..units {
                            self.join_operand(graph, first + unit, (id, unit));
                        }
                    } else if value.len() == 1 {
                        self.fix(graph, id);
                    } else {
                        self.fix_node(graph, node);
                    }
                }
            }
            Ties::Taken(from) if from.len() == units => {
                for (unit, taken) in from.into_iter().enumerate() {
                    let Some((operand, taken)) = taken else { continue };
                    match node.inputs.get(operand) {
                        Some(&id) => self.join_operand(graph, first + unit, (id, taken)),
                        None => self.fix_node(graph, node),
                    }
                }
            }
            Ties::Taken(_) | Ties::Fixed => self.fix_node(graph, node),
        }
    }

    /// A layer whose rows read everything.
    fn read(&mut self, graph: &IntegerGraph, known: &Known<'_>, (at, node): (usize, &IntegerNode)) {
        let (&[id], Some(matrix)) = (node.inputs.as_slice(), known.matrix) else {
            return self.fix_node(graph, node);
        };
        let (reads, _) = graph.storage(id);
        if !matrix.columns.is_multiple_of(graph.values[reads].units()) {
            return self.fix_node(graph, node);
        }
        let padded = node.op.reads_padding(known);
        self.readers.push(Reader { node: at, reads, padded, folds: folds(matrix) });
    }

    fn done(mut self, graph: &IntegerGraph, facts: &Facts) -> Classes {
        let mut groups: Vec<Vec<(ValueId, usize)>> = vec![Vec::new(); self.next.len()];
        let mut stays = vec![false; self.next.len()];
        for value in 0..graph.values.len() {
            for unit in 0..facts.units(value) {
                let root = self.root(self.first[value] + unit);
                groups[root].push((value, unit));
                stays[root] |= self.fixed[value];
            }
        }
        let free =
            groups.into_iter().zip(stays).filter(|(group, stays)| !stays && !group.is_empty());
        Classes { groups: free.map(|(group, _)| group).collect(), readers: self.readers }
    }
}

/// Whether units can be taken out of a value: it, and of a chain of views each, begins where a row of
/// units does, and there is a byte for each place.
fn is_regular(graph: &IntegerGraph, id: ValueId) -> bool {
    let storage = &graph.values[graph.storage(id).0];
    let complete = match &storage.origin {
        Origin::Constant(bytes) => bytes.len() == storage.len(),
        Origin::Computed | Origin::View(..) => true,
    };
    let begins = match graph.values[id].origin {
        Origin::View(_, behind) => behind.is_multiple_of(storage.units()),
        Origin::Computed | Origin::Constant(_) => true,
    };
    complete && begins && is_aligned(graph, id)
}

/// See [`Reader::folds`].
fn folds(matrix: &Matrix) -> bool {
    let rows = matrix.values.chunks_exact(matrix.columns).enumerate();
    rows.into_iter().all(|(row, weights)| {
        let most: i64 = weights.iter().map(|&w| 255 * i64::from(w).abs()).sum();
        let bias = matrix.bias.get(row).map_or(0, |&bias| i64::from(bias).abs());
        most + bias <= i64::from(i32::MAX)
    })
}
