//! Refusals, each by its words, and files that were changed at random.

use proptest::prelude::*;
use prost::Message;
use prost::bytes::Bytes;

use super::schema::{
    Attribute, Entry, RawDim, RawGraph, RawModel, RawNode, RawOpset, RawShape, RawTensorType,
    RawType, RawValue, Tensor,
};
use super::*;
use crate::graph::Executor;
use crate::import::{self, Basis};

fn encoded(message: &impl Message) -> Bytes {
    message.encode_to_vec().into()
}

fn value(name: &str, kind: i32, dims: &[i64]) -> Bytes {
    let dims = dims.iter().map(|&value| RawDim { value, ..RawDim::default() }).collect();
    let tensor = RawTensorType { element: kind, shape: Some(RawShape { dims }) };
    let kind = Some(RawType { tensor: Some(tensor) });
    encoded(&RawValue { name: name.into(), kind })
}

fn node(operator: &str, inputs: &[&str], output: &str, attributes: &[Attribute]) -> Bytes {
    encoded(&RawNode {
        operator: operator.into(),
        inputs: inputs.iter().map(|&input| input.into()).collect(),
        outputs: vec![output.into()],
        attributes: attributes.iter().map(encoded).collect(),
        ..RawNode::default()
    })
}

fn floats(name: &str, dims: &[i64]) -> Tensor {
    let len = dims.iter().product::<i64>().max(0) as usize;
    Tensor {
        name: name.into(),
        dims: dims.to_vec(),
        kind: 1,
        floats: vec![0.5; len],
        ..Tensor::default()
    }
}

/// `w` is 4 × 3, `k` 2 × 2 × 3 × 3, `zero` an int8 zero, `i` the index 0, `scale` 0.5.
fn graph(nodes: Vec<Bytes>, dims: &[i64]) -> RawGraph {
    let zero = Tensor { name: "zero".into(), kind: 3, ints: vec![0], ..Tensor::default() };
    let index =
        Tensor { name: "i".into(), dims: vec![1], kind: 7, longs: vec![0], ..Tensor::default() };
    let (w, k) = (floats("w", &[4, 3]), floats("k", &[2, 2, 3, 3]));
    let parameters = [w, k, zero, index, floats("scale", &[])];
    RawGraph {
        nodes,
        initializers: parameters.iter().map(encoded).collect(),
        inputs: vec![value("x", 1, dims)],
        outputs: vec![value("y", 1, &[])],
        ..RawGraph::default()
    }
}

fn file(graph: &RawGraph) -> Vec<u8> {
    let opset = RawOpset { domain: String::new(), version: 17 };
    let model = RawModel {
        ir_version: 8,
        graph: encoded(graph),
        opsets: vec![encoded(&opset)],
        ..RawModel::default()
    };
    model.encode_to_vec()
}

fn refusal(graph: &RawGraph) -> String {
    read(&file(graph), None, None).unwrap_err().to_string()
}

/// The refusal of one node that reads `x`.
fn of_node(operator: &str, inputs: &[&str], dims: &[i64], attributes: &[Attribute]) -> String {
    refusal(&graph(vec![node(operator, inputs, "y", attributes)], dims))
}

fn int(name: &str, int: i64) -> Attribute {
    Attribute { name: name.into(), int, ..Attribute::default() }
}

fn ints(name: &str, ints: &[i64]) -> Attribute {
    Attribute { name: name.into(), ints: ints.to_vec(), ..Attribute::default() }
}

/// An operator, its operands, its output's shape, its attributes; what the refusal says.
type Refusal<'a> = (&'a str, &'a [&'a str], &'a [i64], &'a [Attribute], &'a str);

