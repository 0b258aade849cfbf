//! A folder of golden vectors: raw int8 inputs and the raw int8 outputs that must come of them.
//!
//! `inputs.i8` and `outputs.i8` hold vector after vector; `golden.json` says how long one is and
//! which model they belong to (the checksum in the model's header; that the file
//! has this checksum is for `Model::parse` to say, on the core itself). Of a model with a margin,
//! `decisions.u16` holds for each vector the class, or 65,535 where the model isn't sure; of one with a
//! sentinel, `evidence.u16` holds for each vector what every bet has gathered up to it, in sixteenths of a bit.

use std::fs;
use std::path::{Path, PathBuf};

use bitsback_runtime::sentinel::{Draft, Look, MAX_BETS, SECTION_MAGIC, Sentinel, Watch};
use bitsback_runtime::writer::{set_margin, set_sentinel};
use bitsback_runtime::{Header, Model};
use serde::{Deserialize, Serialize};

use crate::error::XtaskError;
use crate::files;

/// The model's name inside a run's folder; the firmware asks for its length by it.
pub(crate) const MODEL_FILE: &str = "model.bbk";
const INPUTS_FILE: &str = "inputs.i8";
const OUTPUTS_FILE: &str = "outputs.i8";
const DECISIONS_FILE: &str = "decisions.u16";
/// Bytes of a decision.
const DECISION_LEN: usize = 2;
const EVIDENCE_FILE: &str = "evidence.u16";
/// Bytes of the evidence after a vector.
const EVIDENCE_LEN: usize = 2 * MAX_BETS;
const SUMMARY_FILE: &str = "golden.json";
/// Where a job's output keeps its vectors, beside the model.
const VECTORS_FOLDER: &str = "golden";

/// A model with its vectors, checked for belonging together.
#[derive(Clone, Debug)]
pub(crate) struct Golden {
    /// Its name: that of the model file, or for a `model.bbk` that of the folder.
    pub(crate) name: String,
    pub(crate) model: Vec<u8>,
    inputs: Vec<u8>,
    outputs: Vec<u8>,
    /// Empty for a model without a margin.
    decisions: Vec<u8>,
    /// Empty for a model without a sentinel.
    evidence: Vec<u8>,
    summary: Summary,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
struct Summary {
    vectors: usize,
    input_len: usize,
    output_len: usize,
    model_crc32: u32,
}

impl Golden {
    /// Reads a model and its vectors.
    ///
    /// # Errors
    /// When a file is missing, lengths disagree, or the vectors belong to another model.
    pub(crate) fn read(model: &Path, folder: &Path) -> Result<Self, XtaskError> {
        let wrong = |path: PathBuf, problem: String| XtaskError::Golden { path, problem };
        let summary_path = folder.join(SUMMARY_FILE);
        let summary: Summary = serde_json::from_slice(&files::read(&summary_path)?)
            .map_err(|error| wrong(summary_path.clone(), error.to_string()))?;
        let file = files::read(model)?;
        let has_margin = header(model, &file)?.margin > 0;
        let has_sentinel = file.ends_with(&SECTION_MAGIC);
        let golden = Self {
            name: name(model),
            model: file,
            inputs: files::read(&folder.join(INPUTS_FILE))?,
            outputs: files::read(&folder.join(OUTPUTS_FILE))?,
            decisions: match has_margin {
                true => files::read(&folder.join(DECISIONS_FILE))?,
                false => Vec::new(),
            },
            evidence: match has_sentinel {
                true => files::read(&folder.join(EVIDENCE_FILE))?,
                false => Vec::new(),
            },
            summary,
        };
        let Summary { vectors, input_len, output_len, model_crc32 } = golden.summary;
        for (file, length, one) in [
            (INPUTS_FILE, golden.inputs.len(), input_len),
            (OUTPUTS_FILE, golden.outputs.len(), output_len),
            (DECISIONS_FILE, golden.decisions.len(), if has_margin { DECISION_LEN } else { 0 }),
            (EVIDENCE_FILE, golden.evidence.len(), if has_sentinel { EVIDENCE_LEN } else { 0 }),
        ] {
            let is_empty = one == 0 && [INPUTS_FILE, OUTPUTS_FILE].contains(&file);
            if is_empty || vectors.checked_mul(one) != Some(length) {
                let problem = format!("{length} bytes are not {vectors} vectors of {one}");
                return Err(wrong(folder.join(file), problem));
            }
        }
        let found = header(model, &golden.model)?.crc;
        if found != model_crc32 {
            let problem = format!(
                "the vectors belong to a model with checksum {model_crc32:#010x}, but {} has \
                 {found:#010x}: write them anew",
                model.display()
            );
            return Err(wrong(summary_path, problem));
        }
        Ok(golden)
    }

