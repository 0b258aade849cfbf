//! What a model costs on a core, and whether that is within a budget.

use std::fmt::{self, Write};
use std::path::Path;

use bitsback_runtime::Model;
use serde::Serialize;

use crate::boards::Board;
use crate::error::XtaskError;
use crate::files;
use crate::footprint::{self, Checked, Weights};
use crate::measure::{self, Layer};
use crate::prediction::advice::Misfit;
use crate::prediction::cores::Core;

/// The limits; a limit that is absent is not checked.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Budget {
    pub(crate) flash: Option<u64>,
    pub(crate) ram: Option<u64>,
    pub(crate) instructions: Option<u64>,
}

/// The certificate; with `--json`, these are the keys.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Certificate {
    pub(crate) target: &'static str,
    pub(crate) model: String,
    /// With weights as they are stored.
    #[serde(flatten)]
    pub(crate) stored: Way,
    /// With weights unpacked once into RAM; none where there are none to unpack, or the board has no room.
    pub(crate) unpacked: Option<Way>,
    /// What to do where weights are laid out for another core.
    pub(crate) layout_note: Option<String>,
    /// The names of what exceeds the budget: `flash`, `ram`, `instructions`.
    pub(crate) exceeded: Vec<&'static str>,
}

/// What a model costs, run one of two ways.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Way {
    /// Start-up, code, constants and model of the linked program.
    pub(crate) flash_bytes: u64,
    /// `flash_bytes` less the model.
    pub(crate) code_bytes: u64,
    pub(crate) model_bytes: u64,
    /// Static variables, the arena among them, and the deepest stack.
    pub(crate) ram_bytes: u64,
    pub(crate) arena_bytes: u64,
    /// RAM for unpacked weights; 0 where they aren't.
    pub(crate) weights_ram_bytes: u64,
    /// Static variables other than arena and weights.
    pub(crate) static_bytes: u64,
    pub(crate) stack_bytes: u64,
    /// Instructions of one inference, counted by QEMU; they are not cycles.
    pub(crate) instructions: u64,
    /// Instructions of the model's check, once after a reset.
    pub(crate) load_instructions: u64,
    /// Instructions of unpacking, as well.
    pub(crate) unpack_instructions: u64,
    pub(crate) layers: Vec<Layer>,
}

impl Way {
    /// Builds the firmware and measures it.
    fn measure(
        root: &Path,
        board: &'static Board,
        model: &Path,
        weights: Weights,
    ) -> Result<Self, XtaskError> {
        let linked = footprint::linked(root, board, model, Checked::Started, weights)?;
        let measured = measure::embedded(root, board, model, weights)?;
        let known = measured.arena_bytes + measured.weights_ram_bytes;
        Ok(Self {
            flash_bytes: linked.flash,
            code_bytes: linked.flash.saturating_sub(linked.model),
            model_bytes: linked.model,
            ram_bytes: linked.ram + measured.stack_bytes,
            arena_bytes: measured.arena_bytes,
            weights_ram_bytes: measured.weights_ram_bytes,
            static_bytes: linked.ram.saturating_sub(known),
            stack_bytes: measured.stack_bytes,
            instructions: measured.instructions,
            load_instructions: measured.load_instructions,
            unpack_instructions: measured.unpack_instructions,
            layers: measured.layers,
        })
    }

