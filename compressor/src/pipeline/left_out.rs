//! The ledger's groups that the model of integers leaves out.

use crate::graph::{LeftOut, LeftOutUnit, Why};
use crate::ledger::{GroupKind, GroupRecord, Reason};

/// What the ledger calls the stage.
const STAGE: &str = "integers";

/// Says of the groups that a model leaves out that they aren't in it, and why.
pub(super) fn mark(groups: &mut [GroupRecord], left_out: &LeftOut) {
    for layer in &left_out.layers {
        mark_layer(groups, (&layer.name, GroupKind::Filter), &layer.left_out);
        mark_layer(groups, (&layer.name, GroupKind::Input), &layer.inputs_left_out);
    }
}

/// `units` are counted among the groups of the layer that were kept so far.
fn mark_layer(groups: &mut [GroupRecord], (name, kind): (&str, GroupKind), units: &[LeftOutUnit]) {
    let own =
        |record: &&mut GroupRecord| record.layer == name && record.kind == kind && record.kept;
    let mut kept: Vec<&mut GroupRecord> = groups.iter_mut().filter(own).collect();
    kept.sort_by_key(|record| record.group);
    for unit in units {
        let Some(record) = kept.get_mut(unit.channel) else { continue };
        record.kept = false;
        record.reason = match unit.reason {
            Why::NoWeight | Why::Unread => Reason::NoConsumer,
            Why::Dead | Why::Saturated(_) | Why::Always(_) | Why::Later => Reason::Constant,
        };
        record.stage = STAGE.to_owned();
        record.step = 0;
        record.effect = Some(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::LeftOutLayer;

    fn record(layer: &str, kind: GroupKind, group: usize, kept: bool) -> GroupRecord {
        GroupRecord {
            layer: layer.to_owned(),
            kind,
            group,
            prune_score: 0.5,
            threshold: 1.0,
            kept,
            reason: Reason::BelowThreshold,
            stage: "pruning".to_owned(),
            step: 3,
            effect: None,
            saved: None,
        }
    }

    #[test]
    fn groups_are_those_of_the_network_before_pruning() {
        let filters = [(5, true), (0, false), (2, true), (1, true)];
        let filters =
            filters.map(|(group, kept)| record("conv2d_1", GroupKind::Filter, group, kept));
        let inputs = [0, 1].map(|group| record("dense_1", GroupKind::Input, group, true));
        let mut groups: Vec<GroupRecord> = filters.into_iter().chain(inputs).collect();
        let unit = |channel, reason| LeftOutUnit { channel, reason };
        let layer = |name: &str, left_out, inputs_left_out| LeftOutLayer {
            name: name.to_owned(),
            of_channels: 3,
            products: 1,
            of_products: 2,
            left_out,
            inputs_left_out,
        };
        let conv = layer("conv2d_1", vec![unit(1, Why::Dead)], vec![unit(0, Why::Dead)]);
        let dense = layer("dense_1", vec![unit(0, Why::Unread)], vec![unit(1, Why::Unread)]);
        mark(&mut groups, &LeftOut { layers: vec![conv, dense], ..LeftOut::default() });
        let gone = groups.iter().filter(|record| record.stage == STAGE);
        let gone: Vec<_> = gone.map(|r| (r.layer.as_str(), r.group, r.kept, r.reason)).collect();
        let expected =
            [("conv2d_1", 2, false, Reason::Constant), ("dense_1", 1, false, Reason::NoConsumer)];
        assert_eq!(gone, expected);
    }
}
