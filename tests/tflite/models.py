"""Small Keras models of the kinds that microcontrollers run, as .tflite files with the bytes that
TensorFlow Lite Micro gives for them.

    pip install -r tests/tflite/requirements.txt
    python tests/tflite/models.py /tmp/models
    BITSBACK_TFLITE_MODELS=/tmp/models cargo test --release -p bitsback-tests --test import

Weights are random; batch normalisation has seen data, so that ranges are realistic. Writes
NAME.tflite, NAME.in16.npy (16 inputs as the int8 that the model computes with) and NAME.tflm16.npy.
Models of floats go into a folder of their own, with NAME.in.npy and, by TensorFlow Lite's reference
kernels, NAME.out.npy.
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import flatbuffers  # noqa: E402
import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
from keras import layers as L  # noqa: E402
from tensorflow.lite.python import schema_py_generated as schema  # noqa: E402
from tflite_micro.python.tflite_micro import runtime  # noqa: E402

EXAMPLES = 16
CALIBRATION = 100
FLOAT_EXAMPLES = 6


def norm_relu(x):
    return L.ReLU()(L.BatchNormalization()(x))


def worn(x):
    """Channels that never change: batch normalisation has switched some off and made constants of others."""
    gamma, beta = np.ones(x.shape[-1], "f"), np.zeros(x.shape[-1], "f")
    gamma[::3], beta[::3] = 1e-6, -0.2
    gamma[1::5], beta[1::5] = 1e-6, 0.1
    start = [keras.initializers.Constant(values) for values in (gamma, beta)]
    norm = L.BatchNormalization(gamma_initializer=start[0], beta_initializer=start[1])
    return L.ReLU()(norm(x))


def constant_channels(x):
    """A MobileNet with a branch, half of whose channels are known beforehand."""
    x = worn(L.Conv2D(8, 3, 2, "same")(x))
    x = worn(L.Conv2D(12, 1)(worn(L.DepthwiseConv2D(3, 1, "same")(x))))
    y = worn(L.Conv2D(12, 1)(worn(L.DepthwiseConv2D(3, 1, "same")(x))))
    x = worn(L.Conv2D(16, 3)(L.Concatenate()([L.Add()([x, y]), y])))
    x = L.AveragePooling2D(2)(x)
    return L.Dense(4, activation="softmax")(L.Flatten()(x))


def sine(x):
    """Hello world: one number in, one out."""
    x = L.Dense(16, activation="relu")(x)
    return L.Dense(1)(L.Dense(16, activation="relu")(x))


def micro_speech(x):
    """Features come flat, and are reshaped to a spectrogram."""
    x = L.Reshape((49, 40, 1))(x)
    x = L.DepthwiseConv2D((10, 8), 2, "same", depth_multiplier=8, activation="relu")(x)
    return L.Dense(4, activation="softmax")(L.Flatten()(x))


def keywords(x):
    """A DS-CNN."""
    x = norm_relu(L.Conv2D(16, (10, 4), 2, "same")(x))
    for _ in range(2):
        x = norm_relu(L.DepthwiseConv2D(3, 1, "same")(x))
        x = norm_relu(L.Conv2D(16, 1)(x))
    x = L.AveragePooling2D((25, 5))(x)
    return L.Dense(12, activation="softmax")(L.Flatten()(x))


def person(x):
    """A MobileNetV1: explicit borders, relu6, strides in depthwise convolutions."""
    x = L.ZeroPadding2D(((0, 1), (0, 1)))(x)
    x = L.ReLU(6.0)(L.BatchNormalization()(L.Conv2D(8, 3, 2, use_bias=False)(x)))
    for filters, stride in [(16, 1), (32, 2), (32, 1), (64, 2)]:
        if stride == 2:
            x = L.ZeroPadding2D(((0, 1), (0, 1)))(x)
        padding = "same" if stride == 1 else "valid"
        x = L.DepthwiseConv2D(3, stride, padding, use_bias=False)(x)
        x = L.ReLU(6.0)(L.BatchNormalization()(x))
        x = L.ReLU(6.0)(L.BatchNormalization()(L.Conv2D(filters, 1, use_bias=False)(x)))
    x = L.GlobalAveragePooling2D(keepdims=True)(x)
    x = L.Conv2D(2, 1)(L.Dropout(0.1)(x))
    return L.Softmax()(L.Reshape((2,))(x))


def inverted_residuals(x):
    """MobileNetV2's blocks, and squeeze and excitation."""
    x = L.Conv2D(8, 3, 2, "same", activation="relu6")(x)
    for _ in range(2):
        y = L.ReLU(6.0)(L.BatchNormalization()(L.Conv2D(24, 1)(x)))
        y = L.ReLU(6.0)(L.BatchNormalization()(L.DepthwiseConv2D(3, 1, "same")(y)))
        gate = L.GlobalAveragePooling2D(keepdims=True)(y)
        gate = L.Conv2D(24, 1, activation="sigmoid")(L.Conv2D(6, 1, activation="relu")(gate))
        x = L.Add()([x, L.BatchNormalization()(L.Conv2D(8, 1)(L.Multiply()([y, gate])))])
    return L.Dense(5)(L.GlobalMaxPooling2D()(x))


