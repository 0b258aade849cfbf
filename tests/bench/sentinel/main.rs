//! How often sentinels are wrong, and how soon they are right, as `cargo xtask bench sentinel` asks.
//!
//! Streams are drawn from MNIST's or Fashion-MNIST's test images, as a model of the set sees them, and fed to the
//! device's own code. It prints one JSON object.

mod chance;
mod delays;
mod false_alarms;
mod field;
mod images;
mod rivals;

use std::path::{Path, PathBuf};

use bitsback::data::{self, DataConfig, DataKind, Values};
use bitsback::internals::watched;
use bitsback::job::{SentinelConfig, SentinelProfile};
use bitsback_runtime::Model;
use clap::Parser;
use serde_json::json;

use field::{Failure, Field, Images};

/// How often sentinels are wrong, and how soon they are right.
#[derive(Parser)]
struct Args {
    /// SET=MODEL: a folder under the data folder with files of MNIST's form, and a .bbk file.
    #[arg(required = true)]
    sets: Vec<String>,
    #[arg(long, default_value = "data")]
    data: PathBuf,
    /// References of each size and kind.
    #[arg(long, default_value_t = 25)]
    references: usize,
    /// Stationary inferences for each reference.
    #[arg(long, default_value_t = 250_000)]
    stream: usize,
    /// Streams for each change.
    #[arg(long, default_value_t = 60)]
    runs: usize,
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// A set, and the model of it.
pub(crate) struct Set {
    pub(crate) name: String,
    pub(crate) model: Vec<u8>,
    /// Test images: they trained nothing and chose nothing.
    pub(crate) images: Images,
    /// What the model makes of them.
    pub(crate) field: Field,
}

impl Set {
    /// The model's file with a sentinel by some reference.
    pub(crate) fn with_sentinel(
        &self,
        reference: &Field,
        config: &SentinelConfig,
    ) -> Result<Vec<u8>, Failure> {
        Ok(watched(&self.model, &reference.inputs, &reference.outputs, config)?)
    }
}

/// What is asked for where nothing is said: a chance of 0.1 % in 10,000 inferences, 2 % tolerated.
pub(crate) fn config() -> SentinelConfig {
    SentinelConfig { profile: SentinelProfile::All, ..SentinelConfig::default() }
}

pub(crate) fn parse(bytes: &[u8]) -> Result<Model<'_>, Failure> {
    Model::parse(bytes).map_err(|error| format!("{error:?}").into())
}

fn main() -> Result<(), Failure> {
    let args = Args::parse();
    let sets: Result<Vec<Set>, Failure> =
        args.sets.iter().map(|set| load(&args.data, set)).collect();
    let sets = sets?;
    let stationary = false_alarms::measure(&sets, &args)?;
    let delays = delays::measure(&sets, &args)?;
    println!("{}", json!({ "stationary": stationary, "delays": delays }));
    Ok(())
}

/// Reads a set's test images, and shows them to the model.
fn load(folder: &Path, set: &str) -> Result<Set, Failure> {
    let (name, model) = set.split_once('=').ok_or("give SET=MODEL")?;
    let bytes = std::fs::read(model)?;
    let file = |file: &str| Some(folder.join(name).join(file));
    let dataset = data::load(&DataConfig {
        kind: DataKind::Idx,
        inputs: file("t10k-images-idx3-ubyte"),
        labels: file("t10k-labels-idx1-ubyte"),
        ..DataConfig::default()
    })?;
    let Values::Bytes(pixels) = dataset.inputs else {
        return Err("the images aren't bytes".into());
    };
    let images = Images { pixels, labels: dataset.labels };
    let field = Field::of(&parse(&bytes)?, &bytes, &images)?;
    eprintln!("{name}: error {:.2} % on {} images", field.error_percent, images.len());
    Ok(Set { name: name.to_owned(), model: bytes, images, field })
}
