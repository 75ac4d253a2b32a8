"""Where each value of a recipe came from, as resolving it has noted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from qcli.catalog.catalog import Catalog
from qcli.recipe.completion import complete_entries, complete_quantization, complete_training
from qcli.recipe.document import Document, Pointer
from qcli.recipe.setting import Settled


def complete_recipe(settled: Settled, catalog: Catalog) -> Document:
    """Return the one recipe of a command line with every default, as a run would have it.

    Args:
        settled: One recipe, checked, with its flags applied.
        catalog: Where its entries are found.
    """
    if settled.quantization:
        return complete_quantization(settled.quantization, catalog)
    assert settled.training is not None
    return complete_training(complete_entries(settled.training, None, catalog).document)


def list_sources(document: Document) -> Iterator[tuple[Pointer, Any, str]]:
    """Yield every value that has no parts, with its pointer and the label of its origin."""
    for pointer, value in _leaves(document.value, ()):
        yield pointer, value, document.where(pointer)


def _leaves(value: Any, at: Pointer) -> Iterator[tuple[Pointer, Any]]:
    parts: dict[str, Any] = {}
    if isinstance(value, dict):
        parts = value
    elif isinstance(value, list) and any(isinstance(part, dict | list) for part in value):
        parts = {str(index): part for index, part in enumerate(value)}
    if not parts:
        yield at, value
    for key, part in parts.items():
        yield from _leaves(part, (*at, key))
