//! `cargo xtask golden`: write the committed golden models and vectors anew.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::XtaskError;
use crate::golden::{Golden, MODEL_FILE};
use crate::{paths, process, synthetic};

/// Vectors that are committed of a job's model: enough to meet every class several times.
const COMMITTED_VECTORS: usize = 64;

/// Write golden models in tests/golden anew.
///
/// Without arguments: the synthetic ones, which use every operator and every weight width, and the
/// ones that the compressor lowers (its test `golden` writes them; --synthetic leaves them out).
/// With --from: the model of a finished job (its model.bbk and golden/), for example
///
///   cargo run --release -- compress jobs/digits.toml && cargo xtask golden --from out/digits
///
/// Commit the change only when it is meant: these files are what every core is compared with.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only those that need no compressor, which takes minutes to build.
    #[arg(long, conflicts_with = "from")]
    synthetic: bool,
    /// The output folder of a job, with model.bbk and golden/.
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
    /// What to call the model in tests/golden; the folder's name when left out.
    #[arg(long, requires = "from")]
    name: Option<String>,
    /// How many of its vectors to keep.
    #[arg(long, requires = "from", default_value_t = COMMITTED_VECTORS)]
    vectors: usize,
}

pub(crate) fn run(args: &Args) -> Result<(), XtaskError> {
    let root = paths::root()?;
    let place = root.join("tests/golden");
    let Some(from) = &args.from else {
        synthetic::write(&place)?;
        println!("wrote the synthetic models in {}", place.display());
        return if args.synthetic { Ok(()) } else { bless_lowered(&root) };
    };
    let golden = Golden::read(&from.join(MODEL_FILE), &from.join("golden"))?;
    let folder = place.join(args.name.as_ref().unwrap_or(&golden.name));
    fs::create_dir_all(&folder).map_err(|source| XtaskError::File {
        action: "create",
        path: folder.clone(),
        source,
    })?;
    golden.write(&folder, Some(args.vectors))?;
    println!("wrote {}; transcripts may follow from it (qemu --example --bless)", folder.display());
    Ok(())
}

/// The models that the compressor lowers are written by the test that otherwise compares them.
fn bless_lowered(root: &Path) -> Result<(), XtaskError> {
    let mut command = Command::new("cargo");
    command
        .args(["test", "--release", "--quiet", "--package", "bitsback-tests", "--test", "golden"])
        .args(["--", "--test-threads=1"]) // others read what one of them writes
        .env("BITSBACK_BLESS", "1")
        .current_dir(root);
    process::show_and_check(&mut command)
}
