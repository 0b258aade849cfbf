//! `cargo xtask golden`: write the committed golden models and vectors anew.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::XtaskError;
use crate::golden::{Golden, MODEL_FILE};
use crate::{files, paths, process, synthetic};

/// The committed model of a job.
const JOB: &str = "digits";
/// The same with a margin, which some of its vectors don't reach.
const UNSURE: (&str, u8) = ("unsure", 40);

/// The same with a sentinel, whose section `bitsback sentinel` made; vectors follow from it.
const WATCHED: &str = "watched";

/// Vectors that are committed of a job's model: enough to meet every class several times.
const COMMITTED_VECTORS: usize = 64;

/// Write golden models in tests/golden anew.
///
/// Without arguments: the synthetic ones, which use every operator and every weight width, the
/// committed job's model with a margin and with a sentinel, and the
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
        unsure(&place)?.write(&folder(&place, UNSURE.0)?, None)?;
        watched(&place)?.write(&folder(&place, WATCHED)?, None)?;
        println!("wrote the synthetic models in {}", place.display());
        return if args.synthetic { Ok(()) } else { bless_lowered(&root) };
    };
    let golden = Golden::read(&from.join(MODEL_FILE), &from.join("golden"))?;
    let folder = folder(&place, args.name.as_ref().unwrap_or(&golden.name))?;
    golden.write(&folder, Some(args.vectors))?;
    println!("wrote {}; transcripts may follow from it (qemu --example --bless)", folder.display());
    Ok(())
}

/// The committed job's model with a margin.
fn unsure(place: &Path) -> Result<Golden, XtaskError> {
    let folder = place.join(JOB);
    Golden::read(&folder.join(MODEL_FILE), &folder)?.with_margin(UNSURE.1)
}

/// The committed job's model with the sentinel that it is committed with.
fn watched(place: &Path) -> Result<Golden, XtaskError> {
    let folder = place.join(JOB);
    let sentinel = files::read(&place.join(WATCHED).join(MODEL_FILE))?;
    Golden::read(&folder.join(MODEL_FILE), &folder)?.with_sentinel(&sentinel)
}

/// A folder in `place`.
fn folder(place: &Path, name: &str) -> Result<PathBuf, XtaskError> {
    let folder = place.join(name);
    fs::create_dir_all(&folder).map_err(|source| XtaskError::File {
        action: "create",
        path: folder.clone(),
        source,
    })?;
    Ok(folder)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_with_a_margin_is_the_committed_one() {
        let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden");
        let folder = place.join(UNSURE.0);
        let committed = Golden::read(&folder.join(MODEL_FILE), &folder).unwrap();
        let expected = unsure(&place).unwrap();
        let advice = "`cargo xtask golden` writes it anew";
        assert!(committed.model == expected.model, "{advice}");
        assert!(committed.inputs() == expected.inputs(), "{advice}");
        assert!(committed.outputs() == expected.outputs(), "{advice}");
        assert!(committed.decisions() == expected.decisions(), "{advice}");
        // Both decisions occur.
        let unsure = expected.decisions().chunks(2).filter(|d| *d == [255, 255]).count();
        assert!((5..60).contains(&unsure), "{unsure}");
    }

    #[test]
    fn the_model_with_a_sentinel_is_the_committed_one() {
        let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden");
        let folder = place.join(WATCHED);
        let committed = Golden::read(&folder.join(MODEL_FILE), &folder).unwrap();
        let expected = watched(&place).unwrap();
        let advice = "`cargo xtask golden` writes it anew";
        assert!(committed.model == expected.model, "{advice}");
        assert!(committed.outputs() == expected.outputs(), "{advice}");
        assert!(committed.evidence() == expected.evidence(), "{advice}");
        let gathered = expected.evidence().iter().filter(|&&byte| byte > 0).count();
        assert!(gathered > 100, "{gathered}");
    }
}
