//! Small files that would become large: each must end in an error, within two gigabytes of memory.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a failing test should stop where it fails")]

use std::fs;
use std::io::{Cursor, Write};
use std::path::Path;
use std::process::Command;

use bitsback::export;
use bitsback::graph::ops::Dense;
use bitsback::graph::{Affine, Graph};
use bitsback::import::onnx::FloatModel;
use tempfile::TempDir;
use zip::write::SimpleFileOptions;

/// Kilobytes of address space that the program gets.
const MEMORY: u64 = 2 << 20;

/// Largest file that is made here: what is larger could take more.
const SMALL: u64 = 1 << 20;

/// A folder with `model.onnx`, which takes two numbers.
fn scene() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let affine = Affine { weight: vec![1.0; 6], bias: vec![0.0; 3] };
    let mut graph = Graph::of_input(vec![2]);
    graph.push("n", Dense {}, vec![0], vec![3], Some(affine));
    let model = FloatModel { graph, ..FloatModel::default() };
    fs::write(folder.path().join("model.onnx"), export::onnx(&model, false).unwrap()).unwrap();
    folder
}

/// Runs the program within its memory; the exit code must be one of a wrong file.
fn refused(folder: &Path, file: &str, bytes: &[u8], args: &[&str]) {
    fs::write(folder.join(file), bytes).unwrap();
    assert!(bytes.len() as u64 <= SMALL, "{file} has {} bytes", bytes.len());
    let limited = format!("ulimit -v {MEMORY}; exec \"$0\" \"$@\"");
    let output = Command::new("sh")
        .args(["-c", &limited, env!("CARGO_BIN_EXE_bitsback")])
        .args(args)
        .current_dir(folder)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    let code = output.status.code();
    assert!(matches!(code, Some(2..=4)), "{file}: {code:?} {text}");
    assert!(text.contains(file) && text.starts_with("error") || text.contains("\nerror"), "{text}");
}

/// As [`refused`], as data to quantise the model with.
fn refused_data(file: &str, bytes: &[u8]) {
    let folder = scene();
    let args = ["quantize", "model.onnx", "--data", file, "-o", "x.bbk"];
    refused(folder.path(), file, bytes, &args);
}

/// `count` bytes, compressed.
fn gzip(write: impl Fn(&mut dyn Write)) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    write(&mut encoder);
    encoder.finish().unwrap()
}

/// A piece of bytes, so often.
fn repeat(out: &mut dyn Write, piece: &[u8], count: usize) {
    let block = piece.repeat(1 << 12);
    for _ in 0..count.div_ceil(1 << 12) {
        out.write_all(&block).unwrap();
    }
}

/// What writes the bytes of a file.
type Writes<'a> = &'a dyn Fn(&mut dyn Write);