#[test]
fn what_is_not_supported_is_named_with_its_place() {
    let lstm = of_node("LSTM", &["x"], &[1, 4], &[]);
    assert!(lstm.contains("operator 0 (LSTM, which writes `y`)"), "{lstm}");
    assert!(lstm.contains("Gemm") && lstm.contains("supported-ops"), "{lstm}");
    let raw = node("Erf", &["x"], "y", &[]);
    let mut raw = RawNode::decode(raw).unwrap();
    raw.name = "/head/gelu".into();
    let error = refusal(&graph(vec![encoded(&raw)], &[1, 4]));
    assert!(error.contains("operator 0 (Erf `/head/gelu`, which writes `y`)"), "{error}");
    let table: [Refusal<'_>; 19] = [
        ("Gemm", &["x", "w"], &[1, 4], &[int("transA", 1)], "transA is 1"),
        ("Gemm", &["x", "w"], &[1, 5], &[], "the sizes don't fit"),
        ("Gemm", &["x", "gone"], &[1, 4], &[], "nothing before it writes"),
        ("Gemm", &["x"], &[1, 4], &[], "its weights is missing"),
        ("Gemm", &["x", "x"], &[1, 4], &[], "must be constants"),
        ("Conv", &["x", "k"], &[1, 3, 8, 8], &[], "channels, filters and groups"),
        ("Conv", &["x", "k"], &[1, 2, 2, 2], &[], "no window fits"),
        ("Conv", &["x", "k"], &[1, 2, 8, 8], &[ints("strides", &[0, 1])], "1 to 65535"),
        ("MaxPool", &["x"], &[1, 2, 8, 8], &[], "kernel_shape is missing"),
        ("Flatten", &["x"], &[1, 2, 8, 8], &[int("axis", 5)], "axis is 5"),
        ("Gather", &["x", "i"], &[1, 2, 8, 8], &[], "picks values of the input"),
        ("Slice", &["x", "i", "i", "i"], &[1, 2, 8, 8], &[], "the batch can't be cut"),
        ("Range", &["i", "i", "i"], &[1, 4], &[], "the step is 0"),
        (
            "MaxPool",
            &["x"],
            &[1, 2, 8, 8],
            &[ints("kernel_shape", &[2, 2]), ints("dilations", &[2, 2])],
            "dilations is [2, 2]",
        ),
        (
            "AveragePool",
            &["x"],
            &[1, 2, 8, 8],
            &[ints("kernel_shape", &[1, 2]), ints("pads", &[0, 2, 0, 0])],
            "padding alone",
        ),
        ("Transpose", &["x"], &[1, 2, 8, 8], &[ints("perm", &[1, 0, 2, 3])], "batch must stay"),
        ("Softmax", &["x"], &[1, 2, 8, 8], &[int("axis", 2)], "lie together in memory"),
        ("ReduceMean", &["x"], &[1, 2, 8, 8], &[ints("axes", &[0, 1])], "any but the batch"),
        ("QuantizeLinear", &["x", "w", "zero"], &[1, 4], &[], "more than one scale"),
    ];
    for (operator, inputs, dims, attributes, words) in table {
        let found = of_node(operator, inputs, dims, attributes);
        assert!(found.contains(words), "{operator}: {found}");
        assert!(found.contains(operator), "{found}");
    }
}

/// Factors of an `Upsample` and its like, as attributes and operands.
#[test]
fn images_are_resized_where_the_pixels_are_known() {
    let numbers = |name: &str, floats: &[f32]| Attribute {
        name: name.into(),
        floats: floats.to_vec(),
        ..Attribute::default()
    };
    let text = |name: &str, text: &'static str| Attribute {
        name: name.into(),
        text: text.as_bytes().into(),
        ..Attribute::default()
    };
    let dims = [1, 2, 5, 4];
    let upsample = node("Upsample", &["x"], "y", &[numbers("scales", &[1.0, 1.0, 2.0, 3.0])]);
    let read_back = read(&file(&graph(vec![upsample], &dims)), None, None).unwrap();
    assert_eq!(read_back.graph.values[read_back.graph.output].dims, [10, 12, 2]);
    // Fewer pixels: each is the last of those that it stands for, as in ONNX Runtime.
    let fewer = node("Upsample", &["x"], "y", &[numbers("scales", &[1.0, 1.0, 0.6, 1.0])]);
    let read_back = read(&file(&graph(vec![fewer], &dims)), None, None).unwrap();
    let x: Vec<f32> = (0..40).map(|i| i as f32).collect();
    let y = Executor::new(&read_back.graph).unwrap().run(&x).unwrap();
    assert_eq!([y[0], y[8], y[16]], [x[0], x[16], x[32]]);
    let sized = |attributes: &[Attribute]| {
        let mut graph = graph(vec![node("Resize", &["x", "", "", "s"], "y", attributes)], &dims);
        let sizes = Tensor { name: "s".into(), dims: vec![4], kind: 7, ..Tensor::default() };
        graph.initializers.push(encoded(&Tensor { longs: vec![1, 2, 7, 9], ..sizes }));
        refusal(&graph)
    };
    let policy = sized(&[text("keep_aspect_ratio_policy", "not_larger")]);
    assert!(policy.contains("keep_aspect_ratio_policy is not_larger"), "{policy}");
    let corners = sized(&[text("coordinate_transformation_mode", "align_corners")]);
    assert!(corners.contains("from 5 to 7 by 1.4"), "{corners}");
    let linear = sized(&[text("mode", "linear")]);
    assert!(linear.contains("mode is linear"), "{linear}");
}