def anomaly(x):
    """An autoencoder."""
    for units in (32, 32, 8, 32, 32):
        x = norm_relu(L.Dense(units)(x))
    return L.Dense(40)(x)


def gestures(x):
    """Magic wand: a few seconds of three axes."""
    x = L.Conv2D(8, (4, 3), padding="same", activation="relu")(x)
    x = L.Dropout(0.1)(L.MaxPool2D((3, 3))(x))
    x = L.Conv2D(16, (4, 1), padding="same", activation="relu")(x)
    x = L.Dropout(0.1)(L.MaxPool2D((3, 1), padding="same")(x))
    return L.Dense(4, activation="softmax")(L.Dense(16, activation="relu")(L.Flatten()(x)))


def series(x):
    """Convolutions over time, with a residual and a pooled end."""
    x = L.Conv1D(8, 5, padding="same", activation="relu")(x)
    y = L.Conv1D(8, 3, padding="same")(x)
    x = L.LeakyReLU(negative_slope=0.1)(L.Add()([x, y]))
    x = L.MaxPool1D(2)(x)
    x = L.Conv1D(12, 3, strides=2, padding="same", activation="tanh")(x)
    return L.Dense(3)(L.GlobalAveragePooling1D()(x))


def causal(x):
    """Padded on one side, separable, flattened."""
    x = L.Conv1D(8, 3, padding="causal", activation="relu")(x)
    x = L.SeparableConv1D(8, 3, padding="same", activation="relu")(x)
    return L.Dense(3, activation="sigmoid")(L.Flatten()(L.GlobalMaxPooling1D(keepdims=True)(x)))


def inception(x):
    """Branches that are joined; poolings with borders."""
    a = L.Conv2D(4, 1, activation="relu")(x)
    b = L.Conv2D(6, 3, padding="same", activation="relu")(x)
    c = L.Conv2D(2, 1)(L.AveragePooling2D(3, 1, "same")(x))
    x = L.Concatenate()([a, b, c, L.MaxPool2D(3, 1, "same")(x)])
    x = L.Activation("relu")(L.MaxPool2D(2)(x))
    return L.Dense(4)(L.Flatten()(x))


def rows(x):
    """Dense layers over each step of a sequence."""
    x = L.Dense(6, activation="relu")(x)
    return L.Dense(3)(L.Flatten()(L.Dense(4)(x)))


def dilated(x):
    """Convolutions over time that reach further and further, a difference and a gate."""
    y = L.Conv1D(6, 3, dilation_rate=2, padding="same", activation="relu")(x)
    y = L.Conv1D(6, 3, dilation_rate=4, padding="causal", activation="relu")(y)
    x = L.Subtract()([L.Conv1D(6, 1)(x), y])
    x = L.Multiply()([x, L.Conv1D(1, 1, activation="sigmoid")(y)])
    return L.Dense(3)(L.GlobalAveragePooling1D()(x))


def mobile(x):
    """MobileNetV3's blocks: hard swish, and squeeze and excitation by a hard sigmoid."""
    x = L.Activation("hard_swish")(L.Conv2D(6, 3, 2, "same")(x))
    y = L.Activation("hard_swish")(L.BatchNormalization()(L.Conv2D(12, 1)(x)))
    y = L.Activation("hard_swish")(L.DepthwiseConv2D(5, 1, "same")(y))
    gate = L.Conv2D(4, 1, activation="relu")(L.GlobalAveragePooling2D(keepdims=True)(y))
    gate = L.ReLU(6.0)(L.Conv2D(12, 1)(gate) + 3.0) * (1.0 / 6.0)
    x = L.Add()([x, L.Conv2D(6, 1)(L.Multiply()([gate, y]))])
    return L.Dense(4)(L.GlobalAveragePooling2D()(x))


