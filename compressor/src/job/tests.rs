use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::data;
use crate::data::Values;
use crate::graph::ops::Dense;
use crate::graph::{Affine, Graph};
use crate::numbers::{Range, Shape};

fn parse(text: &str) -> Result<Job, JobError> {
    Job::parse(Path::new("jobs/a.toml"), text)
}

fn message(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

/// The message holds all of these.
fn says(text: &str, parts: &[&str]) {
    let message = message(text);
    for part in parts {
        assert!(message.contains(part), "{message}\nlacks: {part}");
    }
}

#[test]
fn an_empty_file_is_a_job() {
    let job = parse("").unwrap();
    assert_eq!(job, Job { name: "a".to_owned(), ..Job::default() });
}

#[test]
fn unknown_keys_are_named_with_line_path_and_nearest() {
    says(
        "[variational]\n\nepoch = 3",
        &["jobs/a.toml:3", "`variational.epoch`", "`variational.epochs`"],
    );
    says("sed = 1", &["jobs/a.toml:1", "`sed`", "did you mean `seed`", "known there: name, seed"]);
    says("[trian]\nepochs = 1", &["jobs/a.toml:1", "`trian`"]);
    says("[data]\nkind = 'idx'\ninput = 'x'", &["a.toml:3", "`data.input`", "`data.inputs`"]);
    says("epochs = 1", &["`epochs`", "did you mean `pretrain.epochs`"]);
    says(
        "[[network.layers]]\ntype = 'dense'\n\n[[network.layers]]\ntype = 'dense'\nunit = 1",
        &["a.toml:6", "`network.layers[1].unit`", "`network.layers[1].units`"],
    );
    says(
        "[network]\nlayers = [\n  { type = 'relu' },\n  { type = 'relu', rate = 1 },\n]",
        &["a.toml:4", "`network.layers[1].rate`", "no key may stand there"],
    );
    says("a.b.c = 1", &["`a`"]);
    says(
        "[requirements]\nram_bytes = 2048",
        &["a.toml:2", "`requirements.ram_bytes` is `requirements.arena_bytes`", "certify --ram"],
    );
}

#[test]
fn wrong_values_are_named_with_what_is_allowed() {
    says(
        "[data]\nkind = 'idex'",
        &["a.toml:2", "`data.kind` can't be \"idex\"", "did you mean `idx`", "\"images\""],
    );
    says(
        "[target]\ncore = 'cortex-m44'",
        &[
            "a.toml:2",
            "`target.core`",
            "did you mean `cortex-m4`",
            "\"cortex-m55\"",
            "\"riscv32imc\"",
        ],
    );
    says("[network]\npreset = 'vgg-16'\nwidth = 9", &["`network.width`", "0.03125 … 4"]);
    says("[network]\npreset = 'vgg'", &["`network.preset`", "\"lenet-5-caffe\""]);
    says(
        "[[network.layers]]\ntype = 'relu'\n[[network.layers]]\ntype = 'dence'",
        &["a.toml:4", "`network.layers[1].type`", "did you mean `dense`"],
    );
    for layer in
        ["padding = 'Same', kernel = 3, filters = 3", "kernel = 3, filters = 3, padding = \"Same\""]
    {
        says(
            &format!("[network]\nlayers = [\n{{ type = 'conv2d', {layer} }}]"),
            &["a.toml:3", "`network.layers[0].padding` can't be \"Same\"", "did you mean `same`"],
        );
    }
    says("[[network.layers]]\nunits = 3", &["a.toml:1", "`network.layers[0].type` is missing"]);
    says(
        "[[network.layers]]\ntype = 'conv2d'\nkernel = 3",
        &["`network.layers[0].filters` is missing"],
    );
    says(
        "[[network.layers]]\ntype = 'conv2d'\nfilters = 1\nkernel = 'big'",
        &["`network.layers[0]", "two: [rows, columns]"],
    );
    says(
        "[variational]\ncost = 'energy'",
        &["a.toml:2", "`variational.cost` can't be \"energy\"", "\"bytes\"", "\"instructions\""],
    );
    says(
        "[variational]\ncost = 'bytes'\n[variational.shrink]\nloss_rise = [0.1, 0.2]",
        &["a.toml:4", "`variational.shrink.loss_rise`", "`variational.cost`", "one value"],
    );
    says("seed = 'one'", &["a.toml:1", "`seed`", "string \"one\"", "expected u64"]);
    let [word, list] = ["\"posterior\"", "list of widths"];
    says("[quantize]\nbits = 'prior'", &["a.toml:2", "`quantize.bits`", word, list]);
    says("[quantize]\nbits = 3", &["a.toml:2", word, list]);
    says("[quantize]\nbits = [9]", &["a.toml:2", "`quantize.bits[0]`", "9"]);
    says("seed = -1", &["a.toml:1", "`seed`", "-1"]);
    says("[pretrain]\nepochs = 1.5", &["a.toml:2", "`pretrain.epochs`", "1.5"]);
    says("[pretrain]\nbatch = [1]", &["`pretrain.batch`"]);
    says("data = 3", &["`data`"]);
    says("seed = 1\nseed = 2", &["a.toml:2, column 1", "no TOML"]);
    says("seed == 1", &["a.toml:1, column 7"]);
    says("[data]\nlabel_column = 1.5", &["`data.label_column`", "a column's name"]);
}

#[test]
fn numbers_have_limits() {
    says("[pretrain]\nbatch = 0", &["a.toml:2", "`pretrain.batch` is 0", "1 … 65536"]);
    says("[pretrain]\nlearning_rate = 0.0", &["`pretrain.learning_rate` is 0", "both excluded"]);
    says("[pretrain]\nlearning_rate = nan", &["is NaN"]);
    says("[pretrain]\nweight_decay = inf", &["is inf"]);
    says("[bits]\nmost = 9", &["`bits.most` is 9", "1 … 8, or 16"]);
    says("[bits]\nleast = 8\nmost = 4", &["a.toml:2", "`bits.least` is 8", "only 4"]);
    says("[size]\nflash_bytes = 9", &["a.toml:2", "`size.flash_bytes`", "other goal"]);
    says(
        "[network]\nlayers = [{ type = 'dropout', rate = 1.0 }]",
        &["a.toml:2", "`network.layers[0].rate` is 1"],
    );
    says("[data]\nvalidation_count = 0", &["`data.validation_count` is 0"]);
    let job = Job { seed: u64::MAX, ..Job::default() };
    let error = job.check().unwrap_err();
    assert!(matches!(&error, JobError::Range { key, .. } if key == "seed"), "{error}");
    for name in ["", ".x", "a/b", "ü", &"x".repeat(65)] {
        says(&format!("name = '{name}'"), &["`name` is", "a.toml:1"]);
    }
}

#[test]
fn keys_must_fit_each_other() {
    says("[data]\nkind = 'csv'", &["a.toml:1", "`data.inputs` is missing"]);
    says("[data]\nresize = [2, 2]", &["a.toml:2", "`data.resize` has no meaning"]);
    says("[network]\npreset = 'lenet-300-100'\nlayers = [{ type = 'relu' }]", &["delete one"]);
}

#[test]
fn lists_fit_the_network() {
    says(
        "[variational]\ntemperature = [\n[0, 1],\n[2, 1],\n[1, 1]]",
        &["a.toml:5", "`variational.temperature[2]`", "ascending"],
    );
    let key = "`front.temperatures";
    says("[front]\ntemperatures = []", &["a.toml:2", key, "has 0 factors; give 1 to 8"]);
    says("[front]\ntemperatures = [1,2,3,4,5,6,7,8,9]", &["a.toml:2", key, "9 factors"]);
    says("[front]\ntemperatures = [\n0.5,\n0.5]", &["a.toml:4", key, "[1]`", "ascending"]);
    says("[front]\ntemperatures = [0.0]", &["a.toml:2", key, "[0]` is 0", "0 excluded"]);
    for none in ["epochs = 0", "temperature = [[0, 0]]"] {
        let text = format!("[variational]\n{none}\n[front]\ntemperatures = [1, 2]");
        says(&text, &["a.toml:4", key, "Bayesian stage, but there is none"]);
        parse(&text.replace("[1, 2]", "[1]")).unwrap();
    }
    for text in [
        "[variational]\nscale_weight = [1, 1, 1, 1]",
        "[variational.shrink]\nloss_rise = [0.1, 0.1]",
        "[variational.shrink]\nloss_rise = []",
    ] {
        let job = parse(text).unwrap();
        let error = job.resolve(&data::load(&job.data).unwrap()).unwrap_err();
        assert!(matches!(error, JobError::PerLayer { layers: 3, .. }), "{error}");
        assert!(error.to_string().starts_with("jobs/a.toml:2: "), "{error}");
    }
}

#[test]
fn impossible_shapes_name_the_layer() {
    let job = parse(
        "[network]\nlayers = [\n {type='flatten'},\n {type='conv2d', filters=2, kernel=3},\n]",
    )
    .unwrap();
    let dataset = data::load(&job.data).unwrap();
    let message = job.resolve(&dataset).unwrap_err().to_string();
    for part in ["jobs/a.toml:4", "`network.layers[1]`", "gets 64 features"] {
        assert!(message.contains(part), "{message}");
    }
    let job = parse("[network]\npreset = 'lenet-5-caffe'").unwrap();
    let message = job.resolve(&dataset).unwrap_err().to_string();
    assert!(message.contains("jobs/a.toml:1: `network`: layer 3 (conv2d)"), "{message}");
}

#[test]
fn a_resolved_job_loads_back_identical() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b.toml");
    let text = "[data]\nsplit_seed = 5\n[network]\noutput = 'argmax'\n[prune]\nthreshold = -2.5";
    std::fs::write(&path, text).unwrap();
    let job = Job::load(&path).unwrap();
    let dataset = data::load(&job.data).unwrap();
    let resolved = job.resolve(&dataset).unwrap();
    assert_eq!(resolved.job.data.shape, Some(vec![8, 8, 1]));
    assert_eq!(resolved.job.network.layers.len(), 6);
    let input = resolved.structure.input;
    assert_eq!(resolved.structure.values[input].dims, dataset.shape.dims());
    // Whatever follows from the data is stated.
    let job = &resolved.job;
    assert!(job.pretrain.epochs.is_some() && job.variational.temperature.is_some());
    assert_eq!((job.quantize.epochs, job.requirements.error_rise_points), (Some(0), Some(1.0)));
    assert_eq!(job.data.validation_count, Some(resolved.split.validation.len()));
    let text = resolved.job.to_toml().unwrap();
    let again = parse(&text).unwrap();
    assert_eq!(again, resolved.job, "{text}");
    assert_eq!(again.resolve(&dataset).unwrap(), resolved);
    // The shortest digits of an f32, as the user wrote them.
    assert!(text.contains("learning_rate = 0.002\n"), "{text}");
}