    /// What is over budget.
    fn exceeds(&self, budget: Budget) -> Vec<&'static str> {
        [
            ("flash", self.flash_bytes, budget.flash),
            ("ram", self.ram_bytes, budget.ram),
            ("instructions", self.instructions, budget.instructions),
        ]
        .into_iter()
        .filter(|(_, used, limit)| limit.is_some_and(|limit| *used > limit))
        .map(|(name, ..)| name)
        .collect()
    }

    fn text(&self, budget: Budget, per_layer: bool) -> String {
        let mut text = String::new();
        // Writing to a string can't fail.
        let _ = writeln!(
            text,
            "flash         {:>12}{}  code {}, model {}",
            thousands(self.flash_bytes),
            Limit(self.flash_bytes, budget.flash),
            thousands(self.code_bytes),
            thousands(self.model_bytes)
        );
        let _ = writeln!(
            text,
            "RAM           {:>12}{}  arena {}, weights {}, static {}, stack {}",
            thousands(self.ram_bytes),
            Limit(self.ram_bytes, budget.ram),
            thousands(self.arena_bytes),
            thousands(self.weights_ram_bytes),
            thousands(self.static_bytes),
            thousands(self.stack_bytes)
        );
        let _ = writeln!(
            text,
            "instructions  {:>12}{}  an inference; {} once, to check the model{}",
            thousands(self.instructions),
            Limit(self.instructions, budget.instructions),
            thousands(self.load_instructions),
            match self.unpack_instructions {
                0 => String::new(),
                count => format!(", {} to unpack its weights", thousands(count)),
            }
        );
        if per_layer {
            let _ = writeln!(text, "\n{:>5}  {:<18} {:>12} {:>12}", "layer", "op", "MACs", "instr");
            for layer in &self.layers {
                let count = layer.instructions.map_or("timer ran out".to_owned(), thousands);
                let _ = writeln!(
                    text,
                    "{:>5}  {:<18} {:>12} {count:>12}",
                    layer.layer,
                    layer.op,
                    thousands(layer.macs)
                );
            }
        }
        text
    }
}

impl Certificate {
    /// Builds the firmware, measures it, and compares: with weights as they are stored, and unpacked into
    /// `weights_ram` bytes, or all that they take. The budget is for the device's way: for weights unpacked
    /// where it is said to have RAM for them.
    pub(crate) fn issue(
        root: &Path,
        board: &'static Board,
        model: &Path,
        weights_ram: Option<u64>,
        budget: Budget,
    ) -> Result<Self, XtaskError> {
        let content = files::read(model)?;
        let wrong = |problem: String| XtaskError::Golden { path: model.to_path_buf(), problem };
        let parsed = Model::<'_>::parse(&content).map_err(|error| wrong(error.to_string()))?;
        let stored = Way::measure(root, board, model, Weights::Stored)?;
        let way = || Way::measure(root, board, model, Weights::Unpacked(weights_ram));
        let unpacked = match weights_ram {
            Some(0) => None,
            _ if parsed.weights_len() == 0 => None,
            Some(_) => Some(way()?),
            None => match way() {
                // Nobody asked for it.
                Err(XtaskError::DoesNotFit { .. }) => None,
                way => Some(way?),
            },
        };
        let required = unpacked.as_ref().filter(|_| weights_ram.is_some()).unwrap_or(&stored);
        Ok(Self {
            target: board.core,
            model: model.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            exceeded: required.exceeds(budget),
            stored,
            unpacked,
            layout_note: layout_note(board, &parsed),
        })
    }

    /// The certificate as text for people; whether the budget is for `given` RAM for weights.
    pub(crate) fn text(
        &self,
        board: &Board,
        budget: Budget,
        given: bool,
        per_layer: bool,
    ) -> String {
        let none = Budget::default();
        let [of_stored, of_unpacked] = match self.unpacked {
            Some(_) if given => [none, budget],
            _ => [budget, none],
        };
        let mut text = format!("{} on {}\n\n", self.model, board.title);
        text += &self.stored.text(of_stored, per_layer);
        if let Some(unpacked) = &self.unpacked {
            let ram = thousands(unpacked.weights_ram_bytes);
            let _ =
                writeln!(text, "\nwith {ram} bytes of RAM for weights, which are unpacked once:\n");
            text += &unpacked.text(of_unpacked, per_layer);
        }
        if let Some(note) = &self.layout_note {
            let _ = writeln!(text, "{note}");
        }
        text + "\nInstructions are counted by QEMU and exact for this program; they are not cycles.\n\
                Flash holds start-up and inference, without I/O; the stack is measured, by paint."
    }
}

/// What to say where the model's weights are laid out for another core than the board's.
fn layout_note(board: &Board, model: &Model<'_>) -> Option<String> {
    let core = board.core.trim_end_matches("-large");
    let misfit = Core::of_name(core).and_then(|core| Misfit::find(core, model));
    misfit.map(|misfit| misfit.advice())
}

