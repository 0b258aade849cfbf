//! Whole jobs of a few steps, on networks of every operator: the posterior trains, groups leave together,
//! and what training in integers saw is what the model computes. Or the reason why not is named.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::cost::Provenance;
use crate::graph::tensor::{Value, values};
use crate::import;
use crate::numbers::Shape;
use crate::train::Cost;
use crate::train::batches::in_integers;
use crate::train::deterministic::weight_count;
use crate::train::quantized::simulate::Simulation;
use crate::verify::run_batch;
use crate::weights::model;

/// What all jobs here have in common: few steps, of which every other removes groups whatever they cost.
const STAGES: &str = r#"
[pretrain]
epochs = 1
batch = 16
[variational]
epochs = 2
batch = 16
[variational.shrink]
from_step = 2
every = 2
floor = -100.0
loss_rise = [100.0]
most_at_once = 0.2
target_weights = 60
[finetune]
epochs = 1
batch = 16
[quantize]
epochs = 2
batch = 16
[requirements]
error_rise_points = 100.0
"#;

/// A network and data for it.
struct Trial {
    folder: tempfile::TempDir,
    shape: Shape,
    classes: usize,
    /// Least and greatest input.
    ends: [f32; 2],
}

impl Trial {
    /// For a network of layers.
    fn layers() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let shape = Shape::Image { height: 6, width: 5, channels: 2 };
        Self { folder, shape, classes: 3, ends: [-1.0, 1.0] }
    }

    /// For a model file, if it can be trained.
    fn model(path: &Path) -> Result<Self, model::ModelError> {
        let mut trial = Self::layers();
        let found = import::floats(&fs::read(path).unwrap(), path.parent(), None);
        if let Ok(found) = found {
            let of = |id: usize| Shape::of(&found.graph.values[id].dims);
            (trial.shape, trial.classes) = (of(found.graph.input), of(found.graph.output).len());
        }
        let given = model::load(path, None, trial.shape, trial.classes)?;
        if let Some(range) = given.inputs {
            trial.ends = [range.low, range.high];
        }
        Ok(trial)
    }

    /// Examples that reach both ends, each class brighter than the one before.
    fn write_data(&self) {
        let len = self.shape.len();
        let mut table: String = (0..len).map(|column| format!("x{column},")).collect();
        table += "label\n";
        let [low, high] = self.ends;
        for example in 0..self.classes.max(3) * 16 {
            let label = example % self.classes;
            for column in 0..len {
                let noise = (example * 7919 + column * 104_729) % 2003;
                let bright = (noise as f32 / 2002.0).powf(1.0 / (1.0 + label as f32));
                let at = [0.0, 1.0].get(example.wrapping_sub(column)).copied().unwrap_or(bright);
                write!(table, "{},", low + (high - low) * at).unwrap();
            }
            writeln!(table, "{label}").unwrap();
        }
        fs::write(self.folder.path().join("data.csv"), table).unwrap();
    }

    /// A job on the text of `[network]`.
    fn job(&self, network: &str, more: &str) -> Job {
        self.write_data();
        let shape = match self.shape {
            Shape::Flat(_) => String::new(),
            shape => format!("shape = {:?}", shape.dims()),
        };
        let data = "kind = \"csv\"\ninputs = \"data.csv\"\nnormalization = \"none\"\nlabel_column = \"label\"";
        let text = format!(
            "[data]\n{data}\n{shape}\nvalidation_count = 12\n[network]\n{network}\n{}",
            STAGES.replace("[quantize]", &format!("[quantize]\n{more}"))
        );
        let path = self.folder.path().join("job.toml");
        fs::write(&path, text).unwrap();
        Job::load(&path).unwrap()
    }

    /// Runs the job, and compares every output that training in integers saw with the model's.
    fn run(&self, job: &Job) {
        let out = self.folder.path().join("out");
        let outcome = super::run(job, &out, &RunOptions::default(), &Progress::silent()).unwrap();
        let dataset = data::load(&job.data).unwrap();
        let ResolvedJob { job, mut pretrained, split, .. } = job.resolve(&dataset).unwrap();
        let prepared = Prepared::new(dataset, split, &job, pretrained.as_mut()).unwrap();
        let device = DeviceName::default();
        let text = fs::read_to_string(out.join(JOB_FILE)).unwrap();
        let checkpoint = Checkpoint::load(&out.join(CHECKPOINT_FILE), &text, device.name());
        let JobState::Trained { dense, network, quantized: Some(quantized), .. } =
            checkpoint.unwrap().state
        else {
            panic!("the job didn't end with training in integers")
        };
        network.check().unwrap();
        let [before, after] = [&dense, &network].map(weight_count);
        assert!(after < before, "{after} of {before} weights");
        let rows = quantized.integers();
        let channels = network.parameters().map(|affine| affine.bias.len());
        for (rows, channels) in rows.iter().zip(channels) {
            let steps = if job.quantize.per_channel { channels } else { 1 };
            assert_eq!(rows.scales.len(), steps);
        }
        let input = prepared.input_quantization(&job);
        let tolerance = f64::from(job.quantize.bias_tolerance);
        let simulation =
            Simulation::new(&network, &rows, &quantized.activations, &input, tolerance).unwrap();
        let burn = device.open().unwrap();
        let validation = in_integers(&prepared.validation, &input);
        let x = Value::from_examples(validation.inputs, validation.shape, &burn);
        let to = simulation.output();
        let logits = values(simulation.forward(x, &simulation.tensors(&burn)));
        let simulated: Vec<i8> = logits
            .iter()
            .map(|y| ((y / to.scale).round() + f32::from(to.zero_point)) as i8)
            .collect();
        let inputs = input.quantize(&prepared.validation.inputs);
        assert_eq!(simulated, run_batch(&outcome.model, &inputs).unwrap());
    }
}

