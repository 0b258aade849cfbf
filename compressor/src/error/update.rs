//! What failures of keys and update packages mean.

use bitsback_slots::package::PackageError;

use super::{Kind, file_kind};
use crate::files::FileError;
use crate::package::{CheckError, UpdateError};

/// What this means to the caller.
pub(super) fn kind(error: &UpdateError) -> Kind {
    match error {
        UpdateError::File(error) => file_kind(error, Kind::Usage),
        UpdateError::Random(_) => Kind::Io,
        UpdateError::NoKey { .. }
        | UpdateError::WrongHalf { .. }
        | UpdateError::DamagedKey { .. }
        | UpdateError::Ram { .. } => Kind::Usage,
        UpdateError::Refused { source, .. } => match &source.0 {
            CheckError::NoBase => Kind::Usage,
            CheckError::Refused(error) if is_requirement(error) => Kind::Requirement,
            CheckError::Refused(_) | CheckError::Excess { .. } => Kind::Model,
        },
    }
}

/// What helps.
pub(super) fn hint(error: &UpdateError) -> Option<&'static str> {
    match error {
        UpdateError::File(FileError::Exists { .. }) => {
            Some("a key is never replaced: give another name, or move the old one away")
        }
        UpdateError::NoKey { .. } => Some("`bitsback keygen -o KEY` writes KEY and KEY.pub"),
        UpdateError::WrongHalf { .. } => Some("KEY signs, and KEY.pub checks what it signed"),
        UpdateError::DamagedKey { .. } => Some("take it from your backup"),
        UpdateError::Ram { .. } => Some("leave out --ram for what the arena takes"),
        UpdateError::File(_) | UpdateError::Random(_) => None,
        UpdateError::Refused { source, .. } => match &source.0 {
            CheckError::NoBase => Some("give it as --base OLD.bbk"),
            CheckError::Excess { .. } => Some("copy the package again"),
            CheckError::Refused(error) => refusal(error),
        },
    }
}

/// Whether a package is sound, but not for this device.
fn is_requirement(error: &PackageError) -> bool {
    matches!(
        error,
        PackageError::NotNewer { .. }
            | PackageError::Isa { .. }
            | PackageError::ModelFormat { .. }
            | PackageError::Numerics { .. }
            | PackageError::Features { .. }
            | PackageError::Kinds { .. }
            | PackageError::Ram { .. }
            | PackageError::Flash { .. }
    )
}

/// What helps where a device refuses.
fn refusal(error: &PackageError) -> Option<&'static str> {
    match error {
        PackageError::Truncated { .. } | PackageError::Delta(_) => Some("copy the package again"),
        PackageError::Magic => Some("`bitsback package` writes update packages"),
        PackageError::Key { .. } => Some("give the public key that belongs to the one that signed"),
        PackageError::Field { .. } | PackageError::Signature | PackageError::Digest => {
            Some("don't install it; copy it again, or ask who signed it")
        }
        PackageError::NotNewer { .. } => Some("a new package needs a higher --version"),
        PackageError::Base => Some("give the model that runs on the device, as it was released"),
        PackageError::Isa { .. } => Some("`bitsback package` without --target is for any core"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sound_package_for_another_device_is_no_damaged_one() {
        let path = || "x".into();
        let refused = |error| UpdateError::refused(std::path::Path::new("x"))(error);
        let device = |error| refused(CheckError::Refused(error));
        let table = [
            (UpdateError::File(FileError::Exists { path: path() }), Kind::Usage),
            (UpdateError::File(FileError::NoFile { path: path(), what: "a folder" }), Kind::Io),
            (UpdateError::Random("none".into()), Kind::Io),
            (UpdateError::NoKey { path: path() }, Kind::Usage),
            (UpdateError::WrongHalf { path: path(), found: "a", wanted: "b" }, Kind::Usage),
            (UpdateError::DamagedKey { path: path(), what: "public" }, Kind::Usage),
            (UpdateError::Ram { stated: 1, arena: 2 }, Kind::Usage),
            (refused(CheckError::NoBase), Kind::Usage),
            (refused(CheckError::Excess { bytes: 1 }), Kind::Model),
            (device(PackageError::Signature), Kind::Model),
            (device(PackageError::Base), Kind::Model),
            (device(PackageError::NotNewer { offered: 1, installed: 1 }), Kind::Requirement),
            (device(PackageError::Ram { needed: 2, given: 1 }), Kind::Requirement),
            (device(PackageError::Kinds { missing: 1 }), Kind::Requirement),
        ];
        for (error, expected) in table {
            assert_eq!(kind(&error), expected, "{error}");
        }
    }
}
