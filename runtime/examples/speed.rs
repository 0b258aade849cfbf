//! How fast a model runs on this machine: `cargo run --release --features std --example speed -- MODEL
//! [SECONDS]`.
//!
//! Prints the inferences of a second of the interpreter and of the engine, one example at a time and 64,
//! on one thread: the median of rounds, in which they take turns.

use std::error::Error;
use std::time::{Duration, Instant};
use std::{env, fs};

use bitsback_runtime::{Engine, Interpreter, Model};

const ROUNDS: u32 = 10;
const BATCH: usize = 64;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let path = arguments.next().ok_or("usage: speed MODEL [SECONDS]")?;
    let seconds: f64 = arguments.next().map_or(Ok(2.0), |text| text.parse())?;
    let bytes = fs::read(path)?;
    let model = Model::parse(&bytes)?;
    let mut arena = vec![0; model.arena_len()];
    let mut interpreter = Interpreter::new(&model, &mut arena)?;
    let mut engine = Engine::new(&model);
    let inputs: Vec<i8> = (-128..=127).cycle().take(BATCH * model.input().len()).collect();
    let mut outputs = vec![0; BATCH * model.output().len()];
    let (one, one_output) = (model.input().len(), model.output().len());
    let limit = Duration::from_secs_f64(seconds) / (3 * ROUNDS);
    let mut found = [const { Vec::new() }; 3];
    for _ in 0..ROUNDS {
        found[0].push(rate(limit, 1, || {
            interpreter.input_mut().copy_from_slice(&inputs[..one]);
            interpreter.invoke();
        }));
        found[1].push(rate(limit, 1, || {
            let _ = engine.run(&inputs[..one], &mut outputs[..one_output]);
        }));
        found[2].push(rate(limit, BATCH, || {
            let _ = engine.run(&inputs, &mut outputs);
        }));
    }
    let names = ["interpreter", "engine", "engine, 64 at once"];
    for (name, mut rates) in names.into_iter().zip(found) {
        rates.sort_by(f64::total_cmp);
        println!("{:>9.0} inferences a second: {name}", rates[rates.len() / 2]);
    }
    println!("kernels: {}", engine.kernels().name());
    println!("as the interpreter: {:?}", engine.interpreted().collect::<Vec<_>>());
    Ok(())
}

/// Examples of a second.
fn rate(limit: Duration, examples: usize, mut run: impl FnMut()) -> f64 {
    let (start, mut count) = (Instant::now(), 0);
    while count == 0 || start.elapsed() < limit {
        run();
        count += examples;
    }
    count as f64 / start.elapsed().as_secs_f64()
}
