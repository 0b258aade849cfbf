//! What holds over all formats: assembling, splitting, normalising, and hostile bytes.

use std::io::Write;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::npy::tests::file as npy_file;
use super::npz::tests::archive;
use super::*;

fn dataset(counts: &[usize]) -> Dataset {
    let labels: Vec<u32> = counts
        .iter()
        .enumerate()
        .flat_map(|(class, &n)| std::iter::repeat_n(class as u32, n))
        .collect();
    Dataset {
        shape: Shape::Flat(2),
        inputs: Values::Floats((0..2 * labels.len()).map(|i| i as f32).collect()),
        classes: (0..counts.len()).map(|c| c.to_string()).collect(),
        labels,
        test_start: None,
    }
}

#[test]
fn the_bundled_digits() {
    let dataset = load(&DataConfig::default()).unwrap();
    assert_eq!(dataset.shape, Shape::Image { height: 8, width: 8, channels: 1 });
    assert_eq!(dataset.len(), 1797);
    assert_eq!(dataset.classes.len(), 10);
    assert_eq!(dataset.bytes(0).unwrap()[..8], [0, 0, 80, 207, 143, 16, 0, 0]);
    let split = Split::new(&dataset, &DataConfig::default(), 1).unwrap();
    assert_eq!((split.train.len(), split.validation.len(), split.test.len()), (1294, 144, 359));
}

#[test]
fn equal_inputs_are_refused() {
    let mut dataset = dataset(&[2, 2]);
    let check = |dataset: &Dataset, examples| {
        dataset.check_inputs_differ(Path::new("parts"), examples).map_err(|e| e.to_string())
    };
    assert_eq!(check(&dataset, &[0, 1, 2]), Ok(()));
    dataset.inputs = Values::Floats(vec![1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0, 3.0]);
    let error = check(&dataset, &[0, 1, 2]).unwrap_err();
    assert!(error.starts_with("parts: the inputs of all 3 training examples"), "{error}");
    assert_eq!(check(&dataset, &[0, 1, 3]), Ok(()));
}

#[test]
fn quantities_are_no_classes() {
    let classes = |labels: Vec<String>| {
        labels::Classes::of(Path::new("a"), &RawLabels::Names(labels), None)
            .map(|c| c.names().len())
    };
    let measured = classes((0..300).map(|i| format!("{}", f64::from(i % 40) * 0.5)).collect());
    let counted = classes((0..300).map(|i| (i % 40 - 20).to_string()).collect());
    let rare = classes((0..30).map(|i| i.to_string()).collect());
    for found in [measured, counted, rare] {
        let error = found.unwrap_err();
        assert!(matches!(error, DataError::Labels(LabelError::Quantities { .. })), "{error}");
    }
    assert_eq!(classes((0..300).map(|i| (i % 40).to_string()).collect()).unwrap(), 40);
    assert_eq!(classes((0..30).map(|i| format!("person {i}")).collect()).unwrap(), 30);
    assert_eq!(classes(["0.5", "1"].map(str::to_owned).to_vec()).unwrap(), 2);
}

