use std::string::{String, ToString};
use std::sync::LazyLock;
use std::vec;
use std::vec::Vec;

use bitsback_runtime::{Model, OpKind, ParseError};
use ed25519_dalek::{Signer, SigningKey};
use proptest::prelude::*;

use super::*;
use crate::gate::{Announced, Gate};

const MODEL: &[u8] = include_bytes!("../../../tests/fixtures/v1/dense.bbk");
const OTHER: &[u8] = include_bytes!("../../../tests/fixtures/v1/convolutional.bbk");

fn secret() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn public(secret: &SigningKey) -> PublicKey {
    PublicKey::new(secret.verifying_key().to_bytes())
}

/// What a full package of a model says.
fn header(model: &[u8]) -> Header {
    let about = bitsback_runtime::Header::read(model).unwrap();
    let needs = Needs {
        isa: Isa::named("dsp"),
        format_version: about.format_version,
        numerics_version: about.numerics_version,
        features: FeatureSet::of(Model::parse(model).map_or(Default::default(), |m| m.features())),
        ram: about.arena_len,
        op_kinds: about.op_kinds,
    };
    let model_len = model.len() as u32;
    Header {
        key: public(&secret()).id(),
        version: 3,
        model_len,
        payload_len: model_len,
        needs,
        digest: digest(model),
        base: None,
    }
}

fn signed(header: &Header) -> Vec<u8> {
    let bytes = header.emit();
    [&bytes[..], &secret().sign(&message(&bytes)).to_bytes()].concat()
}

/// A device that takes [`header`]'s packages.
fn device() -> Device {
    let isa = Isa::named("dsp");
    Device { isa, installed: Some(2), ..Device::here(1 << 14, 1 << 16) }
}

fn admitted(header: &Header) -> Admitted {
    Signed::open(&signed(header), &public(&secret())).unwrap().admit(&device()).unwrap()
}

/// The standard's own example (FIPS 180-4).
#[test]
fn digests_are_sha_256() {
    assert_eq!(digest(b"abc")[..8], [0xBA, 0x78, 0x16, 0xBF, 0x8F, 0x01, 0xCF, 0xEA]);
}

#[test]
fn headers_come_back() {
    let full = header(MODEL);
    let delta = Header { base: Some(digest(OTHER)), payload_len: 9, ..full };
    for header in [full, delta] {
        assert_eq!(Header::read(&header.emit()), Ok(header));
    }
    let bytes = full.emit();
    assert_eq!(bytes[..12], *b"BBKP\x01\x00\x03\x01\x01\x01\x00\x00");
    assert_eq!((bytes[16..20].to_vec(), &bytes[36..68]), (vec![3, 0, 0, 0], &digest(MODEL)[..]));
    assert_eq!(bytes[68..], [0; 32]);
}

#[test]
fn every_changed_byte_of_the_beginning_is_refused_by_its_name() {
    let good = signed(&header(MODEL));
    assert!(Signed::open(&good, &public(&secret())).is_ok());
    for at in 0..good.len() {
        for change in [1, 0x80, 0xFF] {
            let mut bytes = good.clone();
            bytes[at] ^= change;
            let error = Signed::open(&bytes, &public(&secret())).unwrap_err();
            let is_right = match at {
                0..4 => error == PackageError::Magic,
                4 => matches!(error, PackageError::Format { .. }),
                12..16 => matches!(error, PackageError::Key { .. }),
                5 | 10..12 | 20..28 | 68..100 => {
                    matches!(error, PackageError::Field { .. } | PackageError::Signature)
                }
                _ => error == PackageError::Signature,
            };
            assert!(is_right, "byte {at}: {error}");
        }
    }
    for len in 0..good.len() {
        let error = Signed::open(&good[..len], &public(&secret())).unwrap_err();
        let truncated = PackageError::Truncated { len: len as u64, needed: PAYLOAD_AT as u64 };
        assert_eq!(error, truncated, "{len} bytes");
    }
}

