//! Records of devices, from files, folders and standard input.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use bitsback_runtime::Model;
use bitsback_runtime::sentinel::{RECORD_LEN, Sentinel};

use super::output::Context;
use crate::error::{CliError, Error};
use crate::files;
use crate::fleet::{Readings, Skipped};

/// Most bytes of a file of records: 100,000 of them, more than a device has numbers for windows.
const MAX_RECORDS_LEN: u64 = RECORD_LEN as u64 * 100_000;

/// Passed-over places that people are shown; JSON has all.
const SHOWN: usize = 10;

/// The sentinel of the model at `path`, by which records can be read.
pub(super) fn sentinel<'a>(path: &Path, model: &Model<'a>) -> Result<Sentinel<'a>, Error> {
    let none = |reason| CliError::NoSentinel { path: path.to_owned(), reason };
    let sentinel = Sentinel::new(model).map_err(|fault| none(fault.to_string()))?;
    let missing = || none("the model has none; `bitsback sentinel` gives it one".to_owned());
    Ok(sentinel.ok_or_else(missing)?)
}

/// The records of a model's devices at these places; what is none of them is noted.
pub(super) fn read(
    context: &Context,
    places: &[PathBuf],
    model: &Model<'_>,
    sentinel: &Sentinel<'_>,
) -> Result<Readings, Error> {
    let id = model.header().crc;
    let mut readings = Readings::of(id);
    for place in places {
        take(place, &mut readings, sentinel)?;
    }
    for skipped in readings.skipped().iter().take(SHOWN) {
        let Skipped { place, offset, bytes, reason } = skipped;
        context.note(&format!("{place}: {bytes} bytes from byte {offset} left out: {reason}"));
    }
    if let more @ 1.. = readings.skipped().len().saturating_sub(SHOWN) {
        context.note(&format!("and {more} more places; `bitsback telemetry --json` lists all"));
    }
    match readings.records() {
        0 => Err(CliError::NoRecords { model: format!("{id:08x}") }.into()),
        _ => Ok(readings),
    }
}

/// Reads a file, a folder or standard input.
fn take(place: &Path, readings: &mut Readings, sentinel: &Sentinel<'_>) -> Result<(), Error> {
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