#[test]
fn paths_are_relative_to_the_job_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b.toml");
    std::fs::write(&path, "[data]\nkind = 'csv'\ninputs = 'a.csv'").unwrap();
    std::fs::write(folder.path().join("a.csv"), "x,y\n".to_owned() + &"1,0\n2,1\n".repeat(9))
        .unwrap();
    let job = Job::load(&path).unwrap();
    assert_eq!(job.data.inputs, Some(folder.path().join("a.csv")));
    let dataset = data::load(&job.data).unwrap();
    let resolved = job.resolve(&dataset).unwrap().job.data;
    assert_eq!(resolved.label_column, Some(data::Column::Index(-1)));
    assert!(resolved.inputs.unwrap().is_absolute());
    std::fs::write(&path, [0xff]).unwrap();
    assert!(matches!(Job::load(&path), Err(JobError::Encoding { byte: 0, .. })));
    assert!(matches!(Job::load(&folder.path().join("absent")), Err(JobError::File(_))));
}

#[test]
fn what_cannot_be_written_is_named() {
    use std::os::unix::ffi::OsStringExt;
    let mut job = Job::default();
    job.data.inputs = Some(std::ffi::OsString::from_vec(vec![0xff]).into());
    assert!(matches!(job.to_toml(), Err(JobError::Write { .. })));
}

