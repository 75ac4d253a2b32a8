"""Histograms, use of levels and rounding error, against numbers worked out by hand."""

import math

import pytest
import torch
from torch import nn

import qcli
from qcli.quantization.distribution import (
    describe_weights,
    describing_values,
    find_signal_to_noise,
    make_histogram,
)
from qcli.quantization.planner import make_plan
from qcli.quantization.surgery import quantize

LSQ = {"quantizer": "lsq", "bits": 2, "initial_step": 1.0}


def make_model(make_recipe, catalog, **slots):
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False))
    recipe = make_recipe(slots, last_layer=slots, first_layer=slots)
    plan = make_plan(network, recipe, (1, 2, 2), catalog=catalog)
    return quantize(network, plan).eval(), plan


def test_bins_are_equal_and_hold_every_value():
    found = make_histogram(torch.arange(100.0))
    assert (found.low, found.high) == (0.0, 99.0)
    assert sum(found.counts) == 100
    assert len(set(found.counts)) <= 2
    assert found.outside == 0


def test_tails_are_outside_and_levels_always_inside():
    values = torch.cat([torch.linspace(-1, 1, 9_998), torch.tensor([-1e6, 1e6])])
    found = make_histogram(values, (-3.0, 2.0))
    assert (found.low, found.high) == (-3.0, 2.0)
    assert found.outside == 2
    assert sum(found.counts) == 9_998


@pytest.mark.parametrize(
    ("values", "counted"),
    [([], 0), ([math.nan, math.inf], 0), ([0.0, 0.0], 2), ([5.0], 1), ([-1e30, 1e30], 2)],
)
def test_odd_tensors_make_a_histogram(values, counted):
    found = make_histogram(torch.tensor(values))
    assert sum(found.counts) == counted
    assert found.low < found.high
    assert counted + found.outside == len(values)


def test_signal_to_noise_in_decibels():
    # Powers 3^2 + 4^2 = 25 and 0.5^2 = 0.25: a hundredfold is 20 dB.
    assert find_signal_to_noise(torch.tensor([3.0, 4.0]), torch.tensor([3.5, 4.0])) == 20.0
    assert find_signal_to_noise(torch.ones(2), torch.ones(2)) is None
    assert find_signal_to_noise(torch.zeros(2), torch.ones(2)) is None


def test_weights_are_counted_by_level(make_recipe, catalog):
    model, plan = make_model(make_recipe, catalog, weight=LSQ)
    with torch.no_grad():
        weight = [[-3.0, -1.2, 0.2, 0.4], [0.1, 0.9, 1.3, 7.0]]
        model[1].parametrizations.weight.original.copy_(torch.tensor(weight))
    (found,) = describe_weights(model, plan)
    assert (found.layer, found.slot, found.count) == ("1", "weight", 8)
    assert found.levels == (-2.0, -1.0, 0.0, 1.0)
    assert found.used == (1, 1, 3, 3)
    assert found.dead == 0
    signal = sum(x * x for row in weight for x in row)
    noise = 1 + 0.2**2 + 0.2**2 + 0.4**2 + 0.1**2 + 0.1**2 + 0.3**2 + 6**2
    assert found.signal_to_noise == pytest.approx(10 * math.log10(signal / noise), abs=1e-5)


def test_values_are_described_as_they_are_met_first(make_recipe, catalog):
    model, _ = make_model(make_recipe, catalog, input={**LSQ, "signed": False})
    with describing_values(model) as found, torch.no_grad():
        model(torch.tensor([[0.4, 1.1, 2.6, 9.0]]))
        model(torch.zeros(1, 4))
    assert found["1.input"].used == (1, 1, 0, 2)
    assert found["1.input"].dead == 1
    assert not model[1].input_quantizer._forward_pre_hooks


def test_float_and_clamped_weights_have_no_levels(make_recipe, catalog):
    model, plan = make_model(make_recipe, catalog, input=LSQ)
    (plain,) = describe_weights(model, plan)
    assert (plain.levels, plain.used, plain.after) == ((), (), None)
    model, plan = make_model(make_recipe, catalog, weight={"quantizer": "sat", "rounding": False})
    (clamped,) = describe_weights(model, plan)
    assert clamped.levels == ()
    assert clamped.after is not None
    assert clamped.after != clamped.before


def test_a_choice_between_levels_has_no_rounding_error(make_recipe, catalog):
    space = {"quantizer": "categorical", "value_space": [-1, 0, 1], "scale": "tensor"}
    model, plan = make_model(make_recipe, catalog, weight=space)
    (found,) = describe_weights(model, plan)
    assert found.count == 8
    assert sum(found.used) == 8
    assert found.signal_to_noise is None


def test_tanh_normalized_weights_are_shown_between_their_levels():
    """DoReFa and SAT round tanh(w) / M, which reaches 1, and not w."""
    for name in ("dorefa", "sat", "pact"):
        info = qcli.TensorInfo("weight", (2, 3), followed_by="BatchNorm2d")
        quantizer = qcli.load_catalog().quantizer(name)
        built = qcli.catalog.building.build_entry(quantizer, info, bits=3)
        latent = torch.tensor([[0.01, -0.02, 0.0], [0.005, 0.002, -0.001]])
        shown = built.continuous(built.right_inverse(latent))
        assert torch.allclose(shown, latent / 0.02, atol=1e-3)
        error = (built.eval()(latent) - shown).abs().max()
        assert float(error) <= 1 / 7 + 1e-6
