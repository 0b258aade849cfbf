//! Layers drawn by chance, counted on emulated cores, beside what the compressor predicts of them. The
//! firmware is `firmware-examples/costs`, which counts some hundred layers a run.

mod coded;
mod draw;
pub(crate) mod fit;
mod operators;

use std::path::{Path as File, PathBuf};
use std::time::Duration;

use bitsback_runtime::{Model, Step};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::boards::{self, Board};
use crate::error::XtaskError;
use crate::prediction::cores::Core;
use crate::prediction::layer::Layer;
use crate::prediction::path::Path;
use crate::prediction::turns::{How, Turn};
use crate::synthetic::Random;
use crate::{files, firmware, qemu};

const FIRMWARE: &str = "costs";
/// The file whose length says how much of the slot is the image.
const IMAGE_FILE: &str = "model.bbk";
/// Most files of a run, so that progress shows.
const FILES_MAX: usize = 400;
/// Some hundred layers take seconds; a hundred times that is a hang.
const LIMIT: Duration = Duration::from_secs(900);
/// What tells one draw's numbers from another's.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// In a file's word of an image: weights are unpacked, as `firmware-examples/costs` reads it.
const UNPACKED: u32 = 1 << 31;

/// A model of a layer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Drawn {
    file: Vec<u8>,
    /// Whether its weights are unpacked before it runs.
    is_unpacked: bool,
}

/// A layer and what it took.
pub(crate) struct Counted {
    pub(crate) layer: Layer,
    /// The layer in words.
    pub(crate) shape: String,
    pub(crate) instructions: u64,
}

/// `each` layers of every path, a model each.
pub(crate) fn draw(seed: u64, each: usize) -> Result<Vec<Drawn>, XtaskError> {
    let mut models = Vec::new();
    for (number, path) in (1..).zip(Path::all()) {
        let mut random = Random::new(seed.wrapping_mul(STEP).wrapping_add(number * STEP));
        for _ in 0..each {
            models.push(draw::model(&mut random, path)?);
        }
    }
    Ok(models)
}

/// The board that a core's instructions are counted on: one that holds large layers, too.
pub(crate) fn board(core: Core) -> Result<&'static Board, XtaskError> {
    let large = format!("{}-large", core.name());
    let found = boards::select(&large).or_else(|_| boards::select(core.name()))?;
    found.first().copied().ok_or(XtaskError::OneCore)
}

/// Builds the firmware for `board`.
pub(crate) fn build(root: &File, board: &Board) -> Result<PathBuf, XtaskError> {
    if !qemu::is_installed(board) {
        return Err(XtaskError::Missing { what: board.emulator.to_owned() });
    }
    firmware::build(root, board, FIRMWARE)
}

/// Counts an inference of each model on a core.
pub(crate) fn count(elf: &File, core: Core, models: &[Drawn]) -> Result<Vec<Counted>, XtaskError> {
    let board = board(core)?;
    let slot = board.model_slot.length as usize;
    let mut counted = Vec::with_capacity(models.len());
    let mut rest = models;
    while !rest.is_empty() {
        let (image, taken) = image(rest, slot);
        if taken == 0 {
            return Err(XtaskError::DoesNotFit { model: IMAGE_FILE.into(), board: board.title });
        }
        let (these, others) = rest.split_at(taken);
        for (model, instructions) in these.iter().zip(kept(elf, board, &image, taken)?) {
            counted.push(of(core, model, instructions)?);
        }
        rest = others;
    }
    Ok(counted)
}

/// As many of the models as a slot has room for, one behind the other, and how many these are.
fn image(models: &[Drawn], slot: usize) -> (Vec<u8>, usize) {
    let (mut image, mut taken) = (Vec::new(), 0);
    for Drawn { file, is_unpacked } in models.iter().take(FILES_MAX) {
        let length = file.len().next_multiple_of(4);
        if image.len() + 4 + length > slot {
            break;
        }
        let word = file.len() as u32 | if *is_unpacked { UNPACKED } else { 0 };
        image.extend_from_slice(&word.to_le_bytes());
        image.extend_from_slice(file);
        image.resize(image.len() + length - file.len(), 0);
        taken += 1;
    }
    (image, taken)
}

/// What the firmware prints of a file.
#[derive(Deserialize)]
struct Line {
    number: usize,
    instructions: u64,
}

/// Instructions of an image's files: those of an earlier run of the same firmware on the same image, which
/// runs repeat exactly, else of a new one.
fn kept(elf: &File, board: &Board, image: &[u8], taken: usize) -> Result<Vec<u64>, XtaskError> {
    let mut hash = Sha256::new();
    hash.update(files::read(elf)?);
    hash.update(board.core);
    hash.update(image);
    let name: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    let folder = elf.parent().unwrap_or(File::new("")).join("counts");
    let path = folder.join(name + ".json");
    let known: Option<Vec<u64>> =
        files::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok());
    if let Some(counts) = known.filter(|counts| counts.len() == taken) {
        return Ok(counts);
    }
    let counts = run(elf, board, image, taken)?;
    files::create(&folder)?;
    files::write(&path, serde_json::json!(counts).to_string().as_bytes())?;
    Ok(counts)
}

