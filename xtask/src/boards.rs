//! The table of boards, shared with the firmware's build script, and look-up by core.

// One table for both sides: the linker script and QEMU's arguments must agree on every address.
#[path = "../../firmware-examples/board/boards.rs"]
#[allow(unreachable_pub)] // the shared file is written for the firmware's build script too
mod table;

pub(crate) use table::{BOARDS, Board, Chip, FLASH_BYTES, Region};

use crate::error::XtaskError;

/// The name that stands for every core.
pub(crate) const ALL: &str = "all";

/// The boards that `--core NAME` means: one, or every one for `all`.
pub(crate) fn select(core: &str) -> Result<Vec<&'static Board>, XtaskError> {
    if core == ALL {
        return Ok(BOARDS.iter().collect());
    }
    BOARDS.iter().find(|board| board.core == core).map(|board| vec![board]).ok_or_else(|| {
        XtaskError::UnknownCore {
            core: core.to_owned(),
            known: BOARDS.iter().map(|board| board.core).collect::<Vec<_>>().join(", "),
        }
    })
}

/// Every target of the table, once, in the table's order.
pub(crate) fn targets() -> Vec<&'static str> {
    let mut targets: Vec<&'static str> = Vec::new();
    for board in BOARDS {
        if !targets.contains(&board.target) {
            targets.push(board.target);
        }
    }
    targets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_means_every_board_and_a_name_means_one() {
        assert_eq!(select(ALL).unwrap().len(), BOARDS.len());
        assert_eq!(select("cortex-m0").unwrap()[0].target, "thumbv6m-none-eabi");
    }

    #[test]
    fn an_unknown_core_lists_the_known_ones() {
        let error = select("cortex-m99").unwrap_err().to_string();
        assert!(error.contains("cortex-m99") && error.contains("cortex-m4"), "{error}");
    }

    #[test]
    fn regions_of_a_board_do_not_overlap_and_are_aligned() {
        for board in BOARDS {
            let mut regions = [board.flash, board.model_slot, board.ram];
            regions.sort_by_key(|region| region.origin);
            for pair in regions.windows(2) {
                assert!(pair[0].origin + pair[0].length <= pair[1].origin, "{}", board.core);
            }
            assert_eq!(board.model_slot.origin % 16, 0, "weights need 16-byte alignment");
            assert!(board.arena_bytes < board.ram.length as usize, "{}", board.core);
        }
    }

    #[test]
    fn targets_are_listed_once() {
        let targets = targets();
        assert!(targets.contains(&"thumbv7em-none-eabihf"));
        assert_eq!(targets.iter().filter(|&&t| t == "thumbv8m.main-none-eabihf").count(), 1);
    }
}
