"""What the tests of the plan, the surgery and the calibration share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

import qcli
from qcli.catalog.catalog import Catalog
from qcli.recipe.quantization import QuantizationRecipe

MakeRecipe = Callable[..., QuantizationRecipe]


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    return qcli.load_catalog()


@pytest.fixture(scope="session")
def make_recipe() -> MakeRecipe:
    """Return a recipe whose first and last layers are as its default, unless told otherwise."""

    def make(
        default: Mapping[str, Any] | None = None,
        first_layer: Mapping[str, Any] | None = None,
        last_layer: Mapping[str, Any] | None = None,
        layers: Sequence[Mapping[str, Any]] = (),
        **more: Any,
    ) -> QuantizationRecipe:
        value = {
            "name": "test",
            "default": default or {},
            "first_layer": first_layer or {},
            "last_layer": last_layer or {},
            "layers": list(layers),
        }
        return QuantizationRecipe.from_json(value, **more)

    return make
