//! Update packages and their deltas, of any bytes.

use bitsback_runtime::{ALL_KINDS, Limits};
use bitsback_slots::package::{
    Admitted, Authority, Device, FeatureSet, HEADER_LEN, Header, Isa, KeyId, MAGIC, Needs,
    PACKAGE_VERSION, PAYLOAD_AT, PackageError, PublicKey, Signature, Signed, UnpackError, digest,
    reader,
};

/// The most bytes of a model that is made here.
const MODEL_MAX: u32 = 1 << 16;

/// Whoever trusts anybody: what a fuzzer makes gets past the signature.
struct Anybody;

impl Authority for Anybody {
    fn check(&self, _: KeyId, _: &[u8], _: &Signature) -> Result<(), PackageError> {
        Ok(())
    }
}

/// A device that takes every package.
fn device(needs: Needs) -> Device {
    Device {
        installed: None,
        isa: needs.isa,
        features: FeatureSet(u8::MAX),
        op_kinds: u32::MAX,
        ram: u32::MAX,
        flash: u32::MAX,
    }
}

/// What bytes open as, for whoever trusts anybody and has whatever a package needs.
fn admitted(package: &[u8]) -> Result<Admitted, PackageError> {
    let signed = Signed::open(package, &Anybody)?;
    let needs = signed.header().needs;
    signed.admit(&device(needs))
}

/// Any bytes are refused as nobody signed them; if they begin as a package does, they are taken on, and nothing
/// but the model that was meant comes out.
pub fn open_package(bytes: &[u8]) {
    assert!(Signed::open(bytes, &PublicKey::new([3; 32])).is_err());
    // What says that it is a package needn't be found by chance.
    let mut package = [&[0; PAYLOAD_AT], bytes].concat();
    if bytes.len() >= PAYLOAD_AT {
        package.drain(..PAYLOAD_AT);
    }
    for (place, byte) in package.iter_mut().zip(MAGIC.into_iter().chain([PACKAGE_VERSION])) {
        *place = byte;
    }
    let Ok(admitted) = admitted(&package) else { return };
    let header = *admitted.header();
    let emitted: &[u8] = &header.emit();
    assert_eq!(emitted, &package[..HEADER_LEN]);
    if header.model_len > MODEL_MAX {
        return;
    }
    let base = [0x42; 64];
    assert!(admitted.check_base(&base).is_ok() || header.base.is_some());
    let (payload, _) = package[PAYLOAD_AT..]
        .split_at((package.len() - PAYLOAD_AT).min(header.payload_len as usize));
    if let Ok(model) = unpack(&admitted, payload, &base, 0, [64, 48]) {
        let is_meant = digest(&model) == header.digest;
        let parsed = admitted.model::<ALL_KINDS>(&model, Limits::default());
        assert!(is_meant || parsed.is_err());
    }
}

/// A delta of any bytes to a base, in pieces of any size and resumed at any byte: it stays within base and model,
/// and what it gives doesn't depend on the pieces.
pub fn unpack_delta(bytes: &[u8]) {
    let Some(([base_len, model_len, written, taken, given], payload)) =
        bytes.split_first_chunk::<5>()
    else {
        return;
    };
    let base: Vec<u8> = (0..=*base_len).map(|byte| byte.wrapping_mul(37)).collect();
    let model_len = (36 + u32::from(*model_len)).max(payload.len() as u32);
    let needs = Needs {
        isa: Isa::ANY,
        format_version: 1,
        numerics_version: 1,
        features: FeatureSet::default(),
        ram: 0,
        op_kinds: 0,
    };
    let header = Header {
        key: KeyId([0; 4]),
        version: 1,
        model_len,
        payload_len: payload.len() as u32,
        needs,
        digest: [0; 32],
        base: Some(digest(&base)),
    };
    let package = [&header.emit()[..], &[0; 64]].concat();
    let admitted = admitted(&package).expect("a header that is sound");
    let whole = unpack(&admitted, payload, &base, 0, [payload.len().max(1), model_len as usize]);
    let pieces = [1 + usize::from(*taken), 1 + usize::from(*given)];
    assert_eq!(unpack(&admitted, payload, &base, 0, pieces), whole);
    let written = u32::from(*written).min(model_len);
    let rest = unpack(&admitted, payload, &base, written, pieces);
    match whole {
        Ok(whole) => assert_eq!(rest, Ok(whole[written as usize..].to_vec())),
        Err(error) => assert_eq!(rest, Err(error)),
    }
}

/// The model's bytes that weren't `written`, from pieces of so many bytes into buffers of so many.
fn unpack(
    admitted: &Admitted,
    payload: &[u8],
    base: &[u8],
    written: u32,
    [taken, given]: [usize; 2],
) -> Result<Vec<u8>, PackageError> {
    let mut unpacker = admitted.unpack(base.len() as u32, written);
    let (mut made, mut buffer) = (Vec::new(), vec![0; given]);
    while !unpacker.is_done()? {
        let at = unpacker.next() as usize;
        let Some(input) = payload.get(at..payload.len().min(at + taken)) else { break };
        let step =
            unpacker.step(input, &mut buffer, reader(base)).map_err(|error| match error {
                UnpackError::Package(error) => error,
                UnpackError::Base(error) => panic!("{error}: outside of the base"),
            })?;
        made.extend_from_slice(&buffer[..step.given]);
        assert_eq!(unpacker.made() as usize, made.len() + written as usize);
        assert!(unpacker.made() <= admitted.header().model_len);
        if step.taken + step.given == 0 && input.is_empty() {
            // The package ends before its payload does: a device waits for more.
            break;
        }
    }
    Ok(made)
}
