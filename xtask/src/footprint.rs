//! What a program occupies, read from the linked file.
//!
//! The code that a model costs is what inference adds to a start-up that every firmware has:
//! reading the model, the interpreter, the operators and features that this model needs, and what
//! they pull in of `core`; the model's own bytes are not counted. Two linked programs, with and
//! without inference, tell it.

use std::fs;
use std::path::Path;

use bitsback_runtime::{Features, Model};
use object::{Object, ObjectSection, SectionFlags, elf};

use crate::boards::Board;
use crate::error::XtaskError;
use crate::firmware::{self, Program};
use crate::measure;

const PACKAGE: &str = "footprint";
/// What the linker may add before the model to align it.
const MODEL_ALIGNMENT: u64 = 16;
/// Sections that stand for all memory that is left over.
const LEFT_OVER: [&str; 2] = [".stack", ".heap"];

/// The sizes of a linked program, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Linked {
    /// Everything that is loaded: code, constants, initial values, the model.
    pub(crate) flash: u64,
    /// Static variables.
    pub(crate) ram: u64,
    /// The model in `flash`; its alignment may add up to 15 bytes.
    pub(crate) model: u64,
}

/// The moment at which a model is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checked {
    /// The build checks the model.
    Built,
    /// The firmware checks the model whenever it starts.
    Started,
}

/// Where a program has its layers' weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weights {
    /// In flash, as the model has them.
    Stored,
    /// Unpacked once into RAM: into so many bytes as many as fit, or all.
    Unpacked(Option<u64>),
}

impl Weights {
    /// The features of `footprint` and `certify` for it, beside those that the model needs: unpacked
    /// dense layers are in pairs where the core is fastest with these.
    pub(crate) fn features(self, board: &Board) -> &'static [&'static str] {
        let has_pairs =
            board.target.starts_with("thumbv7em") || board.target_cpu == Some("cortex-m33");
        match self {
            Self::Stored => &[],
            Self::Unpacked(_) if has_pairs => &["unpacked", "pairs"],
            Self::Unpacked(_) => &["unpacked"],
        }
    }

    /// Bytes of RAM for weights, where that isn't all that they take.
    pub(crate) fn ram(self) -> Option<u64> {
        match self {
            Self::Stored => None,
            Self::Unpacked(bytes) => bytes,
        }
    }
}

/// Links the least firmware that runs the model: start-up and inference, no output.
pub(crate) fn linked(
    root: &Path,
    board: &Board,
    model: &Path,
    checked: Checked,
    weights: Weights,
) -> Result<Linked, XtaskError> {
    let mut features: Vec<&str> = features(model)?.names().collect();
    features.extend(weights.features(board));
    if checked == Checked::Started {
        features.push("checks");
    }
    let program = Program {
        package: PACKAGE,
        features: &features,
        model: Some(model),
        weights_ram: weights.ram(),
        ..Program::default()
    };
    let elf = measure::fits(firmware::build_program(root, board, program), board, model)?;
    let model = fs::metadata(model).map_or(0, |about| about.len());
    let (flash, ram) = sizes(&elf)?;
    Ok(Linked { flash, ram, model: model.next_multiple_of(MODEL_ALIGNMENT) })
}

/// Bytes of start-up alone, which [`code_bytes`] takes off.
pub(crate) fn start_up(root: &Path, board: &Board) -> Result<u64, XtaskError> {
    let program =
        Program { package: PACKAGE, features: &["empty"], model: None, ..Program::default() };
    sizes(&firmware::build_program(root, board, program)?).map(|(flash, _)| flash)
}

/// Bytes of flash that a model's code takes.
pub(crate) fn code_bytes(
    root: &Path,
    board: &Board,
    model: &Path,
    start_up: u64,
    checked: Checked,
) -> Result<u64, XtaskError> {
    let linked = linked(root, board, model, checked, Weights::Stored)?;
    let Linked { flash, model, .. } = linked;
    Ok(flash.saturating_sub(start_up).saturating_sub(model))
}

/// What the model in a file needs of the runtime's features.
pub(crate) fn features(model: &Path) -> Result<Features, XtaskError> {
    let bytes = fs::read(model).map_err(|source| XtaskError::File {
        action: "read",
        path: model.to_path_buf(),
        source,
    })?;
    let found = Model::parse(&bytes).map(|model| model.features());
    found.map_err(|error| XtaskError::Golden {
        path: model.to_path_buf(),
        problem: error.to_string(),
    })
}

/// What a program occupies in flash (every section that is loaded) and in RAM (every section that
/// is written).
pub(crate) fn sizes(elf_file: &Path) -> Result<(u64, u64), XtaskError> {
    let wrong = |problem: String| XtaskError::Elf { path: elf_file.to_path_buf(), problem };
    let bytes = fs::read(elf_file).map_err(|error| wrong(error.to_string()))?;
    let file = object::File::parse(bytes.as_slice()).map_err(|error| wrong(error.to_string()))?;
    let (mut flash, mut ram) = (0, 0);
    for section in file.sections() {
        let SectionFlags::Elf { sh_flags } = section.flags() else { continue };
        let has = |flag: u32| sh_flags & u64::from(flag) != 0;
        let left_over = section.name().is_ok_and(|name| LEFT_OVER.contains(&name));
        if !has(elf::SHF_ALLOC) || left_over {
            continue;
        }
        if section.file_range().is_some_and(|(_, size)| size > 0) {
            flash += section.size();
        }
        if has(elf::SHF_WRITE) {
            ram += section.size();
        }
    }
    Ok((flash, ram))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_program_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.elf");
        fs::write(&path, "no program").unwrap();
        assert!(sizes(&path).unwrap_err().to_string().contains("x.elf"));
    }

    #[test]
    fn a_program_has_loaded_sections() {
        let (flash, ram) = sizes(&std::env::current_exe().unwrap()).unwrap();
        assert!(flash > 1_000 && ram > 0);
    }
}
