"""Integer graphs made by hand: every operation, with ranges that are proven as lowering does."""

import math

import numpy as np

from qcli.deployment.execution import run_node
from qcli.deployment.graph import (
    Concat,
    Convolution,
    Graph,
    Linear,
    Logits,
    Lookup,
    MaxPool,
    Pad,
    Quantize,
    Repeat,
    Reshape,
    Signs,
    Spread,
    SumPool,
    Tensor,
    Transpose,
)

UNREACHABLE = 1 << 62


class GraphMaker:
    """Adds nodes one by one; each method returns the name of the tensor that it makes.

    Args:
        image_shape: (C, H, W).
        seed: Of weights, multipliers and biases.
    """

    def __init__(self, image_shape=(3, 12, 10), seed=0):
        self.random = np.random.default_rng(seed)
        self.image = Tensor("image", tuple(image_shape), 0, 255)
        self.tensors = {"image": self.image}
        self.nodes = []

    def graph(self, **facts):
        return Graph(self.image, tuple(self.nodes), facts)

    def add(self, make, inputs, name, low, high, **fields):
        """Add a node whose output shape is what one image of zeros gives."""
        node = make(tuple(inputs), Tensor(name, (), int(low), int(high)), **fields)
        zeros = [np.zeros((1, *self.tensors[each].shape), np.int64) for each in inputs]
        lows = {each: self.tensors[each].low for each in inputs}
        if make is Lookup:
            zeros = [zeros[0] + lows[inputs[0]]]
        shape = run_node(node, zeros, lows).shape[1:]
        output = Tensor(name, tuple(map(int, shape)), int(low), int(high))
        self.nodes.append(make(tuple(inputs), output, **fields))
        self.tensors[name] = output
        return name

    def add_reshape(self, x, name, shape):
        source = self.tensors[x]
        output = Tensor(name, tuple(shape), source.low, source.high)
        self.nodes.append(Reshape((x,), output))
        self.tensors[name] = output
        return name

    def keep_range(self, make, x, name, **fields):
        """Add a node that moves values, and may add zeros."""
        source = self.tensors[x]
        return self.add(make, [x], name, min(source.low, 0), max(source.high, 0), **fields)

    def lookup(self, x, name, levels, rows=1):
        source = self.tensors[x]
        table = self.random.choice(levels, (rows, source.high - source.low + 1))
        return self.add(Lookup, [x], name, min(levels), max(levels), table=table)

    def weigh(self, make, x, name, shape, values, **fields):
        """Add a convolution or a linear layer with weights out of `values`."""
        source = self.tensors[x]
        weight = self.random.choice(np.array(values, np.int64), shape)
        rows = weight.reshape(shape[0], -1)
        most = np.clip(rows, 0, None).sum(1)
        least = np.clip(rows, None, 0).sum(1)
        low, high = min(source.low, 0), max(source.high, 0)
        bounds = (most * low + least * high).min(), (most * high + least * low).max()
        return self.add(make, [x], name, *bounds, weight=weight, layer=name, **fields)

    def convolution(self, x, name, out_channels, values, kernel=(3, 3), groups=1, **fields):
        per_group = self.tensors[x].shape[0] // groups
        shape = (out_channels, per_group, *kernel)
        return self.weigh(Convolution, x, name, shape, values, groups=groups, **fields)

    def linear(self, x, name, out_features, values):
        return self.weigh(Linear, x, name, (out_features, self.tensors[x].shape[0]), values)

    def sum_pool(self, x, name, kernel, stride, pads=((0, 0), (0, 0))):
        source = self.tensors[x]
        count = kernel[0] * kernel[1]
        low, high = min(source.low, 0) * count, max(source.high, 0) * count
        fields = {"kernel": kernel, "stride": stride, "pads": pads}
        return self.add(SumPool, [x], name, low, high, **fields)

    def signs(self, x, name):
        source = self.tensors[x]
        reach = max(abs(source.low), abs(source.high))
        signs = self.random.choice([-1, 1], source.shape[0])
        return self.add(Signs, [x], name, -reach, reach, signs=signs)

    def concat(self, inputs, name):
        sources = [self.tensors[each] for each in inputs]
        low, high = min(each.low for each in sources), max(each.high for each in sources)
        return self.add(Concat, inputs, name, low, high)

    def affine(self, inputs, num_levels):
        """Return multipliers, bias and shift that spread values over about `num_levels` steps.

        The first channel has the multipliers 0, the second negative ones.
        """
        channels = self.tensors[inputs[0]].shape[0]
        reach = [max(abs(self.tensors[x].low), self.tensors[x].high, 1) for x in inputs]
        scale = self.random.uniform(2, 16, (len(inputs), channels)) * num_levels
        scale = scale / np.array(reach)[:, None] / len(inputs)
        scale[:, 0] = 0
        scale[:, 1:2] *= -1
        offset = self.random.uniform(-0.2, 1.1, channels) * num_levels
        largest = np.abs(scale).max(0)
        fraction = [30 - math.floor(math.log2(each)) if each else 55 for each in largest]
        shift = np.clip(np.minimum(fraction, 50 - math.ceil(math.log2(num_levels))), 1, 55)
        multipliers = np.rint(np.ldexp(scale, shift)).astype(np.int64)
        return multipliers, np.rint(np.ldexp(offset, shift)).astype(np.int64), shift

    def quantize(self, inputs, name, levels, thresholds=None, step=None):
        """Add a quantization to `levels`; the default thresholds round half to even.

        A threshold of inf is never reached, of -inf always.
        """
        inputs = [inputs] if isinstance(inputs, str) else inputs
        multipliers, bias, shift = self.affine(inputs, len(levels))
        places = np.arange(1, len(levels))
        if thresholds is None:
            boundaries = ((2 * places - 1) << (shift[:, None] - 1)) + places % 2
        else:
            real = np.ldexp(np.array(thresholds, float), shift[:, None])
            boundaries = np.ceil(np.clip(real, -UNREACHABLE, UNREACHABLE)).astype(np.int64)
        fields = {"boundaries": boundaries, "levels": np.array(levels), "step": step}
        affine = {"multipliers": multipliers, "bias": bias, "shift": shift}
        return self.add(Quantize, inputs, name, min(levels), max(levels), **affine, **fields)

    def logits(self, inputs, name="logits"):
        inputs = [inputs] if isinstance(inputs, str) else inputs
        multipliers, bias, _ = self.affine(inputs, 16)
        multipliers, bias = multipliers >> 8, bias >> 20
        reach = sum(
            np.abs(row).max() * max(abs(self.tensors[x].low), self.tensors[x].high)
            for row, x in zip(multipliers, inputs, strict=True)
        )
        reach = int(reach) + int(np.abs(bias).max())
        fields = {"multipliers": multipliers, "bias": bias, "shift": 20}
        return self.add(Logits, inputs, name, -reach, reach, **fields)


