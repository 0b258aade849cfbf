//! The page as a whole.

use super::*;
use crate::cost::Provenance;
use crate::ledger::{BitRecord, GroupKind, GroupRecord, Reason};
use crate::summary;
use crate::summary::tests::speed;

/// Of a layer.
fn bits() -> BitRecord {
    BitRecord {
        layer: "dense_1".into(),
        weights: 1_200,
        mean_variance: 3.1e-4,
        start_step: None,
        step: 0.03125,
        rounding_noise: 8.1e-5,
        largest: 0.71,
        fraction: 5,
        bits: 5,
        rule: "2·variance < 2^−t, mean over weights, rounded up".into(),
        effect: Some(0.0012),
        description_bits: Some(812.5),
    }
}

/// A job of a size like the demo's, made up.
pub(crate) fn example() -> Report {
    let mut summary = summary::tests::example();
    summary.row.network = "digits".into();
    let curves = (0..60_u32)
        .map(|i| MetricRow {
            stage: ["pretrain", "variational", "finetune"][i as usize / 20].into(),
            epoch: i % 20,
            step: u64::from(i % 20) * 12,
            seconds: f64::from(i) * 1.5,
            loss: Some(2.0 * f64::from(-(i as i32) % 20).exp2() + 0.02),
            kl: (20..40).contains(&i).then(|| 9_000.0 - 150.0 * f64::from(i)),
            validation_error_percent: Some(2.0 + 80.0 * (-0.3 * f64::from(i % 20)).exp()),
            weights_left: Some(20_000 - 300 * u64::from(i)),
            ..MetricRow::default()
        })
        .collect();
    let group = |layer: &str, group: usize, of: usize| {
        let prune_score = if group.is_multiple_of(3) { -5.5 } else { 1.0 }
            + 1.5 * ((group * 7919 % of) as f32 / of as f32 - 0.5);
        let kept = prune_score < -2.0;
        let reason = if kept { Reason::BelowThreshold } else { Reason::AboveThreshold };
        GroupRecord {
            layer: layer.into(),
            kind: GroupKind::Input,
            group,
            prune_score,
            threshold: -2.0,
            kept,
            reason,
            stage: "pruning".into(),
            step: 0,
            effect: None,
            saved: None,
        }
    };
    let of = |layer: &'static str, of: usize| (0..of).map(move |i| group(layer, i, of));
    let groups = of("dense_1", 64).chain(of("dense_2", 300)).collect();
    let bits = vec![bits()];
    let speed = speed(Provenance::Estimated, Provenance::Estimated);
    summary.instructions = Some(speed);
    Report {
        config: ReportConfig::default(),
        latencies: Latency::all(&speed, 64.0),
        summary,
        curves,
        ledger: Ledger { groups, bits },
        job_toml: "network = \"digits\"\nseed = 1\n\n[prune]\n".into(),
        meta: Meta {
            data: "bundled 8×8 digits".into(),
            device: "flex".into(),
            machine: Meta::this_machine(),
            seconds: 92.0,
            description_length_nats: Some(9_000.0),
            verification: "host and model agree on 400 examples".into(),
            unmet: String::new(),
            files: vec![("model.bbk".into(), "the model".into())],
        },
    }
}

#[test]
fn nothing_is_fetched_and_nothing_runs() {
    let page = render(&example());
    for forbidden in ["<script", "src=", "href=", "url(", "@import", "http:", "https:"] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
}

#[test]
fn every_part_is_there() {
    let page = render(&example());
    for id in [
        "energy",
        "communication",
        "training",
        "importance",
        "layers",
        "bits",
        "rules",
        "provenance",
        "reproduction",
    ] {
        assert!(page.contains(&format!("<section id=\"{id}\">")), "{id}");
    }
    for text in ["20.0× smaller", "2.50 %", "estimated", "threshold −2", "ledger.csv"] {
        assert!(page.contains(text), "{text}");
    }
}

#[test]
fn outside_strings_are_escaped() {
    const EVIL: &str = "<img src=x onerror=alert(1)>\"'&";
    let mut report = example();
    let evil = || EVIL.to_owned();
    report.summary.row.network = evil();
    report.summary.row.command = evil();
    report.summary.row.date = evil();
    report.summary.data_note = Some(evil());
    report.summary.layers[0].name = evil();
    report.summary.layers[0].op = evil();
    report.curves[0].stage = evil();
    report.ledger.groups[0].layer = evil();
    report.ledger.bits[0].layer = evil();
    report.ledger.bits[0].rule = evil();
    report.latencies[0].target = evil();
    report.latencies[0].basis = evil();
    report.job_toml = evil();
    report.meta.data = evil();
    report.meta.device = evil();
    report.meta.machine = evil();
    report.meta.verification = evil();
    report.meta.unmet = evil();
    report.meta.files = vec![(evil(), evil())];
    let page = render(&report);
    assert!(!page.contains("<img"), "markup got through");
    assert!(!page.contains("\"'&"), "quotes got through");
    assert!(page.matches("&lt;img").count() >= 19);
}

#[test]
fn an_unmet_requirement_stands_on_top() {
    let mut report = example();
    assert!(!render(&report).contains("isn’t met"));
    report.meta.unmet = "the error rises by 5 points".into();
    let page = render(&report);
    let (at, cards) = (page.find("rises by 5 points"), page.find("class=\"cards\""));
    assert!(at.is_some() && at < cards);
}

#[test]
fn an_empty_report_is_a_page_too() {
    let mut report = example();
    report.curves.clear();
    report.ledger = Ledger::default();
    report.latencies.clear();
    report.summary.instructions = None;
    report.summary.layers.clear();
    report.meta = Meta::default();
    let page = render(&report);
    assert!(page.ends_with("</html>\n"));
    assert!(!page.contains("<svg"), "no plot of nothing");
}

#[test]
fn writing_replaces_and_names_the_file_on_failure() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(REPORT_FILE);
    write(&example(), &path).unwrap();
    write(&example(), &path).unwrap();
    assert!(std::fs::read_to_string(&path).unwrap().starts_with("<!doctype html>"));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing left beside");
    let error = write(&example(), &folder.path().join("no/report.html")).unwrap_err();
    assert!(error.to_string().contains("report.html"), "{error}");
}
