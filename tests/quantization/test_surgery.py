"""Quantizers in a network: placed, trained, copied, saved, and baked out of it."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

import qcli
from qcli.catalog.catalog import Catalog, Offer, resolve_build
from qcli.quantization.calibration import calibrate
from qcli.quantization.surgery import latents, quantizers

IMAGE = (3, 16, 16)
LSQ = {"quantizer": "lsq", "bits": 4}
UNSIGNED = {"quantizer": "lsq", "bits": 4, "signed": False}
WEIGHTS = [
    {"quantizer": "lsq", "bits": 3},
    {"quantizer": "lsq", "bits": 2, "granularity": "channel"},
    {"quantizer": "lsq", "bits": 1},
    {"quantizer": "dorefa", "bits": 1},
    {"quantizer": "dorefa", "bits": 2},
    {"quantizer": "uniform", "bits": 8, "granularity": "channel"},
    {"quantizer": "categorical", "scale": "tensor"},
    {"quantizer": "categorical", "value_space": {"linspace": [-1, 1, 4]}, "scale": "channel"},
    {
        "quantizer": "categorical",
        "scale": "tensor",
        "value_space": [-1, 0, 1],
        "sampling": "gumbel",
    },
    {"quantizer": "categorical", "scale": "tensor", "value_space": [-1, 0, 1], "sampling": "soft"},
]


def make_network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.ConvTranspose2d(8, 6, 3, groups=2),
        nn.ReLU(),
        nn.Flatten(2),
        nn.Conv1d(6, 4, 5, stride=3),
        nn.Flatten(),
        nn.Linear(4 * 84, 10),
    )


@pytest.fixture
def quantize(catalog, make_recipe):
    """Return a function that quantizes a network by the default slots given."""

    def apply(network: nn.Module, **default) -> nn.Module:
        plan = qcli.make_plan(network, make_recipe(default=default), IMAGE, catalog=catalog)
        return qcli.quantize(network, plan)

    return apply


def images() -> Tensor:
    return torch.randn(4, *IMAGE, generator=torch.Generator().manual_seed(1))


def train(network: nn.Module, steps: int = 2) -> None:
    """Take optimizer steps as the loop does."""
    optimizer = torch.optim.SGD(network.parameters(), 0.05)
    of = latents(network)
    for step in range(steps):
        for _, _, quantizer in quantizers(network):
            quantizer.on_progress(qcli.Progress(step, steps, 0, 1, seed=3))
        optimizer.zero_grad()
        network(images()).square().mean().backward()
        optimizer.step()
        with torch.no_grad():
            for _, _, quantizer in quantizers(network):
                quantizer.after_step(of.get(quantizer))


def test_every_slot_is_filled_and_found(quantize) -> None:
    network = quantize(make_network(), weight=LSQ, input=LSQ, output=UNSIGNED)
    found = {(layer, slot) for layer, slot, _ in quantizers(network)}
    layers = {"0", "3", "6", "8"}
    expected = {(layer, slot) for layer in layers for slot in ("weight", "input")}
    assert found == expected | {("2", "output"), ("4", "output")}
    for layer, slot, quantizer in quantizers(network):
        assert (quantizer.info.layer, quantizer.info.role) == (layer, slot)
        assert str(quantizer) == f"LSQ({layer}.{slot})"


def test_layer_receives_levels_and_multiplies_levels(quantize) -> None:
    network = quantize(make_network(), weight=LSQ, input=LSQ).eval()
    seen = {}
    network[3].register_forward_hook(lambda _, args, out: seen.update(input=args[0]))
    network(images())
    levels = network[3].input_quantizer.codebook().tolist()
    assert set(seen["input"].unique().tolist()) <= set(levels)
    levels = network[3].parametrizations.weight[0].codebook().tolist()
    assert set(network[3].weight.unique().tolist()) <= set(levels)


def test_output_quantizer_gives_levels_to_all_who_listen(quantize) -> None:
    network = quantize(make_network(), output=UNSIGNED).eval()
    levels = network[:3](images()).unique().tolist()
    assert set(levels) <= set(network[2].output_quantizer.codebook().tolist())


def test_search_puts_logits_in_place_of_the_weight(quantize) -> None:
    search = {"quantizer": "categorical", "scale": "tensor"}
    network = quantize(make_network(), weight=search)
    shapes = [tuple(latent.shape) for latent in latents(network).values()]
    assert shapes == [(2, 8, 3, 3, 3), (2, 8, 3, 3, 3), (2, 4, 6, 5), (2, 10, 336)]
    names = [name for name, _ in network.named_parameters() if name.startswith("0.")]
    weight = "0.parametrizations.weight"
    assert names == ["0.bias", f"{weight}.original", f"{weight}.0.scale"]


@pytest.mark.parametrize("weight", WEIGHTS, ids=str)
def test_baked_weights_are_what_eval_mode_uses(quantize, weight) -> None:
    network = quantize(make_network(), weight=weight)
    train(network)
    plain = make_network()
    plain.load_state_dict(qcli.bake(network), strict=True)
    network.eval()
    plain.eval()
    assert torch.equal(plain(images()), network(images()))
    for layer, slot, quantizer in quantizers(network):
        assert slot == "weight"
        latent = latents(network)[quantizer]
        deployed = quantizer.decode(quantizer.codes(latent))
        assert torch.equal(plain.get_submodule(layer).weight, deployed)


def test_baking_leaves_the_network_as_it_was(quantize) -> None:
    network = quantize(make_network(), weight=LSQ, input=LSQ).train()
    before = copy.deepcopy(network.state_dict())
    state = qcli.bake(network)
    assert set(state) == set(make_network().state_dict())
    assert network.training
    assert list(network.state_dict()) == list(before)
    state["0.bias"].fill_(9)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("weight", WEIGHTS, ids=str)
def test_state_dict_round_trip(quantize, weight) -> None:
    network = quantize(make_network(), weight=weight, input=LSQ)
    calibrate(network, [images()])
    train(network)
    torch.manual_seed(9)
    fresh = quantize(make_network(), weight=weight, input=LSQ)
    fresh.load_state_dict(network.state_dict(), strict=True)
    assert torch.equal(fresh.eval()(images()), network.eval()(images()))


@pytest.mark.parametrize("weight", WEIGHTS, ids=str)
def test_copy_is_equal_and_independent(quantize, weight) -> None:
    network = quantize(make_network(), weight=weight, input=LSQ)
    calibrate(network, [images()])
    copied = copy.deepcopy(network)
    expected = network.eval()(images())
    assert torch.equal(copied.eval()(images()), expected)
    train(copied.train())
    assert torch.equal(network(images()), expected)
    assert not torch.equal(copied.eval()(images()), expected)


def test_every_parameter_is_trained(quantize) -> None:
    scaled = {"quantizer": "categorical", "scale": "channel"}
    network = quantize(make_network(), weight=scaled, input=LSQ)
    calibrate(network, [images()])
    network(images()).square().mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name


def test_quantizers_follow_the_mode_of_the_network(quantize) -> None:
    network = quantize(make_network().eval(), weight=LSQ)
    assert not any(quantizer.training for _, _, quantizer in quantizers(network))
    network.train()
    assert all(quantizer.training for _, _, quantizer in quantizers(network))


def test_quantizer_that_does_not_fit_is_named(make_recipe) -> None:
    class Flat(qcli.Quantizer):
        def forward(self, latent: Tensor) -> Tensor:
            return latent.flatten()

        def codebook(self) -> Tensor:
            return torch.tensor([0.0, 1.0])

    network = make_network()
    recipe = make_recipe(default={"weight": {"quantizer": "flat"}})
    offer = Offer(qcli.QuantizerEntry("flat", "", "", Flat), "toy", "1")
    plan = qcli.make_plan(network, recipe, IMAGE, catalog=Catalog((offer,), ()))
    with pytest.raises(qcli.PlanError, match="layer 0, weight: Flat does not fit"):
        qcli.quantize(network, plan)


@pytest.mark.parametrize(
    ("name", "image_shape"), [("lenet5", (1, 28, 28)), ("resnet20", (3, 32, 32))]
)
def test_bundled_networks_bake_exactly(catalog, make_recipe, name: str, image_shape) -> None:
    entry, _ = catalog.architecture(name)
    build = resolve_build(entry.build, name)
    network = build(10, image_shape)
    recipe = make_recipe(default={"weight": {"quantizer": "lsq", "bits": 2}})
    qcli.quantize(network, qcli.make_plan(network, recipe, image_shape, catalog=catalog))
    plain = build(10, image_shape)
    plain.load_state_dict(qcli.bake(network), strict=True)
    batch = torch.randn(2, *image_shape)
    assert torch.equal(plain.eval()(batch), network.eval()(batch))


def test_output_of_a_row_of_modules_is_quantized_once() -> None:
    row = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    network = nn.Sequential(row, nn.Flatten(), nn.Linear(4 * 14 * 14, 2))
    rule = {"match": "0", "output": UNSIGNED}
    recipe = {"name": "t", "default": {"weight": LSQ}, "first_layer": {}, "layers": [rule]}
    qcli.quantize(network, qcli.make_plan(network, recipe, IMAGE))
    calls: list[int] = []
    (quantizer,) = (each for _, slot, each in quantizers(network) if slot == "output")
    quantizer.register_forward_hook(lambda *arguments: calls.append(1))
    calibrate(network, [torch.randn(4, *IMAGE)])
    calls.clear()
    received = row(torch.randn(4, *IMAGE))
    assert len(calls) == 1
    assert received.unique().numel() <= 16
