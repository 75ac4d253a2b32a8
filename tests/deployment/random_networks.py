"""Networks drawn at random, of all that lowers, with recipes that quantize what integers need."""

from dataclasses import dataclass

import torch
from hypothesis import strategies as st
from lowered_networks import Calls
from torch import nn

SHAPES = st.tuples(st.integers(1, 3), st.integers(5, 8), st.integers(5, 8))


@dataclass(frozen=True)
class Stage:
    """A layer and what stands around it; what does not fit is left out."""

    kind: str
    channels: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    border: tuple[int, int, int, int]
    dilation: tuple[int, int]
    bias: bool
    norm: bool
    pool: str
    place: str
    join: str
    activation: str


@dataclass(frozen=True)
class Drawn:
    """A network as it was drawn: stages, quantizers of weights and of what stages give, a seed."""

    shape: tuple[int, int, int]
    stages: tuple[Stage, ...]
    weights: tuple[dict, ...]
    outputs: tuple[dict, ...]
    hidden: int
    seed: int


def pairs(low, high):
    return st.tuples(st.integers(low, high), st.integers(low, high))


STAGES = st.builds(
    Stage,
    kind=st.sampled_from(["plain", "plain", "grouped", "depthwise", "transposed"]),
    channels=st.integers(1, 4),
    kernel=pairs(1, 3),
    stride=pairs(1, 2),
    padding=pairs(0, 1),
    border=st.sampled_from([(0, 0, 0, 0), (0, 0, 0, 0), (1, 0, 2, 1), (0, 2, 0, 0)]),
    dilation=st.sampled_from([(1, 1), (1, 1), (2, 1), (1, 2)]),
    bias=st.booleans(),
    norm=st.booleans(),
    pool=st.sampled_from(["", "", "max", "border", "ceil", "average", "overlap", "global"]),
    place=st.sampled_from(["sums", "norm", "codes"]),
    join=st.sampled_from(["", "", "residual", "twice", "concat"]),
    activation=st.sampled_from(["", "relu", "relu6", "hardtanh", "leaky", "prelu"]),
)
BITS = st.integers(1, 8)
WEIGHTS = st.one_of(
    BITS.map(lambda bits: {"quantizer": "lsq", "bits": bits}),
    BITS.map(lambda bits: {"quantizer": "lsq", "bits": bits, "granularity": "channel"}),
    st.integers(2, 8).map(lambda bits: {"quantizer": "uniform", "bits": bits}),
    BITS.map(lambda bits: {"quantizer": "dorefa", "bits": bits}),
    st.sampled_from(
        [
            {"quantizer": "ttq"},
            {"quantizer": "twn"},
            {"quantizer": "xnor"},
            {"quantizer": "lq_nets", "bits": 2},
            {"quantizer": "quantization_networks", "bits": 2},
            {"quantizer": "categorical", "value_space": [-1.7, 0, 0.45, 3.1], "scale": "tensor"},
        ]
    ),
)
OUTPUTS = st.one_of(
    st.integers(2, 8).map(lambda bits: {"quantizer": "lsq", "bits": bits, "signed": True}),
    BITS.map(lambda bits: {"quantizer": "lsq", "bits": bits, "signed": False}),
    st.integers(2, 8).map(lambda bits: {"quantizer": "uniform", "bits": bits}),
    BITS.map(lambda bits: {"quantizer": "dorefa", "bits": bits}),
    st.integers(2, 8).map(lambda bits: {"quantizer": "pact", "bits": bits}),
    st.sampled_from(
        [
            {"quantizer": "qnn", "bits": 1},
            {"quantizer": "lq_nets", "bits": 2},
            {"quantizer": "quantization_networks", "bits": 2},
        ]
    ),
)
# Of values that are not negative.
UNSIGNED = ("lq_nets", "quantization_networks")
# Of floats in levels on no grid: several operands, which no maximum and no join can take.
SEVERAL = ("ttq", "lq_nets", "categorical")


@st.composite
def drawn_networks(draw):
    stages = draw(st.lists(STAGES, min_size=1, max_size=4))
    count = len(stages) + 2
    return Drawn(
        draw(SHAPES),
        tuple(stages),
        tuple(draw(st.lists(WEIGHTS, min_size=count, max_size=count))),
        tuple(draw(st.lists(OUTPUTS, min_size=count, max_size=count))),
        draw(st.integers(0, 5)),
        draw(st.integers(0, 1 << 20)),
    )


def make_layer(stage, channels):
    """Return a layer; one that is joined with its input keeps the shape of that."""
    if stage.join:
        out = stage.channels if stage.join == "concat" else channels
        groups = channels if stage.kind == "depthwise" and out % channels == 0 else 1
        kind = nn.ConvTranspose2d if stage.kind == "transposed" else nn.Conv2d
        padding = stage.padding[0]
        return kind(channels, out, 2 * padding + 1, padding=padding, groups=groups, bias=stage.bias)
    out = stage.channels
    settings = {"stride": stage.stride, "bias": stage.bias, "dilation": stage.dilation}
    if stage.kind == "transposed":
        groups = 2 if channels % 2 == 0 else 1
        extra = tuple(step - 1 for step in stage.stride)
        settings |= {"output_padding": extra, "groups": groups}
        return nn.ConvTranspose2d(channels, out * groups, stage.kernel, **settings)
    groups = {"plain": 1, "grouped": 2, "depthwise": channels}[stage.kind]
    groups = groups if channels % groups == 0 else 1
    settings |= {"padding": stage.padding, "groups": groups}
    return nn.Conv2d(channels, out * groups, stage.kernel, **settings)