/// The budget beside a value.
struct Limit(u64, Option<u64>);

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(limit) = self.1 else { return Ok(()) };
        let verdict = if self.0 > limit { "OVER" } else { "of" };
        write!(f, " {verdict} {}", thousands(limit))
    }
}

/// A number with an optional K or M: of bytes, 1,024 and 1,048,576 (`binary`), else 1,000 and
/// 1,000,000.
pub(crate) fn amount(text: &str, binary: bool) -> Result<u64, String> {
    let step: u64 = if binary { 1024 } else { 1000 };
    let (digits, factor) = match text
        .trim_end_matches(['B', 'b'])
        .split_at_checked(text.trim_end_matches(['B', 'b']).len().saturating_sub(1))
    {
        Some((digits, "K" | "k")) => (digits, step),
        Some((digits, "M" | "m")) => (digits, step * step),
        _ => (text, 1),
    };
    let number: u64 =
        digits.parse().map_err(|_| format!("`{text}` is no number such as 65536, 64K or 2M"))?;
    number.checked_mul(factor).ok_or_else(|| format!("`{text}` is too large"))
}

/// 1234567 as `1,234,567`.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boards::BOARDS;

    fn certificate() -> Certificate {
        let stored = Way {
            flash_bytes: 20_000,
            code_bytes: 18_140,
            model_bytes: 1_860,
            ram_bytes: 2_000,
            arena_bytes: 960,
            weights_ram_bytes: 0,
            static_bytes: 0,
            stack_bytes: 1_040,
            instructions: 277_040,
            load_instructions: 9_000,
            unpack_instructions: 0,
            layers: vec![],
        };
        let unpacked = Way {
            ram_bytes: 5_375,
            weights_ram_bytes: 3_375,
            instructions: 99_000,
            ..stored.clone()
        };
        Certificate {
            target: "cortex-m4",
            model: "model.bbk".into(),
            stored,
            unpacked: Some(unpacked),
            layout_note: None,
            exceeded: vec![],
        }
    }

    #[test]
    fn what_exceeds_its_budget_is_named() {
        let all = Budget { flash: Some(19_999), ram: Some(2_000), instructions: Some(100_000) };
        let certificate = certificate();
        assert_eq!(certificate.stored.exceeds(all), ["flash", "instructions"]);
        let unpacked = certificate.unpacked.as_ref().unwrap();
        assert_eq!(unpacked.exceeds(all), ["flash", "ram"]);
        assert!(certificate.stored.exceeds(Budget::default()).is_empty());
    }

    #[test]
    fn the_budget_stands_beside_the_devices_way() {
        let all = Budget { flash: Some(19_999), ram: Some(2_000), instructions: Some(100_000) };
        let stored = certificate().text(&BOARDS[0], all, false, true);
        let [first, second] = stored.split("with 3,375 bytes of RAM").collect::<Vec<_>>()[..]
        else {
            unreachable!()
        };
        assert!(first.contains("277,040 OVER 100,000") && first.contains("of 2,000"), "{stored}");
        assert!(second.contains("99,000  an inference") && !second.contains("OVER"), "{stored}");
        assert!(stored.contains("not cycles"), "{stored}");
        let unpacked = certificate().text(&BOARDS[0], all, true, false);
        assert!(unpacked.contains("277,040  an inference"), "{unpacked}");
        assert!(unpacked.contains("99,000 of 100,000"), "{unpacked}");
    }

    #[test]
    fn both_ways_are_in_the_object() {
        let value = serde_json::json!(certificate());
        assert_eq!(value["instructions"], 277_040);
        assert_eq!(value["unpacked"]["instructions"], 99_000);
        assert_eq!(value["unpacked"]["weights_ram_bytes"], 3_375);
    }

    #[test]
    fn amounts_have_units() {
        assert_eq!(amount("64K", true), Ok(65_536));
        assert_eq!(amount("64KB", true), Ok(65_536));
        assert_eq!(amount("2M", false), Ok(2_000_000));
        assert_eq!(amount("17", true), Ok(17));
        assert!(amount("many", true).is_err() && amount("", true).is_err());
        assert!(amount("99999999999999999999M", false).is_err());
        assert!(amount("9999999999999999999M", false).is_err());
    }
}
