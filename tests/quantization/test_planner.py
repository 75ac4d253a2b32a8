"""What the planner gives each layer and why, what it refuses, and what it counts."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import qcli
from qcli.catalog.catalog import resolve_build
from qcli.quantization.cost import count_cost
from qcli.quantization.plan_json import plan_to_json

LSQ4 = {"quantizer": "lsq", "bits": 4}
LSQ8 = {"quantizer": "lsq", "bits": 8}
UNSIGNED4 = {"quantizer": "lsq", "bits": 4, "signed": False}
IMAGE = (3, 8, 8)


def make_network() -> nn.Sequential:
    """First a 3x3 convolution, then a depthwise and a 1x1 one, then a linear layer."""
    layers = {
        "conv1": nn.Conv2d(3, 8, 3, padding=1),
        "relu1": nn.ReLU(),
        "depthwise": nn.Conv2d(8, 8, 3, padding=1, groups=8),
        "relu2": nn.ReLU(),
        "pointwise": nn.Conv2d(8, 16, 1),
        "pool": nn.AdaptiveAvgPool2d(1),
        "flatten": nn.Flatten(),
        "fc": nn.Linear(16, 10),
    }
    network = nn.Sequential()
    for name, layer in layers.items():
        network.add_module(name, layer)
    return network


@pytest.fixture
def plan_of(catalog, make_recipe):
    """Return a function from the arguments of a recipe to a plan of a network, by layer."""

    def make(network=None, image_shape=IMAGE, ends=(None, None), **arguments):
        return qcli.make_plan(
            network or make_network(),
            make_recipe(**arguments),
            image_shape,
            catalog=catalog,
            first_layer=ends[0],
            last_layer=ends[1],
        )

    return make


def bits_of(plan, slot: str) -> dict[str, int | None]:
    return {
        row.layer: planned.bits if (planned := row.slots[slot]) else None for row in plan.layers
    }


def because_of(plan) -> dict[str, str]:
    return {row.layer: row.because for row in plan.layers}


def test_default_reaches_every_layer(plan_of) -> None:
    plan = plan_of(default={"weight": LSQ4, "input": LSQ8})
    assert list(bits_of(plan, "weight").values()) == [4, 4, 4, 4]
    assert list(bits_of(plan, "input").values()) == [8, 8, 8, 8]
    assert set(because_of(plan).values()) == {"default"}


def test_later_wins_and_whole_slots_replace(plan_of) -> None:
    plan = plan_of(
        default={"weight": LSQ4, "input": UNSIGNED4},
        first_layer={"weight": LSQ8, "input": None},
        last_layer={"weight": None},
        layers=[
            {"type": "Conv2d", "weight": {"quantizer": "lsq", "bits": 2}},
            {"match": "point*", "weight": {"quantizer": "lsq", "bits": 3}},
            {"depthwise": True, "weight": None},
        ],
    )
    assert bits_of(plan, "weight") == {"conv1": 2, "depthwise": None, "pointwise": 3, "fc": None}
    assert bits_of(plan, "input") == {"conv1": None, "depthwise": 4, "pointwise": 4, "fc": 4}
    assert because_of(plan) == {
        "conv1": "layers[0]: type Conv2d",
        "depthwise": "layers[2]: depthwise True",
        "pointwise": "layers[1]: match point*",
        "fc": "last_layer",
    }


def test_slot_replaced_by_another_loses_its_options(plan_of) -> None:
    plan = plan_of(
        default={"weight": {**LSQ4, "granularity": "channel"}},
        first_layer={"weight": {"quantizer": "uniform"}},
    )
    slots = {row.layer: row.slots["weight"] for row in plan.layers}
    assert slots["conv1"].to_json() == {"quantizer": "uniform", "bits": 8}
    assert slots["fc"].to_json() == {**LSQ4, "granularity": "channel"}


def test_flag_is_the_reason_for_an_end(plan_of) -> None:
    reasons = {"first_layer": "--first-layer 8"}
    plan = plan_of(default={"weight": LSQ4}, first_layer={"weight": LSQ8}, reasons=reasons)
    assert because_of(plan)["conv1"] == "--first-layer 8"


def test_entry_names_the_ends(plan_of) -> None:
    plan = plan_of(
        default={"weight": LSQ4},
        first_layer={"weight": None},
        last_layer={"weight": LSQ8},
        ends=("depthwise", "pointwise"),
    )
    assert bits_of(plan, "weight") == {"conv1": 4, "depthwise": None, "pointwise": 8, "fc": 4}


def test_ends_are_the_first_and_the_last_layer_called(plan_of) -> None:
    class Swapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last, self.first = nn.Linear(4, 2), nn.Linear(3, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.first(x.mean((2, 3))))

    plan = plan_of(Swapped(), default={"weight": LSQ4}, first_layer={"weight": LSQ8})
    assert bits_of(plan, "weight") == {"last": 4, "first": 8}


class Doubled(nn.Module):
    """A block whose sum comes from no module."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.conv(x)
        return result


