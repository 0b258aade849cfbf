use super::*;
use crate::network::{NetworkConfig, Preset};

const MNIST: Shape = Shape::Image { height: 28, width: 28, channels: 1 };

fn fails(layers: &str) -> NetworkError {
    let network: NetworkConfig = toml::from_str(layers).unwrap();
    network.infer(MNIST, 10).unwrap_err()
}

fn weights(graph: &Graph<()>) -> usize {
    graph.weights().iter().map(crate::graph::Weights::len).sum()
}

/// A list of layers on 28 × 28 pixels, as a graph that has been checked.
fn graph(layers: &str) -> (NetworkConfig, Graph<()>) {
    let network: NetworkConfig = toml::from_str(&format!("layers = [{layers}]")).unwrap();
    let graph = network.infer(MNIST, 10).unwrap_or_else(|error| panic!("{error}"));
    graph.check_structure().unwrap();
    let resolved = network.resolve(10).unwrap();
    assert_eq!(resolved.infer(MNIST, 10).unwrap(), graph);
    let again: NetworkConfig = toml::from_str(&toml::to_string(&resolved).unwrap()).unwrap();
    assert_eq!(again, resolved);
    assert_eq!(resolved.resolve(10).unwrap(), resolved);
    (network, graph)
}

fn names(graph: &Graph<()>) -> Vec<&str> {
    graph.nodes.iter().map(|node| node.name.as_str()).collect()
}

fn dims(graph: &Graph<()>, node: usize) -> &[usize] {
    &graph.values[graph.nodes[node].output].dims
}

#[test]
fn sizes_beyond_the_format_are_refused_before_training() {
    let infer = |layers: &str, input| {
        let network: NetworkConfig = toml::from_str(layers).unwrap();
        network.infer(input, 2)
    };
    let wide = "layers = [{ type = \"dense\", units = 65536 }, { type = \"dense\" }]";
    let error = infer(wide, Shape::Flat(1)).unwrap_err();
    assert!(matches!(error, NetworkError::TooWide { layer: 0, .. }), "{error}");
    let fine = wide.replace("65536", "65535");
    assert!(infer(&fine, Shape::Flat(1)).is_ok());
    let error = infer(&fine, Shape::Flat(65_536)).unwrap_err();
    assert!(matches!(error, NetworkError::InputTooWide { .. }), "{error}");
    let flat = "layers = [{ type = \"flatten\" }, { type = \"dense\" }]";
    let image = Shape::Image { height: 256, width: 256, channels: 1 };
    let error = infer(flat, image).unwrap_err();
    assert!(matches!(error, NetworkError::TooWide { layer: 0, .. }), "{error}");
}

#[test]
fn presets_have_the_papers_sizes() {
    let preset = |preset| NetworkConfig { preset: Some(preset), ..Default::default() };
    let lenet_300 = preset(Preset::Lenet300).infer(MNIST, 10).unwrap();
    assert_eq!(weights(&lenet_300), 266_200);
    let lenet_5 = preset(Preset::Lenet5Caffe).infer(MNIST, 10).unwrap();
    assert_eq!(weights(&lenet_5), 430_500);
    assert_eq!(lenet_5.nodes.len(), 10);
    for preset in Preset::ALL {
        let network: NetworkConfig =
            toml::from_str(&format!("preset = \"{}\"", preset.name())).unwrap();
        assert_eq!(network.preset, Some(preset));
    }
}