def every_operation(seed=0):
    """Return a graph with each kind of node, awkward levels, and quantizers of two operands."""
    make = GraphMaker((3, 12, 10), seed)
    x = make.lookup("image", "image.levels", list(range(-128, 128)), rows=3)
    fields = {"stride": (2, 1), "pads": ((1, 0), (2, -1))}
    x = make.convolution(x, "first", 8, list(range(-255, 256, 2)), **fields)
    x = make.quantize(x, "first.output", list(range(16)), step=0.1)
    deep = make.convolution(x, "depthwise", 8, [-1, 1], groups=8, pads=((1, 1), (1, 1)))
    deep = make.signs(deep, "turned")
    deep = make.keep_range(
        MaxPool, deep, "largest", kernel=(3, 3), stride=(1, 1), pads=((1, 1),) * 2
    )
    deep = make.quantize(deep, "signed.output", [-1, 1], thresholds=[0.25])
    fields = {"dilation": (2, 1), "pads": ((2, 2), (1, 1))}
    wide = make.convolution(x, "dilated", 8, [-8, -4, -2, -1, 1, 2, 4, 8], groups=2, **fields)
    levels, thresholds = [0, 1, 2, 4], [-math.inf, 1.3, 2.7]
    wide = make.quantize(wide, "uneven.output", levels, thresholds=thresholds)
    x = make.quantize([deep, wide], "joined", list(range(-8, 8)))
    spread = make.keep_range(Spread, x, "spread", stride=(2, 2))
    shape = make.tensors[x].shape
    spread = make.convolution(spread, "transposed", 4, [-1, 0, 1], pads=((1, 2), (1, 2)))
    spread = make.quantize(spread, "ternary.output", [-1, 0, 1], thresholds=[0.5, math.inf])
    large = make.keep_range(Repeat, x, "large", factors=(2, 2))
    assert make.tensors[spread].shape[1:] == (2 * shape[1], 2 * shape[2])
    x = make.concat([spread, large], "both")
    x = make.keep_range(Pad, x, "padded", pads=((1, 0), (0, 1), (1, 1)))
    x = make.sum_pool(x, "pooled", (3, 4), (3, 4), ((1, 0), (0, 1)))
    x = make.quantize(x, "pooled.output", list(range(256)))
    x = make.keep_range(Transpose, x, "transpose", axes=(0, 2, 1))
    x = make.add_reshape(x, "flat", (int(np.prod(make.tensors[x].shape)),))
    planes = [make.linear(x, f"last.{plane}", 10, list(range(-127, 128))) for plane in (0, 1)]
    make.logits(planes)
    return make.graph(architecture="by hand", classes=[f"class {each}" for each in range(10)])


def draw_images(graph, count=4, seed=0):
    """Return uint8 [count, C, H, W]."""
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (count, *graph.image.shape)).astype(np.uint8)
