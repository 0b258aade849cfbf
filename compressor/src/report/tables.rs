//! Layer by layer: what is left, in how many bits, and why so many.

use super::cards::share_bar;
use super::html::{self, esc};
use super::number::{self, thousands};
use crate::ledger::BitRecord;
use crate::summary::{LayerSummary, Summary};

/// A table in a box that scrolls sideways on small screens. Heads that start with `#` are numbers.
pub(super) fn table(heads: &[&str], rows: &str) -> String {
    let heads: String = heads
        .iter()
        .map(|head| match head.strip_prefix('#') {
            Some(head) => format!("<th class=\"n\">{head}</th>"),
            None => format!("<th>{head}</th>"),
        })
        .collect();
    format!(
        "<div class=\"table\"><table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}</tbody>\
         </table></div>\n"
    )
}

/// Shapes, groups, bytes and arithmetic before and after.
pub(super) fn layers(summary: &Summary) -> String {
    let rows: String = summary.layers.iter().map(layer_row).collect();
    let heads = [
        "Layer",
        "Kind",
        "#Weights before",
        "#after",
        "#Groups kept",
        "",
        "#Bits",
        "#Float bytes",
        "#File bytes",
        "#MACs before",
        "#after",
    ];
    let total = total_row(summary);
    let rest = html::remark(
        "Weights: outputs × (kernel height × kernel width ×) inputs. File bytes of a layer: \
         weights, biases and scales; the total is the whole file, with header, graph and checksum.",
    );
    html::section("layers", "Layers", &(table(&heads, &(rows + &total)) + &rest))
}

fn layer_row(layer: &LayerSummary) -> String {
    format!(
        "<tr><td>{}</td><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
         <td class=\"n\">{} of {}</td><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
         <td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>\n",
        esc(&layer.name),
        esc(&layer.op),
        number::shape(&layer.shape_before),
        number::shape(&layer.shape_after),
        thousands(layer.groups_after as u64),
        thousands(layer.groups_before as u64),
        share_bar(layer.groups_before as u64, layer.groups_after as u64),
        layer.bits,
        thousands(layer.float_bytes),
        thousands(layer.file_bytes),
        thousands(layer.macs_before),
        thousands(layer.macs_after)
    )
}

fn total_row(summary: &Summary) -> String {
    format!(
        "<tr class=\"total\"><td colspan=\"7\">whole network</td><td class=\"n\">{}</td>\
         <td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>\n",
        thousands(summary.dense.file_bytes),
        thousands(summary.compressed.file_bytes),
        thousands(summary.dense.macs),
        thousands(summary.compressed.macs)
    )
}

/// Bit widths and the variance behind them.
pub(super) fn bits(records: &[BitRecord]) -> String {
    if records.is_empty() {
        return String::new();
    }
    let rows: String = records.iter().map(bit_row).collect();
    let heads = [
        "Layer",
        "#Weights kept",
        "#Largest |w|",
        "#Mean posterior variance",
        "#Rounding noise",
        "#Grid step",
        "#Bits",
        "Rule",
        "#Effect, nats",
    ];
    let text = html::remark(
        "Where the data leave weights uncertain, a coarse grid does no harm. The posterior variance \
         sets the step, the largest weight sets the range, and the two give the width, unless the \
         rule says that the job stated it. Rounding noise is a twelfth of the step\u{2019}s square: a \
         variance, to be compared with the posterior\u{2019}s. The effect is how much the loss on \
         validation rises when this layer alone is rounded; layers trained in integers have none.",
    );
    html::section("bits", "Bits", &(text + &table(&heads, &rows)))
}

fn bit_row(record: &BitRecord) -> String {
    format!(
        "<tr><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{:.3}</td>\
         <td class=\"n\">{:.2e}</td><td class=\"n\">{:.2e}</td>\
         <td class=\"n\">2<sup>{}</sup></td><td class=\"n\">{}</td><td>{}</td>\
         <td class=\"n\">{}</td></tr>\n",
        esc(&record.layer),
        thousands(record.weights as u64),
        record.largest,
        record.mean_variance,
        record.rounding_noise,
        esc(format!("{}", -record.fraction).replace('-', "−")),
        record.bits,
        esc(&record.rule),
        record.effect.map_or("–".to_owned(), |nats| format!("{nats:+.4}").replace('-', "−")),
    )
}

/// Names and values.
pub(super) fn facts(rows: &[(&str, String)]) -> String {
    let rows: String = rows
        .iter()
        .map(|(name, value)| format!("<tr><th>{name}</th><td>{}</td></tr>\n", esc(value)))
        .collect();
    format!("<div class=\"table\"><table class=\"facts\"><tbody>\n{rows}</tbody></table></div>\n")
}

/// How many were removed for which reason.
pub(super) fn counts(rows: &[(&str, &str, usize)]) -> String {
    let rows: String = rows
        .iter()
        .map(|(name, meaning, count)| {
            format!(
                "<tr><td>{}</td><td class=\"n\">{}</td><td>{}</td></tr>\n",
                esc(name),
                thousands(*count as u64),
                esc(meaning)
            )
        })
        .collect();
    table(&["Rule", "#Groups", "Meaning"], &rows)
}
