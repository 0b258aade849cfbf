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

use std::fs;
use std::path::Path;

use arbitrary::{Arbitrary, Unstructured};

/// Files that are made by chance: some seconds.
const FILES: usize = 100_000;
/// Most changes to one.
const CHANGES: u32 = 6;

/// Xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % end.max(1)
    }

    /// One change: bits, bytes, more of them, fewer, or a part of another file.
    fn change(&mut self, file: &mut Vec<u8>, others: &[Vec<u8>]) {
        let at = self.below(file.len());
        match self.below(6) {
            0 => file[at] ^= 1 << self.below(8),
            1 => file[at] = self.below(256) as u8,
            2 => file[at] = [0, 1, 0x7F, 0x80, 0xFF][self.below(5)],
            3 => file.insert(at, self.below(256) as u8),
            4 if file.len() > 1 => drop(file.remove(at)),
            _ => {
                let other = &others[self.below(others.len())];
                let from = self.below(other.len());
                for (to, &byte) in file[at..].iter_mut().zip(&other[from..]).take(16) {
                    *to = byte;
                }
            }
        }
    }
}

fn corpus() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let targets = fs::read_dir(folder).unwrap();
    let folders = targets.map(|target| target.unwrap().path()).filter(|path| path.is_dir());
    let files = folders.flat_map(|folder| fs::read_dir(folder).unwrap());
    let files: Vec<Vec<u8>> = files.map(|file| fs::read(file.unwrap().path()).unwrap()).collect();
    files.into_iter().filter(|file| !file.is_empty()).collect()
}

/// What the targets do with a file.
fn run(file: &[u8], fill: i8) {
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
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let mut accepted = 0;
    for _ in 0..FILES {
        let mut file = corpus[random.below(corpus.len())].clone();
        for _ in 0..=random.below(CHANGES as usize) {
            random.change(&mut file, &corpus);
        }
        run(&file, random.below(256) as i8);
        if let Ok(sketch) = targets::Sketch::arbitrary(&mut Unstructured::new(&file))
            && let Some(built) = sketch.write()
        {
            targets::parse_and_run(&built, sketch.fill());
            accepted += usize::from(bitsback_runtime::Model::parse(&built).is_ok());
        }
    }
    // Otherwise the loop above has run nothing.
    assert!(accepted > FILES / 100, "{accepted} models were sound");
}