def cropped(x):
    """Parts of rows, columns and channels."""
    x = L.Conv2D(6, 3, padding="same", activation="relu")(x)
    x = L.Cropping2D(((1, 2), (2, 0)))(x)
    x = L.Add()([x[..., :3], x[..., 3:]])
    return L.Dense(3)(L.Flatten()(x[:, ::2]))


def nearest(rows, columns, centers):
    """Keras's own layers repeat pixels by other operators."""
    resize = tf.compat.v1.image.resize_nearest_neighbor
    return L.Lambda(lambda x: resize(x, (rows, columns), half_pixel_centers=centers))


def upsampled(x):
    """A decoder: larger images by whole factors and by others, found by centres and by corners."""
    x = L.Conv2D(4, 3, 2, "same", activation="relu")(x)
    x = L.Conv2D(5, 3, padding="same", activation="relu")(nearest(10, 12, True)(x))
    x = L.Conv2D(4, 3, padding="same")(nearest(11, 10, True)(x))
    x = L.Conv2D(4, 3, padding="same")(nearest(5, 13, False)(x))
    return L.Dense(3)(L.GlobalAveragePooling2D()(nearest(15, 13, False)(x)))


# Builder, shape of an example, types of the ends, whether weights have one scale per tensor.
MODELS = [
    (constant_channels, (12, 12, 2), tf.int8, False),
    (sine, (1,), tf.int8, False),
    (micro_speech, (1960,), tf.int8, False),
    (keywords, (49, 10, 1), tf.int8, False),
    (person, (48, 48, 1), tf.int8, False),
    (inverted_residuals, (24, 24, 3), tf.uint8, False),
    (anomaly, (40,), tf.float32, False),
    (gestures, (128, 3, 1), tf.float32, False),
    (series, (32, 4), tf.int8, False),
    (causal, (20, 3), tf.int8, False),
    (inception, (12, 12, 3), tf.int8, True),
    (rows, (5, 7), tf.int8, False),
    (dilated, (24, 4), tf.int8, False),
    (mobile, (12, 12, 3), tf.int8, False),
    (cropped, (9, 8, 2), tf.int8, False),
    (upsampled, (9, 8, 2), tf.int8, False),
]

# Models that stay floats: builder, shape of an example, what the converter does with the weights.
FLOATS = [
    (person, (24, 24, 1), "floats"),
    (mobile, (12, 12, 3), "halves"),
    (inception, (12, 12, 3), "floats"),
    (series, (32, 4), "halves"),
    (rows, (5, 7), "floats"),
    (cropped, (9, 8, 2), "floats"),
    (upsampled, (9, 8, 2), "floats"),
    (keywords, (49, 10, 1), "dynamic"),
    (anomaly, (40,), "dynamic"),
]


def convert(model, data, ends, per_tensor):
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([x[None]] for x in data)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = ends
    converter.inference_output_type = ends
    converter._experimental_disable_per_channel = per_tensor
    return converter.convert()


def convert_floats(model, weights):
    """Without any data: weights as they are, of 16 bits, or of 8 bits with activations of floats."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if weights != "floats":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if weights == "halves":
        converter.target_spec.supported_types = [tf.float16]
    return converter.convert()


def run_floats(file, inputs):
    """What TensorFlow Lite's reference kernels compute, an example at a time."""
    resolver = tf.lite.experimental.OpResolverType.BUILTIN_REF
    interpreter = tf.lite.Interpreter(model_content=file, experimental_op_resolver_type=resolver)
    interpreter.allocate_tensors()
    [source], [sink] = interpreter.get_input_details(), interpreter.get_output_details()
    outputs = []
    for x in inputs[:, None]:
        interpreter.set_tensor(source["index"], x)
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(sink["index"]).copy())
    return np.concatenate(outputs)


def trained(build, shape, random):
    """The model of a builder, and data that its batch normalisation has seen."""
    keras.utils.set_random_seed(1)
    # With an open batch, Keras computes the shapes of reshapes, mostly by operators that TensorFlow
    # Lite Micro has; those for `rows` it has not.
    source = keras.Input(shape, batch_size=1 if build is rows else None)
    model = keras.Model(source, build(source))
    data = random.normal(0, 1, (CALIBRATION, *shape)).astype(np.float32)
    model.compile("sgd", "mse")
    for _ in range(20):
        model(data, training=True)
    return model, data


