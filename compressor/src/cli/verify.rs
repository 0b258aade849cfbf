//! `bitsback verify`: an update package, checked as a device checks it.

use std::path::PathBuf;

use bitsback_runtime::ALL_KINDS;
use bitsback_runtime::format::MAX_FILE_LEN;
use bitsback_slots::package::{Device, FeatureSet, Isa, PAYLOAD_AT};

use super::amount;
use super::output::{Context, keeps_inputs};
use super::package::Summary;
use crate::compile::Core;
use crate::error::Error;
use crate::files;
use crate::package::{UpdateError, check, read_public};

/// Check an update package as a device does
///
/// In a device's order: signature, version, requirements, the base of a delta, the digest of the model, and the
/// model itself; what is wrong first is named. What isn't given (--installed, --target, --ram, --flash) isn't
/// checked. -o writes the model that devices will run.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bitsback verify update.bbkp --key fleet.key.pub
  bitsback verify update.bbkp --key fleet.key.pub --base old.bbk --installed 1 -o new.bbk
  bitsback verify update.bbkp --key fleet.key.pub --target cortex-m4 --ram 16K --flash 32K

Exit codes: 0 devices install it, 2 usage (a delta without --base, a file that is no key), 4 refused (changed,
truncated, signed with another key, of another base), 5 sound, but not for that device or not newer.

With --json: kind (full, delta), key, version, package_bytes, model_bytes, ram_bytes, kernels, model_sha256,
base_sha256 (null in a full package).")]
pub(crate) struct Verify {
    /// The .bbkp file
    package: PathBuf,
    /// The public key, of `bitsback keygen`
    #[arg(long, value_name = "KEY.pub")]
    key: PathBuf,
    /// The .bbk file that runs on the device, for a delta
    #[arg(long, value_name = "OLD")]
    base: Option<PathBuf>,
    /// Version that runs on the device: the same and lower ones are refused
    #[arg(long, value_name = "N")]
    installed: Option<u32>,
    /// The device's core
    #[arg(long, value_enum, value_name = "CORE")]
    target: Option<Core>,
    /// RAM that the device gives a model, such as 16384 or 16K (of 1,024)
    #[arg(long, value_name = "BYTES", value_parser = amount::device_bytes)]
    ram: Option<u32>,
    /// Flash that the device has for a model
    #[arg(long, value_name = "BYTES", value_parser = amount::device_bytes)]
    flash: Option<u32>,
    /// Where to write the model
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Verify {
    pub(super) fn run(&self, context: &Context) -> Result<(), Error> {
        if let Some(output) = &self.output {
            let inputs = [Some(&self.package), Some(&self.key), self.base.as_ref()];
            keeps_inputs(output, &inputs.into_iter().flatten().collect::<Vec<_>>())?;
        }
        let key = read_public(&self.key)?;
        let package = files::read(&self.package, u64::from(MAX_FILE_LEN) + PAYLOAD_AT as u64)?;
        let base = self.base.as_ref().map(|path| files::read(path, u64::from(MAX_FILE_LEN)));
        let base = base.transpose()?;
        let checked = check(&package, base.as_deref(), &self.device(&package), &key);
        let (header, model) = checked.map_err(UpdateError::refused(&self.package))?;
        if header.base.is_none() && base.is_some() {
            context.note("the package is whole: --base wasn't needed");
        }
        if let Some(output) = &self.output {
            files::write_atomic(output, &model)?;
        }
        let summary = Summary::new(&header, package.len());
        let text = format!(
            "{}\n  sound: a device that has these installs it",
            summary.text(&self.package)
        );
        context.result(&text, &summary)
    }

    /// The device that was described; what wasn't, it has.
    fn device(&self, package: &[u8]) -> Device {
        // Byte 6 is what the package asks for.
        let asked = package.get(6).map_or(Isa::ANY, |&isa| Isa(isa));
        Device {
            installed: self.installed,
            isa: self.target.map_or(asked, |core| Isa::named(core.isa())),
            features: FeatureSet(u8::MAX),
            op_kinds: ALL_KINDS,
            ram: self.ram.unwrap_or(u32::MAX),
            flash: self.flash.unwrap_or(u32::MAX),
        }
    }
}