#[test]
fn fields_that_no_package_has_are_named() {
    let good = header(MODEL);
    let delta = Header { base: Some([0; 32]), ..good };
    let field = |header: Header| match Header::read(&header.emit()) {
        Err(PackageError::Field { offset }) => offset,
        other => panic!("{other:?}"),
    };
    assert_eq!(field(Header { model_len: 35, payload_len: 35, ..good }), 20);
    assert_eq!(field(Header { model_len: (1 << 28) + 1, ..good }), 20);
    assert_eq!(field(Header { payload_len: good.model_len - 1, ..good }), 24);
    assert_eq!(field(Header { payload_len: good.model_len + 1, ..delta }), 24);
    let mut bytes = good.emit();
    bytes[99] = 1;
    assert_eq!(Header::read(&bytes), Err(PackageError::Field { offset: 68 }));
    bytes[5] = 2;
    assert_eq!(Header::read(&bytes), Err(PackageError::Field { offset: 5 }));
}

#[test]
fn keys_that_are_not_trusted_are_named() {
    let other = SigningKey::from_bytes(&[8; 32]);
    let package = signed(&header(MODEL));
    let signed_by = header(MODEL).key;
    let refused = Err(PackageError::Key { signed_by });
    assert_eq!(Signed::open(&package, &public(&other)), refused);
    // One key follows another.
    let both = [public(&other), public(&secret())];
    assert!(Signed::open(&package, &both[..]).is_ok());
    assert_eq!(Signed::open(&package, &both[..1]), refused);
    assert_eq!(Signed::open(&package, &both[..0]), refused);
    // Whoever claims a key's name has not its signature.
    let forged = Header { key: public(&other).id(), ..header(MODEL) };
    assert_eq!(Signed::open(&signed(&forged), &both[..]), Err(PackageError::Signature));
    // The signature is one for packages, not of a header alone.
    let bytes = header(MODEL).emit();
    let bare = [&bytes[..], &secret().sign(&bytes).to_bytes()].concat();
    assert_eq!(Signed::open(&bare, &both[..]), Err(PackageError::Signature));
}

#[test]
fn what_the_device_lacks_is_named_in_order() {
    let Header { needs, model_len, .. } = header(MODEL);
    let admit = |header: Header, device: Device| {
        Signed::open(&signed(&header), &public(&secret())).unwrap().admit(&device).unwrap_err()
    };
    let with = |needs| Header { needs, ..header(MODEL) };
    for installed in [3, 4, u32::MAX] {
        let device = Device { installed: Some(installed), ..device() };
        let error = PackageError::NotNewer { offered: 3, installed };
        assert_eq!(admit(header(MODEL), device), error);
    }
    let mve = Isa::named("mve");
    let error = PackageError::Isa { needed: mve, here: device().isa };
    assert_eq!(admit(with(Needs { isa: mve, ..needs }), device()), error);
    let error = PackageError::ModelFormat { needed: 2 };
    assert_eq!(admit(with(Needs { format_version: 2, ..needs }), device()), error);
    let error = PackageError::Numerics { needed: 0 };
    assert_eq!(admit(with(Needs { numerics_version: 0, ..needs }), device()), error);
    let error = PackageError::Features { missing: FeatureSet(8) };
    assert_eq!(admit(with(Needs { features: FeatureSet(9), ..needs }), device()), error);
    let (dense, softmax) = (OpKind::Dense.bit(), OpKind::Softmax.bit());
    let few = Device { op_kinds: dense, ..device() };
    let error = PackageError::Kinds { missing: softmax };
    assert_eq!(admit(with(Needs { op_kinds: dense | softmax, ..needs }), few), error);
    let error = PackageError::Ram { needed: needs.ram, given: needs.ram - 1 };
    assert_eq!(admit(header(MODEL), Device { ram: needs.ram - 1, ..device() }), error);
    let error = PackageError::Flash { needed: model_len, given: model_len - 1 };
    assert_eq!(admit(header(MODEL), Device { flash: model_len - 1, ..device() }), error);
    // The first of several.
    let poor = Device { ram: 0, flash: 0, op_kinds: 0, isa: mve, ..device() };
    assert!(matches!(admit(header(MODEL), poor), PackageError::Isa { .. }));
    let exact = Device { ram: needs.ram, flash: model_len, installed: None, ..device() };
    assert!(
        Signed::open(&signed(&header(MODEL)), &public(&secret())).unwrap().admit(&exact).is_ok()
    );
}

