//! docs/JOB.md against the code: every key with its default and its limits, and no other.

use std::collections::BTreeSet;

use serde::de::value::Error;
use serde::de::{Deserialize, Deserializer, Error as _, Visitor};

use super::*;
use crate::graph::Padding;
use crate::network::LayerConfig;
use crate::train::{AugmentConfig, LearningRates, QuantizeConfig, ShrinkConfig};

const TEXT: &str = include_str!("../../../docs/JOB.md");

/// A deserializer that only looks at which fields a struct asks for.
struct Fields<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Fields<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("no struct"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Error> {
        *self.0 = fields;
        Err(Error::custom("seen"))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

fn fields<'de, T: Deserialize<'de>>() -> &'static [&'static str] {
    let mut fields: &'static [&'static str] = &[];
    assert!(T::deserialize(Fields(&mut fields)).is_err());
    fields
}

/// The cells of the tables' rows below a heading.
fn rows(heading: &str) -> Vec<Vec<String>> {
    let start = TEXT.find(&format!("\n{heading}\n"));
    let start = start.unwrap_or_else(|| panic!("docs/JOB.md lacks the heading {heading}"));
    let body = &TEXT[start + heading.len() + 2..];
    let end = body.find("\n#").unwrap_or(body.len());
    body[..end]
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect())
        .collect()
}

fn unquoted(cell: &str) -> Option<&str> {
    cell.strip_prefix('`')?.strip_suffix('`')
}

/// A value without the digits that an f32 gains as an f64.
fn short(value: &toml::Value) -> toml::Value {
    match value {
        toml::Value::Float(x) => toml::Value::Float((*x as f32).to_string().parse().unwrap()),
        toml::Value::Array(list) => toml::Value::Array(list.iter().map(short).collect()),
        other => other.clone(),
    }
}

/// One section of the job file: its table in docs/JOB.md is `key | type | default | range | what`.
fn check(section: &str, fields: &[&str], subsections: &[&str]) {
    let default = toml::Value::try_from(Job::default()).unwrap();
    let default = section
        .split('.')
        .filter(|part| !part.is_empty())
        .try_fold(default, |value, part| value.get(part).cloned());
    let heading = match section {
        "" => "## Top level".to_owned(),
        section => format!("## `[{section}]`"),
    };
    let rows = rows(&heading);
    let documented: BTreeSet<&str> = rows.iter().filter_map(|row| unquoted(&row[0])).collect();
    let known: BTreeSet<&str> =
        fields.iter().copied().filter(|field| !subsections.contains(field)).collect();
    assert_eq!(
        documented, known,
        "keys of {heading} in docs/JOB.md (left) and in the code (right)"
    );
    for row in &rows {
        let [key, _, given, range, _] = &row[..] else { panic!("{heading}: 5 cells: {row:?}") };
        let key = unquoted(key).unwrap();
        let path = if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") };
        let limit = limits::limit(&path)
            .or_else(|| limits::limit(&format!("{path}[]")))
            .or_else(|| limits::limit(&format!("{path}[][]")));
        match limit {
            Some(limit) => assert_eq!(range, &limit.to_string(), "range of `{path}`"),
            None => assert!(range.parse::<f64>().is_err(), "`{path}` is not in LIMITS"),
        }
        let value = default.as_ref().and_then(|table| table.get(key)).map(short);
        if let Some(value) = value {
            let text = unquoted(given).unwrap_or_else(|| panic!("default of `{path}`: {given}"));
            let table: toml::Table = format!("x = {text}").parse().unwrap();
            assert_eq!(short(&table["x"]), value, "default of `{path}`");
        }
    }
}

