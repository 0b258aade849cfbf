//! Sentinels' false alarms and delays: what `cargo xtask bench sentinel` counted, and its section of the page.

use serde::{Deserialize, Serialize};

use crate::certificate::thousands;

/// Sentinels by references of one size and kind, on streams that don't change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stationary {
    pub(crate) set: String,
    /// Whether the stream shows the images that references were drawn from, or others.
    pub(crate) same_images: bool,
    pub(crate) examples: u64,
    pub(crate) references: u64,
    pub(crate) inferences: u64,
    pub(crate) alarms: u64,
    /// The expectation is at most this.
    pub(crate) promised: f64,
    /// Mean of the thresholds.
    pub(crate) threshold_bits: f64,
    /// The highest evidence of any stream, as a share of its threshold.
    pub(crate) highest_share: f64,
}

/// A change of one set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Condition {
    pub(crate) set: String,
    pub(crate) change: String,
    /// Points of accuracy that it costs.
    pub(crate) drop: f64,
    pub(crate) detectors: Vec<Found>,
}

/// What a detector made of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Found {
    pub(crate) detector: String,
    pub(crate) detected_percent: f64,
    /// Inferences from the change on, for half and for nine tenths of the streams; none where fewer noticed it.
    pub(crate) median: Option<u64>,
    pub(crate) ninety_percent: Option<u64>,
}

/// All of one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SentinelRun {
    pub(crate) stationary: Vec<Stationary>,
    pub(crate) delays: Vec<Condition>,
    /// Streams for each change.
    pub(crate) runs: u16,
    pub(crate) seed: u64,
    pub(crate) command: String,
    pub(crate) date: String,
    pub(crate) machine: String,
}

/// Changes by what they cost, from so many points on.
const GROUPS: [(&str, f64); 5] = [
    ("20 points and more", 20.0),
    ("8 to 20", 8.0),
    ("3 to 8", 3.0),
    ("1 to 3", 1.0),
    ("less than 1", f64::NEG_INFINITY),
];

const HEAD: &str = "
## Sentinels

Streams are drawn from the test images of MNIST and Fashion-MNIST as a model of each sees them, and fed to the
runtime's own code. *Same images*: reference and stream are independent draws from one law, which is what the
promise is about (at most 0.1 % in 10,000 inferences). *Other images*: the reference is from one half of the test
set, the stream from the other. *Nearest* is the highest evidence of any stream as a share of its threshold.

| set | reference | examples | sentinels | inferences | alarms | expected at most | threshold, bits | nearest |
|---|---|---:|---:|---:|---:|---:|---:|---:|
";

const DELAYS: &str = "
Changes come after 500 to 1,000 clean inferences and are given 5,000; references have 2,000 examples. A cell is the
share of streams in which the change was noticed, and the median over changes of the median and the 90 % delay, in
inferences. Thresholds of Page–Hinkley and ADWIN are tuned to an alarm in a million inferences of the very
stream; a sentinel has its examples alone, and promises one in ten million.

| accuracy lost | changes |";

/// The section, or nothing where nothing was measured.
pub(super) fn section(runs: &[SentinelRun]) -> String {
    let Some(run) = runs.last() else { return String::new() };
    let mut text = HEAD.to_owned();
    for row in &run.stationary {
        text += &format!(
            "| {} | {} | {} | {} | {} | {} | {:.1} | {:.1} | {:.0} % |\n",
            row.set,
            if row.same_images { "same images" } else { "other images" },
            thousands(row.examples),
            row.references,
            thousands(row.inferences),
            row.alarms,
            row.promised,
            row.threshold_bits,
            100.0 * row.highest_share
        );
    }
    text += DELAYS;
    text += &groups(run);
    text += "\nEvery change, by the sentinel and by Page and Hinkley's test of all three statistics:\n\n\
             | set | change | points lost | sentinel: noticed, median, 90 % | Page–Hinkley |\n|---|---|---:|---|---|\n";
    for condition in &run.delays {
        let cell = |name: &str| {
            condition
                .detectors
                .iter()
                .find(|found| found.detector == name)
                .map_or_else(String::new, one)
        };
        text += &format!(
            "| {} | {} | {:.1} | {} | {} |\n",
            condition.set,
            condition.change,
            condition.drop,
            cell("sentinel"),
            cell("Page–Hinkley, all three")
        );
    }
    text + &format!(
        "\nReproduce (seed {}, {}):\n\n```\ncargo xtask data mnist\ncargo xtask data fashion-mnist\n\
         bitsback compress jobs/lenet-5-fashion.toml\n{}\n```\n\nMachine: {}.\n",
        run.seed,
        run.date.get(..10).unwrap_or(&run.date),
        run.command,
        run.machine
    )
}