#[test]
fn only_the_model_that_was_signed_comes_out() {
    let admitted = admitted(&header(MODEL));
    let model = |slot: &[u8]| {
        admitted.model(slot, Limits::default()).map(|model: Model<'_>| model.arena_len())
    };
    let padded = [MODEL, &[0xFF; 100]].concat();
    let arena = Model::parse(MODEL).unwrap().arena_len();
    assert_eq!((model(MODEL), model(&padded)), (Ok(arena), Ok(arena)));
    let (len, needed) = (MODEL.len() as u64 - 1, MODEL.len() as u64);
    assert_eq!(model(&MODEL[1..]), Err(PackageError::Truncated { len, needed }));
    for at in 0..MODEL.len() {
        let mut changed = MODEL.to_vec();
        changed[at] ^= 1;
        assert_eq!(model(&changed), Err(PackageError::Digest), "byte {at}");
    }
    assert_eq!(model(OTHER), Err(PackageError::Digest));
}

/// Whoever has the key may sign nonsense; the runtime still refuses it.
#[test]
fn a_signed_model_is_parsed_all_the_same() {
    let mut broken = MODEL.to_vec();
    *broken.last_mut().unwrap() ^= 1;
    let error =
        admitted(&header(&broken)).model::<ALL_KINDS>(&broken, Limits::default()).unwrap_err();
    assert!(matches!(error, PackageError::Model(ParseError::Crc { .. })), "{error}");
}

#[test]
fn a_delta_knows_its_base() {
    let delta = admitted(&Header { base: Some(digest(OTHER)), ..header(MODEL) });
    assert_eq!(delta.check_base(OTHER), Ok(()));
    assert_eq!(delta.check_base(MODEL), Err(PackageError::Base));
    assert_eq!(admitted(&header(MODEL)).check_base(OTHER), Ok(()));
}

/// An operation of a delta, for these tests.
#[derive(Clone, Debug)]
enum Op {
    Copy { at: usize, len: usize },
    Insert(Vec<u8>),
}

/// A delta's bytes, and the model that it makes of `base`, written down as FORMAT.md says it.
fn delta(ops: &[Op], base: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (mut payload, mut model, mut shift) = (Vec::new(), Vec::new(), 0);
    let put = |payload: &mut Vec<u8>, number: usize| {
        let (bytes, len) = emit_number(number as u32);
        payload.extend(&bytes[..len]);
    };
    for op in ops {
        match op {
            Op::Copy { at, len } => {
                let moved = *at as i64 - model.len() as i64;
                let change = moved - shift;
                shift = moved;
                put(&mut payload, len << 1 | 1);
                put(&mut payload, (change << 1 ^ change >> 63) as usize);
                model.extend(&base[*at..at + len]);
            }
            Op::Insert(bytes) => {
                put(&mut payload, bytes.len() << 1);
                payload.extend(bytes);
                model.extend(bytes);
            }
        }
    }
    (payload, model)
}

/// [`header`] of [`MODEL`], made once.
static HEADER: LazyLock<Header> = LazyLock::new(|| header(MODEL));

/// Headers of payloads aren't checked here: lengths may be any.
fn unpacker(payload_len: usize, model_len: usize, base: Option<&[u8]>, written: u32) -> Unpacker {
    let (payload_len, model_len) = (payload_len as u32, model_len as u32);
    let header = Header { payload_len, model_len, base: base.map(|_| [0; 32]), ..*HEADER };
    Unpacker::new(&header, base.map_or(0, <[u8]>::len) as u32, written)
}

/// Runs to the end, with pieces of the input and of the output whose sizes come in turn.
fn unpack(
    mut unpacker: Unpacker,
    payload: &[u8],
    base: &[u8],
    sizes: &[usize],
) -> Result<Vec<u8>, String> {
    let mut made = Vec::new();
    for &size in sizes.iter().cycle() {
        let at = unpacker.next() as usize;
        let input = &payload[at..(at + size).min(payload.len())];
        let mut output = vec![0xEE; size];
        let step =
            unpacker.step(input, &mut output, reader(base)).map_err(|e| std::format!("{e:?}"))?;
        made.extend(&output[..step.given]);
        assert_eq!(unpacker.next() as usize, at + step.taken);
        if unpacker.is_done().map_err(|error| error.to_string())? {
            break;
        }
        assert!(step.taken + step.given > 0 || at < payload.len(), "stands still at {at}");
    }
    Ok(made)
}

#[test]
fn deltas_and_models_resume_at_any_byte() {
    let base: Vec<u8> = (0..200).collect();
    let ops = [
        Op::Copy { at: 3, len: 150 },
        Op::Insert(b"changed".to_vec()),
        Op::Copy { at: 160, len: 40 },
        Op::Copy { at: 0, len: 1 },
        Op::Insert(vec![9; 130]),
    ];
    let (payload, model) = delta(&ops, &base);
    assert_eq!(payload[..5], [0xAD, 2, 6, 14, b'c']);
    for written in 0..=model.len() {
        for sizes in [&[1][..], &[3, 64], &[500]] {
            let some = unpacker(payload.len(), model.len(), Some(&base), written as u32);
            assert_eq!((some.next(), some.made()), (0, written as u32));
            assert_eq!(unpack(some, &payload, &base, sizes).unwrap(), model[written..]);
            let some = unpacker(model.len(), model.len(), None, written as u32);
            assert_eq!(some.next(), written as u32);
            assert_eq!(unpack(some, &model, &[], sizes).unwrap(), model[written..]);
        }
    }
}

#[test]
fn hostile_deltas_are_refused() {
    let base = [5; 50];
    let run = |payload: &[u8], model_len| {
        unpack(unpacker(payload.len(), model_len, Some(&base), 0), payload, &base, &[7])
    };
    let wrong = |payload: &[u8], model_len, expected: DeltaError| {
        let text = run(payload, model_len).unwrap_err();
        let names =
            text.contains(&std::format!("{expected:?}")) || text.contains(&expected.to_string());
        assert!(names, "{payload:?}: {text}");
    };
    assert_eq!(run(&[101, 0], 50).unwrap(), base);
    wrong(&[103, 0], 51, DeltaError::Outside);
    wrong(&[101, 2], 50, DeltaError::Outside);
    wrong(&[101, 1], 50, DeltaError::Outside);
    wrong(&[101, 0], 49, DeltaError::TooLong);
    wrong(&[101, 0, 1, 0], 50, DeltaError::Empty);
    wrong(&[101, 0, 2, 0], 50, DeltaError::TooLong);
    wrong(&[0], 50, DeltaError::Empty);
    wrong(&[0x80, 0], 50, DeltaError::Number);
    // Cut anywhere.
    let (payload, model) = delta(&[Op::Copy { at: 1, len: 9 }, Op::Insert(vec![1; 70])], &base);
    for len in 0..payload.len() {
        wrong(&payload[..len], model.len(), DeltaError::Short);
    }
    // A number that begins behind the model's end.
    wrong(&[101, 0, 0x80], 50, DeltaError::Short);
}

/// An unreadable base is the reader's to tell, and nothing is lost: whoever knows what was written goes on.
#[test]
fn a_base_that_cannot_be_read() {
    let base = [5; 50];
    let mut some = unpacker(2, 50, Some(&base), 0);
    let mut place = [0; 20];
    assert_eq!(
        some.step(&[101, 0], &mut place, |_, _| Err("worn out")),
        Err(UnpackError::Base("worn out"))
    );
    assert_eq!(unpack(unpacker(2, 50, Some(&base), 30), &[101, 0], &base, &[8]).unwrap(), [5; 20]);
    assert_eq!(reader(&base)(49, &mut place), Err(DeltaError::Outside));
    assert_eq!(reader(&base)(u32::MAX, &mut place), Err(DeltaError::Outside));
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        (0..200_usize, 1..100_usize).prop_map(|(at, len)| Op::Copy { at, len }),
        proptest::collection::vec(any::<u8>(), 1..90).prop_map(Op::Insert),
    ]
}

