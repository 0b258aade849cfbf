//! `bitsback telemetry`: what devices report of the field.

use std::path::PathBuf;

use bitsback_runtime::format::MAX_FILE_LEN;
use serde::Serialize;

use super::amount;
use super::model_file;
use super::output::Context;
use super::records;
use super::table::{self, Align};
use crate::error::{CliError, Error};
use crate::files;
use crate::fleet::{DeviceResult, FleetResult, Pooled, Skipped, judge};
use crate::report::number::{significant, thousands};

/// Read what devices report, and tell whether the field still looks like the reference
///
/// A record is 58 bytes, which a device's sentinel writes for each window of up to 4,095 inferences. RECORDS are
/// files of any number of them, one after another; a file is a device, named by its path. In a folder each file
/// is a device, and each folder in it a device whose files hold its windows. `-` is standard input, one device.
///
/// Each bet of the device is made again from the counts. Devices are reported so that on average at most
/// --false-discoveries of them are reported wrongly, however they depend on one another; two tests ask whether
/// anything happened to the fleet. All may be repeated whenever records come: looking again costs nothing.
/// They know no labels, and say nothing of accuracy.
///
/// Records that are damaged, of another model, or of a window that another record has, are named and left out; those
/// that come twice count once.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bitsback telemetry model.bbk records/
  bitsback telemetry model.bbk device-7.rec device-8.rec --false-discoveries 1
  mosquitto_sub -t fleet/7 -C 20 | bitsback telemetry model.bbk -

Exit codes: 0 nothing differs, 3 no usable record, 4 no sentinel in the model, 5 a device or the fleet differs.

With --json: model, records, duplicates, skipped[] (place, offset, bytes, reason), false_discovery_percent,
drifted, devices[] (name, windows, missing, inferences, evidence_bits, cause, own_alarm, drifted), independent
and any_dependence (evidence_bits, cause, drifted).")]
pub(crate) struct Telemetry {
    /// The model that the devices run, with its sentinel
    model: PathBuf,
    /// Files and folders of records; `-` is standard input
    #[arg(required = true)]
    records: Vec<PathBuf>,
    /// Share of wrongly reported devices among those reported, on average, in percent
    #[arg(long, value_name = "PERCENT", value_parser = amount::inner_percent)]
    #[arg(default_value_t = 5.0, allow_negative_numbers = true)]
    false_discoveries: f64,
}

#[derive(Debug, Serialize)]
struct Results {
    /// The model's id: the checksum of its file.
    model: String,
    records: usize,
    duplicates: u64,
    skipped: Vec<Skipped>,
    false_discovery_percent: f64,
    drifted: bool,
    #[serde(flatten)]
    fleet: FleetResult,
}

impl Telemetry {
    pub(super) fn run(&self, context: &Context) -> Result<(), Error> {
        let bytes = files::read(&self.model, u64::from(MAX_FILE_LEN))?;
        let model = model_file::parse(&self.model, &bytes)?;
        let sentinel = records::sentinel(&self.model, &model)?;
        let readings = records::read(context, &self.records, &model, &sentinel)?;
        let fleet = judge(&readings, &sentinel, self.false_discoveries / 100.0);
        let results = Results {
            model: format!("{:08x}", model.header().crc),
            records: readings.records(),
            duplicates: readings.duplicates(),
            skipped: readings.skipped().to_vec(),
            false_discovery_percent: self.false_discoveries,
            drifted: fleet.drifted(),
            fleet,
        };
        context.result(&text(&results), &results)?;
        match verdict(&results.fleet) {
            Some(reason) => Err(CliError::Drifted { reason }.into()),
            None => Ok(()),
        }
    }
}

/// What differs, if anything does.
fn verdict(fleet: &FleetResult) -> Option<String> {
    let devices = fleet.devices.iter().filter(|device| device.drifted).count();
    let all = fleet.devices.len();
    match (devices, fleet.drifted()) {
        (0, false) => None,
        (0, true) => Some(format!("the {all} devices together differ from the reference")),
        _ => Some(format!("{devices} of {all} devices differ from the reference")),
    }
}

fn text(results: &Results) -> String {
    let Results { fleet, .. } = results;
    let heads = ["device", "windows", "missing", "inferences", "bits", "most by", "own alarm", ""];
    let mut align = [Align::Right; 8];
    for words in [0, 5, 6, 7] {
        align[words] = Align::Left;
    }
    let rows: Vec<[String; 8]> = fleet.devices.iter().map(row).collect();
    format!(
        "model     {}, {} records of {} devices\n\n{}\nif independent    {}\nhowever dependent {}\n",
        results.model,
        thousands(results.records as u64),
        thousands(fleet.devices.len() as u64),
        table::layout(&heads, &align, &rows),
        joint(&fleet.independent),
        joint(&fleet.any_dependence),
    )
}

fn row(device: &DeviceResult) -> [String; 8] {
    [
        device.name.clone(),
        thousands(device.windows as u64),
        thousands(device.missing as u64),
        thousands(device.inferences),
        bits(device.evidence_bits),
        device.cause.clone().unwrap_or_default(),
        device.own_alarm.clone().unwrap_or_default(),
        if device.drifted { "differs".to_owned() } else { String::new() },
    ]
}

fn bits(bits: f64) -> String {
    significant(bits.max(0.0))
}

fn joint(pooled: &Pooled) -> String {
    let cause = pooled.cause.as_ref().filter(|_| pooled.drifted);
    let cause = cause.map(|cause| format!(", most by: {cause}")).unwrap_or_default();
    let word = if pooled.drifted { "differs" } else { "nothing found" };
    format!("{word}, {} bits{cause}", bits(pooled.evidence_bits))
}
