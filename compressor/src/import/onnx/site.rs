//! What a node of the file reads and says, while it is converted.

use super::constant::Constant;
use super::order::Order;
use super::schema::{Attribute, Node};
use crate::graph::ValueId;
use crate::import::layout::Lineage;
use crate::import::{At, ImportError};

/// Longest name that is kept: names are for messages.
pub(super) const MAX_NAME_LEN: usize = 80;

/// What a tensor of the file has become.
#[derive(Clone, Debug)]
pub(super) enum Tensor {
    Constant(Constant),
    Activation(Activation),
}

/// A tensor that depends on the input.
#[derive(Clone, Debug)]
pub(super) struct Activation {
    pub(super) value: ValueId,
    /// Its ONNX shape without the batch.
    pub(super) dims: Vec<usize>,
    pub(super) order: Order,
    /// Whether the batch and the first dimension are one in the file: rows of a sequence that have
    /// become rows of a matrix.
    pub(super) rows: bool,
    /// Which of the input's dimensions its own are.
    pub(super) lineage: Lineage,
}

impl Activation {
    pub(super) fn len(&self) -> usize {
        self.dims.iter().product()
    }

    /// Whether its numbers lie as an image's do.
    pub(super) fn is_image(&self) -> bool {
        self.order.is_channels_last(&self.dims)
    }

    /// Its shape in the file, for a batch of that size.
    pub(super) fn whole(&self, batch: usize) -> Vec<usize> {
        match self.dims.split_first() {
            Some((first, rest)) if self.rows => {
                std::iter::once(batch.saturating_mul(*first)).chain(rest.iter().copied()).collect()
            }
            _ => std::iter::once(batch).chain(self.dims.iter().copied()).collect(),
        }
    }
}

/// A node and its place, while it is converted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Site<'a> {
    pub(super) node: &'a Node,
    pub(super) index: usize,
}

impl<'a> Site<'a> {
    pub(super) fn at(&self) -> At {
        if let Some(at) = &self.node.origin {
            return at.clone();
        }
        let output = self.node.outputs.first().map_or("", String::as_str);
        let short = |text: &str| -> String { text.chars().take(MAX_NAME_LEN).collect() };
        let operator = match self.node.name.as_str() {
            "" => short(&self.node.operator),
            name => format!("{} `{}`", short(&self.node.operator), short(name)),
        };
        At { index: self.index, operator, output: short(output) }
    }

    pub(super) fn missing(&self, what: &'static str) -> ImportError {
        ImportError::Missing { at: self.at(), what }
    }

    pub(super) fn shape_error(&self, problem: &'static str, shapes: &[&[usize]]) -> ImportError {
        ImportError::Shape { at: self.at(), problem, shapes: format!("{shapes:?}") }
    }

    pub(super) fn unsupported(
        &self,
        what: &'static str,
        found: impl ToString,
        supported: &'static str,
    ) -> ImportError {
        ImportError::Attribute { at: self.at(), what, found: found.to_string(), supported }
    }

    pub(super) fn attribute(&self, name: &str) -> Option<&'a Attribute> {
        self.node.attributes.iter().find(|attribute| attribute.name == name)
    }

    pub(super) fn int(&self, name: &str, default: i64) -> i64 {
        self.attribute(name).map_or(default, |attribute| attribute.int)
    }

    pub(super) fn float(&self, name: &str, default: f32) -> f32 {
        self.attribute(name).map_or(default, |attribute| attribute.float)
    }

    pub(super) fn floats(&self, name: &str) -> Option<&'a [f32]> {
        self.attribute(name).map(|attribute| attribute.floats.as_slice())
    }

    pub(super) fn ints(&self, name: &str) -> Option<&'a [i64]> {
        self.attribute(name).map(|attribute| attribute.ints.as_slice())
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.attribute(name).map(|attribute| String::from_utf8_lossy(&attribute.text).into_owned())
    }
}
