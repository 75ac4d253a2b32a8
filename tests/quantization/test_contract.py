"""What the contract offers beside plain quantization: no codebook, rectifying, scaled outputs."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

import qcli
from qcli.catalog.catalog import Catalog, Offer
from qcli.quantization.calibration import calibrate
from qcli.quantization.cost import count_cost
from qcli.quantization.plan import Plan


class Float(qcli.Quantizer):
    """Quantizes nothing yet."""

    def forward(self, latent: Tensor) -> Tensor:
        return latent * 1.0

    def codebook(self) -> Tensor:
        return torch.empty(0)


class Unit(qcli.Quantizer):
    """Two levels, 0 and 1, which negative inputs do not have."""

    def forward(self, latent: Tensor) -> Tensor:
        return qcli.straight_through(latent, (latent > 0.5).to(latent.dtype))

    def codebook(self) -> Tensor:
        return torch.tensor([0.0, 1.0])


class Rectifier(Unit):
    """Cuts negative inputs on purpose."""

    rectifies: ClassVar[bool] = True


class Doubling(Unit):
    """Doubles what its layer returns."""

    rectifies: ClassVar[bool] = True

    def scale_output(self, layer: nn.Module, output: Tensor) -> Tensor:
        assert isinstance(layer, nn.Linear)
        return 2 * output


def plan_with(kind: type[qcli.Quantizer], slot: str, model: nn.Module) -> Plan:
    entry = qcli.QuantizerEntry("own", "", "", kind)
    slots = {slot: {"quantizer": "own"}}
    recipe = {"name": "x", "default": slots, "first_layer": slots, "last_layer": slots}
    return qcli.make_plan(model, recipe, (4,), catalog=Catalog((Offer(entry, "here", ""),), ()))


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3))


@pytest.mark.parametrize("slot", ["weight", "input"])
def test_an_empty_codebook_is_float(slot: str, model: nn.Module) -> None:
    plan = plan_with(Float, slot, model)
    (planned,) = [each for _, _, each in plan.slots()]
    quantizer = planned.build()
    assert not quantizer.quantizes
    assert (planned.bits, quantizer.bits) == (32, 32)
    assert quantizer.grid() is None
    assert quantizer.thresholds() is None
    assert count_cost(plan).bit_operations == 12 * 32 * 32


def test_calibration_refuses_negative_inputs_unless_they_are_cut_on_purpose(
    model: nn.Module,
) -> None:
    batch = [torch.tensor([[-1.0, 0.0, 1.0, 2.0]])]
    calibrate(
        qcli.quantize(nn.Sequential(nn.Linear(4, 3)), plan_with(Rectifier, "input", model)), batch
    )
    calibrate(
        qcli.quantize(nn.Sequential(nn.Linear(4, 3)), plan_with(Float, "input", model)), batch
    )
    with pytest.raises(qcli.PlanError, match="layer 0 has negative values in its input"):
        calibrate(qcli.quantize(model, plan_with(Unit, "input", model)), batch)


def test_an_input_may_scale_what_its_layer_returns(model: nn.Module) -> None:
    x = torch.tensor([[-1.0, 0.2, 0.7, 2.0]])
    expected = 2 * model(torch.tensor([[0.0, 0.0, 1.0, 1.0]]))
    network = qcli.quantize(model, plan_with(Doubling, "input", model))
    assert torch.equal(network(x), expected)


@pytest.mark.parametrize(
    ("followed_by", "before_norm"),
    [(None, False), ("ReLU", False), ("BatchNorm2d", True), ("GroupNorm", True)],
)
def test_norms_are_known(followed_by: str | None, before_norm: bool) -> None:
    info = qcli.TensorInfo("weight", (2, 2), followed_by=followed_by)
    assert info.before_norm == before_norm