/// A zip archive of deflated members.
fn archive(members: &[(&str, Writes<'_>)]) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let mut zip = zip::ZipWriter::new(&mut bytes);
    let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
    for (name, write) in members {
        zip.start_file(*name, options).unwrap();
        write(&mut zip);
    }
    zip.finish().unwrap();
    bytes.into_inner()
}

/// An NPY header with this element type and shape.
fn npy_header(descr: &str, shape: &str) -> Vec<u8> {
    let text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let length = (text.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\x00", &length[..], text.as_bytes()].concat()
}

#[test]
fn tables() {
    refused_data("commas.csv", &gzip(|out| repeat(out, b",", 128 << 20)));
    refused_data("one_field.csv", &gzip(|out| repeat(out, b"a", 128 << 20)));
    refused_data(
        "quoted.csv",
        &gzip(|out| {
            out.write_all(b"\"").unwrap();
            repeat(out, b"a\n", 64 << 20);
        }),
    );
    refused_data("lines.csv", &gzip(|out| repeat(out, b"0,0,0\n", 20 << 20)));
    // Not compressed: a header of very many columns.
    refused_data("columns.csv", &b"a,".repeat(SMALL as usize / 2));
}

#[test]
fn arrays() {
    let zeros = |descr: &'static str, count: usize, size: usize| {
        archive(&[("x.npy", &move |out: &mut dyn Write| {
            out.write_all(&npy_header(descr, &format!("({count}, 2)"))).unwrap();
            repeat(out, &vec![0; size], count * 2);
        })])
    };
    refused_data("bytes.npz", &zeros("|u1", 80 << 20, 1));
    refused_data("shorts.npz", &zeros("<i2", 30 << 20, 2));
    refused_data("doubles.npz", &zeros("<f8", 8 << 20, 8));
    refused_data(
        "claims.npz",
        &archive(&[("x.npy", &|out: &mut dyn Write| {
            out.write_all(&npy_header("<f8", "(4611686018427387904, 2)")).unwrap();
        })]),
    );
    let folder = scene();
    fs::write(folder.path().join("d.csv"), "a,b,y\n1,2,0\n2,1,1\n3,1,2\n4,1,0\n").unwrap();
    let mut quantize = Command::new(env!("CARGO_BIN_EXE_bitsback"));
    quantize.args(["quantize", "model.onnx", "--data", "d.csv", "-o", "m.bbk"]);
    assert!(quantize.current_dir(folder.path()).output().unwrap().status.success());
    for (file, shape) in [("wide.npy", "(1099511627776, 2)"), ("flat.npy", "(2147483648, 0)")] {
        let args = ["run", "m.bbk", file];
        refused(folder.path(), file, &npy_header("<f4", shape), &args);
    }
}

/// A PNG of these sides: its chunks are right, and its zeros compressed, as far as there are any.
fn png(width: u32, height: u32, rows: u32) -> Vec<u8> {
    let mut out = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |kind: &[u8; 4], data: &[u8]| {
        let mut crc = flate2::Crc::new();
        crc.update(kind);
        crc.update(data);
        out.extend((data.len() as u32).to_be_bytes());
        out.extend_from_slice(kind);
        out.extend_from_slice(data);
        out.extend(crc.sum().to_be_bytes());
    };
    // 16 bits, red, green, blue and alpha.
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[16, 6, 0, 0, 0]].concat();
    chunk(b"IHDR", &header);
    let mut data = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..rows {
        data.write_all(&vec![0; width as usize * 8 + 1]).unwrap();
    }
    chunk(b"IDAT", &data.finish().unwrap());
    chunk(b"IEND", &[]);
    out
}

#[test]
fn images() {
    let folder = scene();
    for class in ["a", "b"] {
        fs::create_dir_all(folder.path().join("images").join(class)).unwrap();
    }
    fs::write(folder.path().join("job.toml"), "[data]\nkind = \"images\"\ninputs = \"images\"\n")
        .unwrap();
    let args = ["compress", "job.toml", "--out", "out", "--quiet"];
    // Sides beyond any limit; a size that no limit on sides refuses; one that is whole.
    for (file, bytes) in [
        ("images/a/1.png", png(2_000_000_000, 2_000_000_000, 0)),
        ("images/a/2.png", png(8192, 8192, 1)),
        ("images/a/3.png", png(8192, 8000, 8000)),
    ] {
        refused(folder.path(), file, &bytes, &args);
        fs::remove_file(folder.path().join(file)).unwrap();
    }
}

/// A pickled dictionary of `count` tensors, each of `len` values with a stride of `stride`, all in one
/// storage of `stored` values.
fn pickle(count: usize, len: u32, stride: u8, stored: u32) -> Vec<u8> {
    let int = |n: u32| [&b"J"[..], &n.to_le_bytes()].concat();
    let mut out = b"\x80\x02}(".to_vec();
    for tensor in 0..count {
        let name = format!("layer{tensor}.weight");
        out.extend([&b"X"[..], &(name.len() as u32).to_le_bytes(), name.as_bytes()].concat());
        out.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        out.extend(
            b"X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu",
        );
        out.extend(int(stored));
        out.extend(b"tQ");
        out.extend(int(0));
        out.extend(int(len));
        out.push(0x85);
        out.extend([b'K', stride, 0x85]);
        out.extend(b"\x89}tR");
    }
    out.extend(b"u.");
    out
}

/// A state dict with this pickle, and a storage of so many zeros.
fn state_dict(pickle: &[u8], zeros: usize) -> Vec<u8> {
    archive(&[
        ("m/data.pkl", &|out: &mut dyn Write| out.write_all(pickle).unwrap()),
        ("m/data/0", &|out: &mut dyn Write| repeat(out, &[0; 4], zeros)),
    ])
}

#[test]
fn weights() {
    let folder = scene();
    let stack = |piece: &[u8], count: usize| {
        let piece = piece.to_vec();
        archive(&[("m/data.pkl", &move |out: &mut dyn Write| {
            out.write_all(b"\x80\x02").unwrap();
            repeat(out, &piece, count);
            out.write_all(b".").unwrap();
        })])
    };
    for (file, bytes) in [
        ("nones.pt", stack(b"N", 60 << 20)),
        ("fewer_nones.pt", stack(b"N", 15 << 20)),
        ("dictionaries.pt", stack(b"}", 15 << 20)),
        ("marks.pt", stack(b"(", 15 << 20)),
        ("texts.pt", stack(b"U\x01a", 5 << 20)),
        ("storage.pt", state_dict(&pickle(1, 50 << 20, 1, 50 << 20), 50 << 20)),
        ("stride.pt", state_dict(&pickle(1, 250 << 20, 0, 1), 1)),
        ("strides.pt", state_dict(&pickle(2000, 1 << 17, 1, 1 << 17), 1 << 17)),
    ] {
        let job = format!(
            "[network]\nweights = \"{file}\"\n\
             layers = [{{ type = \"flatten\" }}, {{ type = \"dense\" }}]\n"
        );
        fs::write(folder.path().join("job.toml"), job).unwrap();
        let args = ["compress", "job.toml", "--out", "out", "--force", "--quiet"];
        refused(folder.path(), file, &bytes, &args);
    }
    let header = |length: u64, text: &[u8]| [&length.to_le_bytes()[..], text].concat();
    let deep = "[".repeat(200_000);
    for (file, bytes) in [
        ("long.safetensors", header(u64::MAX, b"{}")),
        ("deep.safetensors", header(200_008, format!("{{\"a\": {deep}").as_bytes())),
        (
            "vast.safetensors",
            header(
                74,
                br#"{"a":{"dtype":"F32","shape":[4294967296,4],"data_offsets":[0,68719476736]}}"#,
            ),
        ),
    ] {
        let job = format!(
            "[network]\nweights = \"{file}\"\nlayers = [{{ type = \"flatten\" }}, {{ type = \"dense\" }}]\n"
        );
        fs::write(folder.path().join("job.toml"), job).unwrap();
        let args = ["compress", "job.toml", "--out", "out", "--force", "--quiet"];
        refused(folder.path(), file, &bytes, &args);
    }
}

#[test]
fn jobs_and_models() {
    let folder = scene();
    // A job that never ends isn't read to its end: a sparse file of eight gigabytes.
    let job = fs::File::create(folder.path().join("huge.toml")).unwrap();
    job.set_len(8 << 30).unwrap();
    for file in ["huge.toml", "huge.bbk", "huge.onnx", "huge.tflite"] {
        let file = folder.path().join(file);
        fs::File::create(&file).unwrap().set_len(8 << 30).unwrap();
        let limited = format!("ulimit -v {MEMORY}; exec \"$0\" \"$@\"");
        let name = file.file_name().unwrap().to_str().unwrap();
        let verb: &[&str] = match name {
            "huge.toml" => &["compress", name],
            "huge.bbk" => &["inspect", name],
            _ => &["import", name, "-o", "x.bbk"],
        };
        let output = Command::new("sh")
            .args(["-c", &limited, env!("CARGO_BIN_EXE_bitsback")])
            .args(verb)
            .current_dir(folder.path())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code().is_some() && text.contains("more than the"), "{name} {text}");
    }
}
