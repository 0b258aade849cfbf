use bitsback_runtime::Model;
use bitsback_runtime::format::MAX_FILE_LEN;
use bitsback_slots::package::writer::{SecretKey, delta};
use bitsback_slots::package::{Isa, PublicKey, digest};
use proptest::prelude::*;

use super::*;

const OLD: &[u8] = include_bytes!("../../../tests/golden/digits/model.bbk");
const NEW: &[u8] = include_bytes!("../../../tests/golden/unsure/model.bbk");

fn key() -> SecretKey {
    SecretKey::new(&[7; 32])
}

fn built(model: &[u8], base: Option<&[u8]>) -> Built {
    let parsed = Model::parse(model).unwrap();
    let about = About { version: 5, isa: Isa::ANY, ram: parsed.header().arena_len };
    build((&parsed, model), base, about, &key())
}

fn checked(package: &[u8], base: Option<&[u8]>) -> Result<(Header, Vec<u8>), CheckError> {
    check(package, base, &Device::here(u32::MAX, MAX_FILE_LEN), &key().public())
}

#[test]
fn the_smaller_of_both_is_taken_and_comes_back() {
    let full = built(NEW, None);
    assert_eq!((full.header.base, full.delta_len), (None, None));
    assert_eq!(full.bytes.len(), PAYLOAD_AT + NEW.len());
    assert_eq!(checked(&full.bytes, None).unwrap().1, NEW);
    let delta = built(NEW, Some(OLD));
    assert_eq!(delta.header.base, Some(digest(OLD)));
    assert_eq!(delta.bytes.len(), PAYLOAD_AT + delta.delta_len.unwrap());
    assert!(delta.bytes.len() < full.bytes.len());
    assert_eq!(checked(&delta.bytes, Some(OLD)).unwrap(), (delta.header, NEW.to_vec()));
    // Nothing in common: the delta would be longer.
    let none = built(NEW, Some(&[0xA7; 64]));
    assert_eq!(none.header.base, None);
    assert!(none.delta_len.unwrap() >= NEW.len());
}

#[test]
fn what_is_wrong_with_a_package_is_told_in_the_devices_order() {
    let delta = built(NEW, Some(OLD));
    let refused = |package: &[u8], base| match checked(package, base) {
        Err(CheckError::Refused(error)) => error,
        other => panic!("{other:?}"),
    };
    assert!(matches!(checked(&delta.bytes, None), Err(CheckError::NoBase)));
    assert_eq!(refused(&delta.bytes, Some(NEW)), PackageError::Base);
    let longer = [&delta.bytes[..], &[0]].concat();
    assert!(matches!(checked(&longer, Some(OLD)), Err(CheckError::Excess { bytes: 1 })));
    for len in 0..delta.bytes.len() {
        let error = refused(&delta.bytes[..len], Some(OLD));
        assert!(matches!(error, PackageError::Truncated { .. }), "{len}: {error}");
    }
    // Every byte of header, signature and payload.
    let full = built(NEW, None);
    for (package, base) in [(&delta.bytes, Some(OLD)), (&full.bytes, None)] {
        for at in 0..package.len() {
            let mut changed = package.clone();
            changed[at] ^= 1;
            let error = refused(&changed, base);
            let is_right = match error {
                PackageError::Magic => at < 4,
                PackageError::Format { .. } => at == 4,
                PackageError::Key { .. } => (12..16).contains(&at),
                PackageError::Field { .. } | PackageError::Signature => at < PAYLOAD_AT,
                PackageError::Digest | PackageError::Delta(_) => at >= PAYLOAD_AT,
                _ => false,
            };
            assert!(is_right, "byte {at}: {error}");
        }
    }
    // Another model behind a header that was signed.
    let swapped = [&full.bytes[..PAYLOAD_AT], &vec![1; NEW.len()]].concat();
    assert_eq!(refused(&swapped, None), PackageError::Digest);
    let other = check(&full.bytes, None, &Device::here(1 << 20, 1 << 20), &PublicKey::new([1; 32]));
    assert!(matches!(other, Err(CheckError::Refused(PackageError::Key { .. }))));
}

/// Bytes that have much in common with `base`: pieces of it, moved and changed.
fn relative(base: Vec<u8>) -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let piece =
        (any::<prop::sample::Index>(), 0..200_usize, proptest::collection::vec(any::<u8>(), 0..20));
    proptest::collection::vec(piece, 0..10).prop_map(move |pieces| {
        let mut model = Vec::new();
        for (at, len, more) in pieces {
            let at = at.index(base.len() + 1);
            model.extend(&base[at..(at + len).min(base.len())]);
            model.extend(more);
        }
        (base.clone(), model)
    })
}

proptest! {
    /// What the host's builder writes, the device's code makes the same model of, in pieces of any size and after
    /// an interruption at any byte.
    #[test]
    fn the_device_applies_what_the_host_found(
        // Few values: much in common by chance, too.
        (base, model) in proptest::collection::vec(0..6_u8, 0..400).prop_flat_map(relative),
        sizes in proptest::collection::vec(1..50_usize, 1..5),
        written in any::<prop::sample::Index>(),
    ) {
        prop_assume!(model.len() >= bitsback_runtime::format::HEADER_LEN);
        let payload = delta(&base, &model);
        prop_assert!(payload.len() <= model.len() + 2);
        let written = written.index(model.len());
        let header = Header {
            base: Some(digest(&base)),
            payload_len: payload.len() as u32,
            model_len: model.len() as u32,
            digest: digest(&model),
            ..built(OLD, None).header
        };
        prop_assume!(header.payload_len <= header.model_len);
        let head = header.emit();
        let package = [&head[..], &key().sign(&head)].concat();
        let device = Device::here(u32::MAX, MAX_FILE_LEN);
        let admitted = Signed::open(&package, &key().public()).unwrap().admit(&device).unwrap();
        let mut unpacker = admitted.unpack(base.len() as u32, written as u32);
        let (mut made, mut sizes) = (model[..written].to_vec(), sizes.iter().cycle());
        while !unpacker.is_done().unwrap() {
            let at = unpacker.next() as usize;
            let end = payload.len().min(at + sizes.next().unwrap());
            let mut buffer = vec![0; *sizes.next().unwrap()];
            let step = unpacker.step(&payload[at..end], &mut buffer, reader(&base)).unwrap();
            made.extend(&buffer[..step.given]);
        }
        prop_assert_eq!(made, model);
    }
}