/// Small files whose constants would be large.
#[test]
fn constants_are_bounded_before_they_are_made() {
    let sizes = |name: &str, longs: &[i64]| Tensor {
        name: name.into(),
        dims: vec![longs.len() as i64],
        kind: 7,
        longs: longs.to_vec(),
        ..Tensor::default()
    };
    let single = |name: &str, long: i64| Tensor { dims: Vec::new(), ..sizes(name, &[long]) };
    let parameters = [
        sizes("shape", &[1 << 20, 1 << 20, 1 << 20]),
        sizes("many", &[1 << 40]),
        single("first", i64::MIN),
        single("last", i64::MAX),
        single("one", 1),
        sizes("rows", &[0; 70_000]),
        floats("row", &[1, 1000]),
    ];
    let table: [(&str, &[&str]); 4] = [
        ("ConstantOfShape", &["shape"]),
        ("Expand", &["one", "many"]),
        ("Range", &["first", "last", "one"]),
        ("Gather", &["row", "rows"]),
    ];
    for (operator, inputs) in table {
        let nodes = vec![node(operator, inputs, "c", &[]), node("Relu", &["x"], "y", &[])];
        let mut graph = graph(nodes, &[1, 4]);
        graph.initializers.extend(parameters.iter().map(encoded));
        let found = refusal(&graph);
        assert!(found.contains("parameters, but at most"), "{operator}: {found}");
    }
}

/// One normalisation has its channels first in the input, another has them last.
#[test]
fn operators_that_contradict_one_another_are_both_named() {
    let norm = |input: &str, output: &str| {
        node("BatchNormalization", &[input, "s", "s", "s", "s"], output, &[])
    };
    let nodes = vec![
        norm("x", "a"),
        node("Transpose", &["x"], "t", &[ints("perm", &[0, 3, 1, 2])]),
        norm("t", "y"),
    ];
    let mut graph = graph(nodes, &[1, 2, 2, 2]);
    graph.initializers.push(encoded(&floats("s", &[2])));
    let found = refusal(&graph);
    assert!(found.contains("operator 0 (") && found.contains("operator 2 ("), "{found}");
    assert!(found.contains("--input-layout"), "{found}");
    let layout = Layout::ChannelsLast;
    let given = read(&file(&graph), None, Some(layout)).unwrap().input_layout;
    assert_eq!(given, Some(InputLayout { layout, basis: Basis::Given }));
}

#[test]
fn a_transposition_that_would_have_to_be_computed_is_refused() {
    let there = node("Transpose", &["x"], "t", &[ints("perm", &[0, 2, 1, 3])]);
    let conv = node("Conv", &["t", "k"], "y", &[]);
    let found = refusal(&graph(vec![there, conv], &[1, 8, 2, 8]));
    assert!(found.contains("transposed in memory"), "{found}");
}

