//! The flash that a model's code takes: two linked programs, with and without inference, compared.
//!
//! Counted is what inference adds to a start-up that every firmware has: parsing, the interpreter,
//! the operators of this model, and what they pull in of `core`; the model's own bytes are not.

use std::fs;
use std::path::Path;

use object::{Object, ObjectSection, SectionFlags, elf};

use crate::boards::{Board, Counter};
use crate::error::XtaskError;
use crate::firmware::{self, Program};
use crate::golden::{Golden, MODEL_FILE};

const PACKAGE: &str = "footprint";
/// What the linker may add before the model to align it.
const MODEL_ALIGNMENT: u64 = 16;

/// Bytes of flash, or `None` on a core whose start-up `footprint` doesn't have (it is Cortex-M's).
/// The model's alignment may add up to 15 bytes.
pub(crate) fn code_bytes(
    root: &Path,
    board: &Board,
    golden: &Golden,
) -> Result<Option<u64>, XtaskError> {
    if !matches!(board.counter, Counter::SysTick { .. }) {
        return Ok(None);
    }
    let folder = tempfile::tempdir().map_err(|source| XtaskError::File {
        action: "create a folder in",
        path: std::env::temp_dir(),
        source,
    })?;
    golden.write(folder.path(), Some(0))?;
    let model = folder.path().join(MODEL_FILE);
    let with = Program { package: PACKAGE, features: &[], model: Some(&model) };
    let full = flash_bytes(&firmware::build_program(root, board, with)?)?;
    let without = Program { package: PACKAGE, features: &["empty"], model: None };
    let empty = flash_bytes(&firmware::build_program(root, board, without)?)?;
    let model_bytes = (golden.model_bytes() as u64).next_multiple_of(MODEL_ALIGNMENT);
    Ok(Some(full.saturating_sub(empty).saturating_sub(model_bytes)))
}

/// What a program occupies in flash: every section that is loaded.
fn flash_bytes(elf_file: &Path) -> Result<u64, XtaskError> {
    let wrong = |problem: String| XtaskError::Elf { path: elf_file.to_path_buf(), problem };
    let bytes = fs::read(elf_file).map_err(|error| wrong(error.to_string()))?;
    let file = object::File::parse(bytes.as_slice()).map_err(|error| wrong(error.to_string()))?;
    let loaded = file.sections().filter(|section| {
        let allocated = matches!(section.flags(), SectionFlags::Elf { sh_flags }
            if sh_flags & u64::from(elf::SHF_ALLOC) != 0);
        allocated && section.file_range().is_some_and(|(_, size)| size > 0)
    });
    Ok(loaded.map(|section| section.size()).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_program_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.elf");
        fs::write(&path, "no program").unwrap();
        assert!(flash_bytes(&path).unwrap_err().to_string().contains("x.elf"));
    }

    #[test]
    fn a_program_has_loaded_sections() {
        let own = std::env::current_exe().unwrap();
        assert!(flash_bytes(&own).unwrap() > 1_000);
    }
}