/// Runs an image of so many files.
fn run(elf: &File, board: &Board, image: &[u8], taken: usize) -> Result<Vec<u64>, XtaskError> {
    let folder = files::temporary()?;
    files::write(&folder.path().join(IMAGE_FILE), image)?;
    let run = qemu::Run { elf, folder: folder.path(), model: Some(IMAGE_FILE), limit: LIMIT };
    let finished = qemu::run(board, &run)?;
    let lines = finished.stdout.lines().filter_map(|line| serde_json::from_str(line).ok());
    let counts: Vec<u64> = lines
        .enumerate()
        .filter(|(at, line): &(usize, Line)| *at == line.number)
        .map(|(_, line)| line.instructions)
        .collect();
    if !finished.status.success() || counts.len() != taken {
        let (core, status) = (board.core, finished.status.to_string());
        return Err(XtaskError::NoReport { core, status, output: finished.output() });
    }
    Ok(counts)
}

/// A model's layer and its count.
fn of(core: Core, drawn: &Drawn, instructions: u64) -> Result<Counted, XtaskError> {
    let wrong = |problem: String| XtaskError::Golden { path: PathBuf::from(IMAGE_FILE), problem };
    let model = Model::<'_>::parse(&drawn.file).map_err(|error| wrong(error.to_string()))?;
    let turn = only(&model, drawn.is_unpacked);
    let turn = turn.ok_or_else(|| wrong("more than one layer, or none".to_owned()))?;
    let layer = Layer::of(core, &turn, model.section());
    let shape = shape(&turn.step, layer.path);
    Ok(Counted { layer, shape, instructions })
}

/// The layer of a model that has one; a pooling behind it is none where it does that as well.
fn only(model: &Model<'_>, is_unpacked: bool) -> Option<Turn> {
    let room = if is_unpacked { model.weights_len() } else { 0 };
    let mut turns = Turn::all(model, room).into_iter();
    let turn = turns.next()?;
    turns.all(|turn| turn.how == How::Done).then_some(turn)
}

/// A layer in words: its path, its images, and of a window its size and how it moves.
fn shape(step: &Step, path: Path) -> String {
    use bitsback_runtime::Op;
    let dims = |dims: &[u16]| dims.iter().map(u16::to_string).collect::<Vec<_>>().join("×");
    let input = step.inputs().next().map(|input| dims(input.shape.dims())).unwrap_or_default();
    let output = dims(step.output().shape.dims());
    let (window, dilation) = match &step.op {
        Op::Conv2d(op) => (Some(op.window), op.dilation),
        Op::Conv2dMaxPool2d(op) => (Some(op.window), op.dilation),
        Op::CodedConv2d(op) => (Some(op.window), op.dilation),
        Op::DepthwiseConv2d(op) => (Some(op.window), op.dilation),
        Op::CodedDepthwiseConv2d(op) => (Some(op.window), op.dilation),
        Op::MaxPool2d(op) => (Some(op.window), [1; 2]),
        Op::AvgPool2d(op) => (Some(op.window), [1; 2]),
        _ => (None, [1; 2]),
    };
    let mut text = format!("{} {input} → {output}", path.name());
    if let Some(window) = window {
        text += &format!(", window {}, stride {}", dims(&window.size), dims(&window.stride));
    }
    if dilation != [1; 2] {
        text += &format!(", dilation {}", dims(&dilation));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prediction::path::Way;

    #[test]
    fn layers_of_every_path_are_drawn_and_again_the_same() {
        let [one, again, other] = [7, 7, 8].map(|seed| draw(seed, 2).unwrap());
        assert!(one == again && one != other);
        assert_eq!(one.len(), 2 * Path::all().len());
        for (path, models) in Path::all().into_iter().zip(one.chunks(2)) {
            for model in models {
                let found = of(Core::CortexM4, model, 1).unwrap();
                let (found, shape) = (found.layer.path, found.shape);
                // What groups of channels don't take goes one channel at a time, few channels as a
                // convolution.
                let falls = match (path, found) {
                    (Path::Weights(Way::Depthwise, form), Path::Weights(Way::Channels, other)) => {
                        form == other
                    }
                    (Path::Weights(Way::Depthwise | Way::Channels, _), found) => {
                        matches!(found, Path::Weights(Way::Conv, _))
                    }
                    _ => false,
                };
                assert!(found == path || falls, "{}: {shape}", path.name());
            }
        }
    }

    #[test]
    fn an_image_has_what_the_slot_holds() {
        let plain = |file: Vec<u8>| Drawn { file, is_unpacked: false };
        let unpacked = Drawn { file: vec![2; 8], is_unpacked: true };
        let models = vec![plain(vec![1; 5]), unpacked, plain(vec![3; 90])];
        let (image, taken) = super::image(&models, 64);
        assert_eq!((image.len(), taken), (4 + 8 + 4 + 8, 2));
        assert_eq!(image[..12], [5, 0, 0, 0, 1, 1, 1, 1, 1, 0, 0, 0]);
        assert_eq!(image[12..16], [8, 0, 0, 0x80]);
        assert_eq!(super::image(&models[2..], 64).1, 0);
    }

    #[test]
    fn every_counted_core_has_a_board_and_every_board_a_core() {
        for core in Core::ALL {
            assert!(board(core).unwrap().core.starts_with(core.name()));
        }
        for board in boards::BOARDS {
            let name = board.core.trim_end_matches("-large");
            assert!(Core::of_name(name).is_some(), "{}", board.core);
        }
    }
}