#[test]
fn mnist_files_keep_their_test_set() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8], gzip: bool| -> Option<PathBuf> {
        let path = folder.path().join(name);
        if gzip {
            let file = std::fs::File::create(&path).unwrap();
            let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap();
        } else {
            std::fs::write(&path, bytes).unwrap();
        }
        Some(path)
    };
    let images = |n: u8| {
        let head = [0, 0, 8, 3, 0, 0, 0, n, 0, 0, 0, 1, 0, 0, 0, 2];
        [&head[..], &vec![7; 2 * usize::from(n)]].concat()
    };
    let labels = |labels: &[u8]| [&[0, 0, 8, 1, 0, 0, 0, labels.len() as u8], labels].concat();
    let mut config = DataConfig {
        kind: DataKind::Idx,
        inputs: write("train-images", &images(6), false),
        labels: write("train-labels.gz", &labels(&[3, 5, 3, 5, 3, 5]), true),
        test_inputs: write("test-images.gz", &images(2), true),
        test_labels: write("test-labels", &labels(&[5, 3]), false),
        validation_count: Some(2),
        ..DataConfig::default()
    };
    let data = load(&config).unwrap();
    assert_eq!(data.shape, Shape::Image { height: 1, width: 2, channels: 1 });
    assert_eq!(data.classes, ["3", "5"]);
    assert_eq!(data.labels, [0, 1, 0, 1, 0, 1, 1, 0]);
    let split = Split::new(&data, &config, 9).unwrap();
    assert_eq!(split.test, [6, 7]);
    assert_eq!((split.train.len(), split.validation.len()), (4, 2));

    // The name without .gz finds the file with it.
    config.labels = Some(folder.path().join("train-labels"));
    assert_eq!(load(&config).unwrap(), data);

    config.test_labels = write("test-labels", &labels(&[5, 4]), false);
    assert!(matches!(load(&config), Err(DataError::UnknownClass { .. })));
    config.test_labels = write("test-labels", &labels(&[5]), false);
    assert!(matches!(load(&config), Err(DataError::Count { inputs: 2, labels: 1, .. })));
    config.labels = write("train-labels.gz", &labels(&[3; 6]), true);
    assert!(matches!(load(&config), Err(DataError::OneClass { .. })));
    config.labels = write("train-labels.gz", &labels(&[]), true);
    assert!(matches!(load(&config), Err(DataError::Empty { .. })));
    config.labels = None;
    assert!(matches!(load(&config), Err(DataError::MissingKey { key: "labels", .. })));
}

/// Writes two NPY files and loads them.
fn load_npy(inputs: &[u8], labels: &[u8], change: impl FnOnce(&mut DataConfig)) -> DataError {
    let folder = tempfile::tempdir().unwrap();
    let (x, y) = (folder.path().join("x.npy"), folder.path().join("y.npy"));
    std::fs::write(&x, inputs).unwrap();
    std::fs::write(&y, labels).unwrap();
    let mut config = DataConfig {
        kind: DataKind::Npy,
        inputs: Some(x.clone()),
        labels: Some(y.clone()),
        ..DataConfig::default()
    };
    change(&mut config);
    load(&config).unwrap_err()
}