proptest! {
    #[test]
    fn deltas_make_their_model_whatever_the_pieces(
        ops in proptest::collection::vec(any_op(), 1..12),
        base in proptest::collection::vec(any::<u8>(), 300),
        sizes in proptest::collection::vec(1..40_usize, 1..5),
        written in any::<prop::sample::Index>(),
    ) {
        let (payload, model) = delta(&ops, &base);
        let written = written.index(model.len() + 1);
        let some = unpacker(payload.len(), model.len(), Some(&base), written as u32);
        prop_assert_eq!(unpack(some, &payload, &base, &sizes).unwrap(), &model[written..]);
    }

    /// No bytes make an unpacker read outside of the base, give more than the model's length, or stand still.
    #[test]
    fn any_payload_stays_within_bounds(
        payload in proptest::collection::vec(any::<u8>(), 1..60),
        base_len in 0..300_usize,
        model_len in 1..400_usize,
        written in 0..500_u32,
        sizes in proptest::collection::vec(1..40_usize, 1..5),
    ) {
        let base = vec![1; base_len];
        let some = unpacker(payload.len(), model_len, Some(&base), written);
        if let Ok(made) = unpack(some, &payload, &base, &sizes) {
            prop_assert_eq!(made.len(), model_len.saturating_sub(written as usize));
        }
    }

    #[test]
    fn any_bytes_are_a_package_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let magic = [&MAGIC[..], &bytes].concat();
        for bytes in [&bytes, &magic] {
            prop_assert!(Signed::open(bytes, &public(&secret())).is_err());
        }
    }
}

