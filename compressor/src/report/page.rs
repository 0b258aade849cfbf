//! The page: head, sections in order, foot.

use super::html::{self, esc};
use super::number::{duration, thousands};
use super::{
    Report, cards, communication, curves, decision, energy, front, histogram, latency, measure,
    prior_name, rules, sentinel, tables,
};

/// Style, inline.
const STYLE: &str = include_str!("style.css");

/// The whole page.
pub(super) fn render(report: &Report) -> String {
    let row = &report.summary.row;
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src \
         'unsafe-inline'\">\n<title>{network} – bitsback report</title>\n<style>\n{STYLE}</style>\n\
         </head>\n<body>\n<header>\n<p class=\"kicker\">bitsback {} · compression report · {}</p>\n\
         <h1>{network}</h1>\n",
        esc(&report.summary.version),
        esc(&row.date),
        network = esc(&row.network),
    );
    page += &cards::verdict(&report.summary, &report.meta.unmet);
    if let Some(note) = &report.summary.data_note {
        page += &html::remark(&format!("Data {}", esc(note)));
    }
    page += "</header>\n<main>\n";
    page += &cards::cards(&report.summary, &report.latencies);
    page += &front::section(report.summary.front.as_ref());
    page += &decision::section(report.summary.decision.as_ref());
    page += &sentinel::section(report.summary.sentinel.as_ref());
    page += &energy::section(report.summary.instructions.as_ref(), &report.config);
    page += &communication::section(&report.summary.dense, &report.summary.compressed);
    page += &curves::section(&report.curves);
    page += &histogram::section(&report.ledger.groups, measure(&report.summary));
    page += &tables::layers(&report.summary);
    page += &tables::bits(&report.ledger.bits);
    page += &rules::section(report);
    page += &provenance(&report.latencies);
    page += &reproduction(report);
    page += "</main>\n</body>\n</html>\n";
    page
}

/// What each figure on the page rests on.
fn provenance(latencies: &[latency::Latency]) -> String {
    let mut rows = vec![
        ("Size", "counted: bytes of the file on disk".to_owned()),
        ("Arithmetic", "counted: from the shapes of all layers".to_owned()),
        (
            "Error",
            "measured on the test split: floats before, the integer runtime after".to_owned(),
        ),
    ];
    for latency in latencies {
        rows.push(("Time", format!("estimated: {}", latency.basis)));
    }
    html::section("provenance", "Provenance", &tables::facts(&rows))
}

/// How to make the model again.
fn reproduction(report: &Report) -> String {
    let (row, meta) = (&report.summary.row, &report.meta);
    let mut rows = vec![
        ("Command", row.command.clone()),
        ("Prior", prior_name(row.prior).to_owned()),
        ("Seed", row.seed.to_string()),
        ("Data", meta.data.clone()),
        ("Test examples", thousands(report.summary.test_examples)),
        ("Version", format!("bitsback {}", report.summary.version)),
        ("Device", meta.device.clone()),
        ("Machine", meta.machine.clone()),
        ("Time taken", duration(meta.seconds)),
        ("Finished", row.date.clone()),
        ("Verified", meta.verification.clone()),
    ];
    rows.retain(|(_, value)| !value.is_empty());
    let files: String = meta
        .files
        .iter()
        .map(|(name, what)| format!("<li><code>{}</code> {}</li>\n", esc(name), esc(what)))
        .collect();
    let mut body = tables::facts(&rows);
    if !files.is_empty() {
        body += &format!("<h3>Files</h3>\n<ul>\n{files}</ul>\n");
    }
    body += &format!(
        "<h3>The job, with every default filled in</h3>\n<pre>{}</pre>\n",
        esc(report.job_toml.trim())
    );
    html::section("reproduction", "Making it again", &body)
}
