//! Models built here, byte by byte: what each operator computes, and every way to be refused.

use super::builder::{Field, I8, I32, ModelBuilder, single};
use crate::import::{At, ImportError, ImportOptions, import};
use crate::verify::run_batch;

#[test]
fn activations_limit_and_rescale() {
    // RELU at equal scales: not below the zero point 1.
    assert_eq!(single(19, &[1, 3], &[1, 3], vec![]).run(&[-5, 1, 9]), [1, 1, 9]);
    // RELU6 at scale 0.5: 6 is 12 steps above.
    assert_eq!(single(21, &[1, 3], &[1, 3], vec![]).run(&[-5, 20, 9]), [1, 13, 9]);
    // LEAKY_RELU with alpha ½.
    let leaky = single(98, &[1, 3], &[1, 3], vec![(0, Field::F32(0.5))]);
    assert_eq!(leaky.run(&[-7, 1, 9]), [-3, 1, 9]);
}

#[test]
fn sums_products_and_constants() {
    for (code, expected) in [(0, [3, -1, 9, 4]), (18, [0, 0, 0, 1])] {
        let mut builder = ModelBuilder::new();
        let input = builder.tensor(&[1, 2, 2], 0.5, 0);
        let constant = builder.typed(&[2], I8, &[1, 0xff], 0.5, 0); // 1, −1
        let output = builder.tensor(&[1, 2, 2], 0.5, 0);
        builder.operator(code, &[constant, input], output, vec![]);
        (builder.inputs, builder.outputs) = (vec![input], vec![output]);
        let inputs = if code == 0 { [2, 0, 8, 5] } else { [0, 0, 0, -2] };
        assert_eq!(builder.run(&inputs), expected);
    }
}

#[test]
fn residuals_views_and_wide_joins() {
    let mut builder = ModelBuilder::new();
    let input = builder.tensor(&[1, 2, 3], 1.0, 0);
    let flat = builder.tensor(&[1, 6], 1.0, 0);
    builder.operator(22, &[input], flat, vec![]);
    let joined = builder.tensor(&[1, 30], 1.0, 0);
    builder.operator(2, &[flat; 5], joined, vec![(0, Field::I32(-1))]);
    let sum = builder.tensor(&[1, 30], 1.0, 0);
    builder.operator(0, &[joined, joined], sum, vec![]);
    (builder.inputs, builder.outputs) = (vec![input], vec![sum]);
    let one = [2, 4, 6, 8, 10, -12];
    assert_eq!(builder.run(&[1, 2, 3, 4, 5, -6]), [one; 5].concat());
}

#[test]
fn borders_means_and_the_largest() {
    let mut builder = single(34, &[1, 1, 2, 1], &[1, 2, 4, 1], vec![]);
    let borders = builder.integers(&[0, 0, 1, 0, 1, 1, 0, 0]);
    builder.operators[0][1].1 = Field::I32s(vec![0, borders]);
    assert_eq!(builder.run(&[7, 8]), [1, 1, 1, 1, 1, 7, 8, 1]);

    let mut builder = single(40, &[1, 2, 2, 2], &[1, 2], vec![]);
    let axes = builder.integers(&[1, -2]);
    builder.operators[0][1].1 = Field::I32s(vec![0, axes]);
    assert_eq!(builder.run(&[1, 10, 3, 20, 5, 30, 7, 40]), [4, 25]);

    let mut builder = ModelBuilder::new();
    let (input, axis) = (builder.tensor(&[1, 4], 1.0, 0), builder.integers(&[1]));
    let output = builder.typed(&[1], I32, &[], 1.0, 0);
    builder.operator(56, &[input, axis], output, vec![]);
    (builder.inputs, builder.outputs) = (vec![input], vec![output]);
    assert_eq!(builder.run(&[1, 5, 9, 9]), [2, 0]);
}

#[test]
fn maxima_over_the_whole_image() {
    for dims in [vec![1, 2, 2, 2], vec![1, 4, 2]] {
        let axes: Vec<i32> = (1..dims.len() as i32 - 1).collect();
        let mut builder = single(82, &dims, &[1, 2], vec![]);
        let axes = builder.integers(&axes);
        builder.operators[0][1].1 = Field::I32s(vec![0, axes]);
        assert_eq!(builder.run(&[1, 10, 3, -20, -5, 30, 2, 4]), [3, 30]);
    }
    let mut builder = single(82, &[1, 2, 2], &[1, 2], vec![]);
    let (axes, finer) = (builder.integers(&[1]), builder.tensor(&[1, 2], 0.25, 1));
    builder.operators[0][1].1 = Field::I32s(vec![0, axes]);
    builder.operators[0][2].1 = Field::I32s(vec![finer]);
    builder.outputs = vec![finer];
    assert!(matches!(builder.refused(), ImportError::Quantization { .. }));
}

