//! A short run of the fuzz targets in `tests/fuzz`, without a fuzzer: every file of their corpus, and
//! files made of those by chance, the same on every machine. Long runs are commands of their own:
//! see CONTRIBUTING.md.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

// The targets' own code, for another crate: not all of it is used here.
#[allow(dead_code, unreachable_pub, unused_imports)]
#[path = "../fuzz/lib.rs"]
mod targets;

#[allow(dead_code, unreachable_pub)] // written for xtask, too, which packs
#[path = "../fuzz/archives.rs"]
mod archives;

use std::fs;
use std::path::{Path, PathBuf};

use bitsback_runtime::{Header, Model, OpKind};

use arbitrary::{Arbitrary, Unstructured};
use targets::{CHANGES, Random};

/// Files that are made by chance: some seconds.
const FILES: usize = 100_000;

/// The targets whose inputs are models.
const OF_MODELS: [&str; 3] = ["mutate_model", "parse_and_run", "trust_and_run"];
/// Where `runtime/tests/old_files.rs` has its models.
const OLD_FILES: &str = "runtime/tests/fixtures/v1";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Samples of the operators that no sound model among `files` has, and of a margin if none has one, by a
/// file's name.
fn lacking<'f>(files: impl IntoIterator<Item = &'f Vec<u8>>) -> Vec<(String, Vec<u8>)> {
    let kinds = |file: &[u8]| match Model::parse(file) {
        Ok(model) => model.header().op_kinds,
        Err(_) => 0,
    };
    let files: Vec<_> = files.into_iter().collect();
    let abstains = |file: &&Vec<u8>| Model::parse(file).is_ok_and(|model| model.margin() > 0);
    let has_margin = files.iter().any(abstains);
    let used = files.into_iter().fold(0, |used, file| used | kinds(file));
    let samples = targets::samples();
    let missing = OpKind::ALL.iter().filter(|kind| used & kind.bit() == 0);
    let sample = |kind: &OpKind| {
        let found = samples.iter().find(|(_, file)| kinds(file) & kind.bit() != 0);
        let (_, file) =
            found.unwrap_or_else(|| panic!("tests/fuzz/samples.rs lacks {}", kind.name()));
        (format!("{}.bbk", kind.name()), file.clone())
    };
    let margin = samples.iter().filter(|(name, _)| *name == targets::MARGIN.0 && !has_margin);
    let margin = margin.map(|(name, file)| (format!("{name}.bbk"), file.clone()));
    missing.map(sample).chain(margin).collect()
}

/// With `BLESS` in the environment, files that lack are added.
#[test]
fn every_operator_is_in_the_files_that_are_kept() {
    let bless = std::env::var_os("BLESS").is_some();
    let check = |place: &str, lacking: &[(String, Vec<u8>)]| {
        let names: Vec<&str> = lacking.iter().map(|(name, _)| name.as_str()).collect();
        let advice = "`BLESS=1 cargo test --release -p bitsback-tests --test fuzz` adds these";
        assert!(bless || names.is_empty(), "{place} lacks {names:?}: {advice}");
    };
    for target in OF_MODELS {
        let path = root().join(archives::FOLDER).join(target).with_extension(archives::ENDING);
        let mut inputs = archives::read(&fs::read(&path).unwrap()).unwrap();
        let lacking = lacking(inputs.values());
        check(target, &lacking);
        if !lacking.is_empty() {
            inputs.extend(lacking);
            fs::write(&path, archives::write(&inputs).unwrap()).unwrap();
        }
    }
    let folder = root().join(OLD_FILES);
    let files = fs::read_dir(&folder).unwrap().map(|file| fs::read(file.unwrap().path()).unwrap());
    let lacking = lacking(&files.collect::<Vec<_>>());
    check(OLD_FILES, &lacking);
    for (name, file) in lacking {
        fs::write(folder.join(name), file).unwrap();
    }
}

/// The inputs of all targets; by the archives' names and their own, so that their order is the same everywhere.
fn corpus() -> Vec<Vec<u8>> {
    let folder = root().join(archives::FOLDER);
    let mut paths: Vec<_> =
        fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == archives::ENDING));
    paths.sort();
    let read = |path: &std::path::PathBuf| {
        let inputs = archives::read(&fs::read(path).unwrap());
        inputs.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let files = paths.iter().flat_map(|path| read(path).into_values());
    files.filter(|file| !file.is_empty()).collect()
}

/// What the targets do with a file.
fn run(file: &[u8], fill: i8) {
    targets::open_package(file);
    targets::unpack_delta(file);
    targets::sentinel_section(file);
    targets::sentinel_record(file);
    targets::parse_and_run(file, fill);
    let mut mended = file.to_vec();
    targets::mend(&mut mended);
    targets::parse_and_run(&mended, fill);
    let mut headed = file.to_vec();
    targets::head(&mut headed);
    targets::trust_and_run(&headed, fill);
}

#[test]
fn files_of_the_corpus() {
    let corpus = corpus();
    assert!(corpus.len() > 20, "the corpus is gone");
    for file in &corpus {
        run(file, 0x55);
    }
}

#[test]
fn files_made_by_chance() {
    let corpus = corpus();
    let mut random = Random::new(0x9E37_79B9_7F4A_7C15);
    let (mut accepted, mut drawn_kinds) = (0, 0);
    for _ in 0..FILES {
        let mut file = corpus[random.below(corpus.len())].clone();
        for _ in 0..=random.below(CHANGES) {
            let at = random.below(file.len());
            random.change(&mut file, at, &corpus);
        }
        run(&file, random.below(256) as i8);
        if let Ok(drawn) = targets::DrawnModel::arbitrary(&mut Unstructured::new(&file))
            && let Some(built) = drawn.write()
        {
            targets::parse_and_run(&built, drawn.fill());
            drawn_kinds |= Header::read(&built).map_or(0, |header| header.op_kinds);
            accepted += usize::from(bitsback_runtime::Model::parse(&built).is_ok());
        }
    }
    // Otherwise the loop above has run nothing.
    assert!(accepted > FILES / 100, "{accepted} models were sound");
    for kind in OpKind::ALL {
        assert!(drawn_kinds & kind.bit() != 0, "tests/fuzz/draw.rs draws no {}", kind.name());
    }
}
