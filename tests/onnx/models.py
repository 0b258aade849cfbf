"""Small ONNX models of every supported operator, with what ONNX Runtime computes for them.

    python models.py FOLDER            writes NAME.onnx, NAME.in.npy and NAME.out.npy
    python models.py --check FOLDER    compares NAME.out.npy with ONNX Runtime, for every model there
    python models.py --golden GOLDEN STEM
                                       runs STEM.onnx and STEM-qdq.onnx, which bitsback exported,
                                       on a folder of golden vectors

Inputs are kept as bitsback takes them, images channels last; outputs as ONNX gives them.
"""

import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

EXAMPLES = 4
# The format's version of onnx 1.16: older programs shall read these files, too.
IR_VERSION = 9


class Builder:
    """A chain of nodes with numbered tensors; `at` is the last one."""

    def __init__(self, seed, shape, opset=17, batch=None):
        self.random = np.random.default_rng(seed)
        self.nodes, self.parameters = [], []
        self.opset, self.shape, self.batch = opset, shape, batch
        self.at = "input"

    def parameter(self, array):
        name = f"p{len(self.parameters)}"
        self.parameters.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def weights(self, *shape):
        fan = int(np.prod(shape[1:])) or 1
        return self.random.normal(0, 1.4 / np.sqrt(fan), shape).astype(np.float32)

    def node(self, operator, *operands, **attributes):
        """Operands are names, or arrays, which become parameters."""
        names = [o if isinstance(o, str) else self.parameter(o) for o in operands]
        self.at = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, names, [self.at], **attributes))
        return self.at

    def then(self, operator, *operands, **attributes):
        return self.node(operator, self.at, *operands, **attributes)

    def conv(self, filters, channels, kernel, at=None, bias=True, group=1, **attributes):
        kernel = kernel if isinstance(kernel, tuple) else (kernel, kernel)
        weights = self.weights(filters, channels // group, *kernel)
        more = [self.weights(filters)] if bias else []
        return self.node("Conv", at or self.at, weights, *more, group=group, **attributes)

    def norm(self, channels):
        scale = self.random.uniform(0.5, 1.5, channels).astype(np.float32)
        variance = self.random.uniform(0.2, 2, channels).astype(np.float32)
        shift, mean = self.weights(channels), self.weights(channels)
        return self.then("BatchNormalization", scale, shift, mean, variance)

    def gemm(self, outputs, inputs, **attributes):
        by_rows = attributes.get("transB", 0)
        shape = (outputs, inputs) if by_rows else (inputs, outputs)
        weights = self.random.normal(0, 1.4 / np.sqrt(inputs), shape).astype(np.float32)
        return self.then("Gemm", weights, self.weights(outputs), **attributes)

    def model(self):
        batch = self.batch or "N"
        value = helper.make_tensor_value_info
        graph = helper.make_graph(
            self.nodes,
            "graph",
            [value("input", TensorProto.FLOAT, [batch, *self.shape])],
            [value(self.at, TensorProto.FLOAT, None)],
            self.parameters,
        )
        opsets = [helper.make_opsetid("", self.opset)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
        # Without it the output has no shape, which the checker asks for.
        model = onnx.shape_inference.infer_shapes(model)
        del model.graph.value_info[:]
        kind = model.graph.output[0].type.tensor_type
        if not kind.HasField("shape"):
            kind.shape.dim.add().dim_param = "N"
            kind.shape.dim.add().dim_value = self.outputs
        return model


def mlp():
    b = Builder(1, [12])
    b.gemm(16, 12, transB=1)
    b.then("Relu")
    b.gemm(8, 16, alpha=0.5, beta=2.0)
    b.then("LeakyRelu", alpha=0.2)
    b.gemm(5, 8, transB=1)
    b.then("Softmax", axis=-1)
    return b


def matmul():
    b = Builder(2, [10])
    b.then("Sub", np.float32(0.5))
    b.then("Mul", b.weights(10))
    b.then("MatMul", b.weights(10, 14))
    b.node("Add", b.weights(14), b.at)
    b.norm(14)
    b.then("Tanh")
    b.then("MatMul", b.weights(14, 6))
    b.then("Add", b.weights(6))
    b.then("LogSoftmax", axis=1)
    return b


def lenet():
    b = Builder(3, [1, 12, 12])
    b.conv(4, 1, 3)
    b.then("Relu")
    b.then("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    b.conv(6, 4, 3, pads=[1, 1, 1, 1])
    b.then("Relu")
    b.then("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    b.then("Flatten")
    b.gemm(16, 24, transB=1)
    b.then("Relu")
    b.gemm(10, 16, transB=1)
    return b


def residual():
    b = Builder(4, [3, 8, 8])
    b.conv(4, 3, 3, bias=False, pads=[1, 1, 1, 1])
    b.norm(4)
    first = b.then("Relu")
    b.conv(4, 4, 3, bias=False, pads=[1, 1, 1, 1])
    b.norm(4)
    b.then("Relu")
    b.conv(4, 4, 3, bias=False, pads=[1, 1, 1, 1])
    b.norm(4)
    b.then("Add", first)
    second = b.then("Relu")
    b.conv(8, 4, 3, bias=False, pads=[1, 1, 1, 1], strides=[2, 2])
    b.norm(8)
    b.then("Relu")
    b.conv(8, 8, 3, bias=False, pads=[1, 1, 1, 1])
    body = b.norm(8)
    short = b.conv(8, 4, 1, at=second, bias=False, strides=[2, 2])
    b.at = short
    short = b.norm(8)
    b.node("Add", body, short)
    b.then("Relu")
    b.then("GlobalAveragePool")
    b.then("Flatten")
    b.gemm(5, 8, transB=1)
    return b


def mobile():
    b = Builder(5, [3, 9, 9], opset=18)
    b.conv(8, 3, 3, strides=[2, 2], auto_pad="SAME_UPPER")
    b.norm(8)
    b.then("Clip", np.float32(0), np.float32(6))
    b.conv(8, 8, 3, group=8, pads=[1, 1, 1, 1])
    b.norm(8)
    b.then("Clip", np.float32(0), np.float32(6))
    b.conv(12, 8, 1)
    b.conv(12, 12, 3, group=3, pads=[1, 0, 1, 0])
    b.then("LeakyRelu", alpha=0.1)
    b.conv(24, 12, (3, 1), group=12, pads=[2, 0, 1, 0], dilations=[2, 1])
    b.then("AveragePool", kernel_shape=[2, 2], strides=[1, 1], pads=[1, 1, 0, 0], count_include_pad=1)
    b.then("Relu")
    b.then("ReduceMean", np.array([2, 3]), keepdims=0)
    b.gemm(4, 24, transB=1)
    return b


def branches():
    b = Builder(6, [2, 7, 7])
    start = b.then("Pad", np.array([0, 0, 1, 0, 0, 0, 0, 1]), np.float32(0.25))
    a = b.conv(3, 2, 3, at=start, pads=[1, 1, 1, 1])
    c = b.conv(5, 2, 3, at=start, pads=[2, 2, 2, 2], dilations=[2, 2])
    b.node("Concat", a, c, axis=1)
    joined = b.then("Relu")
    b.then("GlobalAveragePool")
    b.conv(8, 8, 1)
    gate = b.then("Sigmoid")
    b.node("Mul", joined, gate)
    b.then("MaxPool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
    left = b.then("Flatten")
    b.node("AveragePool", joined, kernel_shape=[3, 3], strides=[3, 3], pads=[1, 1, 0, 0])
    right = b.then("Flatten")
    b.node("Concat", left, right, axis=1)
    b.gemm(6, 8 * 16 + 8 * 9, transB=1)
    return b


def dynamic():
    """As older exporters write it: shapes are computed, constants are nodes, inputs are scaled."""
    b = Builder(7, [3, 6, 6], opset=11)
    b.outputs = 7
    mean = np.array([0.4, 0.5, 0.6], np.float32).reshape(1, 3, 1, 1)
    b.then("Sub", mean)
    b.then("Div", np.array([0.2, 0.3, 0.25], np.float32).reshape(3, 1, 1))
    b.conv(4, 3, 3)
    b.then("Clip", "", np.float32(2))
    image = b.then("Dropout")
    b.then("Shape")
    constant = numpy_helper.from_array(np.array(0))
    index = b.node("Constant", value=constant)
    b.node("Gather", "t5", index, axis=0)
    first = b.then("Unsqueeze", axes=[0])
    b.node("Concat", first, b.parameter(np.array([-1])), axis=0)
    b.node("Reshape", image, b.at)
    b.gemm(7, 64, transB=1)
    b.then("Identity")
    b.then("Softmax", axis=1)
    return b


def sequence():
    b = Builder(8, [4, 20])
    b.conv(6, 4, (5,), pads=[2, 2])
    b.norm(6)
    b.then("Relu")
    b.then("MaxPool", kernel_shape=[2], strides=[2])
    b.conv(6, 6, (3,), group=6)
    b.then("Tanh")
    b.then("Flatten")
    b.gemm(3, 48, transB=1)
    return b


def channels_last():
    """As tf2onnx writes it: the input comes channels last, and transpositions surround layers."""
    b = Builder(9, [6, 6, 3], batch=1)
    b.then("Transpose", perm=[0, 3, 1, 2])
    b.conv(5, 3, 3, pads=[0, 0, 1, 1], strides=[2, 2])
    b.then("Transpose", perm=[0, 2, 3, 1])
    b.then("Add", b.weights(5))
    b.then("Relu")
    b.then("Reshape", np.array([1, 45]))
    b.then("MatMul", b.weights(45, 4))
    return b


def rows():
    """A matrix product over several rows."""
    b = Builder(10, [5, 8])
    b.then("MatMul", b.weights(8, 6))
    b.then("Add", b.weights(6))
    b.then("Relu")
    b.then("Flatten")
    b.gemm(4, 30, transB=1)
    return b


def image_output():
    """Nothing is flattened: the output is an image."""
    b = Builder(11, [2, 5, 4])
    b.conv(3, 2, 3, pads=[1, 1, 1, 1])
    b.then("Sigmoid")
    return b


def temporal():
    """A causal, dilated convolution over time, pooled over all of it in two ways."""
    b = Builder(13, [4, 24])
    b.conv(6, 4, (3,), pads=[4, 0], dilations=[2])
    features = b.then("Relu")
    b.then("GlobalAveragePool")
    mean = b.then("Squeeze", np.array([2]))
    b.node("GlobalMaxPool", features)
    b.then("Flatten")
    b.node("Concat", b.at, mean, axis=1)
    b.gemm(3, 12, transB=1)
    return b


def averages():
    """The mean of the steps of a sequence."""
    b = Builder(14, [6, 8])
    b.then("MatMul", b.weights(8, 5))
    b.then("Relu")
    b.then("ReduceMean", axes=[1], keepdims=0)
    b.gemm(3, 5, transB=1)
    return b


def differences():
    """A difference of two tensors, and a shape of which a part is taken."""
    b = Builder(15, [3, 6, 6], opset=14)
    b.outputs = 4
    scaled = b.conv(3, 3, 3, pads=[1, 1, 1, 1])
    difference = b.node("Sub", scaled, "input")
    b.then("Shape")
    b.then("Slice", np.array([0]), np.array([1]))
    b.node("Concat", b.at, b.parameter(np.array([108])), axis=0)
    b.node("Reshape", difference, b.at)
    b.gemm(4, 108, transB=1)
    return b


def quantized():
    """Pairs of QuantizeLinear and DequantizeLinear, per channel and per tensor, int8 and uint8."""
    b = Builder(12, [2, 8, 8])

    def pair(scale, zero):
        b.then("QuantizeLinear", np.float32(scale), zero)
        b.then("DequantizeLinear", np.float32(scale), zero)

    def weights(shape, axis, channels):
        integers = b.random.integers(-127, 128, shape).astype(np.int8)
        kept, fan = b.at, int(np.prod(shape[1:]))
        scale = b.random.uniform(0.5, 1.5, channels).astype(np.float32) / 64 / np.sqrt(fan)
        scale = scale.astype(np.float32) if channels > 1 else np.float32(scale[0])
        zero = np.zeros(np.shape(scale), np.int8)
        name = b.node("DequantizeLinear", integers, scale, zero, axis=axis)
        b.at = kept
        return name, scale

    def bias(count, scale):
        kept = b.at
        integers = b.random.integers(-2000, 2000, count).astype(np.int32)
        scales = np.broadcast_to(scale, count).astype(np.float32)
        name = b.node("DequantizeLinear", integers, scales, np.zeros(count, np.int32), axis=0)
        b.at = kept
        return name

    pair(1 / 128, np.uint8(128))
    name, scale = weights((6, 2, 3, 3), 0, 6)
    b.then("Conv", name, bias(6, scale / 128))
    b.then("Relu")
    pair(0.02, np.uint8(0))
    b.then("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    pair(0.02, np.uint8(0))
    short = b.at
    name, scale = weights((6, 6, 1, 1), 0, 1)
    b.then("Conv", name)
    pair(0.04, np.int8(3))
    b.node("Add", b.at, short)
    b.then("Relu")
    pair(0.03, np.int8(-128))
    b.then("Flatten")
    name, scale = weights((5, 54), 0, 5)
    b.then("Gemm", name, bias(5, scale * np.float32(0.03)), transB=1)
    pair(0.05, np.int8(0))
    return b


MODELS = [
    mlp, matmul, lenet, residual, mobile, branches, dynamic, sequence, channels_last, rows,
    image_output, quantized, temporal, averages, differences,
]  # fmt: skip


def run(path, inputs):
    """One example at a time, as the device does; inputs are channels last."""
    # Without optimisation what is computed is what the file says.
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    if is_image(path):
        inputs = np.moveaxis(inputs, -1, 1)
    feed = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {feed: x[None]})[0] for x in inputs])


def is_image(path):
    """Whether bitsback takes the input channels last though ONNX has them first."""
    model = onnx.load(path)
    rank = len(model.graph.input[0].type.tensor_type.shape.dim)
    windowed = any(node.op_type == "Conv" for node in model.graph.node)
    return rank >= 3 and windowed and model.graph.node[0].op_type != "Transpose"


def write(folder):
    for build in MODELS:
        b = build()
        path = folder / f"{build.__name__}.onnx"
        model = b.model()
        onnx.checker.check_model(model)
        path.write_bytes(model.SerializeToString())
        random = np.random.default_rng(100)
        inputs = random.uniform(-1, 1, (EXAMPLES, *b.shape)).astype(np.float32)
        if is_image(path):
            inputs = np.ascontiguousarray(np.moveaxis(inputs, 1, -1))
        np.save(folder / f"{build.__name__}.in.npy", inputs)
        np.save(folder / f"{build.__name__}.out.npy", run(path, inputs).astype(np.float32))


def check(folder):
    paths = sorted(folder.glob("*.onnx"))
    assert paths, f"no models in {folder}"
    for path in paths:
        onnx.checker.check_model(onnx.load(path))
        inputs, outputs = (np.load(path.with_suffix(end)) for end in (".in.npy", ".out.npy"))
        expected = run(path, inputs)
        difference = np.abs(expected.reshape(outputs.shape) - outputs).max()
        print(f"{path.stem}: {len(inputs)} examples, largest difference {difference:.2e}")
        assert difference <= 1e-4, path


def parameters(model, node):
    """Scale and zero point of a QuantizeLinear."""
    arrays = {p.name: numpy_helper.to_array(p) for p in model.graph.initializer}
    return float(arrays[node.input[1]]), int(arrays[node.input[2]])


def golden(folder, stem):
    """Exports against the bytes that the device computes."""
    quantized = onnx.load(f"{stem}-qdq.onnx")
    pairs = [node for node in quantized.graph.node if node.op_type == "QuantizeLinear"]
    (scale_in, zero_in), (scale_out, zero_out) = (parameters(quantized, pairs[i]) for i in (0, -1))
    dims = [d.dim_value for d in quantized.graph.input[0].type.tensor_type.shape.dim][1:]
    kept = dims[1:] + dims[:1] if len(dims) == 3 else dims
    integers = np.fromfile(folder / "inputs.i8", np.int8).reshape(-1, *kept)
    inputs = ((integers.astype(np.float32) - zero_in) * scale_in).astype(np.float32)
    if len(dims) == 3:
        inputs = np.ascontiguousarray(np.moveaxis(inputs, -1, 1))
    outputs = np.fromfile(folder / "outputs.i8", np.int8).reshape(len(inputs), -1).astype(int)
    # TFLite's requantisation rounds twice, ONNX's once: where a multiplier is near one, up to an
    # eighth of a layer's values differ by a step, and layers after it carry that on. That the
    # integers in the file are the model's own is a test of the exporter: it reads them back.
    for path, most, mean in ((f"{stem}-qdq.onnx", 2, 0.4), (f"{stem}.onnx", 2, 0.5)):
        onnx.checker.check_model(onnx.load(path))
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        real = session.run(None, {session.get_inputs()[0].name: inputs})[0]
        steps = real.reshape(outputs.shape) / scale_out + zero_out
        steps = np.abs(np.clip(steps, -128, 127) - outputs)
        print(f"{Path(path).name}: {steps.max():.2f} steps at most, {steps.mean():.3f} on average")
        assert steps.max() <= most + 1e-3 and steps.mean() <= mean, path


if __name__ == "__main__":
    if sys.argv[1] == "--golden":
        golden(Path(sys.argv[2]), sys.argv[3])
    elif sys.argv[1] == "--check":
        check(Path(sys.argv[2]))
    else:
        write(Path(sys.argv[1]))
