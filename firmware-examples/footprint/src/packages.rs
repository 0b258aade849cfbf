//! All that a package asks of a device but parsing the model, which costs what it costs without packages.

use core::hint::black_box;

use bitsback_slots::package::{Authority, Device, PackageError, Signed, reader};

/// No signature's code: whoever is asked says yes, or no.
#[cfg(not(feature = "signature"))]
struct Anybody;

#[cfg(not(feature = "signature"))]
impl Authority for Anybody {
    fn check(
        &self,
        signed_by: bitsback_slots::package::KeyId,
        _: &[u8],
        _: &bitsback_slots::package::Signature,
    ) -> Result<(), PackageError> {
        if black_box(true) { Ok(()) } else { Err(PackageError::Key { signed_by }) }
    }
}

static BYTES: [u8; 256] = [0; 256];

/// Every step once.
pub(crate) fn run() {
    #[cfg(not(feature = "signature"))]
    let key = Anybody;
    #[cfg(feature = "signature")]
    let key = bitsback_slots::package::PublicKey::new(black_box([1; 32]));
    black_box(install(&key)).ok();
}

fn install(key: &impl Authority) -> Result<(), PackageError> {
    let (package, base) = (black_box(&BYTES[..]), black_box(&BYTES[..]));
    let device = black_box(Device::here(1 << 14, 1 << 16));
    let admitted = Signed::open(package, key)?.admit(&device)?;
    admitted.check_base(base)?;
    let mut unpacker = admitted.unpack(base.len() as u32, black_box(0));
    let mut buffer = [0; 64];
    while !unpacker.is_done()? {
        let step = unpacker.step(black_box(package), &mut buffer, reader(base));
        if black_box(step).is_err() {
            break;
        }
        black_box(&buffer);
    }
    admitted.header().check_digest(black_box(base))
}
