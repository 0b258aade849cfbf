//! Update packages as an outsider reads them: by `docs/FORMAT.md` alone, with another library's signatures. The
//! golden packages are made by the program in `compressor/tests/packages.rs`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use ed25519_compact::{PublicKey, Signature};

const FULL: &[u8] = include_bytes!("../fixtures/packages/full.bbkp");
const DELTA: &[u8] = include_bytes!("../fixtures/packages/delta.bbkp");
const KEY: &str = include_str!("../fixtures/packages/test.key.pub");
const NEW: &[u8] = include_bytes!("../golden/unsure/model.bbk");
const OLD: &[u8] = include_bytes!("../golden/digits/model.bbk");

/// Whether the signature is one of the domain and the header.
fn is_signed(package: &[u8]) -> bool {
    let digits = KEY.lines().nth(1).unwrap();
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    let key: Vec<u8> = (0..64).step_by(2).map(byte).collect();
    let key = PublicKey::from_slice(&key).unwrap();
    let signature = Signature::from_slice(&package[100..164]).unwrap();
    let message = [b"bitsback update package\n", &package[..100]].concat();
    key.verify(&message, &signature).is_ok()
}

fn word(package: &[u8], at: usize) -> usize {
    u32::from_le_bytes(package[at..at + 4].try_into().unwrap()) as usize
}

/// A number of a delta, and what follows it.
fn number(payload: &[u8]) -> (u64, &[u8]) {
    let len = payload.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
    let groups = payload[..len].iter().rev();
    (groups.fold(0, |value, byte| value << 7 | u64::from(byte & 0x7F)), &payload[len..])
}

#[test]
fn another_library_finds_the_signatures_right() {
    for package in [FULL, DELTA] {
        assert!(is_signed(package));
        for at in 0..164 {
            let mut changed = package.to_vec();
            changed[at] ^= 4;
            assert!(!is_signed(&changed), "byte {at}");
        }
    }
}

#[test]
fn headers_say_what_the_format_s_page_says() {
    for (package, kind) in [(FULL, 0), (DELTA, 1)] {
        assert_eq!(&package[..4], b"BBKP");
        assert_eq!(package[4..9], [1, kind, 0, NEW[4], NEW[5]]);
        assert_eq!(word(package, 16), 7, "the version");
        assert_eq!(word(package, 20), NEW.len());
        assert_eq!(word(package, 24), package.len() - 164);
        assert_eq!(package[28..32], NEW[20..24], "the arena");
        assert_eq!(package[32..36], NEW[32..36], "the operators");
        assert_eq!(package[68..100] == [0; 32], kind == 0);
    }
    assert_eq!(FULL[36..68], DELTA[36..68]);
    assert_eq!(&FULL[164..], NEW);
}

#[test]
fn the_delta_gives_the_model() {
    let (mut payload, mut model, mut shift) = (&DELTA[164..], Vec::<u8>::new(), 0_i64);
    while !payload.is_empty() {
        let (head, rest) = number(payload);
        let len = (head >> 1) as usize;
        if head & 1 == 0 {
            model.extend(&rest[..len]);
            payload = &rest[len..];
        } else {
            let (change, rest) = number(rest);
            shift += (change >> 1) as i64 ^ -((change & 1) as i64);
            let at = (model.len() as i64 + shift) as usize;
            model.extend(&OLD[at..at + len]);
            payload = rest;
        }
    }
    assert_eq!(model, NEW);
}