#[test]
fn every_other_error() {
    let two = npy_file("|u1", false, "(2,)", &[0, 1]);
    let floats = |values: &[f32], shape: &str| {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        npy_file("<f4", false, shape, &bytes)
    };
    let x = floats(&[1.0, 2.0], "(2, 1)");
    let plain = |_: &mut DataConfig| ();
    let nan = load_npy(&floats(&[1.0, f32::NAN], "(2, 1)"), &two, plain);
    assert!(matches!(nan, DataError::NotFinite { example: 1, feature: 0, .. }), "{nan}");
    let half = load_npy(&x, &floats(&[0.0, 0.5], "(2,)"), plain);
    assert!(matches!(half, DataError::Labels(LabelError::NotWhole { example: 1, .. })), "{half}");
    let one_hot = load_npy(&x, &floats(&[0.0; 4], "(2, 2)"), plain);
    assert!(matches!(one_hot, DataError::Dimensions { .. }), "{one_hot}");
    let scalar = load_npy(&floats(&[0.0], "()"), &two, plain);
    assert!(matches!(scalar, DataError::Dimensions { .. }), "{scalar}");
    let deep = load_npy(&floats(&[0.0, 1.0], "(2,1,1,1,1)"), &two, plain);
    assert!(deep.to_string().contains("data.shape"), "{deep}");
    let shape = load_npy(&x, &two, |c| c.shape = Some(vec![2, 2]));
    assert!(matches!(shape, DataError::Shape { .. }), "{shape}");
    for dims in [vec![], vec![0], vec![1; 4], vec![1 << 21], vec![usize::MAX, 2]] {
        let given = load_npy(&x, &two, |c| c.shape = Some(dims));
        assert!(matches!(given, DataError::GivenShape { .. }), "{given}");
    }
    let absent = load_npy(&x, &two, |c| c.inputs = Some("absent.npy".into()));
    assert!(matches!(absent, DataError::File(_)), "{absent}");
    let unused = load_npy(&x, &two, |c| c.resize = Some([1, 1]));
    assert!(matches!(unused, DataError::UnusedKey { key: "resize", .. }), "{unused}");
    let half_test = load_npy(&x, &two, |c| c.test_inputs = c.inputs.clone());
    assert!(matches!(half_test, DataError::MissingKey { key: "test_labels", .. }), "{half_test}");
    let wide_test = load_npy(&x, &two, |c| {
        let path = c.inputs.as_deref().unwrap().with_file_name("t.npy");
        std::fs::write(&path, floats(&[0.0; 4], "(2, 2)")).unwrap();
        c.test_inputs = Some(path);
        c.test_labels = c.labels.clone();
    });
    assert!(matches!(wide_test, DataError::TestShape { .. }), "{wide_test}");
    let byte_test = load_npy(&x, &two, |c| {
        let path = c.inputs.as_deref().unwrap().with_file_name("t.npy");
        std::fs::write(&path, npy_file("|u1", false, "(2, 1)", &[0, 1])).unwrap();
        c.test_inputs = Some(path);
        c.test_labels = c.labels.clone();
    });
    assert!(matches!(byte_test, DataError::TestType { .. }), "{byte_test}");
    let names = load_npy(&x, &two, |c| c.class_names = Some(vec!["good".to_owned()]));
    assert!(matches!(names, DataError::ClassNames { names: 1, classes: 2, .. }), "{names}");
    for odd in ["a\nb".to_owned(), "x".repeat(MAX_CLASS_NAME + 1)] {
        let name = load_npy(&x, &two, |c| c.class_names = Some(vec![odd, "b".to_owned()]));
        assert!(matches!(name, DataError::ClassName { .. }), "{name}");
    }
    let many: Vec<u8> = (0..=MAX_CLASSES as u32).flat_map(|n| n.to_le_bytes()).collect();
    let many = load_npy(&x, &npy_file("<u4", false, "(4097,)", &many), plain);
    assert!(matches!(many, DataError::TooMany { what: "classes", .. }), "{many}");
}

#[test]
fn classes_are_sorted_as_people_expect() {
    let names = |labels: &[&str]| {
        let labels = RawLabels::Names(labels.iter().map(|l| l.to_string()).collect());
        labels::Classes::of(Path::new("a"), &labels, None).unwrap().names()
    };
    assert_eq!(names(&["10", "9", "-1"]), ["-1", "9", "10"]);
    assert_eq!(names(&["b", "a", "B"]), ["B", "a", "b"]);
    assert_eq!(names(&["007", "7"]), ["007", "7"]);
}

#[test]
fn given_names_are_the_labels_or_rename_them_all() {
    let classes = |labels: &[&str], given: &[&str]| {
        let texts = |texts: &[&str]| texts.iter().map(|text| text.to_string()).collect();
        let (labels, given): (Vec<String>, Vec<String>) = (texts(labels), texts(given));
        let labels = RawLabels::Names(labels);
        let classes = labels::Classes::of(Path::new("a"), &labels, Some(&given))?;
        Ok::<_, DataError>((classes.names(), classes.encode(Path::new("a"), &labels)?))
    };
    let names = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
    // By name, in the order that is given, which may have more.
    let known = classes(&["cat", "dog"], &["dog", "eel", "cat"]).unwrap();
    assert_eq!(known, (names(&["dog", "eel", "cat"]), vec![2, 0]));
    let renamed = classes(&["n02", "n01"], &["cat", "dog"]).unwrap();
    assert_eq!(renamed, (names(&["cat", "dog"]), vec![1, 0]));
    let numbers = classes(&["10", "9"], &["9", "10"]).unwrap();
    assert_eq!(numbers, (names(&["9", "10"]), vec![1, 0]));
    let error = classes(&["cat", "doge"], &["cat", "dog"]).unwrap_err();
    assert!(
        matches!(&error, DataError::Labels(LabelError::UnnamedClass { class, .. }) if class == "doge"),
        "{error}"
    );
    let error = classes(&["a", "b"], &["c"]).unwrap_err();
    assert!(matches!(error, DataError::ClassNames { names: 1, classes: 2, .. }), "{error}");
}