POOLS = {
    "max": lambda: nn.MaxPool2d(2),
    "border": lambda: nn.MaxPool2d(3, 2, 1),
    "ceil": lambda: nn.MaxPool2d(2, 3, ceil_mode=True),
    "average": lambda: nn.AvgPool2d((2, 1)),
    "overlap": lambda: nn.AvgPool2d(2, 1),
    "global": lambda: nn.AdaptiveAvgPool2d(1),
}
ACTIVATIONS = {
    "": nn.Identity,
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "hardtanh": lambda: nn.Hardtanh(-0.5, 0.75),
    "leaky": lambda: nn.LeakyReLU(0.125),
    "prelu": lambda: nn.PReLU(init=0.7),
}


class _Build:
    """Adds modules one by one, and knows the shape that the network has so far."""

    def __init__(self, drawn):
        self.drawn = drawn
        self.modules = {}
        self.steps = []
        self.rules = []
        self.x = torch.zeros(2, *drawn.shape)
        self.add("q0", nn.Identity())
        self.rules.append({"match": "q0", "output": {"quantizer": "uniform", "bits": 8}})

    def add(self, name, module):
        """Append a module unless it does not fit; returns whether it does."""
        try:
            result = module.eval()(self.x)
        except RuntimeError:
            return False
        if result.dim() == 4 and min(result.shape[2:]) < 1:
            return False
        self.modules[name] = module
        self.x = result
        self.steps.append(lambda s, x, kept: getattr(s, name)(x))
        return True

    def join(self, kind, before):
        """Add what came in to what comes out, or put both side by side, where they fit."""
        if kind in ("residual", "twice") and before.shape == self.x.shape:
            twice = kind == "twice"
            self.steps.append(lambda s, x, kept: kept + x + kept if twice else x + kept)
        elif kind == "concat" and before.dim() == 4 and before.shape[2:] == self.x.shape[2:]:
            self.steps.append(lambda s, x, kept: torch.cat([kept, x], 1))
            self.x = torch.cat([before, self.x], 1)

    def quantize(self, number, activation):
        name, slot = f"q{number + 1}", self.drawn.outputs[number]
        if slot["quantizer"] == "qnn" and activation in ("relu", "relu6"):
            activation = "hardtanh"
        if slot["quantizer"] in UNSIGNED or slot.get("signed") is False:
            activation = "relu"
        self.add(name, ACTIVATIONS[activation]())
        self.rules.append({"match": name, "output": slot})

    def add_stage(self, number, stage):
        weights, before = self.drawn.weights[number], self.x
        came_from = self.drawn.outputs[number - 1] if number else {"quantizer": "uniform"}
        single = not {weights["quantizer"], came_from["quantizer"]} & set(SEVERAL)
        self.steps.append("keep")
        if any(stage.border) and not stage.join:
            self.add(f"border{number}", nn.ZeroPad2d(stage.border))
        if not self.add(f"layer{number}", make_layer(stage, self.x.shape[1])):
            return
        self.rules.append({"match": f"layer{number}", "weight": weights})
        pool = POOLS[stage.pool]() if stage.pool else None
        fits = pool and not stage.join and (single or isinstance(pool, nn.AvgPool2d))
        if fits and stage.place == "sums":
            self.add(f"pool{number}", pool)
        if stage.norm:
            self.add(f"norm{number}", nn.BatchNorm2d(self.x.shape[1]))
        if fits and stage.place == "norm":
            self.add(f"pool{number}", pool)
        if single or stage.join != "concat":
            self.join(stage.join, before)
        self.quantize(number, stage.activation)
        if pool and stage.place == "codes":
            self.add(f"pool{number}", pool)

    def add_end(self):
        number = len(self.drawn.stages)
        self.add("flat", nn.Flatten())
        if self.drawn.hidden:
            self.add("hidden", nn.Linear(self.x.shape[1], self.drawn.hidden))
            self.add("norm", nn.BatchNorm1d(self.drawn.hidden))
            self.quantize(number, "relu")
            self.rules.append({"match": "hidden", "weight": self.drawn.weights[number]})
        self.add("fc", nn.Linear(self.x.shape[1], 3))
        self.rules.append({"match": "fc", "weight": self.drawn.weights[number + 1]})


def build_network(drawn):
    """Return the network, with seeded weights, and the rules of its recipe."""
    torch.manual_seed(drawn.seed)
    build = _Build(drawn)
    for number, stage in enumerate(drawn.stages):
        build.add_stage(number, stage)
    build.add_end()
    steps = tuple(build.steps)

    def forward(self, x):
        kept = x
        for step in steps:
            if step == "keep":
                kept = x
            else:
                x = step(self, x, kept)
        return x

    return Calls(forward, **build.modules), build.rules