/// As Keras flattens with a batch that is left open.
#[test]
fn sizes_that_are_computed_for_a_reshape() {
    let mut builder = ModelBuilder::new();
    let input = builder.tensor(&[1, 2, 2], 0.5, 0);
    let sizes = builder.typed(&[3], I32, &[], 1.0, 0);
    builder.operator(77, &[input], sizes, vec![]);
    let [from, to, step] = [0, 1, 1].map(|number| builder.integers(&[number]));
    let batch = builder.typed(&[], I32, &[], 1.0, 0);
    builder.operator(45, &[sizes, from, to, step], batch, vec![]);
    let rest = builder.integers(&[1, 2]);
    let rest_sizes = builder.typed(&[2], I32, &[], 1.0, 0);
    builder.operator(36, &[sizes, rest], rest_sizes, vec![]);
    let zero = builder.integers(&[0]);
    let len = builder.typed(&[1], I32, &[], 1.0, 0);
    builder.operator(81, &[rest_sizes, zero], len, vec![]);
    let shape = builder.typed(&[2], I32, &[], 1.0, 0);
    builder.operator(83, &[batch, len], shape, vec![(0, Field::I32(2))]);
    let again = builder.typed(&[2], I32, &[], 1.0, 0);
    builder.operator(2, &[batch, len], again, vec![(0, Field::I32(0))]);
    let flat = builder.tensor(&[1, 4], 0.5, 0);
    builder.operator(22, &[input, shape], flat, vec![]);
    let output = builder.tensor(&[1, 4], 0.5, 0);
    builder.operator(19, &[flat], output, vec![]);
    (builder.inputs, builder.outputs) = (vec![input], vec![output]);
    assert_eq!(builder.run(&[-1, 2, -3, 4]), [0, 2, 0, 4]);

    let error = single(45, &[1, 4], &[1, 2], vec![]).refused();
    assert!(matches!(&error, ImportError::Missing { .. }), "{error}");
    assert!(error.to_string().contains("STRIDED_SLICE"), "{error}");
}

#[test]
fn transpositions_of_ones_are_left_out() {
    let mut builder = single(39, &[1, 1, 3], &[1, 3, 1], vec![]);
    let order = builder.integers(&[1, 2, 0]);
    builder.operators[0][1].1 = Field::I32s(vec![0, order]);
    let output = builder.tensor(&[1, 3, 1], 0.5, 1);
    builder.operator(19, &[1], output, vec![]);
    builder.outputs = vec![output];
    assert_eq!(builder.run(&[-1, 2, 3]), [1, 2, 3]);
    let mut builder = single(39, &[1, 2, 3], &[1, 3, 2], vec![]);
    let order = builder.integers(&[0, 2, 1]);
    builder.operators[0][1].1 = Field::I32s(vec![0, order]);
    let error = builder.refused();
    assert!(matches!(error, ImportError::Shape { .. }), "{error}");
}

#[test]
fn layers_with_weights() {
    // Two rows of inputs: a 1×1 convolution. Weights of 4 bits: 1, −1 | 2, 0.
    let mut builder = ModelBuilder::new();
    let input = builder.tensor(&[1, 2, 2], 1.0, 0);
    let weights = builder.typed(&[2, 2], 17, &[0xf1, 0x02], 1.0, 0);
    let bias = builder.integers(&[10, -10]);
    let output = builder.tensor(&[1, 2, 2], 1.0, 0);
    builder.operator(9, &[input, weights, bias], output, vec![]);
    (builder.inputs, builder.outputs) = (vec![input], vec![output]);
    assert_eq!(builder.run(&[5, 3, 1, 2]), [12, 0, 9, -8]);

    // Two groups of two channels, and as many groups as channels.
    let grouped = |weights: &[u8], channels: i32| {
        let mut builder = ModelBuilder::new();
        let input = builder.tensor(&[1, 1, 1, 4], 1.0, 0);
        let filters = weights.len() as i32 / channels;
        let weights = builder.typed(&[filters, 1, 1, channels], I8, weights, 1.0, 0);
        let output = builder.tensor(&[1, 1, 1, filters], 1.0, 0);
        let strides = vec![(1, Field::I32(1)), (2, Field::I32(1))];
        builder.operator(3, &[input, weights, -1], output, strides);
        (builder.inputs, builder.outputs) = (vec![input], vec![output]);
        builder
    };
    assert_eq!(grouped(&[1, 2, 0, 1, 3, 0, 1, 1], 2).run(&[1, 2, 3, 4]), [5, 2, 9, 7]);
    assert_eq!(grouped(&[1, 2, 3, 4], 1).run(&[1, 2, 3, 4]), [1, 4, 9, 16]);
    assert!(matches!(grouped(&[1, 2, 3], 3).refused(), ImportError::Shape { .. }));

    // Depthwise, two outputs for one input; `SAME`, three taps down.
    let mut builder = ModelBuilder::new();
    let input = builder.tensor(&[1, 3, 1, 1], 1.0, 0);
    let weights = builder.typed(&[1, 3, 1, 2], I8, &[1, 0, 1, 1, 1, 0], 1.0, 0);
    let output = builder.tensor(&[1, 3, 1, 2], 1.0, 0);
    let strides = vec![(1, Field::I32(1)), (2, Field::I32(1))];
    builder.operator(4, &[input, weights, -1], output, strides);
    (builder.inputs, builder.outputs) = (vec![input], vec![output]);
    assert_eq!(builder.run(&[1, 2, 4]), [3, 1, 7, 2, 6, 4]);
}