#[test]
fn vgg_16_is_the_papers_at_any_width() {
    let image = Shape::Image { height: 32, width: 32, channels: 3 };
    let at = |width: f64| {
        let text = format!("preset = \"vgg-16\"\nwidth = {width}");
        toml::from_str::<NetworkConfig>(&text).unwrap().infer(image, 10).unwrap()
    };
    let full = at(1.0);
    // Of 3 × 3 taps: 64·(3 + 64) + 128·(64 + 128) + 256·(128 + 512) + 512·(256 + 5·512); and dense ones.
    let (taps, dense) = (9 * (4_288 + 24_576 + 163_840 + 1_441_792), 512 * 512 + 512 * 10);
    assert_eq!(weights(&full), taps + dense);
    assert_eq!(full.macs().iter().sum::<u64>(), 313_463_808);
    let names = |kind: &str| full.nodes.iter().filter(|node| node.name.starts_with(kind)).count();
    assert_eq!((names("conv2d_"), names("dense_"), names("batch_norm_")), (13, 2, 14));
    let filters = |graph: &Graph<()>| -> Vec<usize> {
        let layers = graph.layers().map(|node| graph.values[node.output].dims.clone());
        layers.filter_map(|dims| dims.last().copied()).collect()
    };
    let quarter = [16, 16, 32, 32, 64, 64, 64, 128, 128, 128, 128, 128, 128, 128, 10];
    assert_eq!(filters(&at(0.25)), quarter);
    assert_eq!(filters(&at(0.03125))[..3], [2, 2, 4]);
    let lenet: NetworkConfig = toml::from_str("preset = \"lenet-300-100\"\nwidth = 0.001").unwrap();
    assert_eq!(filters(&lenet.infer(MNIST, 10).unwrap()), [1, 1, 10], "never none");
}