    /// Writes the folder anew elsewhere, with at most `limit` vectors.
    pub(crate) fn write(&self, folder: &Path, limit: Option<usize>) -> Result<(), XtaskError> {
        let vectors = self.summary.vectors.min(limit.unwrap_or(usize::MAX));
        let inputs = &self.inputs[..vectors * self.summary.input_len];
        let outputs = &self.outputs[..vectors * self.summary.output_len];
        if !self.decisions.is_empty() {
            let decisions = &self.decisions[..vectors * DECISION_LEN];
            files::write(&folder.join(DECISIONS_FILE), decisions)?;
        }
        if !self.evidence.is_empty() {
            let evidence = &self.evidence[..vectors * EVIDENCE_LEN];
            files::write(&folder.join(EVIDENCE_FILE), evidence)?;
        }
        write(folder, &self.model, inputs, outputs)
    }

    /// The same network with a margin, and what it decides.
    pub(crate) fn with_margin(&self, margin: u8) -> Result<Self, XtaskError> {
        let wrong =
            |problem: String| XtaskError::Golden { path: self.name.clone().into(), problem };
        let mut bytes = self.model.clone();
        set_margin(&mut bytes, margin);
        let model = Model::<'_>::parse(&bytes).map_err(|error| wrong(error.to_string()))?;
        let decision = |row: &[u8]| {
            let row: Vec<i8> = row.iter().map(|&byte| byte as i8).collect();
            let class = model.decision_of(&row).class();
            class.map_or(u16::MAX, |class| class as u16).to_le_bytes()
        };
        let rows = self.outputs.chunks_exact(self.summary.output_len.max(1));
        let decisions = rows.flat_map(decision).collect();
        let summary = Summary { model_crc32: model.header().crc, ..self.summary };
        Ok(Self { model: bytes, decisions, summary, ..self.clone() })
    }

    /// The same network with the sentinel of `other`, and what its bets gather.
    pub(crate) fn with_sentinel(&self, other: &[u8]) -> Result<Self, XtaskError> {
        let wrong =
            |problem: String| XtaskError::Golden { path: self.name.clone().into(), problem };
        let other = Model::<'_>::parse(other).map_err(|error| wrong(error.to_string()))?;
        let theirs = Sentinel::new(&other).map_err(|fault| wrong(fault.to_string()))?;
        let theirs = theirs.ok_or_else(|| wrong("the other file has no sentinel".to_owned()))?;
        let section = Draft::of(&theirs).to_bytes();
        let section = section.map_err(|fault| wrong(fault.to_string()))?;
        let mut bytes = self.model.clone();
        set_sentinel(&mut bytes, &section);
        let model = Model::<'_>::parse(&bytes).map_err(|error| wrong(error.to_string()))?;
        let signed = |bytes: &[u8]| bytes.iter().map(|&byte| byte as i8).collect::<Vec<_>>();
        let (mut watch, mut evidence) = (Watch::new(), Vec::new());
        let inputs = self.inputs.chunks_exact(self.summary.input_len.max(1));
        let outputs = self.outputs.chunks_exact(self.summary.output_len.max(1));
        for (input, output) in inputs.zip(outputs) {
            let _ = watch.feed(&theirs, Look::of(&signed(input)), &signed(output));
            evidence.extend(watch.all().iter().flat_map(|bet| bet.to_le_bytes()));
        }
        let summary = Summary { model_crc32: model.header().crc, ..self.summary };
        Ok(Self { model: bytes, evidence, summary, ..self.clone() })
    }

    #[cfg(test)]
    pub(crate) fn inputs(&self) -> &[u8] {
        &self.inputs
    }

    #[cfg(test)]
    pub(crate) fn decisions(&self) -> &[u8] {
        &self.decisions
    }

    #[cfg(test)]
    pub(crate) fn evidence(&self) -> &[u8] {
        &self.evidence
    }

    #[cfg(test)]
    pub(crate) fn outputs(&self) -> &[u8] {
        &self.outputs
    }

    /// The model file's length.
    pub(crate) fn model_bytes(&self) -> usize {
        self.model.len()
    }
}

/// Writes a folder of golden vectors with its model; `golden.json`, which makes it one, last.
pub(crate) fn write(
    folder: &Path,
    model: &[u8],
    inputs: &[u8],
    outputs: &[u8],
) -> Result<(), XtaskError> {
    let summary_path = folder.join(SUMMARY_FILE);
    if summary_path.exists() {
        fs::remove_file(&summary_path).map_err(files::failed("remove", &summary_path))?;
    }
    let header = header(&folder.join(MODEL_FILE), model)?;
    let summary = Summary {
        vectors: inputs.len() / (header.input_len as usize).max(1),
        input_len: header.input_len as usize,
        output_len: header.output_len as usize,
        model_crc32: header.crc,
    };
    let summary = format!("{:#}\n", serde_json::json!(summary));
    for (name, content) in [
        (MODEL_FILE, model),
        (INPUTS_FILE, inputs),
        (OUTPUTS_FILE, outputs),
        (SUMMARY_FILE, summary.as_bytes()),
    ] {
        files::write(&folder.join(name), content)?;
    }
    Ok(())
}

fn header(path: &Path, model: &[u8]) -> Result<Header, XtaskError> {
    Header::read(model).ok_or_else(|| XtaskError::Golden {
        path: path.to_path_buf(),
        problem: "not a .bbk model".to_owned(),
    })
}

/// Every committed golden model: the folders of `folder` that hold a `model.bbk`, by name.
pub(crate) fn committed(folder: &Path) -> Result<Vec<Golden>, XtaskError> {
    let mut folders: Vec<PathBuf> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.join(MODEL_FILE).is_file())
        .collect();
    folders.sort();
    if folders.is_empty() {
        return Err(XtaskError::NoGoldenModels(folder.to_path_buf()));
    }
    let read = |path: &PathBuf| {
        let inner = path.join(VECTORS_FOLDER);
        Golden::read(&path.join(MODEL_FILE), if inner.is_dir() { &inner } else { path })
    };
    folders.iter().map(read).collect()
}