#[test]
fn every_key_is_documented() {
    let sections = [
        "data",
        "network",
        "pretrain",
        "variational",
        "prune",
        "finetune",
        "quantize",
        "augment",
        "bits",
        "target",
        "size",
        "calibration",
        "golden",
        "requirements",
        "front",
        "sentinel",
        "report",
    ];
    check("", fields::<Job>(), &sections);
    check("data", fields::<DataConfig>(), &[]);
    check("network", fields::<NetworkConfig>(), &["layers", "names"]);
    check("pretrain", fields::<PretrainConfig>(), &[]);
    check("variational", fields::<VariationalConfig>(), &["learning_rate", "shrink"]);
    check("variational.learning_rate", fields::<LearningRates>(), &[]);
    check("variational.shrink", fields::<ShrinkConfig>(), &[]);
    check("prune", fields::<PruneConfig>(), &[]);
    check("finetune", fields::<FinetuneConfig>(), &[]);
    check("quantize", fields::<QuantizeConfig>(), &[]);
    check("augment", fields::<AugmentConfig>(), &[]);
    check("bits", fields::<BitWidthConfig>(), &[]);
    check("target", fields::<TargetConfig>(), &[]);
    check("size", fields::<SizeConfig>(), &[]);
    check("calibration", fields::<CalibrateConfig>(), &[]);
    check("golden", fields::<GoldenConfig>(), &[]);
    check("requirements", fields::<Requirements>(), &[]);
    check("front", fields::<FrontConfig>(), &[]);
    check("sentinel", fields::<SentinelConfig>(), &[]);
    check("report", fields::<ReportConfig>(), &[]);
}

#[test]
fn every_layer_is_documented() {
    let (size, stride, padding) = ([2; 2], Some([2; 2]), Padding::Valid);
    let name = String::from("a");
    let layers = [
        LayerConfig::Dense { units: Some(1) },
        LayerConfig::Conv2d { filters: 1, kernel: size, stride: size, dilation: size, padding },
        LayerConfig::DepthwiseConv2d { kernel: size, stride: size, dilation: size, padding },
        LayerConfig::BatchNorm {},
        LayerConfig::MaxPool { size, stride, padding },
        LayerConfig::AvgPool { size, stride, padding },
        LayerConfig::GlobalAvgPool {},
        LayerConfig::Crop { size },
        LayerConfig::Slice { begin: vec![1], size: vec![1], stride: vec![1] },
        LayerConfig::Upsample { factor: [2; 2] },
        LayerConfig::Relu {},
        LayerConfig::Relu6 {},
        LayerConfig::LeakyRelu { slope: 0.5 },
        LayerConfig::HardSigmoid {},
        LayerConfig::HardSwish {},
        LayerConfig::Logistic {},
        LayerConfig::Tanh {},
        LayerConfig::Flatten {},
        LayerConfig::Dropout { rate: 0.5 },
        LayerConfig::Mark { name: name.clone() },
        LayerConfig::From { name: name.clone() },
        LayerConfig::Add { name: name.clone() },
        LayerConfig::Mul { name: name.clone() },
        LayerConfig::Concat { name },
    ];
    // serde lists all types to whoever asks for another one.
    let error = toml::from_str::<LayerConfig>("type = \"?\"").unwrap_err();
    let types: BTreeSet<&str> = error.message().split('`').skip(3).step_by(2).collect();
    let tested: BTreeSet<&str> = layers.iter().map(LayerConfig::kind).collect();
    assert_eq!(tested, types, "layers of this test (left) and of the code (right)");
    let rows = rows("## `[[network.layers]]`");
    let mut documented = BTreeSet::new();
    for row in rows.iter().filter(|row| row[0] != "`type`") {
        documented.insert((unquoted(&row[0]).unwrap(), unquoted(&row[1]).unwrap_or("")));
    }
    let mut known = BTreeSet::new();
    let tables: Vec<toml::Table> =
        layers.iter().map(|layer| toml::Table::try_from(layer).unwrap()).collect();
    for (layer, table) in layers.iter().zip(&tables) {
        let keys = table.keys().filter(|key| *key != "type");
        let before = known.len();
        known.extend(keys.map(|key| (layer.kind(), key.as_str())));
        if known.len() == before {
            known.insert((layer.kind(), ""));
        }
    }
    assert_eq!(documented, known, "layers in docs/JOB.md (left) and in the code (right)");
}

#[test]
fn every_limit_belongs_to_a_key() {
    for (key, _) in limits::LIMITS {
        let name = key.trim_end_matches("[]").rsplit('.').next().unwrap();
        assert!(TEXT.contains(&format!("`{name}`")), "`{key}` in LIMITS is no key of JOB.md");
    }
}

/// The examples in the text are jobs.
#[test]
fn examples_parse() {
    let mut count = 0;
    for block in TEXT.split("```toml\n").skip(1) {
        let text = block.split("```").next().unwrap();
        if let Err(error) = Job::parse(Path::new("docs/JOB.md"), text) {
            panic!("{error}\nin\n{text}");
        }
        count += 1;
    }
    assert!(count >= 6);
}
