"""The graph of a network: calls, and the bits of what goes from one to the next."""

import pytest
import torch
from torch import nn

import qcli
from qcli.catalog.building import build_entry
from qcli.errors import TraceError
from qcli.quantization.network_graph import trace_graph
from qcli.quantization.planner import make_plan
from qcli.quantization.surgery import quantize

LSQ4, LSQ2 = ({"quantizer": "lsq", "bits": bits} for bits in (4, 2))


class Residual(nn.Module):
    """Two ways that are added, one with a dropout; then one that is called twice."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.relu = nn.ReLU()
        self.drop = nn.Dropout()
        self.conv = nn.Conv2d(4, 4, 3, padding=1, groups=2)
        self.pool = nn.MaxPool2d(2)
        self.fc = nn.Linear(36, 5)

    def forward(self, x):
        x = self.relu(self.stem(x))
        x = self.relu(x + self.conv(self.drop(x)))
        return self.fc(torch.flatten(self.pool(x), 1))


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 2)

    def forward(self, x):
        return self.fc(x.mean((2, 3))) if x.sum() > 0 else x


def edges(graph):
    return [(each.source, each.target, each.bits, each.shape) for each in graph.edges]


def test_a_float_network():
    graph = trace_graph(Residual(), (3, 12, 12))
    assert [(each.name, each.kind, each.detail, each.shape) for each in graph.nodes] == [
        ("image", "input", "", (3, 12, 12)),
        ("stem", "conv", "3x3 /2", (4, 6, 6)),
        ("relu", "activation", "", (4, 6, 6)),
        ("conv", "conv", "3x3, 2 groups", (4, 6, 6)),
        ("add", "add", "", (4, 6, 6)),
        ("relu (2)", "activation", "", (4, 6, 6)),
        ("pool", "max pool", "2x2", (4, 3, 3)),
        ("flatten", "reshape", "", (36,)),
        ("fc", "linear", "", (5,)),
        ("output", "output", "", ()),
    ]
    assert {each.bits for each in graph.edges} == {32}
    assert [each.bits for each in graph.nodes if each.kind in ("conv", "linear")] == [32] * 3
    assert [(source, target) for source, target, *_ in edges(graph)] == [
        ("image", "stem"),
        ("stem", "relu"),
        ("relu", "conv"),
        ("relu", "add"),
        ("conv", "add"),
        ("add", "relu (2)"),
        ("relu (2)", "pool"),
        ("pool", "flatten"),
        ("flatten", "fc"),
        ("fc", "output"),
    ]


def test_bits_are_those_that_a_call_computes_with(make_recipe, catalog):
    """An input's quantizer serves its layer alone; an output's all who take it, and beyond."""
    model = Residual()
    rules = [{"match": "conv", "input": LSQ2}, {"match": "stem", "output": LSQ4}]
    recipe = make_recipe({"weight": LSQ2}, {"weight": None}, layers=rules)
    quantize(model, make_plan(model, recipe, (3, 12, 12), catalog=catalog))
    model.train()
    model.drop.eval()
    graph = trace_graph(model, (3, 12, 12))
    bits = {(source, target): number for source, target, number, _ in edges(graph)}
    assert bits["stem", "relu"] == 4
    assert (bits["relu", "conv"], bits["relu", "add"]) == (2, 32)
    assert {each.name: (each.bits, each.quantizer) for each in graph.nodes if each.bits} == {
        "stem": (32, ""),
        "conv": (2, "LSQ"),
        "fc": (2, "LSQ"),
    }
    assert (model.training, model.drop.training) == (True, False)


def test_what_moves_values_keeps_their_bits(make_recipe, catalog):
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(),
        nn.Linear(100, 2),
    )
    recipe = make_recipe(layers=[{"type": "ReLU", "output": LSQ4}])
    quantize(model, make_plan(model, recipe, (3, 12, 12), catalog=catalog))
    assert edges(trace_graph(model, (3, 12, 12))) == [
        ("image", "0", 32, (3, 12, 12)),
        ("0", "1", 32, (4, 10, 10)),
        ("1", "2", 4, (4, 10, 10)),
        ("2", "3", 4, (4, 5, 5)),
        ("3", "5", 4, (100,)),
        ("5", "output", 32, (2,)),
    ]


@pytest.mark.parametrize("architecture", ["lenet5", "resnet20"])
@pytest.mark.parametrize("recipe", ["lsq-w4a4", "lsq-w4a4-integer", "dorefa-w1a2"])
def test_bits_are_those_of_the_plan(architecture, recipe, catalog):
    entry, _ = catalog.architecture(architecture)
    model = build_entry(entry, 10, entry.default_image_shape)
    plan = qcli.make_plan(model, recipe, entry.default_image_shape)
    graph = trace_graph(qcli.quantize(model, plan), entry.default_image_shape)
    received = {each.target: each.bits for each in graph.edges}
    weights = {each.name: each.bits for each in graph.nodes}
    rows = [row for row in plan.layers if row.weights]
    assert {row.layer: (row.input_bits, row.weight_bits) for row in rows} == {
        row.layer: (received[row.layer], weights[row.layer]) for row in rows
    }
    assert len({row.input_bits for row in rows}) > 1


@pytest.mark.parametrize(
    ("model", "shape", "message"),
    [
        (Branching(), (3, 4, 4), "the network cannot be traced: symbolically traced variables"),
        (Residual(), (3, 40, 40), "the network cannot take an image of shape (3, 40, 40): "),
        (nn.Bilinear(2, 3, 4), (2,), "the network takes input1, input2; allowed: one batch of"),
    ],
)
def test_what_cannot_be_followed_is_said(model, shape, message, capfd):
    with pytest.raises(TraceError) as caught:
        trace_graph(model, shape)
    assert str(caught.value).startswith(message)
    assert capfd.readouterr() == ("", "")
    assert model.training