#[test]
fn channels_come_last_where_the_job_says_they_are_first() {
    let folder = tempfile::tempdir().unwrap();
    let (x, y) = (folder.path().join("x.npy"), folder.path().join("y.npy"));
    std::fs::write(
        &x,
        npy_file("|u1", false, "(2, 2, 1, 3)", &[1, 2, 3, 4, 5, 6, 0, 0, 0, 9, 9, 9]),
    )
    .unwrap();
    std::fs::write(&y, npy_file("|u1", false, "(2,)", &[0, 1])).unwrap();
    let mut config = DataConfig {
        kind: DataKind::Npy,
        inputs: Some(x),
        labels: Some(y),
        layout: Some(Layout::ChannelsFirst),
        ..DataConfig::default()
    };
    let expected = Shape::Image { height: 1, width: 3, channels: 2 };
    let data = load(&config).unwrap();
    assert_eq!(data.shape, expected);
    assert_eq!(data.inputs, Values::Bytes(vec![1, 4, 2, 5, 3, 6, 0, 9, 0, 9, 0, 9]));
    config.shape = Some(vec![1, 3, 2]);
    assert_eq!(load(&config).unwrap(), data);
    config.layout = None;
    let error = load(&config).unwrap_err();
    assert!(error.to_string().contains("channels-first"), "{error}");
}

#[test]
fn split_errors() {
    let split = |counts: &[usize], change: fn(&mut DataConfig)| {
        let mut config = DataConfig::default();
        change(&mut config);
        Split::new(&dataset(counts), &config, 1)
    };
    assert!(matches!(
        split(&[50, 50], |c| c.test_fraction = 0.0),
        Err(DataError::EmptyPart { part: "test", .. })
    ));
    assert!(matches!(
        split(&[2, 2], |c| c.validation_fraction = Some(0.1)),
        Err(DataError::EmptyPart { part: "validation", .. })
    ));
    assert!(matches!(
        split(&[50, 50], |c| c.validation_count = Some(80)),
        Err(DataError::EmptyPart { part: "training", .. })
    ));
    assert!(matches!(
        split(&[50, 50], |c| c.test_count = Some(101)),
        Err(DataError::HeldOut { part: "test", count: 101, examples: 100 })
    ));
    assert!(matches!(
        split(&[50, 1], |c| c.test_fraction = 0.6),
        Err(DataError::ClassNotTrained { count: 1, .. })
    ));
}

#[test]
fn few_examples_give_more_of_them_to_validation() {
    let validation = |each: usize| {
        Split::new(&dataset(&[each, each]), &DataConfig::default(), 1).unwrap().validation.len()
    };
    // Of what a fifth for the test set leaves: a quarter, a hundred, a tenth.
    assert_eq!([50, 180, 500, 5_000].map(validation), [20, 72, 100, 800]);
}

