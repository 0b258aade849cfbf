//! What can go wrong in a developer's command, and what to do about it.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use thiserror::Error;

/// Exit code when a command could not run because something is not installed.
const EXIT_MISSING: u8 = 3;
/// Exit code when a model costs more than its budget.
const EXIT_OVER_BUDGET: u8 = 5;

#[derive(Debug, Error)]
pub(crate) enum XtaskError {
    #[error("cannot {action} {}: {source}", path.display())]
    File { action: &'static str, path: PathBuf, source: io::Error },

    #[error("cannot start {program}: {source} (`cargo xtask setup` installs what is missing)")]
    Spawn { program: String, source: io::Error },

    #[error("`{command}` failed with {status}{}", tail(.output))]
    Command { command: String, status: String, output: String },

    #[error("`{command}` did not end within {seconds} s and was stopped{}", tail(.output))]
    Timeout { command: String, seconds: u64, output: String },

    #[error("no folder above {} holds xtask/Cargo.toml: run this inside the checkout", .0.display())]
    OutsideCheckout(PathBuf),

    #[error("unknown core {core}; known: {known}, or all")]
    UnknownCore { core: String, known: String },

    #[error("no toolchain for {target}: {tried}; `cargo xtask setup --target {target}` says more")]
    NoToolchain { target: String, tried: String },

    #[error(
        "no linker for {target}: found neither rust-lld, ld.lld nor (for Arm) arm-none-eabi-ld; \
         install lld, or rustup's toolchain"
    )]
    NoLinker { target: String },

    #[error("missing: {what}; run `cargo xtask setup`")]
    Missing { what: String },

    #[error(
        "installing {packages} needs root: run as root or with sudo, or install them yourself \
         (apt-get install --no-install-recommends {packages})"
    )]
    NeedsRoot { packages: String },

    #[error("{} has SHA-256 {found}, expected {expected}: delete it and fetch it again", path.display())]
    Checksum { path: PathBuf, found: String, expected: &'static str },

    #[error("cannot fetch {set}: {reason}\n{by_hand}")]
    Fetch { set: &'static str, reason: String, by_hand: String },

    #[error(
        "{core}: {close} % of layers are predicted within a tenth, the worst is {layer} by {percent} %; after a \
         change of kernels, have compressor/src/cost/prediction follow them and run `cargo xtask bench cost \
         --fit --keep`"
    )]
    Predictions { core: String, close: f64, layer: String, percent: f64 },

    #[error("{}: {problem}", path.display())]
    Images { path: PathBuf, problem: String },

    #[error("{}: {problem}", path.display())]
    Golden { path: PathBuf, problem: String },

    #[error(
        "the firmware on {core} printed no result ({status}){}",
        tail(.output)
    )]
    NoReport { core: &'static str, status: String, output: String },

    #[error("an inference is too long for the timer of {core}")]
    Uncounted { core: &'static str },

    #[error("exit `{way}` on {core}: {problem}")]
    Exit { core: &'static str, way: &'static str, problem: String },

    #[error("{mismatches} output bytes differ from the golden vectors")]
    Mismatches { mismatches: u64 },

    #[error("{core} and this host make different things of {}: {problem}", path.display())]
    Mutant { core: &'static str, path: PathBuf, problem: String },

    #[error("the update on {core}: {problem}")]
    Update { core: &'static str, problem: String },

    #[error("{}: not as `bitsback keygen` writes a key", .0.display())]
    Key(PathBuf),

    #[error("{model} on {core}: {found} files in the model slot were run, and {wanted} are there")]
    Placements { core: &'static str, model: String, found: u64, wanted: u64 },

    #[error("{model} on {core}: {instructions} instructions, and {most} is what it may take")]
    Slow { core: &'static str, model: String, instructions: u64, most: u64 },

    #[error(
        "the runtime on {core} has the kernels `{isa}`: `BITSBACK_ISA` is set where it shouldn't be, or \
         the firmware wasn't built anew"
    )]
    Kernels { core: &'static str, isa: String },

    #[error("no golden model in {}, or no corpus: `cargo xtask golden` writes models", .0.display())]
    NoGoldenModels(PathBuf),

    #[error("{}: {source}", path.display())]
    Corpus { path: PathBuf, source: crate::archives::CorpusError },

    #[error("a synthetic model is wrong: {0}")]
    SyntheticModel(#[from] crate::synthetic::ModelBuilderError),

    #[error("the transcript differs from {}{diff}\nif the change is meant, run `{bless}`", path.display())]
    Transcript { path: PathBuf, diff: String, bless: String },

    #[error("cannot make {}: {problem}", path.display())]
    Header { path: PathBuf, problem: String },

    #[error("over budget: {what}")]
    OverBudget { what: String },

    #[error(
        "{} doesn't fit {board}: the program with this model is larger than its flash or RAM",
        model.display()
    )]
    DoesNotFit { model: PathBuf, board: &'static str },

    #[error("a certificate is for one core: name it with --target")]
    OneCore,

    #[error("cannot measure {}: {problem}", path.display())]
    Elf { path: PathBuf, problem: String },

    #[error("{}: {problem}", path.display())]
    Results { path: PathBuf, problem: String },

    #[error("{} is not what the results in docs/results give: run `cargo xtask results`", path.display())]
    StalePage { path: PathBuf },

    #[error(
        "{} was made with other settings than {} has now ({problem}): run the job again",
        folder.display(), job.display()
    )]
    JobChanged { job: PathBuf, folder: PathBuf, problem: String },

    #[error("--mcu belongs to one output folder, but {given} are given: name one, or leave it out")]
    McuFolders { given: usize },

    #[error("failed: {steps}\nrun a step alone with `cargo xtask test --only STEP`")]
    Steps { steps: String },
}

impl XtaskError {
    /// Whether this machine lacks something that `setup` could install.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(
            self,
            Self::Spawn { .. }
                | Self::NoToolchain { .. }
                | Self::NoLinker { .. }
                | Self::NeedsRoot { .. }
                | Self::Missing { .. }
        )
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            _ if self.is_missing() => ExitCode::from(EXIT_MISSING),
            Self::OverBudget { .. } | Self::DoesNotFit { .. } => ExitCode::from(EXIT_OVER_BUDGET),
            Self::UnknownCore { .. } | Self::McuFolders { .. } | Self::OneCore => ExitCode::from(2),
            _ => ExitCode::FAILURE,
        }
    }
}

/// The last lines of a failed program's output, under the message.
fn tail(output: &str) -> String {
    /// A screenful: the cause stands at the end.
    const MAX_TAIL_LINES: usize = 30;
    let lines: Vec<&str> = output.lines().collect();
    let start = lines.len().saturating_sub(MAX_TAIL_LINES);
    lines[start..].iter().map(|line| format!("\n  {line}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_command_shows_the_end_of_its_output() {
        let output: String = (0..100).map(|line| format!("line {line}\n")).collect();
        let error = XtaskError::Command {
            command: "cargo build".to_owned(),
            status: "exit status: 101".to_owned(),
            output,
        };
        let message = error.to_string();
        assert!(message.contains("line 99") && !message.contains("line 50"), "{message}");
    }
}
