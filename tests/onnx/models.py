"""Small ONNX models of every supported operator, with what ONNX Runtime computes for them.

    python models.py FOLDER [NAME ...] writes NAME.onnx, NAME.in.npy and NAME.out.npy
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

    def __init__(self, seed, shape, opset=17, batch=None, last=False):
        """`last`: the input has its channels last."""
        self.random = np.random.default_rng(seed)
        self.last = last
        # Dimensions of the output behind the batch, by name, where shape inference has them wrong.
        self.outputs = None
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
        if self.outputs:
            del kind.shape.dim[:]
            kind.shape.dim.add().dim_param = "N"
            for name in self.outputs:
                kind.shape.dim.add().dim_param = name
        if not kind.HasField("shape"):
            kind.shape.dim.add().dim_param = "N"
            kind.shape.dim.add().dim_value = self.features
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
    b.features = 7
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
    b = Builder(9, [6, 6, 3], batch=1, last=True)
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
    b = Builder(10, [5, 8], last=True)
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
    b = Builder(14, [6, 8], last=True)
    b.then("MatMul", b.weights(8, 5))
    b.then("Relu")
    b.then("ReduceMean", axes=[1], keepdims=0)
    b.gemm(3, 5, transB=1)
    return b


def differences():
    """A difference of two tensors, and a shape of which a part is taken."""
    b = Builder(15, [3, 6, 6], opset=14)
    b.features = 4
    scaled = b.conv(3, 3, 3, pads=[1, 1, 1, 1])
    difference = b.node("Sub", scaled, "input")
    b.then("Shape")
    b.then("Slice", np.array([0]), np.array([1]))
    b.node("Concat", b.at, b.parameter(np.array([108])), axis=0)
    b.node("Reshape", difference, b.at)
    b.gemm(4, 108, transB=1)
    return b


def flat_last():
    """A dense network on a gray image that has its channel last: no operator shows that."""
    b = Builder(16, [6, 5, 1], last=True)
    b.then("Reshape", np.array([-1, 30]))
    b.then("MatMul", b.weights(30, 8))
    b.then("Relu")
    b.then("MatMul", b.weights(8, 4))
    return b


def gray_last():
    """Of one channel, a reshape is the transposition before the convolution."""
    b = Builder(17, [7, 6, 1], last=True)
    b.then("Reshape", np.array([-1, 1, 7, 6]))
    b.conv(3, 1, 3)
    b.then("Relu")
    b.then("Flatten")
    b.gemm(4, 60, transB=1)
    return b


def scaled_last():
    """Channels last, scaled and shifted before the transposition, by numbers and per channel."""
    b = Builder(18, [6, 7, 3], last=True)
    b.then("Mul", np.float32(2))
    b.then("Sub", b.weights(3))
    b.then("Cast", to=TensorProto.FLOAT)
    b.then("Pad", np.array([0, 1, 0, 0, 0, 0, 1, 0]))
    b.then("Transpose", perm=[0, 3, 1, 2])
    b.conv(4, 3, 3, strides=[2, 1])
    b.then("Relu")
    b.then("Transpose", perm=[0, 2, 3, 1])
    b.then("ReduceMean", axes=[1, 2], keepdims=0)
    b.gemm(3, 4, transB=1)
    return b


def normalised_first():
    """Nothing but a batch normalisation shows where the channels are."""
    b = Builder(20, [3, 4, 4])
    b.norm(3)
    b.then("Relu")
    b.then("Flatten", axis=-3)
    b.gemm(4, 48, transB=1)
    return b


def step_last():
    """A sequence with its features last, for a convolution along its steps."""
    b = Builder(21, [12, 5], last=True)
    b.then("Add", b.weights(5))
    b.then("Transpose", perm=[0, 2, 1])
    b.conv(4, 5, (3,), pads=[1, 1])
    b.then("Relu")
    b.then("GlobalMaxPool")
    b.then("Flatten")
    b.gemm(3, 4, transB=1)
    return b


def image_of_sequence_last():
    """A convolution along steps as older converters write it: as one of an image of height 1."""
    b = Builder(22, [12, 5], last=True)
    b.then("Unsqueeze", np.array([1]))
    b.then("Transpose", perm=[0, 3, 1, 2])
    b.conv(4, 5, (1, 3))
    b.then("Squeeze", np.array([2]))
    b.then("Transpose", perm=[0, 2, 1])
    b.then("Relu")
    b.then("Flatten")
    b.gemm(3, 40, transB=1)
    return b


def poolings():
    """Windows that reach beyond the image, of every kind."""
    b = Builder(23, [2, 9, 9], opset=19)
    start = b.conv(3, 2, 1)
    ends = []

    def pooled(operator, **attributes):
        b.node(operator, start, **attributes)
        ends.append(b.then("Flatten"))

    for ceil in (0, 1):
        for counted in (0, 1):
            for size, stride, pads in (
                (4, 4, [2, 2, 2, 2]),
                (2, 2, [1, 1, 1, 1]),
                (3, 2, [0, 1, 2, 0]),
                (2, 3, [0, 0, 1, 1]),
            ):
                pooled(
                    "AveragePool", kernel_shape=[size] * 2, strides=[stride] * 2, pads=pads,
                    ceil_mode=ceil, count_include_pad=counted,
                )  # fmt: skip
        pooled("MaxPool", kernel_shape=[3, 4], strides=[2, 4], pads=[1, 2, 1, 2], ceil_mode=ceil)
        pooled("MaxPool", kernel_shape=[2, 2], strides=[2, 3], pads=[0, 0, 1, 1], ceil_mode=ceil)
    for pad in ("SAME_UPPER", "SAME_LOWER", "VALID"):
        for operator in ("AveragePool", "MaxPool"):
            pooled(operator, kernel_shape=[3, 2], strides=[2, 2], auto_pad=pad)
    b.node("Concat", *ends, axis=-1)
    b.outputs = ["features"]
    return b


def poolings_of_steps():
    """The same along one dimension."""
    b = Builder(24, [3, 11], opset=19)
    start = b.conv(4, 3, (3,), pads=[1, 1])
    ends = []
    for operator, attributes in (
        ("AveragePool", dict(kernel_shape=[4], strides=[4], pads=[2, 2], ceil_mode=1, count_include_pad=1)),
        ("AveragePool", dict(kernel_shape=[3], strides=[2], pads=[1, 0], ceil_mode=1)),
        ("AveragePool", dict(kernel_shape=[2], strides=[2], auto_pad="SAME_LOWER")),
        ("MaxPool", dict(kernel_shape=[4], strides=[3], pads=[1, 1], ceil_mode=1)),
    ):
        b.node(operator, start, **attributes)
        ends.append(b.then("Flatten"))
    b.node("Concat", *ends, axis=1)
    b.outputs = ["features"]
    return b


def softmax_of_pixel():
    """Before version 13 softmax is over all dimensions from its axis on, here of one pixel."""
    b = Builder(25, [3, 5, 5], opset=12)
    b.conv(6, 3, 3)
    b.then("Relu")
    b.then("GlobalAveragePool")
    b.conv(4, 6, 1)
    b.then("Softmax")
    b.features = 4
    return b


def softmax_of_all():
    """And here of a whole sequence at once."""
    b = Builder(26, [4, 6], opset=11)
    b.conv(3, 4, (3,))
    b.then("Softmax", axis=-2)
    b.features = 3
    return b


def softmax_of_channels():
    """One softmax for each pixel, and one for each step."""
    b = Builder(27, [3, 4, 5])
    b.conv(4, 3, 3, pads=[1, 1, 1, 1])
    b.then("Softmax", axis=-3)
    b.then("Transpose", perm=[0, 2, 3, 1])
    b.then("Softmax", axis=3)
    b.then("ReduceMean", axes=[1, 2], keepdims=0)
    b.gemm(3, 4)
    return b


def rows_and_back():
    """Dense layers on the steps of a sequence, written as a matrix of all steps."""
    b = Builder(28, [10, 6], last=True)
    b.then("Reshape", np.array([-1, 6]))
    b.gemm(8, 6)
    b.then("Relu")
    b.then("Add", b.weights(8))
    b.then("Softmax", axis=-1)
    b.then("Reshape", np.array([-1, 10, 8]))
    b.then("MatMul", b.weights(8, 5))
    b.then("Flatten", axis=2)
    b.norm(5)
    b.then("Reshape", np.array([-1, 2, 25]))
    b.then("Flatten")
    b.gemm(3, 50, transB=1)
    return b


def dense_on_pixels():
    """Dense layers on the channels of each pixel, in either order of the dimensions."""
    b = Builder(29, [3, 4, 5])
    b.conv(6, 3, 3, pads=[1, 1, 1, 1])
    b.then("Transpose", perm=[0, 2, 3, 1])
    b.then("MatMul", b.weights(6, 8))
    b.then("Add", b.weights(8))
    b.then("Relu")
    b.then("Transpose", perm=[0, 3, 1, 2])
    b.conv(4, 8, 3)
    b.then("Flatten")
    b.gemm(3, 24)
    return b


def computed_shapes():
    """Shapes that the file computes in every way that exporters do."""
    b = Builder(30, [3, 6, 6], opset=17)
    image = b.conv(4, 3, 3)
    shape = b.then("Shape")
    batch = b.node("Gather", shape, np.array([0]), axis=0)
    sides = b.node("Slice", shape, np.array([2]), np.array([4]), np.array([0]), np.array([1]))
    area = b.then("ReduceProd", keepdims=1)
    channels = b.node("Gather", shape, np.array(1), axis=0)
    b.then("Mul", np.array(2))
    b.then("Div", np.array(2))
    channels = b.then("Unsqueeze", np.array([0]))
    target = b.node("Concat", batch, channels, area, axis=0)
    b.node("Reshape", image, target)
    steps = b.then("Transpose", perm=[0, 2, 1])
    ones = b.node("ConstantOfShape", np.array([2]), value=numpy_helper.from_array(np.array([1])))
    b.node("Range", np.array(0), np.array(4), np.array(2))
    b.then("Add", ones)
    b.then("Cast", to=TensorProto.FLOAT)
    b.then("Floor")
    sizes = b.then("Cast", to=TensorProto.INT64)
    chosen = b.node("Where", b.then("Equal", np.array([1, 9])), np.array([16]), sizes)
    b.node("Slice", chosen, np.array([-2]), np.array([-1]))
    b.node("Expand", b.at, np.array([1]))
    minus = b.node("Neg", ones)
    first = b.node("Gather", minus, np.array([1]))
    side = b.node("Max", sides, np.array(1))
    b.node("Concat", first, b.node("Mul", area, np.array([4])), axis=0)
    b.node("Reshape", steps, b.at)
    assert side
    b.gemm(3, 64)
    b.features = 3
    return b


def excite(b, x, channels, last):
    """Squeeze and excitation, the gate first or second."""
    axes = [1, 2] if last else [2, 3]
    b.node("ReduceMean", x, axes=axes, keepdims=0)
    b.gemm(3, channels)
    b.then("Relu")
    b.gemm(channels, 3)
    b.then("HardSigmoid", alpha=1 / 6)
    shape = [-1, 1, 1, channels] if last else [-1, channels, 1, 1]
    return b.then("Reshape", np.array(shape))


def excite_last():
    b = Builder(31, [5, 5, 3], last=True)
    b.then("Transpose", perm=[0, 3, 1, 2])
    b.conv(6, 3, 3)
    b.then("Transpose", perm=[0, 2, 3, 1])
    x = b.then("HardSwish")
    b.node("Mul", excite(b, x, 6, True), x)
    b.then("ReduceMean", axes=[1, 2], keepdims=1)
    b.then("Flatten")
    b.gemm(4, 6)
    return b


def excite_first():
    b = Builder(32, [3, 5, 5])
    b.conv(6, 3, 3)
    x = b.then("HardSwish")
    b.node("Mul", x, excite(b, x, 6, False))
    b.then("GlobalMaxPool")
    b.then("Flatten")
    b.gemm(4, 6)
    return b


def broadcasts():
    """Operands that are repeated along channels, rows, columns, or all of these."""
    b = Builder(33, [3, 4, 5])
    x = b.conv(4, 3, 3, pads=[1, 1, 1, 1])
    spatial = b.conv(1, 4, 1)
    b.node("Mul", b.then("Sigmoid"), x)
    gated = b.node("Add", b.at, b.node("ReduceMean", x, axes=[1, 2, 3]))
    column = b.node("ReduceMean", x, axes=[2])
    b.node("Sub", gated, column)
    b.then("Mul", b.weights(4, 1, 5))
    b.then("Max", np.float32(-0.75))
    b.then("Min", np.float32(0.75))
    b.node("Add", b.at, spatial)
    b.then("Flatten")
    b.gemm(3, 80)
    return b


def hard():
    """Hard activations, also written as additions, limits and products."""
    b = Builder(34, [3, 6, 6])
    x = b.conv(6, 3, 3, pads=[1, 1, 1, 1])
    b.then("HardSwish")
    b.then("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    x = b.conv(6, 6, 3, group=6)
    b.then("Add", np.float32(3))
    b.then("Clip", np.float32(0), np.float32(6))
    b.then("Div", np.float32(6))
    b.node("Mul", x, b.at)
    b.then("HardSigmoid", alpha=0.4, beta=0.3)
    b.then("Flatten")
    b.gemm(4, 6)
    return b


def resized():
    """Larger and smaller images of the nearest pixels, by factors and sizes, found in every way."""
    b = Builder(37, [3, 6, 5])
    none = np.array([], np.float32)
    b.conv(4, 3, 3, pads=[1, 1, 1, 1])
    b.then("Resize", none, np.array([1, 1, 2, 3], np.float32))
    b.conv(4, 4, 3, pads=[1, 1, 1, 1])
    corners = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    b.then("Resize", none, none, np.array([1, 4, 7, 11]), **corners)
    b.conv(4, 4, 3, pads=[1, 1, 1, 1])
    b.then("Resize", none, none, np.array([1, 4, 9, 6]), nearest_mode="round_prefer_ceil")
    b.then("Flatten")
    b.gemm(4, 4 * 9 * 6)
    return b


def slices():
    """Parts of channels, rows and columns, with steps, from either end."""
    b = Builder(35, [4, 8, 9])
    x = b.conv(6, 4, 3, pads=[1, 1, 1, 1])
    ends = []
    for starts, stops, axes, steps in (
        ([2], [5], [1], [1]),
        ([1, -4], [-1, 100], [2, 3], [2, 1]),
        ([0, 0], [3, 8], [-3, -1], [1, 3]),
    ):
        b.node("Slice", x, *map(np.array, (starts, stops, axes, steps)))
        b.then("Relu")
        ends.append(b.then("Flatten"))
    b.node("Concat", *ends, axis=1)
    b.gemm(10, 360)
    b.then("Slice", np.array([1]), np.array([500]), np.array([1]), np.array([4]))
    return b


def reductions():
    """Means and maxima over channels, rows, columns, and several of these."""
    b = Builder(36, [4, 3, 5], opset=13)
    x = b.conv(4, 4, 3, pads=[1, 1, 1, 1])
    ends = []
    for operator, axes in (
        ("ReduceMean", [1]), ("ReduceMean", [2]), ("ReduceMean", [-1]), ("ReduceMean", [1, 2, 3]),
        ("ReduceMax", [1]), ("ReduceMax", [2, 3]), ("ReduceMax", [2]),
    ):  # fmt: skip
        b.node(operator, x, axes=axes, keepdims=len(axes) % 2)
        ends.append(b.then("Flatten"))
    b.node("Concat", *ends, axis=-1)
    b.outputs = ["features"]
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
    image_output, quantized, temporal, averages, differences, flat_last, gray_last, scaled_last,
    normalised_first, step_last, image_of_sequence_last, poolings, poolings_of_steps,
    softmax_of_pixel, softmax_of_all, softmax_of_channels, rows_and_back, dense_on_pixels,
    computed_shapes, excite_last, excite_first, broadcasts, hard, slices, reductions, resized,
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
    """Whether bitsback takes the input channels last though the file has them first."""
    known = {build.__name__: build for build in MODELS}
    builder = known[Path(path).stem]()
    return len(builder.shape) > 1 and not builder.last


def write(folder, only):
    for build in MODELS:
        if only and build.__name__ not in only:
            continue
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
        write(Path(sys.argv[1]), sys.argv[2:])
