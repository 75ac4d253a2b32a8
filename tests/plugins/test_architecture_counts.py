"""The bundled networks against their published sizes, on the meta device."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import torch
from published_counts import PUBLISHED_COUNTS, UNPUBLISHED, Row

import qcli_architectures
from qcli.quantization.survey import quantizable_layers, survey_model

ENTRIES = {entry.name: entry for entry in qcli_architectures.qcli_register_architectures()}
# Hundreds of blocks: as all others of its family, but seconds on its own.
SLOW = {"resnet1202"}


def case(row: Row) -> Any:
    name, options, num_classes, image_shape, *_ = row
    marks = pytest.mark.slow if name in SLOW else ()
    words = [name, str(num_classes), "x".join(map(str, image_shape)), *map(str, options.values())]
    return pytest.param(*row, id="-".join(words), marks=marks)


@pytest.mark.parametrize(
    ("name", "options", "num_classes", "image_shape", "total", "weights", "first", "last", "mmacs"),
    [case(row) for row in PUBLISHED_COUNTS],
)
def test_published_counts(
    name: str,
    options: dict[str, Any],
    num_classes: int,
    image_shape: tuple[int, int, int],
    total: int,
    weights: int,
    first: int,
    last: int,
    mmacs: float | None,
) -> None:
    module, function = str(ENTRIES[name].build).split(":")
    make = getattr(importlib.import_module(module), function)
    with torch.device("meta"):
        network = make(num_classes, image_shape, **options)
    sizes = {layer: module.weight.numel() for layer, module in quantizable_layers(network)}
    entry = ENTRIES[name]
    assert sum(parameter.numel() for parameter in network.parameters()) == total
    assert sum(sizes.values()) == weights
    assert (sizes[str(entry.first_layer)], sizes[str(entry.last_layer)]) == (first, last)
    if mmacs is not None:
        visits = survey_model(network, image_shape).visits.values()
        assert sum(visit.macs for visit in visits) / 1e6 == pytest.approx(mmacs, abs=0.0051)


def test_every_bundled_network_has_a_published_count() -> None:
    named = {name for name, *_ in PUBLISHED_COUNTS}
    assert not named & UNPUBLISHED
    assert named | UNPUBLISHED == {name for name in ENTRIES if not name.endswith(":")}
