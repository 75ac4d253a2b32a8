"""The curve of a quantizer is what its equations say."""

import pytest
import torch

from qcli import load_catalog
from qcli.errors import PlanError
from qcli.quantization.portrait import portray
from qcli.quantization.transfer import sample_transfer


def sample(name, slot, **options):
    return sample_transfer(load_catalog().quantizer(name), slot, options)


def test_lsq_has_the_steps_and_the_gradient_of_its_equations():
    curve = sample("lsq", "weight", bits=2)
    # Eq. 1 with lo = -2 and hi = 1; the step starts at 2 * mean|w| / sqrt(hi).
    step = 2 * curve.x.abs().mean()
    torch.testing.assert_close(curve.levels, torch.tensor([-2.0, -1.0, 0.0, 1.0]) * step)
    wanted = torch.tensor([-1.5, -0.5, 0.5], dtype=torch.float64) * step
    torch.testing.assert_close(curve.boundaries, wanted, atol=0.05, rtol=0)
    (training,) = curve.training
    inside = (curve.x > -2 * step) & (curve.x < step)
    assert torch.equal(training.slope, inside.float())
    assert torch.equal(training.values, curve.values)


def test_search_mixes_as_a_softmax_of_squared_distances_does():
    temperature = {"kind": "exponential", "start": 1, "factor": 0.97, "every": "epoch"}
    curve = sample(
        *("categorical", "weight"), value_space=[-1, 1], sampling="soft", temperature=temperature
    )
    assert curve.levels.tolist() == [-1, 1]
    # Of two values the mean is tanh(2 x / (c T)): times T, its inverse is one line for all T.
    middle = curve.x.abs() < 0.1
    lines = [
        torch.atanh(each.values[middle].double()) * each.annealed["temperature"]
        for each in curve.training[:3]
    ]
    assert len({round(each.annealed["temperature"], 4) for each in curve.training}) == 5
    for line in lines[1:]:
        torch.testing.assert_close(line, lines[0], rtol=1e-3, atol=1e-4)
    assert all(each.slope is None for each in curve.training)


def test_activations_behind_a_relu_reach_beyond_both_ends():
    curve = sample("dorefa", "input", bits=2)
    torch.testing.assert_close(curve.levels, torch.arange(4) / 3)
    assert curve.x[0] < 0 < 1 < curve.x[-1]
    torch.testing.assert_close(
        curve.boundaries, torch.tensor([1, 3, 5], dtype=torch.float64) / 6, atol=0.01, rtol=0
    )


def test_refused_options_are_refused():
    with pytest.raises(PlanError, match="weights are signed"):
        sample("lsq", "weight", signed=False)


@pytest.mark.parametrize("name", list(load_catalog().of_kind("quantizers")))
def test_every_quantizer_has_curves_of_every_role(name):
    entry = load_catalog().quantizer(name)
    curves = portray(entry)
    slots = {curve.slot == "weight" for curve in curves}
    assert slots == {slot == "weight" for slot in entry.quantizes}
    for curve in curves:
        assert torch.isin(curve.values, curve.levels).all()
        assert len(curve.boundaries) <= len(curve.levels) - 1
        assert (curve.values.diff() >= 0).all()
