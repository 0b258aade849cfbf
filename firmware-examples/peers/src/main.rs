//! Other crates on the shapes that runtimes are compared by, one inference each.
//!
//! `embedded-nn` has functions that take weights as slices, random ones here; there is no model file
//! and no graph, so that what is counted is operators alone. `microflow` compiles models of
//! TensorFlow Lite.
//!
//! Prints a line of JSON for each crate and shape.
#![no_std]
#![no_main]

mod compiled;
mod layers;
mod random;

use core::hint::black_box;

use board::{counter, println, stack};

use layers::{Conv, Dense};
use random::weights;

board::main!(run);

const LAYERS: &str = "embedded-nn";
const COMPILED: &str = "microflow";

static D1: [i8; 784 * 300] = weights();
static D2: [i8; 300 * 100] = weights();
static D3: [i8; 100 * 10] = weights();
static W1: [i8; 25 * 20] = weights();
static W2: [i8; 25 * 20 * 50] = weights();
static W3: [i8; 800 * 500] = weights();
static W4: [i8; 500 * 10] = weights();
static P1: [i8; 25 * 8] = weights();
static P2: [i8; 25 * 8 * 13] = weights();
static P3: [i8; 208 * 13] = weights();
static P4: [i8; 13 * 10] = weights();

/// The longest tensor, 24 × 24 × 20.
const MAX_TENSOR: usize = 11_520;

fn run() -> Result<(), &'static str> {
    let mut ends = [[0; MAX_TENSOR]; 2];
    let [a, b] = &mut ends;
    measure([LAYERS, "lenet-300-100"], a, b, |a, b| {
        Dense { weights: &D1, columns: 784, rows: 300 }.run(a, b)?;
        Dense { weights: &D2, columns: 300, rows: 100 }.run(b, a)?;
        Dense { weights: &D3, columns: 100, rows: 10 }.run(a, b)
    })?;
    measure([LAYERS, "lenet-5-20-50-500"], a, b, |a, b| {
        Conv { weights: &W1, side: 28, channels: 1, filters: 20 }.run(a, b)?;
        layers::max_pool(24, 20, b, a)?;
        Conv { weights: &W2, side: 12, channels: 20, filters: 50 }.run(a, b)?;
        layers::max_pool(8, 50, b, a)?;
        Dense { weights: &W3, columns: 800, rows: 500 }.run(a, b)?;
        Dense { weights: &W4, columns: 500, rows: 10 }.run(b, a)
    })?;
    measure([LAYERS, "lenet-5-8-13-13"], a, b, |a, b| {
        Conv { weights: &P1, side: 28, channels: 1, filters: 8 }.run(a, b)?;
        layers::max_pool(24, 8, b, a)?;
        Conv { weights: &P2, side: 12, channels: 8, filters: 13 }.run(a, b)?;
        layers::max_pool(8, 13, b, a)?;
        Dense { weights: &P3, columns: 208, rows: 13 }.run(a, b)?;
        Dense { weights: &P4, columns: 13, rows: 10 }.run(b, a)
    })?;
    measure([COMPILED, "lenet-300-100"], a, b, |a, _| {
        black_box(compiled::lenet_300(a));
        Ok(())
    })
}

/// Two tensors, and whether all went well.
type Tensors = [i8; MAX_TENSOR];

/// Counts one inference and prints it.
fn measure(
    [runtime, shape]: [&str; 2],
    a: &mut Tensors,
    b: &mut Tensors,
    infer: impl FnOnce(&mut Tensors, &mut Tensors) -> Result<(), &'static str>,
) -> Result<(), &'static str> {
    *a = weights();
    let ((done, instructions), stack) = stack::bytes_used(|| counter::instructions(|| infer(a, b)));
    done?;
    println!(
        "{{\"runtime\":\"{runtime}\",\"shape\":\"{shape}\",\"instructions\":{},\"stack_bytes\":{}}}",
        instructions.ok_or("the timer ran out")?,
        stack.ok_or("more stack than was painted")?
    );
    Ok(())
}