#[test]
fn outputs_that_would_have_to_be_moved_are_refused() {
    let conv = || node("Conv", &["x", "k"], "a", &[]);
    let flatten = || node("Flatten", &["a"], "y", &[]);
    let moved = |nodes: Vec<Bytes>, dims: &[i64]| {
        let mut graph = graph(nodes, dims);
        let shape = Tensor { dims: vec![3], longs: vec![1, 2, -1], ..floats("shape", &[]) };
        let shape = Tensor { kind: 7, floats: Vec::new(), ..shape };
        let parameters = [floats("s", &[2, 2, 3]), floats("o", &[1, 2, 3, 3]), shape];
        graph.initializers.extend(parameters.iter().map(encoded));
        let model = import::floats(&file(&graph), None, None);
        model.err().map(|error| error.to_string())
    };
    let image = &[1, 2, 4, 5];
    let step = |input: &str, output: &str| node("Conv", &[input, "s"], output, &[]);
    let flat = node("Flatten", &["a"], "f", &[]);
    let refused: [(&str, Vec<Bytes>, &[i64]); 5] = [
        ("operator 1 (Flatten", vec![conv(), flatten()], image),
        ("operator 1 (Reshape", vec![conv(), node("Reshape", &["a", "shape"], "y", &[])], image),
        ("operator 2 (Mul", vec![conv(), flat, node("Mul", &["f", "scale"], "y", &[])], image),
        ("operator 1 (Flatten", vec![step("x", "a"), flatten()], &[1, 2, 6]),
        (
            "operator 1 (Transpose",
            vec![conv(), node("Transpose", &["a"], "y", &[ints("perm", &[0, 1, 3, 2])])],
            image,
        ),
    ];
    for (place, nodes, dims) in refused {
        let found = moved(nodes, dims).unwrap_or_default();
        assert!(found.contains(place) && found.contains("Transpose to channels last"), "{found}");
    }
    let last = node("Transpose", &["a"], "t", &[ints("perm", &[0, 2, 3, 1])]);
    let one = node("Conv", &["x", "o"], "a", &[]);
    let fine: [(Vec<Bytes>, &[i64]); 6] = [
        (vec![node("Conv", &["x", "k"], "y", &[])], image),
        (vec![step("x", "y")], &[1, 2, 6]),
        (vec![conv(), last, node("Flatten", &["t"], "y", &[])], image),
        (vec![conv(), flatten()], &[1, 2, 3, 3]),
        (vec![one, flatten()], image),
        (vec![node("Relu", &["x"], "a", &[]), flatten()], &[1, 4]),
    ];
    for (nodes, dims) in fine {
        assert_eq!(moved(nodes, dims), None);
    }
}

#[test]
fn a_constant_may_stand_before_what_is_taken_from_it() {
    for dims in [&[3, 4, 5][..], &[4, 5], &[4, 1], &[1, 4, 5]] {
        let mut graph = graph(vec![node("Sub", &["c", "x"], "y", &[])], &[1, 3, 4, 5]);
        graph.initializers.push(encoded(&floats("c", dims)));
        let model = read(&file(&graph), None, None).unwrap();
        let inputs: Vec<f32> = (0..60).map(|at| at as f32 / 8.0).collect();
        let outputs = crate::graph::Executor::new(&model.graph).unwrap().run(&inputs).unwrap();
        let right: Vec<f32> = inputs.iter().map(|x| 0.5 - x).collect();
        assert_eq!(outputs, right, "{dims:?}");
    }
}

#[test]
fn files_that_make_no_sense_are_refused() {
    let relu = || vec![node("Relu", &["x"], "y", &[])];
    assert!(matches!(read(b"PK\x03\x04", None, None), Err(ImportError::UnknownFormat)));
    let whole = file(&graph(relu(), &[1, 4]));
    assert!(read(&whole, None, None).is_ok());
    let cut = read(&whole[..whole.len() - 3], None, None);
    assert!(matches!(cut, Err(ImportError::Protobuf(_))), "{cut:?}");
    let old =
        RawModel { ir_version: 8, graph: encoded(&graph(relu(), &[1, 4])), ..Default::default() };
    assert!(matches!(
        read(&old.encode_to_vec(), None, None),
        Err(ImportError::Opset { found: 1, .. })
    ));
    let two = RawGraph {
        inputs: vec![value("x", 1, &[1, 4]), value("z", 1, &[1, 4])],
        ..graph(relu(), &[1, 4])
    };
    assert!(refusal(&two).contains("2 inputs"), "{}", refusal(&two));
    let integers = RawGraph { inputs: vec![value("x", 7, &[1, 4])], ..graph(relu(), &[1, 4]) };
    assert!(refusal(&integers).contains("INT64"), "{}", refusal(&integers));
    assert!(refusal(&graph(relu(), &[1, 0])).contains("a size besides the batch's is open"));
    let nothing = RawGraph { outputs: vec![value("w", 1, &[])], ..graph(relu(), &[1, 4]) };
    assert!(refusal(&nothing).contains("not computed"));
    let batch = graph(relu(), &[1 << 20, 4]);
    assert!(refusal(&batch).contains("examples in a batch"));
    let huge: [&[i64]; 5] = [
        &[1, 1 << 40],
        &[1, 65535, 65535],
        &[1, 65535, 65535, 3],
        &[1, 65535, 65535, 65535, 65535],
        &[1, i64::MAX, i64::MAX, 3],
    ];
    for dims in huge {
        let found = refusal(&graph(relu(), dims));
        assert!(found.contains("`x`") && found.contains("values between operators"), "{found}");
    }
}