def test_layer_receives_what_the_block_before_quantized(plan_of) -> None:
    rule = {"type": "Doubled", "output": LSQ8}
    network = nn.Sequential(Doubled(), Doubled(), nn.Conv2d(3, 4, 1))
    plan = plan_of(network, default={"weight": LSQ4}, layers=[rule])
    received = {row.layer: row.input_bits for row in plan.layers if row.weights}
    assert received == {"0.conv": 32, "1.conv": 8, "2": 8}


def test_no_recipe_quantizes_nothing(catalog) -> None:
    plan = qcli.make_plan(make_network(), None, IMAGE, catalog=catalog)
    assert not list(plan.slots())
    assert set(because_of(plan).values()) == {"no quantization recipe"}


@pytest.mark.parametrize(
    "rule",
    [
        {"match": "conv9", "weight": None},
        {"type": "ConvTranspose2d", "weight": None},
        {"match": "relu*", "weight": None},
        {"match": "conv1", "depthwise": True, "weight": None},
    ],
)
def test_rule_that_matches_nothing_is_refused_with_the_layers(plan_of, rule) -> None:
    with pytest.raises(qcli.PlanError) as caught:
        plan_of(default={"weight": LSQ4}, layers=[{"match": "fc", "weight": LSQ8}, rule])
    (fault,) = caught.value.faults
    assert fault.startswith("test: /layers/1: no layer matches")
    assert "conv1, depthwise, pointwise, fc" in fault


def test_optional_rule_may_match_nothing(plan_of) -> None:
    absent = {"type": "InvertedResidual", "optional": True, "output": LSQ8}
    plan = plan_of(default={"weight": LSQ4}, layers=[absent])
    assert not any(bits_of(plan, "output").values())


def test_output_rule_reaches_any_module(plan_of) -> None:
    plan = plan_of(layers=[{"match": "pool", "output": LSQ8}], default={"weight": LSQ4})
    assert bits_of(plan, "output")["pool"] == 8


def test_output_of_default_reaches_activations_alone(plan_of) -> None:
    plan = plan_of(default={"output": UNSIGNED4})
    filled = {layer for layer, bits in bits_of(plan, "output").items() if bits}
    assert filled == {"relu1", "relu2"}


def test_layer_behind_a_quantized_output_receives_its_bits(plan_of) -> None:
    plan = plan_of(default={"weight": LSQ4, "output": UNSIGNED4})
    received = {row.layer: row.input_bits for row in plan.layers}
    assert [received[name] for name in ("conv1", "depthwise", "pointwise")] == [32, 4, 4]


def test_shared_activation_is_refused_by_name(catalog, make_recipe) -> None:
    entry, member = catalog.architecture("torchvision:resnet18")
    with torch.device("meta"):
        network = resolve_build(entry.build, entry.name)(10, (3, 64, 64), member=member)
    recipe = make_recipe(default={"weight": LSQ4, "output": UNSIGNED4})
    with pytest.raises(qcli.PlanError) as caught:
        qcli.make_plan(network, recipe, (3, 64, 64), catalog=catalog)
    assert len(caught.value.faults) == 8
    assert caught.value.faults[0].startswith("layer layer1.0.relu is called 2 times")
    assert '{"match": "layer1.0.relu", "output": null}' in caught.value.faults[0]


class Twice(nn.Module):
    """One linear layer that is called two times."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.fc(x.mean((2, 3))))


def test_shared_layer_can_have_its_weight_quantized_but_not_its_input(plan_of) -> None:
    plan = plan_of(Twice(), default={"weight": LSQ4})
    assert plan.layers[0].macs == 2 * 9
    with pytest.raises(qcli.PlanError, match="layer fc is called 2 times"):
        plan_of(Twice(), default={"weight": LSQ4, "input": LSQ4})


class Tied(nn.Module):
    """Two linear layers with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(3, 3), nn.Linear(3, 3)
        self.fc2.weight = self.fc1.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.fc1(x.mean((2, 3))))


def test_tied_weights_are_refused(plan_of) -> None:
    with pytest.raises(qcli.PlanError) as caught:
        plan_of(Tied(), default={"weight": LSQ4})
    assert [fault[:35] for fault in caught.value.faults] == [
        "layer fc1 shares its weight with fc",
        "layer fc2 shares its weight with fc",
    ]


def test_weight_tied_to_a_float_layer_is_refused_too(plan_of) -> None:
    """Its latent would be the other layer's weight."""
    with pytest.raises(qcli.PlanError, match="layer fc1 shares its weight with fc2"):
        plan_of(Tied(), default={"weight": LSQ4}, layers=[{"match": "fc2", "weight": None}])


def test_tied_weights_can_stay_float(plan_of) -> None:
    plan = plan_of(Tied(), default={"input": LSQ4})
    assert bits_of(plan, "weight") == {"fc1": None, "fc2": None}


def test_layer_that_is_never_called_stays_float_and_says_so(plan_of) -> None:
    class Unused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.auxiliary = nn.Linear(3, 2), nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(x.mean((2, 3)))

    plan = plan_of(Unused(), default={"weight": LSQ4})
    assert bits_of(plan, "weight") == {"fc": 4, "auxiliary": None}
    assert because_of(plan)["auxiliary"] == "never called in forward, so it stays float"
    assert plan.layers[1].macs == 0


