"""Calibration: every quantizer of data looks once at each batch, and nothing else changes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import qcli
from qcli.quantization.calibration import calibrate
from qcli.quantization.surgery import quantizers

IMAGE = (3, 6, 6)
LSQ = {"quantizer": "lsq", "bits": 4}
UNSIGNED = {"quantizer": "lsq", "bits": 4, "signed": False}
UNIFORM = {"quantizer": "uniform", "observer": "minmax"}


def make_network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 5)
    )


@pytest.fixture
def quantize(catalog, make_recipe):
    """Return a function that quantizes a network by the default slots given."""

    def apply(network: nn.Module, **default) -> nn.Module:
        plan = qcli.make_plan(network, make_recipe(default=default), IMAGE, catalog=catalog)
        return qcli.quantize(network, plan)

    return apply


def batches(count: int = 3) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(4, *IMAGE, generator=generator) for _ in range(count)]


def test_buffers_of_norms_are_put_back(quantize) -> None:
    network = quantize(make_network(), input=LSQ)
    before = {name: value.clone() for name, value in network[1].state_dict().items()}
    calibrate(network, batches())
    after = network[1].state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert int(after["num_batches_tracked"]) == 0


def test_buffers_are_put_back_when_a_batch_fails(quantize) -> None:
    network = quantize(make_network(), input=LSQ).eval()
    with pytest.raises(RuntimeError):
        calibrate(network, [*batches(), torch.zeros(1, 5, 6, 6)])
    assert int(network[1].num_batches_tracked) == 0
    assert not network.training
    assert not network[0].input_quantizer._forward_pre_hooks


def test_norms_use_the_batch_meanwhile(quantize) -> None:
    """What the linear layer's quantizer sees is what training will send through."""
    network = quantize(make_network(), input=UNIFORM).eval()
    network[1].running_var.fill_(1e6)
    calibrate(network, batches())
    assert not network.training
    assert float(network[4].input_quantizer.high) > 1


def test_every_quantizer_of_data_observes_each_batch_once(quantize, monkeypatch) -> None:
    network = quantize(make_network(), weight=LSQ, input=LSQ, output=UNSIGNED)
    seen: list[tuple[str, str]] = []
    for layer, slot, quantizer in quantizers(network):
        place = (layer, slot)
        monkeypatch.setattr(quantizer, "observe", lambda x, place=place: seen.append(place))
    calibrate(network, batches(3))
    assert sorted(seen) == sorted([("0", "input"), ("2", "output"), ("4", "input")] * 3)


def test_range_takes_in_every_batch(quantize) -> None:
    network = quantize(make_network(), input=UNIFORM)
    data = batches()
    calibrate(network, data)
    quantizer = network[0].input_quantizer
    assert float(quantizer.low) == min(float(batch.min()) for batch in data)
    assert float(quantizer.high) == max(float(batch.max()) for batch in data)


@pytest.mark.parametrize("slot", ["input", "output"])
def test_unsigned_quantizer_of_negative_values_is_refused_by_name(quantize, slot: str) -> None:
    network = make_network()
    if slot == "output":
        network[2] = nn.Identity()
    network = quantize(network, **{slot: UNSIGNED})
    with pytest.raises(qcli.PlanError) as caught:
        calibrate(network, batches())
    layer = "0" if slot == "input" else "2"
    (fault,) = caught.value.faults
    assert fault.startswith(f"layer {layer} has negative values in its {slot} (min -")
    assert '"signed": true' in fault
    assert f'"{slot}": null' in fault


def test_unsigned_quantizer_behind_a_relu_is_served(quantize) -> None:
    network = quantize(make_network(), output=UNSIGNED)
    calibrate(network, batches())
    assert bool(network[2].output_quantizer.observed)


def test_network_without_quantizers_of_data_needs_no_batch(quantize) -> None:
    def never():
        raise AssertionError("a batch was asked for")
        yield

    calibrate(quantize(make_network(), weight=LSQ), never())