#[test]
fn tensors_that_make_no_sense_are_refused() {
    let with = |tensor: Tensor| {
        let mut graph = graph(vec![node("Relu", &["x"], "y", &[])], &[1, 4]);
        graph.initializers.push(encoded(&tensor));
        refusal(&graph)
    };
    assert!(
        with(Tensor { dims: vec![5], ..floats("t", &[4]) }).contains("another number of values")
    );
    assert!(with(Tensor { dims: vec![-1], ..floats("t", &[1]) }).contains("below 0"));
    assert!(with(Tensor { dims: vec![1 << 40], ..floats("t", &[1]) }).contains("larger than any"));
    assert!(with(Tensor { kind: 8, ..floats("t", &[1]) }).contains("STRING"));
    assert!(with(floats("t", &[1; 9])).contains("9 dimensions"));
    let entry = |key: &str, value: &str| Entry { key: key.into(), value: value.into() };
    for location in ["weights.bin", "../weights.bin", ""] {
        let external = vec![entry("location", location)];
        let found = with(Tensor { location: 1, external, ..floats("t", &[1]) });
        assert!(found.contains("isn't beside the model"), "{found}");
    }
}

#[test]
fn parameters_are_read_from_a_file_beside_the_model() {
    let folder = tempfile::tempdir().unwrap();
    let numbers: Vec<u8> =
        [9f32, 1.0, 2.0, 3.0, 4.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    std::fs::write(folder.path().join("m.data"), numbers).unwrap();
    let entry = |key: &str, value: &str| Entry { key: key.into(), value: value.into() };
    let with = |offset: &str| {
        let external =
            vec![entry("location", "m.data"), entry("offset", offset), entry("length", "16")];
        let tensor = Tensor { location: 1, external, floats: Vec::new(), ..floats("b", &[4]) };
        let mut graph = graph(vec![node("Add", &["x", "b"], "y", &[])], &[1, 4]);
        graph.initializers.push(encoded(&tensor));
        read(&file(&graph), Some(folder.path()), None)
    };
    let model = with("4").unwrap();
    let bias = &model.graph.nodes[0].parameters.as_ref().unwrap().bias;
    assert_eq!(*bias, [1.0, 2.0, 3.0, 4.0]);
    let found = with("8").unwrap_err().to_string();
    assert!(found.contains("outside of the file"), "{found}");
}

/// A convolution, a pooling and a dense layer: something to change at random.
fn small() -> Vec<u8> {
    let nodes = vec![
        node("Conv", &["x", "k"], "a", &[ints("pads", &[1, 1, 1, 1])]),
        node("Relu", &["a"], "b", &[]),
        node("MaxPool", &["b"], "c", &[ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])]),
        node("Flatten", &["c"], "d", &[]),
        node("MatMul", &["d", "m"], "y", &[]),
    ];
    let mut graph = graph(nodes, &[1, 2, 4, 4]);
    graph.initializers.push(encoded(&floats("m", &[8, 2])));
    file(&graph)
}

#[test]
fn the_small_model_is_sound() {
    assert_eq!(read(&small(), None, None).unwrap().graph.nodes.len(), 5);
}

proptest! {
    #[test]
    fn changed_files_are_read_or_refused(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        end in any::<prop::sample::Index>(),
        cut in any::<bool>(),
    ) {
        let mut bytes = small();
        for (at, byte) in &changes {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
        if cut {
            bytes.truncate(end.index(bytes.len()));
        }
        // Either is fine; a panic or an endless loop is not.
        let _ = read(&bytes, None, None);
    }
}
