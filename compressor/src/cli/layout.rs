//! `--input-layout`: what an .onnx file may not tell about its input.

use std::path::Path;

use super::output::Context;
use crate::import::{InputLayout, Layout};

/// The order of an input's dimensions.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(super) struct LayoutOption {
    /// The order of an .onnx input's dimensions, where its operators don't prove one: channels-first or
    /// channels-last
    #[arg(long, value_name = "ORDER", value_parser = order)]
    pub(super) input_layout: Option<Layout>,
}

fn order(text: &str) -> Result<Layout, String> {
    let named = Layout::NAMES.into_iter().find(|(name, _)| *name == text);
    named.map(|(_, layout)| layout).ok_or_else(|| "give channels-first or channels-last".to_owned())
}

/// Says so where an order was assumed.
pub(super) fn note(context: &Context, path: &Path, layout: Option<InputLayout>) {
    if let Some(text) = layout.and_then(|layout| layout.assumption("--input-layout ")) {
        context.note(&format!("{}: {text}", path.display()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_have_two_names() {
        assert_eq!(order("channels-first"), Ok(Layout::ChannelsFirst));
        assert_eq!(order("channels-last"), Ok(Layout::ChannelsLast));
        assert!(order("nhwc").is_err());
    }
}
