//! Whether a graph's order, shapes and parameters fit together.

use super::{Affine, Graph, GraphError, MAX_TENSOR_LEN, Node, ValueId};

impl<P> Graph<P> {
    /// Checks order and shapes: everything but parameters.
    ///
    /// # Errors
    /// What doesn't fit, by the node's or the value's name.
    pub fn check_structure(&self) -> Result<(), GraphError> {
        for value in &self.values {
            let constant = value.constant.as_ref();
            let len = value.len();
            let right = constant.is_none_or(|numbers| numbers.len() == len);
            if !(1..=MAX_TENSOR_LEN).contains(&len) || value.dims.is_empty() || !right {
                let len = constant.map_or(len, Vec::len);
                return Err(GraphError::Size { value: value.name.clone(), len });
            }
        }
        let mut known: Vec<bool> =
            self.values.iter().map(|value| value.constant.is_some()).collect();
        match known.get_mut(self.input) {
            Some(input) if !*input => *input = true,
            _ => return Err(GraphError::NothingComputed),
        }
        for node in &self.nodes {
            self.check_order(node, &mut known)?;
            self.check_shapes(node)?;
        }
        if self.nodes.iter().any(|node| node.output == self.output) {
            return Ok(());
        }
        Err(GraphError::NothingComputed)
    }

    fn check_order(&self, node: &Node<P>, known: &mut [bool]) -> Result<(), GraphError> {
        let missing = |&&id: &&ValueId| known.get(id) != Some(&true);
        if let Some(&value) = node.inputs.iter().find(missing) {
            return Err(GraphError::Order { node: node.name.clone(), value });
        }
        match known.get_mut(node.output) {
            Some(known) if !*known => *known = true,
            Some(_) => {
                let value = self.values[node.output].name.clone();
                return Err(GraphError::Twice { node: node.name.clone(), value });
            }
            None => {
                let (node, value) = (node.name.clone(), node.output);
                return Err(GraphError::Order { node, value });
            }
        }
        Ok(())
    }

    fn check_shapes(&self, node: &Node<P>) -> Result<(), GraphError> {
        let site = self.site(node);
        let problem = if node.inputs.is_empty() {
            Some("it reads nothing")
        } else if node.op.takes(node.inputs.len()) {
            node.op.check(&site)
        } else {
            Some("it has another number of operands")
        };
        let holds = node.op.parameters(&site).is_some() == node.parameters.is_some();
        let problem = problem.or((!holds).then_some("weights are missing, or not for it"));
        problem.map_or(Ok(()), |problem| Err(self.misshapen(node, problem)))
    }

    fn misshapen(&self, node: &Node<P>, problem: &'static str) -> GraphError {
        let dims = |&id: &ValueId| self.values.get(id).map(|value| &value.dims);
        let all = node.inputs.iter().chain([&node.output]).filter_map(dims);
        let shapes = format!("{:?}", all.collect::<Vec<_>>());
        GraphError::Shape { node: node.name.clone(), problem, shapes }
    }
}

impl Graph<Affine> {
    /// Checks everything that executing and lowering rely on.
    ///
    /// # Errors
    /// What doesn't fit, by the node's or the value's name.
    pub fn check(&self) -> Result<(), GraphError> {
        self.check_structure()?;
        for node in &self.nodes {
            let lens = node.op.parameters(&self.site(node));
            if let (Some(affine), Some([weights, biases])) = (&node.parameters, lens)
                && (affine.weight.len() != weights || affine.bias.len() != biases)
            {
                return Err(self.misshapen(node, "weights or biases don't fit its sizes"));
            }
            let affine = node.parameters.iter().flat_map(|a| a.weight.iter().chain(&a.bias));
            let constants = node.inputs.iter().filter_map(|&id| self.values[id].constant.as_ref());
            if !affine.chain(constants.flatten()).all(|number| number.is_finite()) {
                return Err(GraphError::NotFinite { node: node.name.clone() });
            }
        }
        Ok(())
    }
}
