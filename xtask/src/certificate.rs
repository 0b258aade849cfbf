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
    /// Start-up, code, constants and model of the linked program.
    pub(crate) flash_bytes: u64,
    /// `flash_bytes` less the model.
    pub(crate) code_bytes: u64,
    pub(crate) model_bytes: u64,
    /// Static variables, the arena among them, and the deepest stack.
    pub(crate) ram_bytes: u64,
    pub(crate) arena_bytes: u64,
    /// Memory for unpacked weights; 0 where they aren't.
    pub(crate) weights_bytes: u64,
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
    /// What to do where weights are laid out for another core.
    pub(crate) layout_note: Option<String>,
    /// The names of what exceeds the budget: `flash`, `ram`, `instructions`.
    pub(crate) exceeded: Vec<&'static str>,
}

impl Certificate {
    /// Builds the firmware, measures it, and compares.
    pub(crate) fn issue(
        root: &Path,
        board: &'static Board,
        model: &Path,
        weights: Weights,
        budget: Budget,
    ) -> Result<Self, XtaskError> {
        let linked = footprint::linked(root, board, model, Checked::Started, weights)?;
        let measured = measure::embedded(root, board, model, weights)?;
        let mut certificate = Self {
            target: board.core,
            model: model.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            flash_bytes: linked.flash,
            code_bytes: linked.flash.saturating_sub(linked.model),
            model_bytes: linked.model,
            ram_bytes: linked.ram + measured.stack_bytes,
            arena_bytes: measured.arena_bytes,
            weights_bytes: measured.weights_bytes,
            static_bytes: linked.ram.saturating_sub(measured.arena_bytes + measured.weights_bytes),
            stack_bytes: measured.stack_bytes,
            instructions: measured.instructions,
            load_instructions: measured.load_instructions,
            unpack_instructions: measured.unpack_instructions,
            layers: measured.layers,
            layout_note: layout_note(board, model)?,
            exceeded: Vec::new(),
        };
        certificate.exceeded = certificate.exceeds(budget);
        Ok(certificate)
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

    /// The certificate as text for people.
    pub(crate) fn text(&self, board: &Board, budget: Budget, per_layer: bool) -> String {
        let mut text = format!("{} on {}\n\n", self.model, board.title);
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
            thousands(self.weights_bytes),
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
        if let Some(note) = &self.layout_note {
            let _ = writeln!(text, "{note}");
        }
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
        text + "\nInstructions are counted by QEMU and exact for this program; they are not cycles.\n\
                Flash holds start-up and inference, without I/O; the stack is measured, by paint."
    }
}

/// What to say where the model's weights are laid out for another core than the board's.
fn layout_note(board: &Board, model: &Path) -> Result<Option<String>, XtaskError> {
    let content = files::read(model)?;
    let wrong = |problem: String| XtaskError::Golden { path: model.to_path_buf(), problem };
    let parsed = Model::<'_>::parse(&content).map_err(|error| wrong(error.to_string()))?;
    let core = board.core.trim_end_matches("-large");
    let misfit = Core::of_name(core).and_then(|core| Misfit::find(core, &parsed));
    Ok(misfit.map(|misfit| misfit.advice()))
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
        Certificate {
            target: "cortex-m4",
            model: "model.bbk".into(),
            flash_bytes: 20_000,
            code_bytes: 18_140,
            model_bytes: 1_860,
            ram_bytes: 2_000,
            arena_bytes: 960,
            weights_bytes: 0,
            static_bytes: 0,
            stack_bytes: 1_040,
            instructions: 277_040,
            load_instructions: 9_000,
            unpack_instructions: 0,
            layers: vec![],
            layout_note: None,
            exceeded: vec![],
        }
    }

    #[test]
    fn what_exceeds_its_budget_is_named() {
        let all = Budget { flash: Some(19_999), ram: Some(2_000), instructions: Some(1) };
        assert_eq!(certificate().exceeds(all), ["flash", "instructions"]);
        assert!(certificate().exceeds(Budget::default()).is_empty());
        let text = certificate().text(&BOARDS[0], all, true);
        assert!(text.contains("OVER 19,999") && text.contains("of 2,000"), "{text}");
        assert!(text.contains("not cycles"), "{text}");
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
