//! Files that PyTorch and safetensors wrote, what becomes of damaged ones, and of networks that
//! they don't fit. `tests/fixtures/weights/make.py` writes the fixtures.

use std::collections::BTreeMap;
use std::io::Write;

use proptest::prelude::*;

use super::*;
use crate::graph::{Affine, Executor, Graph, GraphError};
use crate::network::NetworkConfig;
use crate::numbers::Shape;
use crate::prune::fold_batch_norm;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/weights");

const SMALL: &str = r#"
    layers = [
        { type = "conv2d", filters = 2, kernel = 3 },
        { type = "batch-norm" },
        { type = "relu" },
        { type = "conv2d", filters = 3, kernel = [2, 1] },
        { type = "relu" },
        { type = "flatten" },
        { type = "dense" },
    ]"#;

fn structure(layers: &str) -> Graph<()> {
    let network: NetworkConfig = toml::from_str(layers).unwrap();
    network.infer(Shape::Image { height: 6, width: 6, channels: 1 }, 4).unwrap()
}

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(FOLDER).join(name)).unwrap()
}

fn names(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn check_answers(network: Graph<Affine>, tolerance: f64) {
    let answers: serde_json::Value = serde_json::from_slice(&bytes("answers.json")).unwrap();
    let rows = |key: &str| -> Vec<f64> {
        let rows = answers[key].as_array().unwrap().iter();
        rows.flat_map(|row| row.as_array().unwrap()).map(|x| x.as_f64().unwrap()).collect()
    };
    let inputs: Vec<f32> = rows("inputs").into_iter().map(|x| x as f32).collect();
    let folded = fold_batch_norm(network).unwrap();
    let logits = Executor::new(&folded).unwrap().run(&inputs).unwrap();
    for (expected, found) in rows("logits").into_iter().zip(logits) {
        assert!((expected - f64::from(found)).abs() < tolerance, "{expected} {found}");
    }
}

#[test]
fn every_format_answers_as_pytorch_does() {
    for (file, tolerance) in [
        ("small.pt", 1e-5),
        ("checkpoint.pt", 1e-5),
        ("small.safetensors", 1e-5),
        ("half.pt", 1e-2),
    ] {
        let tensors = load(&Path::new(FOLDER).join(file)).unwrap();
        let all = assign(&structure(SMALL), &tensors, &BTreeMap::new()).unwrap();
        let sources: Vec<&str> = all.sources.iter().map(|(_, module)| module.as_str()).collect();
        assert_eq!(sources, ["first", "norm", "second", "head"], "{file}");
        check_answers(all.network, tolerance);
    }
}

#[test]
fn names_win_over_the_order() {
    let mut tensors = parse(&bytes("small.pt")).unwrap();
    for tensor in &mut tensors {
        // Two convolutions more than there are layers; the head's tensors lose their module.
        tensor.name = tensor.name.replace("head.weight", "W").replace("head.bias", "B");
    }
    let twin = tensors.iter().find(|tensor| tensor.name == "first.weight").unwrap().clone();
    tensors.insert(0, NamedTensor { name: "other.weight".into(), ..twin });
    let structure = structure(SMALL);
    let error = assign(&structure, &tensors, &names(&[("dense_1.weight", "W")])).unwrap_err();
    assert!(
        matches!(&error, AssignError::Count { kind: "conv2d", modules, .. } if modules.len() == 3)
    );
    let mut wishes = names(&[
        ("dense_1.weight", "W"),
        ("dense_1.bias", "B"),
        ("conv2d_1", "first"),
        ("conv2d_2", "second"),
    ]);
    check_answers(assign(&structure, &tensors, &wishes).unwrap().network, 1e-5);
    wishes.insert("dense_1.bias".into(), "none".into());
    let error = assign(&structure, &tensors, &wishes).unwrap_err();
    assert!(matches!(&error, AssignError::NoTensor { tensor, .. } if tensor == "none"));
    wishes.insert("dense_9".into(), "W".into());
    let error = assign(&structure, &tensors, &wishes).unwrap_err();
    let message = error.to_string();
    assert!(message.contains("`dense_9`; the network has conv2d_1, batch_norm_1, "), "{message}");
}

#[test]
fn where_the_order_does_not_fit_shapes_decide() {
    let mut tensors = parse(&bytes("small.pt")).unwrap();
    tensors.reverse();
    let all = assign(&structure(SMALL), &tensors, &BTreeMap::new()).unwrap();
    check_answers(all.network, 1e-5);
}

#[test]
fn another_shape_is_named() {
    let tensors = parse(&bytes("small.pt")).unwrap();
    let other = structure(&SMALL.replace("kernel = [2, 1]", "kernel = 2"));
    let message = assign(&other, &tensors, &BTreeMap::new()).unwrap_err().to_string();
    let expected = "conv2d_2 needs [3, 2, 2, 2] (filters, channels, height, width), but \
                    `second.weight` is [3, 2, 2, 1]";
    assert!(message.contains(expected), "{message}");
    let mut broken = structure(SMALL);
    broken.nodes.swap(0, 1);
    let error = assign(&broken, &tensors, &BTreeMap::new()).unwrap_err();
    assert!(matches!(error, AssignError::Graph(GraphError::Order { .. })), "{error}");
}

/// An archive as `torch.save` writes them.
fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let mut writer = zip::ZipWriter::new(&mut bytes);
    let options =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, member) in members {
        writer.start_file(format!("a/{name}"), options).unwrap();
        writer.write_all(member).unwrap();
    }
    writer.finish().unwrap();
    bytes.into_inner()
}