def test_recipe_that_does_nothing_is_refused(plan_of) -> None:
    with pytest.raises(qcli.PlanError, match="quantizes nothing in this network"):
        plan_of(default={"weight": None})
    with pytest.raises(qcli.PlanError, match="/default/output: reaches no layer"):
        plan_of(nn.Sequential(nn.Conv2d(3, 4, 3)), default={"weight": LSQ4, "output": LSQ4})


def test_options_that_a_quantizer_refuses_name_every_layer(plan_of) -> None:
    with pytest.raises(qcli.PlanError) as caught:
        plan_of(default={"input": {**LSQ4, "granularity": "channel"}})
    assert len(caught.value.faults) == 4
    assert caught.value.faults[0].startswith("layer conv1, input: lsq: granularity")


def test_image_that_does_not_fit_is_refused(plan_of) -> None:
    with pytest.raises(qcli.PlanError, match=r"cannot take an image of shape \(1, 8, 8\)"):
        plan_of(image_shape=(1, 8, 8), default={"weight": LSQ4})


def test_planning_leaves_the_network_as_it_was(plan_of) -> None:
    network = make_network().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    plan_of(network, default={"weight": LSQ4, "input": LSQ4})
    assert network.training
    assert list(network.state_dict()) == list(before)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("role", "shape", "axis"),
    [("weight", (8, 3, 3, 3), 0), ("input", IMAGE, 1)],
)
def test_quantizer_is_told_of_its_tensor(plan_of, role: str, shape, axis: int) -> None:
    plan = plan_of(default={"weight": LSQ4, "input": LSQ4})
    info = plan.layers[0].slots[role].info
    assert (info.role, info.shape, info.channel_axis, info.layer) == (role, shape, axis, "conv1")
    assert (info.fed_by, info.followed_by) == (None, "ReLU")


class Shapes(nn.Module):
    """Convolutions of one dimension, transposed, grouped, with strides; and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.strided = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.depthwise = nn.Conv2d(8, 16, 3, groups=8)
        self.transposed = nn.ConvTranspose2d(16, 6, 3, stride=2, groups=2)
        self.flat = nn.Conv1d(6, 4, 5, padding=2, dilation=2)
        self.fc = nn.Linear(5, 7)

    def forward(self, x: Tensor) -> Tensor:
        x = self.transposed(self.depthwise(self.strided(x)))
        return self.fc(self.flat(x.flatten(2))[..., :5])


def test_macs_are_half_of_what_torch_counts_as_flops(plan_of) -> None:
    network = Shapes().eval()
    plan = plan_of(network, default={"weight": {**LSQ4, "granularity": "channel"}})
    counter = FlopCounterMode(display=False)
    with counter:
        network(torch.zeros(1, *IMAGE))
    found = {row.layer: row.macs for row in plan.layers}
    counts = counter.get_flop_counts()
    expected = {name: sum(counts[f"Shapes.{name}"].values()) // 2 for name in found}
    assert found == expected
    assert all(found.values())


def test_channel_axis_of_a_transposed_convolution_is_1(plan_of) -> None:
    plan = plan_of(Shapes(), default={"weight": {**LSQ4, "granularity": "channel"}})
    steps = {layer: slot.build().codebook().shape[0] for layer, _, slot in plan.slots()}
    assert steps == {"strided": 8, "depthwise": 16, "transposed": 3, "flat": 4, "fc": 7}


def test_costs_by_hand(plan_of) -> None:
    network = nn.Sequential(nn.Conv2d(3, 5, 3, bias=False), nn.Flatten(), nn.Linear(5 * 36, 7))
    plan = plan_of(
        network,
        default={"weight": {"quantizer": "lsq", "bits": 3}, "input": UNSIGNED4},
        first_layer={"input": None},
    )
    convolution, linear = 3 * 5 * 9 * 36, 5 * 36 * 7
    cost = count_cost(plan)
    assert cost.macs == convolution + linear
    assert cost.bit_operations == convolution * 3 * 32 + linear * 3 * 4
    assert cost.weights == 135 + 1260
    assert cost.parameters == 135 + 1260 + 7
    assert cost.weight_bytes == math.ceil(135 * 3 / 8) + math.ceil(1260 * 3 / 8)
    assert cost.float_bytes == 4 * 1395


def test_json_is_stable(plan_of) -> None:
    network = nn.Sequential(nn.Conv2d(3, 5, 3))
    value = plan_to_json(plan_of(network, default={"weight": LSQ4}))
    assert value == {
        "schema_version": 1,
        "layers": [
            {
                "layer": "0",
                "type": "Conv2d",
                "weight": LSQ4,
                "input": None,
                "output": None,
                "because": "default",
                "parameters": 140,
                "weights": 135,
                "macs": 4860,
                "weight_bits": 4,
                "input_bits": 32,
            }
        ],
        "totals": {
            "parameters": 140,
            "weights": 135,
            "macs": 4860,
            "bit_operations": 4860 * 4 * 32,
            "weight_bytes": 68,
            "weight_megabytes": 68e-6,
            "float_weight_bytes": 540,
        },
    }
