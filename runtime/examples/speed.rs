//! How fast a model runs on this machine: `cargo run --release --example speed -- MODEL [SECONDS]`.
//!
//! Prints the inferences of a second, the best of ten runs, which other work disturbs least.

use std::error::Error;
use std::time::{Duration, Instant};
use std::{env, fs};

use bitsback_runtime::{Interpreter, Model};

const RUNS: u32 = 10;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let path = arguments.next().ok_or("usage: speed MODEL [SECONDS]")?;
    let seconds: f64 = arguments.next().map_or(Ok(2.0), |text| text.parse())?;
    let bytes = fs::read(path)?;
    let model = Model::parse(&bytes)?;
    let mut arena = vec![0; model.arena_len()];
    let mut interpreter = Interpreter::new(&model, &mut arena)?;
    let limit = Duration::from_secs_f64(seconds) / RUNS;
    let mut best = 0.0f64;
    for _ in 0..RUNS {
        let (start, mut inferences) = (Instant::now(), 0u32);
        while start.elapsed() < limit {
            for (place, value) in interpreter.input_mut().iter_mut().zip((-128..=127).cycle()) {
                *place = value;
            }
            interpreter.invoke();
            inferences += 1;
        }
        best = best.max(f64::from(inferences) / start.elapsed().as_secs_f64());
    }
    println!("{best:.0} inferences a second");
    Ok(())
}