/// `{"w": a tensor of 2}` with the given offset, shape and stride.
fn pickled(offset: u8, shape: u8, stride: u8) -> Vec<u8> {
    let mut pickle = b"\x80\x02}X\x01\0\0\0wctorch._utils\n_rebuild_tensor_v2\n(".to_vec();
    pickle.extend(b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x02tQ");
    pickle.extend([b'K', offset, b'K', shape, 0x85, b'K', stride, 0x85]);
    pickle.extend(b"\x89}tRs.");
    pickle
}

fn unpacked(pickle: &[u8]) -> Result<Vec<NamedTensor>, FormatError> {
    parse(&archive(&[("data.pkl", pickle), ("data/0", &[0, 0, 0x80, 0x3f, 0, 0, 0, 0x40])]))
}

#[test]
fn views_are_read_by_their_strides_and_stay_inside() {
    assert_eq!(unpacked(&pickled(0, 2, 1)).unwrap()[0].values, [1.0, 2.0]);
    assert_eq!(unpacked(&pickled(1, 3, 0)).unwrap()[0].values, [2.0; 3]);
    for (offset, shape, stride) in [(1, 2, 1), (0, 3, 1), (0, 2, 2), (2, 1, 1)] {
        let error = unpacked(&pickled(offset, shape, stride)).unwrap_err();
        assert!(matches!(error, FormatError::Outside { .. }), "{error}");
    }
}

#[test]
fn nothing_else_than_tensors_is_built() {
    let error = parse(&bytes("module.pt")).unwrap_err().to_string();
    assert!(error.contains("asks for `torch.nn.modules.linear.Linear`"), "{error}");
    let pickle = |bytes: &[u8]| match unpacked(bytes).unwrap_err() {
        FormatError::Pickle { source, .. } => source,
        other => panic!("{other}"),
    };
    let evil = pickle(b"\x80\x02cos\nsystem\n(X\x02\0\0\0lstR.");
    assert_eq!(evil, PickleError::Global("os.system".into()));
    assert_eq!(
        pickle(b"\x80\x04\x8c\x02os\x8c\x06system\x93."),
        PickleError::Global("os.system".into())
    );
    assert_eq!(pickle(b"\x80\x02ios\nsystem\n."), PickleError::Instruction(b'i'));
    assert_eq!(pickle(b"\x80\x02}"), PickleError::End);
    for short in
        [&b"R."[..], b"(.", b"tu.", b"h\x01.", b"}K\x01s.", b"b.", b"Q.", b"\x8a\x09123456789."]
    {
        assert!(matches!(pickle(short), PickleError::Operand(_)), "{short:?}");
    }
    for nothing in [&b"}."[..], b"K\x01.", b")."] {
        assert!(matches!(unpacked(nothing), Err(FormatError::NoTensors)), "{nothing:?}");
    }
}

/// Dictionaries that hold each other, or one another again and again, end at a limit.
#[test]
fn circles_and_cascades_end() {
    let circle = b"}q\x00X\x01\0\0\0ah\x00s.";
    assert!(matches!(unpacked(circle), Err(FormatError::NoTensors)));
    let mut named = b"X\x01\0\0\0aq\x07}q\x00".to_vec();
    for level in 1..6u8 {
        named.extend(b"}(");
        for _ in 0..200 {
            named.extend([b'h', 7, b'h', level - 1]);
        }
        named.extend([b'u', b'q', level]);
    }
    named.push(b'.');
    assert!(matches!(unpacked(&named), Err(FormatError::TooMany { what: "entries", .. })));
}

#[test]
fn archives_that_lack_something() {
    let tensor = pickled(0, 2, 1);
    let error = |members: &[(&str, &[u8])]| parse(&archive(members)).unwrap_err();
    assert!(matches!(error(&[("x", b"")]), FormatError::NoMember { .. }));
    assert!(matches!(error(&[("data.pkl", &tensor)]), FormatError::NoMember { .. }));
    let big = error(&[("data.pkl", &tensor), ("byteorder", b"big")]);
    assert!(matches!(big, FormatError::BigEndian));
    assert!(matches!(parse(b"PK\x03\x04"), Err(FormatError::Archive { .. })));
    assert!(matches!(parse(pytorch::OLD_MAGIC), Err(FormatError::OldPyTorch)));
    assert!(matches!(parse(b"\x89HDF"), Err(FormatError::Unknown)));
    let nan = [0, 0, 0xc0, 0x7f, 0, 0, 0, 0];
    let broken = error(&[("data.pkl", &tensor), ("data/0", &nan)]);
    assert!(matches!(broken, FormatError::NotFinite { .. }));
}

/// A safetensors file.
fn safe(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

#[test]
fn safetensors_that_are_wrong() {
    let entry = |shape: &str, offsets: &str| {
        format!(r#"{{"w":{{"dtype":"F32","shape":{shape},"data_offsets":{offsets}}}}}"#)
    };
    assert_eq!(parse(&safe(&entry("[1]", "[0,4]"), &[0; 4])).unwrap()[0].values, [0.0]);
    for offsets in ["[0,5]", "[4,0]", "[1,5]", "[0,8]"] {
        let error = parse(&safe(&entry("[1]", offsets), &[0; 4])).unwrap_err();
        assert!(matches!(error, FormatError::Outside { .. }), "{offsets}: {error}");
    }
    let many = parse(&safe(&entry("[4294967296,4294967296]", "[0,4]"), &[0; 4]));
    assert!(matches!(many, Err(FormatError::TooMany { what: "values", .. })));
    let deep = parse(&safe(&entry("[1,1,1,1,1,1,1,1,1]", "[0,4]"), &[0; 4]));
    assert!(matches!(deep, Err(FormatError::Rank { rank: 9, .. })));
    assert!(matches!(parse(&safe("{", b"")), Err(FormatError::Header { .. })));
    assert!(matches!(parse(&safe(r#"{"w":1}"#, b"")), Err(FormatError::Header { .. })));
    let mut long = safe("{}", b"");
    long[0] = 200;
    assert!(matches!(parse(&long), Err(FormatError::Header { .. })));
    long[..8].fill(0xff);
    assert!(matches!(parse(&long), Err(FormatError::TooMany { .. })));
}

#[test]
fn files_are_named() {
    let error = load(Path::new("none.pt")).unwrap_err();
    assert!(matches!(error, WeightsError::File(_)));
    let error = load(&Path::new(FOLDER).join("make.py")).unwrap_err().to_string();
    assert!(error.contains("make.py: is neither"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn damaged_files_never_panic(
        at in any::<prop::sample::Index>(), value in any::<u8>(), keep in any::<prop::sample::Index>(),
        which in 0usize..3,
    ) {
        let mut whole = bytes(["small.pt", "small.safetensors", "checkpoint.pt"][which]);
        let place = at.index(whole.len());
        whole[place] = value;
        let _ = parse(&whole);
        let _ = parse(&whole[..keep.index(whole.len())]);
    }

    /// The archive's checksums would hide the pickle from mutations.
    #[test]
    fn damaged_pickles_never_panic(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut pickle = pickled(0, 2, 1);
        for (at, value) in edits {
            let place = at.index(pickle.len());
            pickle[place] = value;
        }
        let _ = unpacked(&pickle);
    }

    #[test]
    fn any_pickle_ends(pickle in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = unpacked(&pickle);
    }
}
