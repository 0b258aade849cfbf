//! Which networks are timed, and beside what.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bitsback_runtime::format::Layout;
use serde::Deserialize;

use super::Args;
use crate::commands::pytorch;
use crate::error::XtaskError;
use crate::results;
use crate::synthetic::shapes::{HOST_SHAPES, PRUNED_SHAPES};

/// Compressed networks that are kept, and the shapes that they were made of.
const COMPRESSED: [(&str, &str, &str); 1] =
    [("lenet-5, coded", "tests/golden/coded-lenet/model.bbk", "lenet-5-20-50-500")];

/// Networks that take turns: one that ONNX Runtime runs, and those of ours that are compared with it.
pub(super) struct Contest {
    /// What ONNX Runtime runs: floats, and the integers.
    pub(super) exports: [PathBuf; 2],
    pub(super) ours: Vec<Subject>,
}

/// A network that our engine runs.
pub(super) struct Subject {
    pub(super) name: String,
    /// Of a job's model.
    pub(super) error_percent: Option<f64>,
    /// What isn't as a reader would expect it.
    pub(super) note: Option<String>,
    pub(super) model: Vec<u8>,
}

/// Of a job's `summary.json`.
#[derive(Debug, Deserialize)]
struct Finished {
    network: String,
    error_percent: f64,
    data_note: Option<String>,
}

impl Subject {
    /// One that nobody trained.
    fn untrained(name: &str, model: Vec<u8>) -> Self {
        Self { name: name.to_owned(), error_percent: None, note: None, model }
    }
}

/// All of them, written and exported, or the one that is asked for.
pub(super) fn all(root: &Path, folder: &Path, args: &Args) -> Result<Vec<Contest>, XtaskError> {
    let bitsback = pytorch::build(root)?;
    let is_wanted =
        |subject: &Subject| args.network.as_ref().is_none_or(|network| *network == subject.name);
    let mut contests = Vec::new();
    for shape in HOST_SHAPES {
        let model = shape.model(Layout::RowMajor)?;
        let mut ours = vec![Subject::untrained(shape.name, model.clone())];
        ours.extend(smaller(root, shape.name)?);
        ours.retain(is_wanted);
        if !ours.is_empty() {
            let path = folder.join(format!("{}.bbk", shape.name));
            fs::write(&path, &model).map_err(|source| super::file("write", &path, source))?;
            let exports = exports(&bitsback, folder, shape.name, &path)?;
            contests.push(Contest { exports, ours });
        }
    }
    for (number, path) in args.compressed.iter().enumerate() {
        let contest = finished(&bitsback, folder, &format!("dense-{number}"), path)?;
        if contest.ours.iter().any(is_wanted) {
            contests.push(contest);
        }
    }
    Ok(contests)
}

/// What was made of a shape, or may have been.
fn smaller(root: &Path, dense: &str) -> Result<Vec<Subject>, XtaskError> {
    let mut found = Vec::new();
    for (name, path, _) in COMPRESSED.into_iter().filter(|(_, _, of)| *of == dense) {
        let path = root.join(path);
        let model = fs::read(&path).map_err(|source| super::file("read", &path, source))?;
        found.push(Subject::untrained(name, model));
    }
    for (shape, _) in PRUNED_SHAPES.into_iter().filter(|(_, of)| *of == dense) {
        let note = Some(results::DRAWN.to_owned());
        let model = shape.model(Layout::RowMajor)?;
        found.push(Subject { note, ..Subject::untrained(shape.name, model) });
    }
    Ok(found)
}

/// A finished job's model beside the dense network that the job left, of whatever shape.
fn finished(
    bitsback: &Path,
    folder: &Path,
    export: &str,
    path: &Path,
) -> Result<Contest, XtaskError> {
    let beside = path.parent().unwrap_or(Path::new(""));
    let summary = beside.join("summary.json");
    let text = results::read(&summary)?;
    let Finished { network: name, error_percent, data_note } = serde_json::from_str(&text)
        .map_err(|error| XtaskError::Results { path: summary, problem: error.to_string() })?;
    let dense = beside.join("dense/model.bbk");
    if !dense.is_file() {
        return Err(XtaskError::Golden {
            path: dense,
            problem: "the job's dense network isn't there; run the job again with --resume".into(),
        });
    }
    let model = fs::read(path).map_err(|source| super::file("read", path, source))?;
    let note = data_note.as_deref().and_then(|note| note.lines().next()).map(str::to_owned);
    let subject = Subject { name, error_percent: Some(error_percent), note, model };
    let exports = exports(bitsback, folder, export, &dense)?;
    Ok(Contest { exports, ours: vec![subject] })
}

/// What ONNX Runtime reads of a model.
fn exports(
    bitsback: &Path,
    folder: &Path,
    name: &str,
    model: &Path,
) -> Result<[PathBuf; 2], XtaskError> {
    let export = |form: &str| {
        let to = folder.join(format!("{name}-{form}.onnx"));
        let mut command = Command::new(bitsback);
        command.arg("export").arg(model).args(["--to", form, "--quiet", "-o"]).arg(&to);
        crate::process::show_and_check(&mut command).map(|()| to)
    };
    Ok([export("onnx")?, export("onnx-qdq")?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_without_its_dense_network_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("model.bbk");
        let error =
            |of: &Path| finished(Path::new("none"), of, "dense", &model).err().unwrap().to_string();
        assert!(error(folder.path()).contains("summary.json"));
        let summary = r#"{"network":"net","error_percent":0.9,"seed":1}"#;
        fs::write(folder.path().join("summary.json"), summary).unwrap();
        let said = error(folder.path());
        assert!(said.contains("dense/model.bbk") && said.contains("--resume"), "{said}");
    }

    #[test]
    fn what_was_made_of_a_shape_says_where_it_is_from() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let found = |dense: &str| -> Vec<_> {
            let subjects = smaller(&root, dense).unwrap();
            subjects.into_iter().map(|subject| (subject.name, subject.note)).collect()
        };
        assert_eq!(found("lenet-5-20-50-500"), [("lenet-5, coded".to_owned(), None)]);
        let note = || Some(results::DRAWN.to_owned());
        let pruned = ["vgg-16-bc-gnj", "vgg-16-bc-ghs"].map(|name| (name.to_owned(), note()));
        assert_eq!(found("vgg-16"), pruned);
        assert!(found("resnet-8").is_empty());
    }

    #[test]
    fn compressed_networks_are_committed_and_have_a_dense_one() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for (_, model, dense) in COMPRESSED {
            assert!(root.join(model).is_file());
            assert!(HOST_SHAPES.iter().any(|shape| shape.name == dense));
        }
    }
}
