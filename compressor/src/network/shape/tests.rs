use super::*;
use crate::network::{NetworkConfig, Preset};

const MNIST: Shape = Shape::Image { height: 28, width: 28, channels: 1 };

fn fails(layers: &str) -> NetworkError {
    let network: NetworkConfig = toml::from_str(layers).unwrap();
    network.infer(MNIST, 10).unwrap_err()
}

fn weights(topology: &Topology) -> usize {
    let count = |layer: &Layer| match *layer {
        Layer::Dense { inputs, outputs } => inputs * outputs,
        Layer::Conv2d { channels, filters, kernel, .. } => {
            channels * filters * kernel[0] * kernel[1]
        }
        _ => 0,
    };
    topology.layers.iter().map(count).sum()
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
    assert_eq!(lenet_5.layers.len(), 10);
    for preset in Preset::ALL {
        let network: NetworkConfig =
            toml::from_str(&format!("preset = \"{}\"", preset.name())).unwrap();
        assert_eq!(network.preset, Some(preset));
    }
}

#[test]
fn a_crop_is_the_middle_and_comes_first() {
    let rest = "{ type = \"conv2d\", filters = 2, kernel = 5 }, { type = \"flatten\" }, \
                { type = \"dense\" }";
    let network: NetworkConfig =
        toml::from_str(&format!("layers = [{{ type = \"crop\", size = [24, 21] }}, {rest}]"))
            .unwrap();
    let topology = network.infer(MNIST, 10).unwrap();
    assert_eq!(topology.layers[0], Layer::Crop { before: [2, 3], size: [24, 21] });
    for layers in [
        format!("layers = [{{ type = \"crop\", size = 29 }}, {rest}]"),
        // Columns alone: the last row would end beyond the image.
        format!("layers = [{{ type = \"crop\", size = [28, 24] }}, {rest}]"),
        format!("layers = [{{ type = \"relu\" }}, {{ type = \"crop\", size = 24 }}, {rest}]"),
        "layers = [{ type = \"crop\", size = 24 }, { type = \"flatten\" }, \
         { type = \"dense\" }]"
            .to_owned(),
        format!(
            "layers = [{{ type = \"crop\", size = 24 }}, {}]",
            rest.replace("kernel = 5", "kernel = 5, padding = \"same\"")
        ),
    ] {
        assert!(matches!(fails(&layers), NetworkError::Crop { .. }), "{layers}");
    }
}

#[test]
fn flat_data_need_no_flatten() {
    let topology = NetworkConfig::default().infer(Shape::Flat(13), 3).unwrap();
    assert_eq!(topology.layers[0], Layer::Dense { inputs: 13, outputs: 300 });
    assert_eq!(topology.layers[4], Layer::Dense { inputs: 100, outputs: 3 });
}

#[test]
fn strides_padding_and_batch_norm() {
    let text = r#"
        layers = [
            { type = "conv2d", filters = 4, kernel = [5, 3], stride = 2, padding = "same" },
            { type = "batch-norm" },
            { type = "relu6" },
            { type = "avg-pool", size = 14 },
            { type = "flatten" },
            { type = "dropout", rate = 0.5 },
            { type = "dense" },
        ]"#;
    let network: NetworkConfig = toml::from_str(text).unwrap();
    let topology = network.infer(MNIST, 10).unwrap();
    assert_eq!(topology.layers[1], Layer::BatchNorm { channels: 4 });
    assert_eq!(topology.layers[6], Layer::Dense { inputs: 4, outputs: 10 });
    let resolved = network.resolve(10).unwrap();
    assert_eq!(resolved.infer(MNIST, 10).unwrap(), topology);
    let again: NetworkConfig = toml::from_str(&toml::to_string(&resolved).unwrap()).unwrap();
    assert_eq!(again, resolved);
    assert_eq!(resolved.resolve(10).unwrap(), resolved);
}

#[test]
fn branches_and_depthwise_layers() {
    let text = r#"
        layers = [
            { type = "conv2d", filters = 4, kernel = 3, padding = "same" },
            { type = "mark", name = "a" },
            { type = "depthwise-conv2d", kernel = 3, stride = 2, padding = "same" },
            { type = "conv2d", filters = 6, kernel = 1 },
            { type = "mark", name = "left" },
            { type = "from", name = "a" },
            { type = "conv2d", filters = 6, kernel = 1, stride = 2 },
            { type = "add", name = "left" },
            { type = "global-avg-pool" },
            { type = "flatten" },
            { type = "dense" },
        ]"#;
    let network: NetworkConfig = toml::from_str(text).unwrap();
    let topology = network.infer(MNIST, 10).unwrap();
    assert_eq!(topology.affine_name(1), "depthwise_1");
    assert_eq!(topology.affine_name(3), "conv2d_3");
    assert_eq!(topology.layers[10], Layer::Dense { inputs: 6, outputs: 10 });
    let resolved = network.resolve(10).unwrap();
    let again: NetworkConfig = toml::from_str(&toml::to_string(&resolved).unwrap()).unwrap();
    assert_eq!(again, resolved);
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
        (r#"{ type = "mark", name = "a" }, { type = "relu" }"#, "a value that has a name"),
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
        (r#"{ type = "conv2d", filters = 0, kernel = 3 }"#, "`filters` = 0"),
        (r#"{ type = "conv2d", filters = 1, kernel = 0 }"#, "`kernel` = 0"),
        (r#"{ type = "conv2d", filters = 1, kernel = 1, stride = 0 }"#, "`stride` = 0"),
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
        (r#"{ type = "flatten" }, { type = "global-avg-pool" }"#, "needs an image"),
        (r#"{ type = "flatten" }"#, "no layer has weights"),
        (r#"{ type = "flatten" }, { type = "dense" }, { type = "relu" }"#, "clip"),
        (
            r#"{ type = "flatten" }, { type = "dense", units = 9 }"#,
            "ends in 9 features, but the data have 10 classes",
        ),
    ];
    for (layers, expected) in cases {
        let message = fails(&list(layers)).to_string();
        assert!(message.contains(expected), "{message}\nlacks: {expected}");
    }
    let empty = NetworkConfig::default().infer(Shape::Flat(0), 10).unwrap_err();
    assert_eq!(empty, NetworkError::EmptyInput { input: Shape::Flat(0) });
    let vast = Shape::Image { height: usize::MAX, width: 2, channels: 1 };
    let vast = NetworkConfig::default().infer(vast, 10).unwrap_err();
    assert!(matches!(vast, NetworkError::EmptyInput { .. }));
}