#[test]
fn normalization_by_hand() {
    let data = dataset(&[2, 2]);
    let standard = Normalization::fit(NormalizationKind::Standard, &data, &[0, 2]).unwrap();
    assert_eq!(standard, Normalization { offset: vec![2.0, 3.0], scale: vec![0.5, 0.5] });
    assert_eq!(data.batch(&standard, &[3, 0, 99]), [2.0, 2.0, -1.0, -1.0]);
    assert_eq!(standard.apply(&data.inputs, 1..3), [-1.0, 0.0]);
    assert_eq!(standard.apply(&data.inputs, 7..99), [2.0]);
    let unit = Normalization::fit(NormalizationKind::Unit, &data, &[0]);
    assert!(matches!(unit, Err(DataError::Normalization)));
    let bytes = Dataset { inputs: Values::Bytes(vec![0, 255, 51, 9]), ..data };
    let unit = Normalization::fit(NormalizationKind::Unit, &bytes, &[0]).unwrap();
    assert_eq!(unit.apply(&bytes.inputs, 0..2), [0.0, 1.0]);
    let again = Dataset { inputs: Values::Bytes(vec![7; 8]), ..bytes.clone() };
    let constant = Normalization::fit(NormalizationKind::Standard, &again, &[0, 1]).unwrap();
    assert_eq!(constant, Normalization { offset: vec![7.0], scale: vec![1.0] });
    let symmetric = Normalization::fit(NormalizationKind::Symmetric, &bytes, &[0]).unwrap();
    assert_eq!(symmetric.apply(&bytes.inputs, 0..2), [-1.0, 1.0]);
    let constant = Normalization::fit(NormalizationKind::Standard, &bytes, &[0]).unwrap();
    assert_eq!((constant.offset, constant.scale.len()), (vec![127.5], 1));
    let text = toml::to_string(&symmetric).unwrap();
    assert_eq!(toml::from_str::<Normalization>(&text).unwrap(), symmetric);
}

#[test]
fn inputs_for_one_run() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.png");
    std::fs::write(&path, images::tests::png(4, 4, [10, 10, 10])).unwrap();
    let gray = Shape::Image { height: 2, width: 2, channels: 1 };
    let batch = read_image(&path, gray).unwrap();
    assert_eq!(batch, InputBatch { count: 1, numbers: Numbers::Bytes(vec![10; 4]) });
    assert!(matches!(read_image(&path, Shape::Flat(4)), Err(DataError::InputShape { .. })));
    let path = folder.path().join("a.npy");
    for (dims, count) in [("(3, 4)", 3), ("(3, 2, 2)", 3), ("(2, 2)", 1), ("(4,)", 1)] {
        let data = vec![5; 4 * count];
        std::fs::write(&path, npy_file("|i1", false, dims, &data)).unwrap();
        let batch = read_npy(&path, &[2, 2, 1], Layout::ChannelsLast).unwrap();
        assert_eq!((batch.count, batch.numbers), (count, Numbers::Signed(vec![5; 4 * count])));
    }
    for dims in ["(3,)", "(0, 4)", "(2, 3)", "()"] {
        let length = [3, 0, 6, 1]
            [["(3,)", "(0, 4)", "(2, 3)", "()"].iter().position(|d| *d == dims).unwrap()];
        std::fs::write(&path, npy_file("|i1", false, dims, &vec![5; length])).unwrap();
        let refused = read_npy(&path, &[2, 2, 1], Layout::ChannelsLast);
        assert!(matches!(refused, Err(DataError::ModelShape { .. })), "{dims}");
    }
}

#[test]
fn a_batch_that_doesn_t_fit_is_told_by_its_examples() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.npy");
    for (dims, layout, found, remedy) in [
        ("(5, 2, 3)", Layout::ChannelsFirst, "an example is 2 × 3, ", "leave out --data-layout"),
        ("(5, 3, 2)", Layout::ChannelsLast, "an example is 3 × 2, ", "np.moveaxis(x, 1, -1)"),
        ("(5, 2, 4)", Layout::ChannelsLast, "an example is 2 × 4, ", "in that shape"),
        ("(2, 4)", Layout::ChannelsLast, "an example is 2 × 4, ", "in that shape"),
    ] {
        let len = if dims == "(2, 4)" { 8 } else { 5 * if dims == "(5, 2, 4)" { 8 } else { 6 } };
        std::fs::write(&path, npy_file("|i1", false, dims, &vec![5; len])).unwrap();
        let message = read_npy(&path, &[2, 3], layout).unwrap_err().to_string();
        assert!(message.contains(found) && message.contains(remedy), "{dims}: {message}");
    }
}

