//! Tensors grouped as PyTorch's modules have them: `conv1.weight` and `conv1.bias` make `conv1`.

use super::NamedTensor;

/// What a module is, by the shape of its weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Weights of two dimensions.
    Dense,
    /// Weights of four dimensions.
    Conv2d,
    /// Running statistics.
    BatchNorm,
}

impl Kind {
    /// Every kind.
    pub(super) const ALL: [Self; 3] = [Self::Dense, Self::Conv2d, Self::BatchNorm];

    /// As a job file calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Dense => "dense",
            Self::Conv2d => "conv2d",
            Self::BatchNorm => "batch-norm",
        }
    }

    /// The part that a module of this kind always has.
    pub(super) fn decider(self) -> &'static str {
        match self {
            Self::Dense | Self::Conv2d => "weight",
            Self::BatchNorm => "running_mean",
        }
    }
}

/// The name of a tensor's module: everything before the last dot.
fn module_of(tensor: &str) -> &str {
    tensor.rsplit_once('.').map_or("", |(module, _)| module)
}

/// Modules of a kind, in the order of the tensors that decide it.
pub(super) fn modules(tensors: &[NamedTensor], kind: Kind) -> Vec<String> {
    let decides = |tensor: &&NamedTensor| match tensor.name.rsplit('.').next() {
        Some("weight") => match kind {
            Kind::Dense => tensor.shape.len() == 2,
            Kind::Conv2d => tensor.shape.len() == 4,
            Kind::BatchNorm => false,
        },
        Some("running_mean") => kind == Kind::BatchNorm,
        _ => false,
    };
    tensors.iter().filter(decides).map(|tensor| module_of(&tensor.name).to_owned()).collect()
}

/// The name of a tensor of a module.
pub(super) fn tensor_name(module: &str, part: &str) -> String {
    if module.is_empty() { part.to_owned() } else { format!("{module}.{part}") }
}
