//! `bitsback telemetry`: what devices report of the field.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use bitsback_runtime::format::MAX_FILE_LEN;
use bitsback_runtime::sentinel::{RECORD_LEN, Sentinel};
use serde::Serialize;

use super::amount;
use super::model_file;
use super::output::Context;
use super::table::{self, Align};
use crate::error::{CliError, Error};
use crate::files;
use crate::fleet::{DeviceResult, FleetResult, Pooled, Readings, Skipped, judge};
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

/// Most bytes of a file of records: 100,000 of them, more than a device has numbers for windows.
const MAX_RECORDS_LEN: u64 = RECORD_LEN as u64 * 100_000;

/// Passed-over places that people are shown; JSON has all.
const SHOWN: usize = 10;

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
        let path = || self.model.clone();
        let sentinel = Sentinel::new(&model)
            .map_err(|fault| CliError::NoSentinel { path: path(), reason: fault.to_string() })?
            .ok_or_else(|| CliError::NoSentinel {
                path: path(),
                reason: "the model has none; `bitsback sentinel` gives it one".to_owned(),
            })?;
        let mut readings = Readings::of(model.header().crc);
        for place in &self.records {
            read(place, &mut readings, &sentinel)?;
        }
        for skipped in readings.skipped().iter().take(SHOWN) {
            let Skipped { place, offset, bytes, reason } = skipped;
            context.note(&format!("{place}: {bytes} bytes from byte {offset} left out: {reason}"));
        }
        if let more @ 1.. = readings.skipped().len().saturating_sub(SHOWN) {
            context.note(&format!("and {more} more places; --json lists all"));
        }
        if readings.records() == 0 {
            return Err(CliError::NoRecords { model: format!("{:08x}", model.header().crc) }.into());
        }
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

/// Reads a file, a folder or standard input.
fn read(place: &Path, readings: &mut Readings, sentinel: &Sentinel<'_>) -> Result<(), Error> {
    if place == Path::new("-") {
        let mut bytes = Vec::new();
        let input = io::stdin().lock().take(MAX_RECORDS_LEN + 1).read_to_end(&mut bytes);
        let all = input.and_then(|len| match len as u64 > MAX_RECORDS_LEN {
            true => Err(io::Error::other(format!("more than {MAX_RECORDS_LEN} bytes"))),
            false => Ok(()),
        });
        all.map_err(Error::io("read", Path::new("standard input")))?;
        readings.take("-", "standard input", &bytes, sentinel);
        return Ok(());
    }
    if !place.is_dir() {
        return file(&name(place), place, readings, sentinel);
    }
    for device in listed(place)? {
        if device.is_dir() {
            for part in listed(&device)?.into_iter().filter(|part| part.is_file()) {
                file(&name(&device), &part, readings, sentinel)?;
            }
        } else {
            file(&name(&device), &device, readings, sentinel)?;
        }
    }
    Ok(())
}

/// Reads a file of a device's records.
fn file(
    device: &str,
    path: &Path,
    readings: &mut Readings,
    sentinel: &Sentinel<'_>,
) -> Result<(), Error> {
    let bytes = files::read(path, MAX_RECORDS_LEN)?;
    readings.take(device, &name(path), &bytes, sentinel);
    Ok(())
}

fn name(path: &Path) -> String {
    path.display().to_string()
}

/// What is in a folder, sorted.
fn listed(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = fs::read_dir(folder).map_err(Error::io("read", folder))?;
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<Vec<_>>>()
        .map_err(Error::io("read", folder))?;
    paths.sort();
    Ok(paths)
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