#[test]
fn what_an_earlier_job_left_is_removed_and_nothing_is_no_mistake() {
    let folder = tempfile::tempdir().unwrap();
    let [file, sub] = ["margins.csv", "front"].map(|name| folder.path().join(name));
    fs::write(&file, "margin\n").unwrap();
    fs::create_dir(&sub).unwrap();
    fs::write(sub.join("model.bbk"), "").unwrap();
    for path in [&file, &sub, &file, &sub] {
        remove(path).unwrap();
        assert!(!path.exists());
    }
    fs::write(&file, "").unwrap();
    // What a file can't have below it isn't there to remove, and isn't nothing either.
    assert!(remove(&file.join("front")).is_err());
}

/// Every file of a folder with this ending, by name.
fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests").join(folder);
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|found| found == ending)).collect();
    paths.sort();
    paths
}

/// Trains every model of a folder but those of `refused`, which give their reasons.
fn every_model(folder: &str, ending: &str, refused: &[(&str, &str)]) {
    let paths = files(folder, ending);
    assert!(paths.len() > refused.len() + 4);
    let mut wrong = Vec::new();
    for (at, path) in paths.iter().enumerate() {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let reason = refused.iter().find(|(model, _)| *model == name).map(|(_, reason)| reason);
        match (Trial::model(path), reason) {
            (Ok(trial), None) => {
                let network = format!("model = {:?}", path.display().to_string());
                trial.run(&trial.job(&network, &format!("per_channel = {}", at % 2 == 0)));
            }
            (Err(error), Some(reason)) if error.to_string().contains(reason) => {}
            (found, _) => wrong.push((name, found.err().map(|error| error.to_string()))),
        }
    }
    assert!(wrong.is_empty(), "not as expected: {wrong:#?}");
}

#[test]
fn every_onnx_model_is_trained_or_refused_by_name() {
    let transposed = "outputs would have to be transposed in memory";
    let refused = [
        ("image_output", "gives an image"),
        ("poolings", transposed),
        ("poolings_of_steps", transposed),
        ("reductions", transposed),
        ("softmax_of_all", "gives an image"),
    ];
    every_model("onnx/models", "onnx", &refused);
}

#[test]
fn every_model_of_tensorflow_lite_is_trained() {
    every_model("fixtures/tflite", "tflite", &[]);
    every_model("fixtures/tflite/floats", "tflite", &[]);
}

#[test]
fn gates_of_int8_models_are_trained_in_every_form() {
    let folder = tempfile::tempdir().unwrap();
    for (at, bytes) in import::tflite::excite::models().iter().enumerate() {
        let path = folder.path().join(format!("{at}.tflite"));
        fs::write(&path, bytes).unwrap();
        let trial = Trial::model(&path).unwrap();
        let network = format!("model = {:?}", path.display().to_string());
        trial.run(&trial.job(&network, &format!("per_channel = {}", at < 4)));
    }
}

/// A squeeze-and-excitation block over a join of two convolutions, one of them dilated.
const EXCITED: &str = r#"layers = [
    { type = "conv2d", filters = 4, kernel = 3, padding = "same" },
    { type = "leaky-relu", slope = 0.1 },
    { type = "mark", name = "a" },
    { type = "conv2d", filters = 5, kernel = 2, dilation = 2, padding = "same" },
    { type = "tanh" },
    { type = "concat", name = "a" },
    { type = "mark", name = "joined" },
    { type = "global-avg-pool" },
    { type = "conv2d", filters = 3, kernel = 1 },
    { type = "relu" },
    { type = "conv2d", filters = 9, kernel = 1 },
    { type = "logistic" },
    { type = "mul", name = "joined" },
    { type = "depthwise-conv2d", kernel = 2, dilation = [1, 2] },
    { type = "relu6" },
    { type = "flatten" },
    { type = "dense" },
]"#;

