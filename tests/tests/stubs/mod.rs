//! Small files of every kind of data, for jobs that name files of the reader's.

use std::fs;
use std::path::Path;

use bitsback::data::{DataConfig, DataKind};
use bitsback::job::Job;

/// Examples of each of the two or ten classes.
const EACH: usize = 12;
/// Images of MNIST's format.
const SIDE: usize = 28;

/// A snippet that says nothing about data, but has a network that the bundled digits are too small
/// for, with data that fit it.
pub(super) fn with_data(snippet: &str) -> String {
    let large =
        ["lenet-5-caffe", "stride = 2", "weights ="].iter().any(|word| snippet.contains(word));
    if snippet.contains("[data]") || !large {
        return snippet.to_owned();
    }
    format!("{snippet}\n[data]\nkind = \"idx\"\ninputs = \"images\"\nlabels = \"labels\"\n")
}

/// Writes the files that a job names; `root` is the repository's.
pub(super) fn write(job: &Job, root: &Path) {
    if let Some(model) = &job.network.model {
        // The name's ending says nothing to the importer; the bytes do.
        put(model, &fs::read(root.join("jobs/tensorflow/lenet-5.tflite")).unwrap());
    }
    let data = &job.data;
    match data.kind {
        DataKind::Digits => {}
        DataKind::Idx => idx(data),
        DataKind::Npy => {
            put(data.inputs.as_ref().unwrap(), &npy(&[2 * EACH, 3], 1));
            put(data.labels.as_ref().unwrap(), &npy(&[2 * EACH], EACH));
        }
        DataKind::Npz => npz(data),
        DataKind::Csv => csv(data),
        DataKind::Images => images(data, root),
        DataKind::Cifar10 => cifar(data),
    }
}

fn put(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn idx(data: &DataConfig) {
    let examples = 10 * EACH + data.validation_count.unwrap_or(0);
    let header = |dims: &[usize]| {
        let mut bytes = vec![0, 0, 8, dims.len() as u8];
        dims.iter().for_each(|&dim| bytes.extend((dim as u32).to_be_bytes()));
        bytes
    };
    let mut images = header(&[examples, SIDE, SIDE]);
    images.extend((0..examples * SIDE * SIDE).map(|i| (i * 7 % 256) as u8));
    let mut labels = header(&[examples]);
    labels.extend((0..examples).map(|i| (i % 10) as u8));
    for path in [&data.inputs, &data.test_inputs].into_iter().flatten() {
        put(path, &images);
    }
    for path in [&data.labels, &data.test_labels].into_iter().flatten() {
        put(path, &labels);
    }
}

/// An array of int64 that counts up, divided by `every`.
fn npy(dims: &[usize], every: usize) -> Vec<u8> {
    let shape: Vec<String> = dims.iter().map(usize::to_string).collect();
    let text =
        format!("{{'descr': '<i8', 'fortran_order': False, 'shape': ({},), }}", shape.join(", "));
    let header = format!("{text:<117}\n");
    let mut bytes = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
    bytes.extend(header.as_bytes());
    let values = 0..dims.iter().product::<usize>();
    bytes.extend(values.flat_map(|i| ((i / every) as i64).to_le_bytes()));
    bytes
}

fn npz(data: &DataConfig) {
    let name = |given: &Option<String>, default: &str| given.clone().unwrap_or(default.to_owned());
    let mut members = vec![
        (name(&data.input_array, "x"), npy(&[2 * EACH, 8, 8], 3)),
        (name(&data.label_array, "y"), npy(&[2 * EACH], EACH)),
    ];
    members.extend(data.test_input_array.clone().map(|name| (name, npy(&[2 * EACH, 8, 8], 3))));
    members.extend(data.test_label_array.clone().map(|name| (name, npy(&[2 * EACH], EACH))));
    put(data.inputs.as_ref().unwrap(), &zip(&members));
}

/// An archive without compression.
fn zip(members: &[(String, Vec<u8>)]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in members {
        let name = format!("{name}.npy");
        let offset = bytes.len() as u32;
        let mut common = Vec::new();
        common.extend([20, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        common.extend(crc32(content).to_le_bytes());
        common.extend((content.len() as u32).to_le_bytes());
        common.extend((content.len() as u32).to_le_bytes());
        common.extend((name.len() as u16).to_le_bytes());
        common.extend([0, 0]);
        bytes.extend(b"PK\x03\x04");
        bytes.extend(&common);
        bytes.extend(name.as_bytes());
        bytes.extend(content);
        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&common);
        directory.extend([0; 10]);
        directory.extend(offset.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let (start, count) = (bytes.len() as u32, members.len() as u16);
    bytes.extend(&directory);
    bytes.extend(b"PK\x05\x06\x00\x00\x00\x00");
    bytes.extend(count.to_le_bytes());
    bytes.extend(count.to_le_bytes());
    bytes.extend((directory.len() as u32).to_le_bytes());
    bytes.extend(start.to_le_bytes());
    bytes.extend([0, 0]);
    bytes
}

fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), |crc, _| step(crc)))
}

fn csv(data: &DataConfig) {
    let delimiter = data.delimiter.unwrap_or(',');
    let label = match &data.label_column {
        Some(bitsback::data::Column::Name(name)) => name.clone(),
        _ => "label".to_owned(),
    };
    let mut text = format!("a{delimiter}b{delimiter}{label}\n");
    for i in 0..2 * EACH {
        text += &format!("{i}{delimiter}{}{delimiter}{}\n", i % 5, i / EACH);
    }
    put(data.inputs.as_ref().unwrap(), text.as_bytes());
}

/// Records whose classes take turns.
fn cifar(data: &DataConfig) {
    let records = 2 * EACH + data.validation_count.unwrap_or(0).div_ceil(50);
    let record =
        |i: usize| std::iter::once((i % 10) as u8).chain((0..3072).map(move |p| (i * 7 + p) as u8));
    let bytes: Vec<u8> = (0..10 * records).flat_map(record).collect();
    let folder = data.inputs.as_ref().unwrap();
    for name in (1..=5).map(|batch| format!("data_batch_{batch}.bin")) {
        put(&folder.join(name), &bytes);
    }
    put(&folder.join("test_batch.bin"), &bytes);
}

fn images(data: &DataConfig, root: &Path) {
    let image = fs::read(root.join("docs/seven.png")).unwrap();
    for class in ["good", "scratched"] {
        for i in 0..EACH {
            put(&data.inputs.as_ref().unwrap().join(class).join(format!("{i:04}.png")), &image);
        }
    }
}
