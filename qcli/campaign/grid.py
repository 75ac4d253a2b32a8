"""The runs of a fair comparison: one training recipe, several quantizers, bit-widths and seeds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

from qcli.errors import UsageError
from qcli.recipe.experiment import Row

FLOAT = "float"


def make_grid(base: Row, quantizations: Sequence[str], bits: Sequence[str]) -> list[Row]:
    """Return a row for each quantization recipe and bit-width.

    Args:
        base: What all rows share; it has no quantization.
        quantizations: Recipes; "float" is none at all.
        bits: Widths such as "2/32": weights and inputs; none: those of the recipes.

    Raises:
        UsageError: A width cannot be read, or two recipes would have the same name.
    """
    widths = [(width, dict(_read_width(width))) for width in bits] or [("", {})]
    rows: dict[str, Row] = {}
    for recipe, (width, changes) in product(quantizations, widths):
        row = _make_row(base, recipe, width, changes)
        if rows.setdefault(row.id, row) != row:
            raise UsageError(
                f'two recipes of the grid become "{row.id}"; compare them one after another'
            )
    return list(rows.values())


def _make_row(base: Row, recipe: str, width: str, changes: Mapping[str, Any]) -> Row:
    name = recipe.rsplit("/", 1)[-1].removesuffix(".json")
    if recipe == FLOAT:
        return replace(base, id=f"{base.id}-{FLOAT}")
    if not width:
        return replace(base, id=f"{base.id}-{name}", quantization=recipe)
    # A recipe called dorefa-w2a2 is one of DoReFa's; here it has the widths of the grid.
    name = re.sub(r"-w\d+a\d+$", "", name) + f"-w{width.replace('/', 'a')}"
    changes = {**base.set, **changes, "quantization.name": name}
    return replace(base, id=f"{base.id}-{name}", quantization=recipe, set=changes)


def _read_width(width: str) -> Iterator[tuple[str, Any]]:
    """Yield the fields that a width such as 2/32 sets; 32 for inputs leaves them float."""
    parts = width.split("/")
    if len(parts) != 2 or not all(part.isascii() and part.isdecimal() for part in parts):
        raise UsageError(f"--bits {width}: write WEIGHT/INPUT, as in --bits 2/32")
    weight, received = map(int, parts)
    yield "default.weight.bits", weight
    yield ("default.input", None) if received == 32 else ("default.input.bits", received)
