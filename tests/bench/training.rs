//! Times variational training steps, as `cargo xtask bench training` asks for them.
//!
//! The network, its priors, learning rates and batch are those of `tests/bench/training.py` beside
//! it. It runs the compressor's own training loop, whole, and prints one JSON object.

use std::time::Instant;

use bitsback::data::Shape;
use bitsback::internals::{
    Examples, Material, Noise, Observer, Plan, State, StepReport, Target, initial_network,
    initial_posterior, train,
};
use bitsback::job::{NetworkConfig, Preset, ShrinkConfig, VariationalConfig};
use bitsback::pipeline::{DeviceName, TrainError};
use clap::Parser;

// The names are those of the command.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The examples of an epoch: as many as MNIST has when 5,000 are kept for validation. Their values cost no time.
const EXAMPLES: usize = 55_000;
const SIDE: usize = 28;
const CLASSES: usize = 10;
/// The stream of the examples, apart from those of training.
const EXAMPLES_STREAM: u64 = u64::MAX - 1;

/// Time variational training steps.
#[derive(Parser)]
struct Args {
    #[arg(long, value_parser = ["lenet-300-100", "lenet-5"])]
    network: String,
    #[arg(long)]
    batch: usize,
    /// Steps before the clock starts.
    #[arg(long)]
    warm_up: u64,
    /// Steps that are timed.
    #[arg(long)]
    steps: u64,
    #[arg(long)]
    seed: u64,
}

/// Starts the clock after the warm-up and ends training when enough steps are timed.
struct Clock {
    warm_up: u64,
    steps: u64,
    start: Instant,
    seconds: Option<f64>,
    loss: f64,
}

impl Observer<State> for Clock {
    fn step(&mut self, _: &State, report: &StepReport) -> Result<(), TrainError> {
        if report.step == self.warm_up {
            self.start = Instant::now();
        }
        if report.step == self.warm_up + self.steps {
            self.seconds = Some(self.start.elapsed().as_secs_f64());
            self.loss = report.loss;
            return Err(TrainError::Observer("enough".into()));
        }
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
    let preset = if args.network == "lenet-5" { Preset::Lenet5Caffe } else { Preset::Lenet300 };
    let network = NetworkConfig { preset: Some(preset), ..NetworkConfig::default() };
    let shape = Shape::Image { height: SIDE, width: SIDE, channels: 1 };
    let structure = network.infer(shape, CLASSES)?;
    let config = VariationalConfig {
        batch: Some(args.batch),
        epochs: Some(u32::MAX),
        temperature: Some(vec![(0.0, 0.0), (1.0, 1.0)]),
        // The whole network at every step: what shrinking saves is not the subject.
        shrink: ShrinkConfig { every: 0, ..ShrinkConfig::default() },
        ..VariationalConfig::default()
    };
    let mut noise = Noise::new(args.seed, EXAMPLES_STREAM);
    let inputs = noise.vector(EXAMPLES * SIDE * SIDE).into_iter().map(f32::abs).collect();
    let labels =
        (0..EXAMPLES as u32).map(|i| i.wrapping_mul(2_654_435_761) >> 8).collect::<Vec<_>>();
    let labels = labels.into_iter().map(|i| i % CLASSES as u32).collect();
    let examples = Examples { shape, inputs, labels, classes: CLASSES };
    let start = initial_network(&structure, args.seed);
    let mut state = State::new(initial_posterior(&start, &config));
    let device = DeviceName::default().open()?.autodiff();
    let mut clock = Clock {
        warm_up: args.warm_up,
        steps: args.steps,
        start: Instant::now(),
        seconds: None,
        loss: f64::NAN,
    };
    let validation = examples.sample(1, args.seed);
    let material = Material::new(&examples, 0.0);
    let target = Target::default();
    let plan = Plan { config: &config, seed: args.seed, target: &target };
    let end = train(&mut state, plan, &material, &validation, &device, &mut clock);
    match clock.seconds {
        Some(seconds) => {
            println!("{}", serde_json::json!({ "seconds": seconds, "loss": clock.loss }));
            Ok(())
        }
        None => Ok(end?),
    }
}