def with_batches(file):
    """States how many images there are behind a SPACE_TO_BATCH_ND. Where the batch is open, the
    converter writes 1, and TensorFlow Lite Micro computes only the first of them."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(file, 0))
    graph, codes = model.subgraphs[0], [code.builtinCode for code in model.operatorCodes]
    images = {}
    for operator in graph.operators:
        code = codes[operator.opcodeIndex]
        count = images.get(operator.inputs[0], 1)
        if code == schema.BuiltinOperator.SPACE_TO_BATCH_ND:
            block = model.buffers[graph.tensors[operator.inputs[1]].buffer].data
            count = int(np.prod(np.frombuffer(bytes(block), np.int32)))
        elif code == schema.BuiltinOperator.BATCH_TO_SPACE_ND:
            count = 1
        if count > 1:
            images[operator.outputs[0]] = count
            tensor = graph.tensors[operator.outputs[0]]
            tensor.shape = [count, *list(tensor.shape)[1:]]
    if not images:
        return file
    builder = flatbuffers.Builder(len(file))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def inner(file, outer, kind):
    """Scale and zero point of the int8 that a model's end is converted from or to."""
    interpreter = tf.lite.Interpreter(model_content=file)
    tensors = {t["index"]: t for t in interpreter.get_tensor_details()}
    for op in interpreter._get_ops_details():
        here, there = ("inputs", "outputs") if kind == "input" else ("outputs", "inputs")
        if outer["index"] in op[here] and op["op_name"] in ("QUANTIZE", "DEQUANTIZE"):
            return tensors[op[there][0]]["quantization"]
    raise ValueError("the end is not converted")


def run(file, random):
    """Inputs and outputs as the int8 between the conversions at the model's ends."""
    details = tf.lite.Interpreter(model_content=file)
    [source], [sink] = details.get_input_details(), details.get_output_details()
    inputs = random.integers(-128, 128, (EXAMPLES, *source["shape"][1:])).astype(np.int8)
    micro = runtime.Interpreter.from_bytes(file, arena_size=1 << 22)
    outputs = []
    for x in inputs[:, None]:
        if source["dtype"] == np.uint8:
            x = (x.astype(np.int16) + 128).astype(np.uint8)
        elif source["dtype"] == np.float32:
            scale, zero = inner(file, source, "input")
            x = ((x.astype(np.float32) - zero) * np.float32(scale)).astype(np.float32)
        micro.set_input(x, 0)
        micro.invoke()
        y = micro.get_output(0)
        if sink["dtype"] == np.uint8:
            y = (y.astype(np.int16) - 128).astype(np.int8)
        elif sink["dtype"] == np.float32:
            scale, zero = inner(file, sink, "output")
            y = (np.round(y / np.float32(scale)) + zero).astype(np.int8)
        outputs.append(y)
    return inputs, np.concatenate(outputs)


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for build, shape, ends, per_tensor in MODELS:
        random = np.random.default_rng(1)
        model, data = trained(build, shape, random)
        file = with_batches(convert(model, data, ends, per_tensor))
        details = tf.lite.Interpreter(model_content=file)._get_ops_details()
        operators = dict.fromkeys(op["op_name"] for op in details)
        print(f"{build.__name__}: {len(file)} bytes, {' '.join(operators)}")
        inputs, outputs = run(file, random)
        stem = folder / build.__name__
        stem.with_suffix(".tflite").write_bytes(file)
        np.save(stem.with_suffix(".in16.npy"), inputs)
        np.save(stem.with_suffix(".tflm16.npy"), outputs)
    for build, shape, weights in FLOATS:
        random = np.random.default_rng(1)
        model, data = trained(build, shape, random)
        stem = folder / "floats" / f"{build.__name__}_{weights}"
        stem.parent.mkdir(exist_ok=True)
        file = convert_floats(model, weights)
        inputs = data[:FLOAT_EXAMPLES]
        print(f"{stem.name}: {len(file)} bytes")
        stem.with_suffix(".tflite").write_bytes(file)
        np.save(stem.with_suffix(".in.npy"), inputs)
        np.save(stem.with_suffix(".out.npy"), run_floats(file, inputs))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
