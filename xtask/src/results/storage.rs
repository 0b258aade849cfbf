//! Imported models by how their weights are stored: what `cargo xtask bench storage` measured, and its
//! section of the page.

use serde::{Deserialize, Serialize};

use crate::certificate::thousands;

/// One model, imported with one choice of storage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StorageRow {
    /// The model's file, without folders.
    pub(crate) model: String,
    /// The options of `bitsback import` that choose the storage.
    pub(crate) options: String,
    /// The file that the model comes in.
    pub(crate) input_bytes: u64,
    /// The whole `.bbk` file.
    pub(crate) file_bytes: u64,
    pub(crate) macs: u64,
    pub(crate) arena_bytes: u64,
    pub(crate) core: String,
    /// Instructions of one inference there.
    pub(crate) instructions: u64,
    /// The deepest stack of loading and inference there.
    pub(crate) stack_bytes: u64,
    pub(crate) command: String,
    pub(crate) date: String,
    pub(crate) machine: String,
}

const HEAD: &str = "
## Imported models by storage

What `bitsback import` makes of models of TensorFlow Lite with one choice of storage or another. All rows
of a model give the same output bytes. Instructions of one inference are counted by QEMU, and **not
cycles**; a coded weight is decoded in every inference.

| model | options | core | file | MACs | instructions | arena | stack | date |
|---|---|---|---:|---:|---:|---:|---:|---|
";

/// The section, or nothing where nothing was measured.
pub(super) fn section(rows: &[StorageRow]) -> String {
    let Some(first) = rows.first() else { return String::new() };
    let mut text = HEAD.to_owned();
    for row in rows {
        let options = match row.options.as_str() {
            "" => "none".to_owned(),
            options => format!("`{options}`"),
        };
        text += &format!(
            "| {} | {options} | {} | {} | {} | {} | {} | {} | {} |\n",
            row.model,
            row.core,
            thousands(row.file_bytes),
            thousands(row.macs),
            thousands(row.instructions),
            thousands(row.arena_bytes),
            thousands(row.stack_bytes),
            row.date.get(..10).unwrap_or(&row.date),
        );
    }
    let (command, machine) = (&first.command, &first.machine);
    text + &format!("\nReproduce:\n\n```\n{command}\n```\n\nMachine: {machine}.\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_names_its_options() {
        let row = |options: &str| StorageRow {
            model: "net.tflite".into(),
            options: options.into(),
            input_bytes: 5_000,
            file_bytes: 4_000,
            macs: 3_000,
            arena_bytes: 900,
            core: "cortex-m4".into(),
            instructions: 1_234_567,
            stack_bytes: 800,
            command: "cargo xtask bench storage --keep".into(),
            date: "2026-01-02T03:04:05Z".into(),
            machine: "a machine".into(),
        };
        let text = section(&[row(""), row("--goal flash")]);
        let figures = "| cortex-m4 | 4,000 | 3,000 | 1,234,567 | 900 | 800 | 2026-01-02 |";
        assert!(text.contains(&format!("| net.tflite | none {figures}")), "{text}");
        assert!(text.contains(&format!("| `--goal flash` {figures}")), "{text}");
        assert!(section(&[]).is_empty());
    }
}