/// One valid file per reader, to be damaged.
fn specimens() -> Vec<Vec<u8>> {
    let npy = npy_file("<f4", true, "(2, 2)", &[0; 16]);
    vec![
        [&[0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 2][..], &[1, 2, 3, 4]].concat(),
        archive(&[("x", npy.clone()), ("y", npy_file("|u1", false, "(2,)", &[0, 1]))]),
        npy,
        b"a,b,y\n1,2,cat\n3,4,dog\n".to_vec(),
        images::tests::png(3, 3, [1, 2, 3]),
    ]
}

/// Every reader over the same bytes.
fn read_all(bytes: &[u8]) {
    let path = Path::new("hostile");
    let config = DataConfig::default();
    for array in [
        idx::parse(path, bytes),
        npy::parse(path, bytes),
        npz::parse(path, bytes, "x", "input_array"),
        npz::parse(path, bytes, "y", "label_array"),
    ]
    .into_iter()
    .flatten()
    {
        assert_eq!(array.dims.iter().product::<usize>(), array.numbers.len());
        let _ = array.clone().into_labels();
        let _ = array.into_inputs(path, &config);
    }
    let _ = idx::gunzip(path, bytes);
    let _ = csv::parse(path, bytes, &config);
    let _ = images::decode(path, bytes);
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        read_all(&bytes);
    }

    #[test]
    fn damaged_files_never_panic(
        which in 0..5usize,
        cut in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    ) {
        let mut bytes = specimens().swap_remove(which);
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if cut.index(3) == 0 {
            bytes.truncate(cut.index(bytes.len()));
        }
        read_all(&bytes);
    }

    #[test]
    fn a_split_is_a_stratified_partition(
        counts in prop::collection::vec(20..60usize, 2..5),
        seed in any::<u64>(),
        test_start in any::<bool>(),
    ) {
        let mut data = dataset(&counts);
        if test_start {
            data.test_start = Some(data.len() - 7);
        }
        let config = DataConfig::default();
        let split = Split::new(&data, &config, seed).unwrap();
        prop_assert_eq!(&split, &Split::new(&data, &config, seed).unwrap());
        let mut all = [&split.train[..], &split.validation, &split.test].concat();
        all.sort_unstable();
        prop_assert!(all.iter().copied().eq(0..data.len() as u32));
        if test_start {
            prop_assert_eq!(split.test.len(), 7);
        } else {
            for (class, &count) in counts.iter().enumerate() {
                let of_class = |i: &&u32| data.labels[**i as usize] == class as u32;
                let tested = split.test.iter().filter(of_class).count() as f64;
                prop_assert!((tested - 0.2 * count as f64).abs() <= 1.0);
            }
        }
    }

    #[test]
    fn standard_normalization_has_mean_zero_and_deviation_one(
        values in prop::collection::vec(-1e3f32..1e3, 40),
    ) {
        let mut data = dataset(&[10, 10]);
        data.inputs = Values::Floats(values);
        let all: Vec<u32> = (0..20).collect();
        let standard = Normalization::fit(NormalizationKind::Standard, &data, &all).unwrap();
        let out = data.batch(&standard, &all);
        for feature in 0..2 {
            let column: Vec<f32> = out.iter().skip(feature).step_by(2).copied().collect();
            let mean: f32 = column.iter().sum::<f32>() / 20.0;
            let variance: f32 = column.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / 20.0;
            prop_assert!(mean.abs() < 1e-3 && (variance - 1.0).abs() < 1e-3);
        }
    }
}