/// The slots' gate takes the same steps, and leaves versions to the slots.
#[test]
fn the_gate_takes_the_same_steps() {
    let header = header(MODEL);
    let gate = PackageGate { device: device(), ..PackageGate::new(public(&secret()), 0) };
    // As it stands in a slot: more than it needs.
    let head = [&signed(&header)[..], &[0xFF; 92]].concat();
    let announced = Announced { version: 3, model_len: header.model_len };
    assert_eq!(gate.announced(&head), Ok(announced));
    let late = Device { installed: Some(9), ..device() };
    assert_eq!(PackageGate { device: late, ..gate }.announced(&head), Ok(announced));
    let poor = Device { ram: 0, ..device() };
    let refused = PackageGate { device: poor, ..gate }.announced(&head).unwrap_err();
    assert!(matches!(refused, PackageError::Ram { .. }), "{refused}");
    assert_eq!(gate.check_model(&head, MODEL), Ok(()));
    assert_eq!(gate.check_model(&head, OTHER), Err(PackageError::Digest));
    assert!(matches!(gate.check_model(&[], MODEL), Err(PackageError::Truncated { len: 0, .. })));
    assert_eq!(gate.parse(MODEL), Ok(()));
    assert_eq!(gate.parse(b"text"), Err(ParseError::TooShort { len: 4 }));
    let few =
        PackageGate::<_, 0> { authority: gate.authority, device: device(), limits: gate.limits };
    assert!(matches!(few.announced(&head), Err(PackageError::Kinds { .. })));
    assert!(matches!(few.parse(MODEL), Err(ParseError::KindsLeftOut { .. })));
}
