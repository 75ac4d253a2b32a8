"""The networks of timm: their names, channels and sizes, and that they can be quantized."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
import torch
from torch import nn

import qcli
from qcli.cli import main
from qcli.quantization.survey import survey_model
from qcli_architectures.timm_family import build_member

pytest.importorskip("timm")

SMALL = (3, 32, 32)


# timm publishes the same totals as torchvision, and 4,231,976 for MobileNet-V1.
@pytest.mark.parametrize(
    ("member", "total"),
    [("resnet18", 11_689_512), ("mobilenetv2_100", 3_504_872), ("mobilenetv1_100", 4_231_976)],
)
def test_parameter_counts(member: str, total: int) -> None:
    network = build_member(1000, SMALL, member=member)
    assert sum(parameter.numel() for parameter in network.parameters()) == total


def test_classes_and_channels_are_those_of_the_data() -> None:
    network = build_member(7, (1, 40, 48), member="resnet18")
    assert network(torch.randn(2, 1, 40, 48)).shape == (2, 7)
    assert {tensor.device.type for tensor in network.state_dict().values()} == {"cpu"}


def test_placeholders_are_no_activations() -> None:
    network = build_member(10, SMALL, member="resnet18")
    assert not [name for name, each in network.named_modules() if isinstance(each, nn.Identity)]
    survey = survey_model(network, SMALL)
    assert survey.producers["layer1.0.conv2"] == "layer1.0.act1"
    assert set(survey.called(network)[1:]) <= survey.nonnegative["input"]


@pytest.mark.parametrize(
    ("member", "message"),
    [
        ("resnet19", r'timm: has no network "resnet19" \(did you mean "resnet'),
        (
            "vit_tiny_patch16_224",
            "timm:vit_tiny_patch16_224: cannot take images of 3x32x32 .*"
            "Choose other images: timm made the network for 3x224x224",
        ),
    ],
)
def test_refusals(member: str, message: str) -> None:
    with pytest.raises(qcli.UsageError, match=message):
        build_member(10, SMALL, member=member)


def test_a_missing_package_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    message = r'timm:resnet18: the package timm is not installed; run `pip install "qcli\[timm\]"`'
    with pytest.raises(qcli.UsageError, match=message):
        build_member(10, SMALL, member="resnet18")


# The number of quantized weights and inputs: search leaves the ends float, lsq the first input.
@pytest.mark.parametrize(
    ("preset", "weights", "inputs"), [("lsq-w4a4", 21, 20), ("search-1b", 19, 0)]
)
def test_plans(
    preset: str, weights: int, inputs: int, monkeypatch: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["qcli", "plan", "-a", "timm:resnet18", "--quant-json", preset, "--json"]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as caught:
        main()
    out, error = capsys.readouterr()
    assert (caught.value.code, error) == (0, "")
    layers = json.loads(out)["layers"]
    assert sum(bool(layer["weight"]) for layer in layers) == weights
    assert sum(bool(layer["input"]) for layer in layers) == inputs