/// A line for people: alarms beside what was promised, and delays by what changes cost.
pub(crate) fn summary(run: &SentinelRun) -> String {
    let sum = |of: fn(&Stationary) -> u64| run.stationary.iter().map(of).sum::<u64>();
    let promised: f64 = run.stationary.iter().map(|row| row.promised).sum();
    format!(
        "{} alarms in {} inferences that don't change; expected at most {promised:.1}\n\n| accuracy lost | changes |{}",
        sum(|row| row.alarms),
        thousands(sum(|row| row.inferences)),
        groups(run)
    )
}

/// The rest of the table's head, and a row a group.
fn groups(run: &SentinelRun) -> String {
    let Some(first) = run.delays.first() else { return "\n".to_owned() };
    let names: Vec<&str> = first.detectors.iter().map(|found| found.detector.as_str()).collect();
    let mut text = format!(" {} |\n|---|---:|{}\n", names.join(" | "), "---|".repeat(names.len()));
    let mut most = f64::INFINITY;
    for (group, least) in GROUPS {
        let of: Vec<&Condition> =
            run.delays.iter().filter(|c| (least..most).contains(&c.drop)).collect();
        most = least;
        if of.is_empty() {
            continue;
        }
        text += &format!("| {group} | {} |", of.len());
        for name in &names {
            let found: Vec<&Found> =
                of.iter().flat_map(|c| &c.detectors).filter(|f| f.detector == *name).collect();
            let detected =
                found.iter().map(|f| f.detected_percent).sum::<f64>() / found.len().max(1) as f64;
            let median = middle(found.iter().map(|f| f.median).collect());
            let ninety = middle(found.iter().map(|f| f.ninety_percent).collect());
            text += &format!(" {detected:.0} % {}/{} |", shown(median), shown(ninety));
        }
        text += "\n";
    }
    text
}

/// The lower middle of delays, in which none is the longest.
fn middle(mut delays: Vec<Option<u64>>) -> Option<u64> {
    delays.sort_by_key(|delay| delay.unwrap_or(u64::MAX));
    delays.get(delays.len().saturating_sub(1) / 2).copied().flatten()
}

fn shown(delay: Option<u64>) -> String {
    delay.map_or_else(|| "–".to_owned(), thousands)
}

fn one(found: &Found) -> String {
    format!(
        "{:.0} %, {}, {}",
        found.detected_percent,
        shown(found.median),
        shown(found.ninety_percent)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(drop: f64, medians: [Option<u64>; 2]) -> Condition {
        let found = |(detector, median): (&str, Option<u64>)| Found {
            detector: detector.into(),
            detected_percent: if median.is_some() { 100.0 } else { 0.0 },
            median,
            ninety_percent: median.map(|delay| 2 * delay),
        };
        let detectors = ["sentinel", "Page–Hinkley, all three"].into_iter().zip(medians).map(found);
        let detectors = detectors.collect();
        Condition { set: "mnist".into(), change: "c".into(), drop, detectors }
    }

    #[test]
    fn changes_are_grouped_by_what_they_cost() {
        let run = SentinelRun {
            stationary: vec![Stationary {
                set: "mnist".into(),
                same_images: true,
                examples: 500,
                references: 25,
                inferences: 6_250_000,
                alarms: 1,
                promised: 0.625,
                threshold_bits: 24.5,
                highest_share: 0.5,
            }],
            delays: vec![
                condition(20.0, [Some(30), Some(10)]),
                condition(50.0, [Some(1_200), Some(20)]),
                condition(-0.5, [None, Some(7)]),
            ],
            runs: 60,
            seed: 1,
            command: "c".into(),
            date: "2026-01-02T03:04:05Z".into(),
            machine: "m".into(),
        };
        let text = section(std::slice::from_ref(&run));
        let stationary = "| mnist | same images | 500 | 25 | 6,250,000 | 1 | 0.6 | 24.5 | 50 % |";
        for line in [
            stationary,
            "| accuracy lost | changes | sentinel | Page–Hinkley, all three |",
            "| 20 points and more | 2 | 100 % 30/60 | 100 % 10/20 |",
            "| less than 1 | 1 | 0 % –/– | 100 % 7/14 |",
            "| mnist | c | 50.0 | 100 %, 1,200, 2,400 | 100 %, 20, 40 |",
        ] {
            assert!(text.contains(line), "{line} isn't in {text}");
        }
        assert!(!text.contains("| 8 to 20"));
        assert!(summary(&run).starts_with("1 alarms in 6,250,000 inferences"));
        assert!(section(&[]).is_empty());
    }
}