#[test]
fn a_crop_is_the_middle() {
    let rest =
        r#"{ type = "conv2d", filters = 2, kernel = 5 }, { type = "flatten" }, { type = "dense" }"#;
    let (_, of_input) = graph(&format!(r#"{{ type = "crop", size = [24, 21] }}, {rest}"#));
    assert_eq!(of_input.nodes[0].op, Slice::crop([2, 3]).into());
    assert_eq!(dims(&of_input, 0), [24, 21, 1]);
    let (_, within) =
        graph(&format!(r#"{{ type = "relu" }}, {{ type = "crop", size = [28, 24] }}, {rest}"#));
    assert_eq!(dims(&within, 1), [28, 24, 1]);
    let error = fails(&format!(r#"layers = [{{ type = "crop", size = 29 }}, {rest}]"#));
    assert!(matches!(error, NetworkError::Part { kind: "crop", key: "size", .. }), "{error}");
}

#[test]
fn slices_are_parts_of_what_arrives() {
    let slice = |keys: &str| {
        format!(r#"{{ type = "slice"{keys} }}, {{ type = "flatten" }}, {{ type = "dense" }}"#)
    };
    let (_, all) = graph(&slice(""));
    assert_eq!(dims(&all, 0), [28, 28, 1]);
    let (_, part) = graph(&slice(", begin = [2, 1, 0], stride = [1, 3, 1]"));
    assert_eq!(dims(&part, 0), [26, 9, 1]);
    let (_, sized) = graph(&slice(", size = [4, 9, 1], stride = [8, 3, 1]"));
    assert_eq!(dims(&sized, 0), [4, 9, 1]);
    for (keys, wrong) in [
        ("begin = [28, 0, 0]", "begin"),
        ("begin = [1, 1]", "begin"),
        ("size = [5, 1, 1], stride = [8, 1, 1]", "size"),
        ("size = [0, 1, 1]", "size"),
        ("stride = [1, 0, 1]", "stride"),
    ] {
        let error = fails(&format!("layers = [{}]", slice(&format!(", {keys}"))));
        assert_eq!((error.layer(), error.key()), (Some(0), Some(wrong)), "{keys}: {error}");
    }
}

#[test]
fn flat_data_need_no_flatten() {
    let graph = NetworkConfig::default().infer(Shape::Flat(13), 3).unwrap();
    assert_eq!(names(&graph), ["dense_1", "clip_1", "dense_2", "clip_2", "dense_3"]);
    assert_eq!((dims(&graph, 0), dims(&graph, 4)), (&[300][..], &[3][..]));
}

#[test]
fn strides_padding_and_batch_norm() {
    let (_, graph) = graph(
        r#"{ type = "conv2d", filters = 4, kernel = [5, 3], stride = 2, padding = "same" },
           { type = "batch-norm" },
           { type = "relu6" },
           { type = "avg-pool", size = 14 },
           { type = "flatten" },
           { type = "dropout", rate = 0.5 },
           { type = "dense" }"#,
    );
    assert_eq!(graph.nodes[1].op, BatchNorm::new(4).into());
    let held: Vec<bool> = graph.nodes.iter().map(|node| node.parameters.is_some()).collect();
    assert_eq!(held, [true, true, false, false, false, false, true]);
    assert_eq!(graph.weights()[1].len(), 40);
}

#[test]
fn branches_and_depthwise_layers() {
    let (_, graph) = graph(
        r#"{ type = "conv2d", filters = 4, kernel = 3, padding = "same" },
           { type = "mark", name = "a" },
           { type = "depthwise-conv2d", kernel = 3, stride = 2, padding = "same" },
           { type = "conv2d", filters = 6, kernel = 1 },
           { type = "mark", name = "left" },
           { type = "from", name = "a" },
           { type = "conv2d", filters = 6, kernel = 1, stride = 2 },
           { type = "add", name = "left" },
           { type = "global-avg-pool" },
           { type = "flatten" },
           { type = "dense" }"#,
    );
    let expected = [
        "conv2d_1",
        "depthwise_1",
        "conv2d_2",
        "conv2d_3",
        "add_1",
        "avg_pool2d_1",
        "reshape_1",
        "dense_1",
    ];
    assert_eq!(names(&graph), expected);
    let output = |node: usize| graph.nodes[node].output;
    assert_eq!(graph.nodes[3].inputs, [output(0)]);
    assert_eq!(graph.nodes[4].inputs, [output(3), output(2)]);
    assert_eq!(graph.weights()[4 - 1].len(), 6 * 4);
}

/// Squeeze and excite (Hu et al. 2018, arXiv:1709.01507): the gate is computed last, and is the smaller
/// one.
#[test]
fn products_take_a_gate_on_either_side() {
    let image = r#"{ type = "conv2d", filters = 4, kernel = 3 }, { type = "mark", name = "a" },"#;
    let gate = r#"{ type = "global-avg-pool" }, { type = "conv2d", filters = 4, kernel = 1 },
                  { type = "logistic" },"#;
    let rest = r#"{ type = "flatten" }, { type = "dense" }"#;
    let (_, last) = graph(&format!(r#"{image} {gate} {{ type = "mul", name = "a" }}, {rest}"#));
    let (_, first) = graph(&format!(
        r#"{image} {gate} {{ type = "mark", name = "gate" }}, {{ type = "from", name = "a" }},
           {{ type = "hard-swish" }}, {{ type = "mul", name = "gate" }}, {rest}"#
    ));
    for (graph, mul) in [(&last, 4), (&first, 5)] {
        assert_eq!(dims(graph, mul), [26, 26, 4]);
        let lens = graph.nodes[mul].inputs.iter().map(|&id| graph.values[id].len());
        assert_eq!(lens.collect::<Vec<_>>(), [26 * 26 * 4, 4]);
    }
    let (_, square) = graph(
        r#"{ type = "flatten" }, { type = "mark", name = "x" }, { type = "mul", name = "x" },
           { type = "dense" }"#,
    );
    assert_eq!(square.nodes[1].inputs, [1, 1]);
}

#[test]
fn joins_count_the_channels_of_both() {
    let (_, images) = graph(
        r#"{ type = "mark", name = "a" }, { type = "conv2d", filters = 4, kernel = 3, padding = "same" },
           { type = "concat", name = "a" }, { type = "flatten" }, { type = "dense" }"#,
    );
    assert_eq!((dims(&images, 1), &images.nodes[1].inputs[..]), (&[28, 28, 5][..], &[1, 0][..]));
    let (_, features) = graph(
        r#"{ type = "flatten" }, { type = "mark", name = "a" }, { type = "dense", units = 3 },
           { type = "leaky-relu" }, { type = "concat", name = "a" }, { type = "dense" }"#,
    );
    assert_eq!(dims(&features, 3), [787]);
    assert_eq!(features.nodes[2].op, LeakyRelu { alpha: 0.01 }.into());
}

#[test]
fn taps_may_lie_apart() {
    let (_, graph) = graph(
        r#"{ type = "conv2d", filters = 2, kernel = 3, dilation = 2, padding = "same" },
           { type = "depthwise-conv2d", kernel = 3, dilation = [1, 4] },
           { type = "flatten" }, { type = "dense" }"#,
    );
    assert_eq!((dims(&graph, 0), dims(&graph, 1)), (&[28, 28, 2][..], &[26, 20, 2][..]));
    let Op::Conv2d(Conv2d { window }) = &graph.nodes[0].op else { panic!("a conv2d") };
    assert_eq!((window.dilation, window.padding), ([2; 2], [2; 2]));
}

#[test]
fn activations_stand_anywhere() {
    let (_, graph) = graph(
        r#"{ type = "relu" }, { type = "mark", name = "a" }, { type = "hard-sigmoid" },
           { type = "mark", name = "b" }, { type = "from", name = "a" }, { type = "relu6" },
           { type = "add", name = "b" }, { type = "flatten" }, { type = "dense" }"#,
    );
    assert_eq!(
        names(&graph),
        ["clip_1", "hard_sigmoid_1", "clip_2", "add_1", "reshape_1", "dense_1"]
    );
    assert_eq!((graph.nodes[1].inputs[0], graph.nodes[2].inputs[0]), (1, 1));
}

#[test]
fn what_is_wrong_with_branches() {
    let cases = [
        (r#"{ type = "add", name = "a" }"#, r#"names "a", but no layer before it"#),
        (r#"{ type = "mark", name = "a" }, { type = "from", name = "b" }"#, r#"names "b""#),
        (
            r#"{ type = "mark", name = "a" }, { type = "mark", name = "a" }"#,
            "of a mark before; choose another",
        ),
        (
            r#"{ type = "mark", name = "a" }, { type = "flatten" }, { type = "add", name = "a" }"#,
            r#"gets 784 features, but "a" is an image of 28 × 28 × 1"#,
        ),
        (
            r#"{ type = "mark", name = "a" }, { type = "flatten" }, { type = "from", name = "a" }"#,
            "drops what the layers before it compute",
        ),
        (
            r#"{ type = "mark", name = "a" }, { type = "max-pool", size = 2 },
               { type = "mul", name = "a" }"#,
            r#"(mul) gets an image of 14 × 14 × 1, but "a" is an image of 28 × 28 × 1"#,
        ),
        (
            r#"{ type = "mark", name = "a" }, { type = "max-pool", size = [1, 2] },
               { type = "concat", name = "a" }"#,
            r#"(concat) gets an image of 28 × 14 × 1, but "a" is an image of 28 × 28 × 1; height"#,
        ),
        (
            r#"{ type = "mark", name = "a" }, { type = "flatten" }, { type = "concat", name = "a" }"#,
            "(concat) gets 784 features",
        ),
    ];
    for (layers, expected) in cases {
        let message = fails(&format!("layers = [{layers}]")).to_string();
        assert!(message.contains(expected), "{message}\nlacks: {expected}");
    }
}

#[test]
fn every_error_names_its_layer_and_what_to_do() {
    let flatten = r#"{ type = "flatten" }, "#;
    let list = |layers: &str| format!("layers = [{layers}]");
    let both = format!("preset = \"lenet-5-caffe\"\n{}", list(flatten));
    assert_eq!(fails(&both), NetworkError::PresetAndLayers);
    let model = "model = \"a.onnx\"\nweights = \"b.pt\"";
    assert_eq!(fails(model), NetworkError::ModelAndOthers);
    assert_eq!(fails("width = 0.5"), NetworkError::WidthOfNothing);
    assert_eq!(fails("input_layout = \"channels-last\""), NetworkError::LayoutOfNothing);
    let names = "names = { dense_1 = \"fc\" }";
    assert_eq!(fails(names), NetworkError::NamesOfNothing);
    let many = fails(&list(&flatten.repeat(MAX_LAYERS + 1)));
    assert_eq!(many, NetworkError::TooManyLayers { found: MAX_LAYERS + 1 });
    let cases = [
        (r#"{ type = "dense", units = 5 }"#, "but gets an image of 28 × 28 × 1; put a layer"),
        (
            r#"{ type = "flatten" }, { type = "max-pool", size = 2 }"#,
            "layer 1 (max-pool) needs an image, but gets 784 features",
        ),
        (
            r#"{ type = "conv2d", filters = 1, kernel = 29 }"#,
            "a window of 29 × 29, but gets only an image of 28 × 28 × 1",
        ),
        (
            r#"{ type = "conv2d", filters = 1, kernel = 57, padding = "same" }"#,
            "a window of 57 × 57",
        ),
        (
            r#"{ type = "global-avg-pool" },
               { type = "conv2d", filters = 8, kernel = 3, padding = "same" }"#,
            "an image of 1 × 1 × 1; whatever the padding, a window is at most twice as high",
        ),
        (r#"{ type = "conv2d", filters = 0, kernel = 3 }"#, "`filters` = 0"),
        (r#"{ type = "conv2d", filters = 1, kernel = 0 }"#, "`kernel` = 0"),
        (r#"{ type = "upsample", factor = [2, 0] }"#, "`factor` = 0"),
        (r#"{ type = "flatten" }, { type = "upsample", factor = 2 }"#, "needs an image"),
        (r#"{ type = "conv2d", filters = 1, kernel = 1, stride = 0 }"#, "`stride` = 0"),
        (r#"{ type = "conv2d", filters = 1, kernel = 1, dilation = [1, 0] }"#, "`dilation` = 0"),
        (
            r#"{ type = "conv2d", filters = 1, kernel = 15, dilation = 2 }"#,
            "a window of 29 × 29, but gets only an image of 28 × 28 × 1",
        ),
        (r#"{ type = "avg-pool", size = [0, 1] }"#, "`size` = 0"),
        (r#"{ type = "flatten" }, { type = "dense", units = 0 }"#, "`units` = 0"),
        (r#"{ type = "conv2d", filters = 30000, kernel = 1 }"#, "more than 16777216 values"),
        (r#"{ type = "flatten" }, { type = "dense", units = 90000 }"#, "67108864 weights"),
        (
            r#"{ type = "flatten" }, { type = "dense" }, { type = "dense", units = 10 }"#,
            "layer 1 (dense) has no `units`",
        ),
        (r#"{ type = "batch-norm" }"#, "right after a dense layer"),
        (r#"{ type = "dropout", rate = 1.0 }"#, "rate = 1"),
        (r#"{ type = "dropout", rate = nan }"#, "rate = NaN"),
        (r#"{ type = "leaky-relu", slope = 1.0 }"#, "slope = 1"),
        (r#"{ type = "flatten" }, { type = "global-avg-pool" }"#, "needs an image"),
        (r#"{ type = "flatten" }"#, "no layer has weights"),
        (r#"{ type = "flatten" }, { type = "dense" }, { type = "relu" }"#, "clip"),
        (r#"{ type = "flatten" }, { type = "dense" }, { type = "tanh" }"#, "bend"),
        (
            r#"{ type = "flatten" }, { type = "dense", units = 9 }"#,
            "ends in 9 features, but the data have 10 classes",
        ),
    ];
    for (layers, expected) in cases {
        let message = fails(&list(layers)).to_string();
        assert!(message.contains(expected), "{message}\nlacks: {expected}");
    }
}

#[test]
fn what_the_data_are_may_be_too_little_or_too_much() {
    let empty = NetworkConfig::default().infer(Shape::Flat(0), 10).unwrap_err();
    assert_eq!(empty, NetworkError::EmptyInput { input: Shape::Flat(0) });
    let vast = Shape::Image { height: usize::MAX, width: 2, channels: 1 };
    let vast = NetworkConfig::default().infer(vast, 10).unwrap_err();
    assert!(matches!(vast, NetworkError::EmptyInput { .. }));
}