/// What to call a model: its file's name, or for a `model.bbk` its folder's.
pub(crate) fn name(model: &Path) -> String {
    let stem = model.file_stem().unwrap_or_default();
    let folder = model.parent().and_then(Path::file_name);
    let name = if stem == "model" { folder.unwrap_or(stem) } else { stem };
    name.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header with the checksum 0x04030201, 3 inputs and 2 outputs, of which no more is read.
    const MODEL: &[u8] = b"BBK\n\x01\x01\0\0\x01\x02\x03\x04\0\0\0\0\0\0\0\0\0\0\0\0\
        \x03\0\0\0\x02\0\0\0\0\0\0\0";
    const MODEL_CHECKSUM: u32 = 0x0403_0201;

    fn folder(summary: &str, inputs: usize) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(MODEL_FILE), MODEL).unwrap();
        fs::write(folder.path().join(SUMMARY_FILE), summary).unwrap();
        fs::write(folder.path().join(INPUTS_FILE), vec![1; inputs]).unwrap();
        fs::write(folder.path().join(OUTPUTS_FILE), vec![2; 4]).unwrap();
        folder
    }

    fn summary(crc: u32) -> String {
        format!(r#"{{"vectors":2,"input_len":3,"output_len":2,"model_crc32":{crc}}}"#)
    }

    fn read(folder: &tempfile::TempDir) -> Result<Golden, XtaskError> {
        Golden::read(&folder.path().join(MODEL_FILE), folder.path())
    }

    #[test]
    fn a_sound_folder_is_read_and_written_with_a_limit() {
        let golden = read(&folder(&summary(MODEL_CHECKSUM), 6)).unwrap();
        let out = tempfile::tempdir().unwrap();
        golden.write(out.path(), Some(1)).unwrap();
        assert_eq!(fs::read(out.path().join(INPUTS_FILE)).unwrap().len(), 3);
        assert_eq!(fs::read(out.path().join(OUTPUTS_FILE)).unwrap().len(), 2);
        assert_eq!(
            Golden::read(&out.path().join(MODEL_FILE), out.path()).unwrap().summary.vectors,
            1
        );
        golden.write(out.path(), None).unwrap();
        assert_eq!(fs::read(out.path().join(INPUTS_FILE)).unwrap().len(), 6);
    }

    #[test]
    fn wrong_lengths_other_models_and_bad_json_are_told_apart() {
        let error = read(&folder(&summary(MODEL_CHECKSUM), 5)).unwrap_err().to_string();
        assert!(error.contains("5 bytes are not 2 vectors of 3"), "{error}");
        let error = read(&folder(&summary(7), 6)).unwrap_err().to_string();
        assert!(error.contains("checksum 0x00000007"), "{error}");
        let error = read(&folder("{}", 6)).unwrap_err().to_string();
        assert!(error.contains("vectors"), "{error}");
    }

    #[test]
    fn what_is_no_model_is_named() {
        let folder = folder(&summary(MODEL_CHECKSUM), 6);
        fs::write(folder.path().join(MODEL_FILE), "text").unwrap();
        assert!(read(&folder).unwrap_err().to_string().contains("not a .bbk model"));
    }

    #[test]
    fn models_are_called_by_their_own_name_or_their_folders() {
        assert_eq!(name(Path::new("out/lenet-5/model.bbk")), "lenet-5");
        assert_eq!(name(Path::new("out/lenet-5/small.bbk")), "small");
        assert_eq!(name(Path::new("model.bbk")), "model");
    }

    #[test]
    fn vectors_lie_beside_the_model_or_in_their_own_folder() {
        let outer = tempfile::tempdir().unwrap();
        let inside = folder(&summary(MODEL_CHECKSUM), 6);
        fs::create_dir_all(outer.path().join("a")).unwrap();
        fs::copy(inside.path().join(MODEL_FILE), outer.path().join("a").join(MODEL_FILE)).unwrap();
        fs::rename(inside.path(), outer.path().join("a").join(VECTORS_FOLDER)).unwrap();
        let models = committed(outer.path()).unwrap();
        assert_eq!(models.len(), 1);
        assert_eq!(models[0].name, "a");
    }

    #[test]
    fn no_golden_models_is_an_error_that_says_how_to_get_some() {
        let folder = tempfile::tempdir().unwrap();
        let error = committed(folder.path()).unwrap_err().to_string();
        assert!(error.contains("xtask golden"), "{error}");
    }
}
