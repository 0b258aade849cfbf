//! `--input-layout`: what an .onnx file may not tell about its input.

use std::path::Path;

use super::output::Context;
use crate::data::Layout;
use crate::import::InputLayout;

/// The order of an input's dimensions.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(super) struct LayoutOption {
    /// The order of an .onnx input's dimensions, where its operators don't prove one
    #[arg(long, value_enum, value_name = "ORDER")]
    pub(super) input_layout: Option<Layout>,
}

/// Says so where an order was assumed.
pub(super) fn note(context: &Context, path: &Path, layout: Option<InputLayout>) {
    if let Some(text) = layout.and_then(|layout| layout.assumption("--input-layout ")) {
        context.note(&format!("{}: {text}", path.display()));
    }
}
