//! Models that were changed by chance, and what becomes of each: on this host, and on a core, which
//! must agree to the byte. The firmware is `firmware-examples/mutants`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bitsback_runtime::{Header, Model};

use crate::boards::Board;
use crate::error::XtaskError;
use crate::{commands, files, firmware, qemu};

// The fuzz targets' own changes, and the firmware's own words for what becomes of a file.
#[path = "../../tests/fuzz/mutate.rs"]
#[allow(unreachable_pub)] // written for other crates, too
mod mutate;
#[path = "../../firmware-examples/mutants/src/outcome.rs"]
#[allow(unreachable_pub)] // as well
mod outcome;

use mutate::{CHANGES, Random, mend};

const FIRMWARE: &str = "mutants";
/// The file whose length says how much of the slot is the image.
const IMAGE_FILE: &str = "model.bbk";
/// Files of a batch.
const FILES: usize = 1500;
/// One of so many is a file that is refused: most are, and running tells more.
const REFUSED_ONE_IN: usize = 6;
/// Most steps of one inference, and of all in a batch: a second or two of an emulated core.
const STEPS_MAX: u64 = 1 << 20;
const BATCH_STEPS: u64 = 1 << 25;
/// Most bytes of a file, so that a batch has many.
const FILE_MAX: usize = 24 << 10;
/// Bytes of a file's head.
const HEAD: usize = 16;
/// Files that are made for each that is taken, at most.
const TRIES: usize = 100;
/// A core that stands still instead of ending.
const LIMIT: Duration = Duration::from_secs(300);

/// Files and what must become of them.
pub(crate) struct Batch {
    files: Vec<Vec<u8>>,
    image: Vec<u8>,
    /// How many of them are models.
    pub(crate) accepted: usize,
}

impl Batch {
    /// How many files there are.
    pub(crate) fn len(&self) -> usize {
        self.files.len()
    }

    /// Files made of `corpus` by chance, for cores with so many bytes of slot and arena at least.
    pub(crate) fn new(seed: u64, corpus: &Corpus, [slot, arena]: [usize; 2]) -> Self {
        let mut random = Random::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut batch = Self { files: vec![], image: vec![], accepted: 0 };
        let mut arena = vec![0; arena];
        let mut steps = 0u64;
        for _ in 0..TRIES * FILES {
            if batch.len() == FILES || batch.image.len() + FILE_MAX + HEAD + 3 > slot {
                break;
            }
            let file = mutant(&mut random, corpus);
            let fill = random.below(256) as u8;
            let cost = match Model::<'_>::parse(&file) {
                Err(_) if (batch.len() - batch.accepted) * REFUSED_ONE_IN <= batch.len() => 0,
                Err(_) => continue,
                Ok(model) => {
                    let steps = model.ops().map(|step| step.op.steps(&step.previous));
                    steps.fold(0, |sum: u64, steps| sum.saturating_add(steps))
                }
            };
            if file.len() > FILE_MAX || cost > STEPS_MAX || steps + cost > BATCH_STEPS {
                continue;
            }
            let Some(expected) = outcome::of(&file, &mut arena, fill as i8) else { continue };
            steps += cost;
            batch.accepted += usize::from(expected != outcome::REFUSED);
            batch.push(file, expected, fill, random.below(4));
        }
        batch
    }

    /// Appends a file that begins so far behind a word's beginning.
    fn push(&mut self, file: Vec<u8>, expected: u32, fill: u8, at: usize) {
        let gap = (at + 4 - self.image.len() % 4) % 4;
        for word in [file.len() as u32, gap as u32, expected, fill.into()] {
            self.image.extend_from_slice(&word.to_le_bytes());
        }
        self.image.resize(self.image.len() + gap, 0);
        self.image.extend_from_slice(&file);
        self.files.push(file);
    }
}

/// A file of the corpus with some changes, half of which hit the graph.
fn mutant(random: &mut Random, corpus: &Corpus) -> Vec<u8> {
    let files = &corpus[random.below(corpus.len())];
    let mut file = files[random.below(files.len())].clone();
    for _ in 0..=random.below(CHANGES) {
        let graph = Header::read(&file).map_or(0, |header| header.weights_start());
        let within = if random.below(2) == 0 { graph.min(file.len()) } else { file.len() };
        let at = random.below(within);
        random.change(&mut file, at, files);
    }
    mend(&mut file);
    file
}

