"""One network of each family, quantized by a preset: forward and backward."""

from __future__ import annotations

import importlib

import pytest
import torch

import qcli
import qcli_architectures

SMALL = (3, 32, 32)
ENTRIES = {entry.name: entry for entry in qcli_architectures.qcli_register_architectures()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "recipe"),
    [
        ("googlenet", "search-1b"),
        ("googlenet_variant", "lq_nets-w2a2"),
        ("mobilenet_v1", "dorefa-w4a4"),
        ("mobilenet_v2", "search-1b"),
        ("resnet18_preact", "lq_nets-w2a2"),
        ("bireal_resnet18", "xnor-w1a1"),
        ("timm:resnet18", "lsq-w4a4"),
        ("timm:resnet18", "search-1b"),
    ],
)
def test_quantized_networks_train(name: str, recipe: str) -> None:
    family, colon, member = name.partition(":")
    entry = ENTRIES[family + colon]
    module, function = str(entry.build).split(":")
    options = {"member": member} if member else {}
    network = getattr(importlib.import_module(module), function)(10, SMALL, **options)
    ends = {"first_layer": entry.first_layer, "last_layer": entry.last_layer}
    quantized = qcli.quantize(network, qcli.make_plan(network, recipe, SMALL, **ends))
    scores = quantized(torch.randn(4, *SMALL))
    assert scores.shape == (4, 10)
    scores.square().mean().backward()
    assert all(parameter.grad is not None for parameter in quantized.parameters())
