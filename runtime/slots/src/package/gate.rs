//! The gate of a device that takes signed packages.

use bitsback_runtime::{ALL_KINDS, Limits, Model, ParseError};

use super::{Admitted, Authority, Device, HEADER_LEN, Header, PackageError, Signed};
use crate::gate::{Announced, Gate};

/// Accepts what an [`Authority`] has signed and the device can run. `KINDS` are the operators that the firmware
/// holds, as in [`Model::parse_only`].
///
/// Which version runs is the slots' to know: whatever `device.installed` says, no version is too old here.
#[derive(Clone, Copy, Debug)]
pub struct PackageGate<A, const KINDS: u32 = ALL_KINDS> {
    /// Who may sign.
    pub authority: A,
    /// What the device has.
    pub device: Device,
    /// What it allows of a model's work.
    pub limits: Limits,
}

impl<A: Authority> PackageGate<A> {
    /// A gate of firmware that has all operators and gives a model `ram` bytes. How long a model may be, its
    /// slot says.
    pub fn new(authority: A, ram: u32) -> Self {
        let device = Device::here(ram, u32::MAX);
        Self { authority, device, limits: Limits::default() }
    }
}

impl<A: Authority, const KINDS: u32> PackageGate<A, KINDS> {
    /// Checks signature and requirements.
    pub(super) fn admit(&self, head: &[u8]) -> Result<Admitted, PackageError> {
        let device = Device { installed: None, op_kinds: KINDS, ..self.device };
        Signed::open(head, &self.authority)?.admit(&device)
    }
}

/// What slots ask of a head.
pub(super) fn announced(admitted: Admitted) -> Announced {
    let Header { version, model_len, .. } = *admitted.header();
    Announced { version, model_len }
}

impl<A: Authority, const KINDS: u32> Gate for PackageGate<A, KINDS> {
    type Refusal = PackageError;

    fn announced(&self, head: &[u8]) -> Result<Announced, PackageError> {
        self.admit(head).map(announced)
    }

    fn check_model(&self, head: &[u8], model: &[u8]) -> Result<(), PackageError> {
        let cut = PackageError::Truncated { len: head.len() as u64, needed: HEADER_LEN as u64 };
        Header::read(head.first_chunk().ok_or(cut)?)?.check_digest(model)
    }

    fn parse(&self, model: &[u8]) -> Result<(), ParseError> {
        Model::<KINDS>::parse_only_with(model, self.limits).map(drop)
    }
}
