//! `bitsback package`: a model as a signed update package.

use std::path::PathBuf;

use bitsback_runtime::format::MAX_FILE_LEN;
use bitsback_slots::package::{Header, Isa};
use serde::Serialize;

use super::amount;
use super::model_file;
use super::output::{Context, keeps_inputs};
use crate::compile::Core;
use crate::error::Error;
use crate::files;
use crate::package::{self, About, Built, UpdateError, build};
use crate::report::number::thousands;

/// Pack a model for devices in the field, signed
///
/// A device installs the package only if a key that it knows has signed it, its version is higher than the
/// one that runs, and the device has what the model needs: RAM, flash, operators, and with --target the
/// kernels that the model was laid out for. With --base the package holds what changed against the model that
/// runs now, if that is smaller; a device with another model refuses it, and needs the full package.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bitsback package model.bbk --key fleet.key --version 1 -o update.bbkp
  bitsback package model.bbk --key fleet.key --version 2 --base old.bbk -o update.bbkp
  bitsback package model.bbk --key fleet.key --version 2 --target cortex-m4 --ram 6K -o update.bbkp
  bitsback verify update.bbkp --key fleet.key.pub --base old.bbk

A higher number can't be taken back: devices refuse every lower one from then on.

With --json: kind (full, delta), key, version, package_bytes, model_bytes, full_bytes, delta_bytes (null without
--base), ram_bytes, kernels, model_sha256, base_sha256 (null in a full package).")]
pub(crate) struct Package {
    /// The .bbk file
    model: PathBuf,
    /// The secret key, of `bitsback keygen`
    #[arg(long, value_name = "KEY")]
    key: PathBuf,
    /// The model's version, a number that only goes up
    #[arg(long, value_name = "N")]
    version: u32,
    /// The .bbk file that runs on the devices now
    #[arg(long, value_name = "OLD")]
    base: Option<PathBuf>,
    /// The core that the model was stored for: devices with other kernels refuse it [default: any]
    #[arg(long, value_enum, value_name = "CORE")]
    target: Option<Core>,
    /// RAM that the model needs, such as 6144 or 6K (of 1,024), if weights are unpacked, too [default: the
    /// arena]
    #[arg(long, value_name = "BYTES", value_parser = amount::device_bytes)]
    ram: Option<u32>,
    /// Where to write the package
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
}

/// What packages say, for machines.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    kind: &'static str,
    key: String,
    version: u32,
    package_bytes: usize,
    model_bytes: u32,
    #[serde(flatten)]
    sizes: Option<Sizes>,
    ram_bytes: u32,
    kernels: String,
    model_sha256: String,
    base_sha256: Option<String>,
}

/// What was chosen between.
#[derive(Debug, Serialize)]
struct Sizes {
    full_bytes: usize,
    delta_bytes: Option<usize>,
}

impl Summary {
    pub(super) fn new(header: &Header, package_bytes: usize) -> Self {
        Self {
            kind: if header.base.is_some() { "delta" } else { "full" },
            key: header.key.to_string(),
            version: header.version,
            package_bytes,
            model_bytes: header.model_len,
            sizes: None,
            ram_bytes: header.needs.ram,
            kernels: header.needs.isa.to_string(),
            model_sha256: hex(&header.digest),
            base_sha256: header.base.as_ref().map(|digest| hex(digest)),
        }
    }

    /// The first lines for people.
    pub(super) fn text(&self, path: &std::path::Path) -> String {
        let Self { kind, key, version, ram_bytes, kernels, .. } = self;
        format!(
            "{}: {kind} package of {} bytes, version {version}, signed with key {key}\n  for {kernels}, \
             {} bytes of RAM and {} of flash",
            path.display(),
            thousands(self.package_bytes as u64),
            thousands(u64::from(*ram_bytes)),
            thousands(u64::from(self.model_bytes)),
        )
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Package {
    pub(super) fn run(&self, context: &Context) -> Result<(), Error> {
        let inputs = [Some(&self.model), Some(&self.key), self.base.as_ref()];
        keeps_inputs(&self.output, &inputs.into_iter().flatten().collect::<Vec<_>>())?;
        let key = package::read(&self.key)?;
        let bytes = files::read(&self.model, u64::from(MAX_FILE_LEN))?;
        let model = model_file::parse(&self.model, &bytes)?;
        let base = match &self.base {
            Some(path) => {
                let base = files::read(path, u64::from(MAX_FILE_LEN))?;
                model_file::parse(path, &base)?;
                Some(base)
            }
            None => None,
        };
        let arena = model.header().arena_len;
        let ram = self.ram.unwrap_or(arena);
        if ram < arena {
            return Err(UpdateError::Ram { stated: ram, arena }.into());
        }
        let isa = self.target.map_or(Isa::ANY, |core| Isa::named(core.isa()));
        let about = About { version: self.version, isa, ram };
        let built = build((&model, &bytes), base.as_deref(), about, &key);
        files::write_atomic(&self.output, &built.bytes)?;
        let sizes = Sizes::of(&built);
        let summary = Summary::new(&built.header, built.bytes.len());
        let text = format!("{}\n{}", summary.text(&self.output), sizes.text());
        context.result(&text, &Summary { sizes: Some(sizes), ..summary })
    }
}

impl Sizes {
    fn of(built: &Built) -> Self {
        let head = built.bytes.len() - built.header.payload_len as usize;
        let full_bytes = head + built.header.model_len as usize;
        Self { full_bytes, delta_bytes: built.delta_len.map(|delta| head + delta) }
    }

    /// What was chosen, and against what.
    fn text(&self) -> String {
        let full = thousands(self.full_bytes as u64);
        match self.delta_bytes {
            None => format!("  whole: with --base OLD.bbk it may be smaller than {full} bytes"),
            Some(delta) if delta < self.full_bytes => {
                let less = 100.0 * (1.0 - delta as f64 / self.full_bytes as f64);
                format!("  what changed: {less:.0} % less than the {full} bytes of the whole")
            }
            Some(delta) => {
                format!("  whole: what changed would be {} bytes", thousands(delta as u64))
            }
        }
    }
}