#[test]
fn gates_joins_and_dilations_of_a_job_go_all_the_way() {
    let trial = Trial::layers();
    for more in ["per_channel = true", "per_channel = true\nrate = 1.0", "bits = [2, 8, 3]"] {
        trial.run(&trial.job(EXCITED, more));
    }
}

#[test]
fn the_ledger_tells_how_widths_follow_from_the_posterior() {
    let trial = Trial::layers();
    for more in ["bits = \"posterior\"", "bits = \"posterior\"\nper_channel = true"] {
        trial.run(&trial.job(EXCITED, more));
        let bits = crate::ledger::read_bits(&trial.folder.path().join("out")).unwrap();
        for layer in &bits {
            let start = layer.start_step.unwrap();
            assert!(start > 0.0 && layer.step > 0.0, "{layer:?}");
            let told = format!(
                "{} bits; these reach the largest weight with a step of {start:.2e}",
                layer.bits
            );
            assert!(layer.rule.contains(&told), "{}", layer.rule);
        }
        assert!(bits.windows(2).any(|pair| pair[0].start_step != pair[1].start_step), "{bits:?}");
    }
}

/// Groups leave for what they cost on the way to a target, and the ledger says what each saved.
#[test]
fn groups_leave_for_the_instructions_that_they_cost() {
    let trial = Trial::layers();
    let mut job = trial.job(EXCITED, "bits = \"posterior\"");
    job.variational.cost = Cost::Instructions;
    let shrink = &mut job.variational.shrink;
    (shrink.target_weights, shrink.target_instructions) = (Some(0), 1);
    trial.run(&job);
    let ledger = fs::read_to_string(trial.folder.path().join("out").join("ledger.csv")).unwrap();
    let rows = || ledger.lines().map(|line| line.split(',').collect::<Vec<_>>());
    assert_eq!(rows().next().unwrap().last(), Some(&"saved"));
    let saved = |row: &Vec<&str>| row.last().and_then(|saved| saved.parse::<f64>().ok());
    assert!(rows().filter(|row| row[6] == "ablation-harmless").all(|row| saved(&row).is_some()));
    assert!(rows().filter_map(|row| saved(&row)).any(|saved| saved > 0.0), "{ledger}");
}

/// Weights that are only rounded have steps of powers of two, each row its own.
#[test]
fn rounded_weights_have_a_grid_per_channel() {
    let trial = Trial::layers();
    let mut job = trial.job(EXCITED, "per_channel = true");
    job.quantize.epochs = Some(0);
    let out = trial.folder.path().join("out");
    let outcome = super::run(&job, &out, &RunOptions::default(), &Progress::silent()).unwrap();
    let bits = crate::ledger::read_bits(&out).unwrap();
    assert!(bits.iter().any(|layer| layer.rule.contains("a step per channel")), "{bits:?}");
    job.quantize.per_channel = false;
    let layers = super::run(&job, &out, &RunOptions::default(), &Progress::silent()).unwrap();
    assert_ne!(outcome.model, layers.model);
    let bits = crate::ledger::read_bits(&out).unwrap();
    assert!(bits.iter().all(|layer| !layer.rule.contains("per channel")), "{bits:?}");
}

/// Points of a front on which no time is limited are estimated, and so is the dense network beside one of
/// them, whatever could be counted.
#[test]
fn the_dense_network_is_known_as_the_model_is() {
    let trial = Trial::layers();
    let mut job = trial.job(EXCITED, "");
    let out = trial.folder.path().join("out");
    let counted = |_: Counted, _: &Path| Some(Instructions::stored(7, Provenance::Measured));
    let known = |job: &Job, counter: Counter<'_>| {
        let (options, progress) = (RunOptions::default(), Progress::silent());
        let outcome = run_counting(job, &out, &options, &progress, counter).unwrap();
        let speed = outcome.summary.instructions.unwrap();
        (speed.compressed.from, speed.dense.unwrap().from)
    };
    assert_eq!(known(&job, &counted), (Provenance::Measured, Provenance::Measured));
    let model_alone =
        |what, folder: &Path| counted(what, folder).filter(|_| what == Counted::Model);
    assert_eq!(known(&job, &model_alone), (Provenance::Estimated, Provenance::Estimated));
    job.requirements.flash_bytes = Some(1 << 20);
    job.front.points = Some(1);
    assert!(job.traces_front());
    assert_eq!(known(&job, &counted), (Provenance::Estimated, Provenance::Estimated));
}