/// What is changed, one as often as the other: the golden models, which are larger, and the corpus of the
/// fuzz targets, which are many.
pub(crate) type Corpus = [Vec<Vec<u8>>; 2];

/// The files of both that have a header, in an order that is the same everywhere.
pub(crate) fn corpus(root: &Path) -> Result<Corpus, XtaskError> {
    let folder = root.join("tests/golden");
    let mut golden = Vec::new();
    for inner in files::entries(&folder)?.iter().filter(|path| path.is_dir()) {
        golden.extend(files::entries(inner)?);
    }
    golden.retain(|path| path.extension().is_some_and(|extension| extension == "bbk"));
    golden.sort();
    let golden = golden.iter().map(|path| files::read(path)).collect::<Result<Vec<_>, _>>()?;
    let inputs = commands::corpus::all(root)?.into_iter().flat_map(|(_, inputs)| inputs);
    let inputs = inputs.map(|(_, bytes)| bytes).collect();
    let [mut golden, mut inputs] = [golden, inputs];
    golden.retain(|file| Header::read(file).is_some());
    inputs.retain(|file: &Vec<u8>| Header::read(file).is_some());
    match golden.is_empty() || inputs.is_empty() {
        true => Err(XtaskError::NoGoldenModels(folder)),
        false => Ok([golden, inputs]),
    }
}

/// Builds the firmware for `board`.
pub(crate) fn build(root: &Path, board: &Board) -> Result<PathBuf, XtaskError> {
    if !qemu::is_installed(board) {
        return Err(XtaskError::Missing { what: board.emulator.to_owned() });
    }
    firmware::build(root, board, FIRMWARE)
}

/// Runs a batch on `board`. A file that becomes something else there, or at which the core stops, is
/// kept in `keep`.
pub(crate) fn run(elf: &Path, board: &Board, batch: &Batch, keep: &Path) -> Result<(), XtaskError> {
    let folder = files::temporary()?;
    files::write(&folder.path().join(IMAGE_FILE), &batch.image)?;
    let run = qemu::Run { elf, folder: folder.path(), model: Some(IMAGE_FILE), limit: LIMIT };
    let finished = qemu::run(board, &run)?;
    if finished.status.success() && finished.stdout.contains(&format!("files: {}\n", batch.len())) {
        return Ok(());
    }
    let number = culprit(&finished.stdout);
    let file = number.and_then(|number| batch.files.get(number));
    let path = keep.join(format!("{}.bbk", board.core));
    if let Some(file) = file {
        files::create(keep)?;
        files::write(&path, file)?;
    }
    let lines = finished.stdout.lines().filter(|line| !line.starts_with("file "));
    let told = lines.chain(finished.stderr.lines()).take(8).collect::<Vec<_>>().join("; ");
    let problem = format!("{}: {told}", finished.status);
    Err(XtaskError::Mutant { core: board.core, path, problem })
}

/// The first file that differs, else the last one that was begun.
fn culprit(stdout: &str) -> Option<usize> {
    let number = |line: &str, mark: &str| {
        line.strip_prefix(mark)?.split(':').next()?.trim().parse::<usize>().ok()
    };
    let differs = stdout.lines().find_map(|line| number(line, "differs: "));
    differs.or_else(|| stdout.lines().rev().find_map(|line| number(line, "file ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_repeat_and_hold_models_and_others() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let corpus = corpus(&root).unwrap();
        let [one, again, other] =
            [7, 7, 8].map(|seed| Batch::new(seed, &corpus, [1 << 21, 1 << 16]));
        assert!(one.image == again.image && one.image != other.image);
        assert!(one.accepted > one.len() / 2 && one.accepted < one.len(), "{}", one.accepted);
        let models = one.files.iter().filter(|file| Model::<'_>::parse(file).is_ok());
        let changed = models.filter(|file| !corpus.concat().contains(file)).count();
        assert!(changed > one.len() / 3, "{changed} models are new");
    }

    #[test]
    fn the_first_difference_or_the_last_file_is_to_blame() {
        let differing = "file 0\nfile 1\ndiffers: 1: expected 0x1, got 0x0\nfile 2\n";
        assert_eq!(culprit(differing), Some(1));
        assert_eq!(culprit("file 0\nfile 17\n"), Some(17));
        assert_eq!(culprit(""), None);
    }
}