#[test]
fn float_and_uint8_ends_are_left_out() {
    let mut builder = ModelBuilder::new();
    let raw = builder.typed(&[1, 2], 3, &[], 0.5, 128);
    let input = builder.tensor(&[1, 2], 0.5, 0);
    builder.operator(114, &[raw], input, vec![]);
    let relu = builder.tensor(&[1, 2], 0.5, 0);
    builder.operator(19, &[input], relu, vec![]);
    let real = builder.typed(&[1, 2], 0, &[], 1.0, 0);
    builder.operator(6, &[relu], real, vec![]);
    (builder.inputs, builder.outputs) = (vec![raw], vec![real]);
    assert_eq!(builder.run(&[-3, 3]), [0, 3]);
    let file = import(&builder.bytes(), &ImportOptions::default()).unwrap().bytes;
    let model = bitsback_runtime::Model::parse(&file).unwrap();
    let mut arena = vec![0; model.arena_len()];
    let mut interpreter = bitsback_runtime::Interpreter::new(&model, &mut arena).unwrap();
    interpreter.set_input_bytes(&[128, 255]).unwrap();
    assert_eq!(interpreter.input_mut(), [0, 127]);
}

#[test]
fn each_refusal_says_where() {
    let good = || single(19, &[1, 3], &[1, 3], vec![]);
    assert!(matches!(import(b"x", &ImportOptions::default()), Err(ImportError::UnknownFormat)));
    let cut = &good().bytes()[..60];
    let error = import(cut, &ImportOptions::default()).unwrap_err();
    assert!(matches!(error, ImportError::Damaged(_)), "{error}");

    let mut builder = good();
    builder.version = 2;
    assert!(matches!(builder.refused(), ImportError::SchemaVersion { found: 2, .. }));
    let mut builder = good();
    builder.inputs.push(1);
    assert!(matches!(builder.refused(), ImportError::NotOne { what: "inputs", found: 2 }));

    let error = single(42, &[1, 3], &[1, 3], vec![]).refused();
    let at = At { index: 0, operator: "DIV".into(), output: "t1".into() };
    assert!(matches!(&error, ImportError::Operator { at: found, .. } if *found == at));
    assert!(error.to_string().contains("CONV_2D"), "{error}");

    let mut builder = good();
    builder.codes[0].push((2, Field::I32(99)));
    assert!(matches!(builder.refused(), ImportError::OperatorVersion { found: 99, .. }));
    let mut builder = good();
    builder.tensors[0][1].1 = Field::I8(7);
    let error = builder.refused();
    assert!(matches!(&error, ImportError::Type { found, .. } if found == "INT16"), "{error}");
    let mut builder = good();
    builder.operators[0][1].1 = Field::I32s(vec![7]);
    assert!(matches!(builder.refused(), ImportError::Missing { .. }));
    let mut builder = good();
    builder.tensors[1].pop();
    assert!(matches!(builder.refused(), ImportError::Quantization { .. }));
    assert!(matches!(single(19, &[1, 3], &[1, 4], vec![]).refused(), ImportError::Shape { .. }));
    let fused = vec![(0, Field::I32(1)), (1, Field::I8(1))];
    assert!(matches!(single(2, &[1, 3], &[1, 3], fused).refused(), ImportError::Attribute { .. }));
    let mut builder = good();
    builder.outputs = builder.inputs.clone();
    assert!(matches!(builder.refused(), ImportError::Compile(_)));
    let mut builder = good();
    builder.operators[0][1].1 = Field::I32s(vec![0; 65]);
    assert!(matches!(builder.refused(), ImportError::TooMany { limit: 64, .. }));
}