#[test]
fn every_number_of_a_job_has_a_limit() {
    let job = toml::Value::try_from(Job::default()).unwrap();
    limits::numbers(&job, "", &mut |key, value, _| {
        let limit = limits::limit(key);
        let Some(limit) = limit else { panic!("add `{key}` to LIMITS in job/limits.rs") };
        assert!(limit.allows(value), "the default {value} of `{key}` is outside its limits");
    });
}

#[test]
fn the_shipped_jobs_parse() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../jobs");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "toml") {
            Job::load(&path).unwrap();
            count += 1;
        }
    }
    assert!(count >= 6);
}

proptest! {
    #[test]
    fn parsing_never_panics(text in "\\PC{0,200}") {
        let _ = parse(&text);
    }

    #[test]
    fn parsing_near_misses_never_panics(
        lines in prop::collection::vec(
            "(\\[\\[?(data|network|network.layers|pretrain|x)\\]?\\]|\
             (type|kind|kernel|units|seed|shape|x.y|`) = \
             ('dense'|-1|0|nan|\\[1\\]|\\{\\}|\\{ type = 'relu' \\}|\"`\"|9999999999999))",
            0..8,
        ),
    ) {
        let _ = parse(&lines.join("\n"));
    }
}

#[test]
fn data_may_be_a_model_s_inputs_divided_by_one_number() {
    let dataset = Dataset {
        shape: Shape::Flat(2),
        inputs: Values::Bytes(vec![0, 255]),
        labels: vec![0],
        classes: vec!["a".into(), "b".into()],
        test_start: None,
    };
    let fit = |kind: NormalizationKind, high: f32| {
        let mut network = Graph::of_input(vec![2]);
        let affine = Affine { weight: vec![1.0, -2.0, 3.0, 0.5], bias: vec![0.25; 2] };
        network.push("x", Dense {}, vec![0], vec![2], Some(affine));
        let inputs = Some(Range { low: 0.0, high });
        let mut model = PretrainedModel { network, inputs, layout: None };
        let normalization = Normalization::fit(kind, &dataset, &[0]).unwrap();
        let end = Job::default().fit_inputs(&mut model, &dataset, &normalization, &[0]);
        let affine = model.network.parameters().next().unwrap().clone();
        end.map(|()| affine)
    };
    let affine = fit(NormalizationKind::Unit, 255.0).unwrap();
    assert!(
        affine.weight.iter().zip([255.0, -510.0, 765.0, 127.5]).all(|(a, b)| (a - b).abs() < 0.01)
    );
    assert_eq!(affine.bias, [0.25; 2]);
    assert_eq!(fit(NormalizationKind::None, 255.0).unwrap().weight, [1.0, -2.0, 3.0, 0.5]);
    // Training would get the large numbers; and another offset is no factor.
    for kind in [NormalizationKind::None, NormalizationKind::Symmetric] {
        let Err(JobError::Inputs { fitting, .. }) = fit(kind, 1.0) else { panic!("{kind:?}") };
        assert_eq!(fitting, [NormalizationKind::Unit]);
    }
}