/// Small sound files of many operators, as a start for mutations.
fn seeds() -> Vec<Vec<u8>> {
    let mut join = single(2, &[1, 3], &[1, 6], vec![(0, Field::I32(1))]);
    join.operators[0][1].1 = Field::I32s(vec![0, 0]);
    let strides = |size| {
        vec![(1, Field::I32(1)), (2, Field::I32(1)), (3, Field::I32(size)), (4, Field::I32(size))]
    };
    let pool = single(17, &[1, 4, 4, 2], &[1, 4, 4, 2], strides(2));
    let average = single(1, &[1, 4, 4, 2], &[1, 4, 4, 2], strides(3));
    let mut dense = ModelBuilder::new();
    let (input, weights) =
        (dense.tensor(&[1, 4], 0.5, 3), dense.typed(&[2, 4], I8, &[3; 8], 0.25, 0));
    let (bias, output) = (dense.integers(&[5, -5]), dense.tensor(&[1, 2], 0.5, -4));
    dense.operator(9, &[input, weights, bias], output, vec![(0, Field::I8(1))]);
    (dense.inputs, dense.outputs) = (vec![input], vec![output]);
    let models = [join, pool, average, dense, single(19, &[1, 3], &[1, 3], vec![])];
    models.iter().map(ModelBuilder::bytes).collect()
}

/// Damaged and crafted files: an error or a model that runs, never a panic. `BITSBACK_MUTATIONS`
/// asks for more than the test's usual number.
#[test]
fn mutated_files_never_panic() {
    let asked = std::env::var("BITSBACK_MUTATIONS").ok().and_then(|text| text.parse().ok());
    let rounds: u64 = asked.unwrap_or(20_000);
    let seeds = seeds();
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = move || {
        // Marsaglia's xorshift: any sequence does.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize
    };
    let interesting = [0u8, 1, 2, 3, 4, 8, 127, 128, 254, 255];
    let mut accepted = 0;
    for _ in 0..rounds {
        let mut bytes = seeds[next() % seeds.len()].clone();
        for _ in 0..1 + next() % 4 {
            let at = next() % bytes.len();
            bytes[at] = match next() % 3 {
                0 => next() as u8,
                1 => interesting[next() % interesting.len()],
                _ => bytes[at].wrapping_add(1),
            };
        }
        if next() % 16 == 0 {
            bytes.truncate(next() % bytes.len());
        }
        if let Ok(imported) = import(&bytes, &ImportOptions::default()) {
            let model = bitsback_runtime::Model::parse(&imported.bytes).unwrap();
            if model.arena_len() < 1 << 16 {
                run_batch(&imported.bytes, &vec![5; model.input().len()]).unwrap();
            }
            accepted += 1;
        }
    }
    assert!(accepted > rounds / 20, "hardly any file is accepted: mutations reach nothing");
}

/// Every byte against the real function: what TensorFlow Lite Micro gives is within a step.
#[test]
fn hard_swish_is_the_real_one_within_a_step() {
    let mut builder = single(117, &[1, 256], &[1, 256], vec![]);
    for (tensor, scale, zero) in [(0, 0.05f32, 10i64), (1, 0.03, -100)] {
        let quantization = vec![(2, Field::F32s(vec![scale])), (3, Field::I64s(vec![zero]))];
        builder.tensors[tensor][4].1 = Field::Table(quantization);
    }
    let inputs: Vec<i8> = (i8::MIN..=i8::MAX).collect();
    for (x, y) in inputs.iter().zip(builder.run(&inputs)) {
        let real = 0.05 * (f64::from(*x) - 10.0);
        let exact = real * (real + 3.0).clamp(0.0, 6.0) / 6.0 / 0.03 - 100.0;
        assert!((f64::from(y) - exact.clamp(-128.0, 127.0)).abs() < 1.01, "{x}: {y}, {exact}");
    }
    let mut far = builder.clone();
    let scale = |scale: f32| vec![(2, Field::F32s(vec![scale])), (3, Field::I64s(vec![0]))];
    far.tensors[1][4].1 = Field::Table(scale(0.05 / 200.0));
    let found = far.refused().to_string();
    assert!(found.contains("HARD_SWISH") && found.contains("far below"), "{found}");
}

#[test]
fn values_are_not_gathered() {
    let mut builder = single(36, &[1, 4], &[1, 4], vec![]);
    let chosen = builder.integers(&[0, 1, 2, 3]);
    builder.operators[0][1].1 = Field::I32s(vec![0, chosen]);
    let found = builder.refused().to_string();
    assert!(found.contains("GATHER") && found.contains("only of sizes"), "{found}");
}
