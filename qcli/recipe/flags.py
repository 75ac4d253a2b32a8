"""Flags that edit a recipe before it is planned: --set, --first-layer, --last-layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qcli.catalog.catalog import Catalog
from qcli.errors import PluginError, UsageError, suggest
from qcli.recipe.checking import load_schema
from qcli.recipe.document import Document, parse_json

# What a bit-width means where the default quantizer has no option `bits`.
UNIFORM: Mapping[str, Mapping[str, Any]] = {
    "weight": {"quantizer": "uniform", "granularity": "channel"},
    "input": {"quantizer": "uniform"},
}


def apply_overrides(
    training: Document | None, quantization: Document | None, overrides: Sequence[str]
) -> tuple[Document | None, Document | None]:
    """Apply every `--set KEY=VALUE` to the recipe that has the key.

    A key that both recipes have is written `training.name` or `quantization.name`.

    Raises:
        UsageError: An override has no `=`, or its key belongs to no recipe that is given.
    """
    documents = {"training": training, "quantization": quantization}
    for text in overrides:
        key, value = read_override(text)
        kind, pointer = _owner(key, text)
        if pointer[0] == "extends":
            raise UsageError(f"--set {text}: write a recipe that extends another, and name it")
        document = documents[kind]
        if document is None:
            raise UsageError(f"--set {text}: belongs to a {kind} recipe, and none is given")
        documents[kind] = document.with_value(pointer, value, f"--set {key}")
    return documents["training"], documents["quantization"]


def read_override(text: str) -> tuple[str, Any]:
    """Return the key and the value of a `--set KEY=VALUE`.

    Raises:
        UsageError: It has no key or no `=`.
    """
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UsageError(f"--set {text}: write KEY=VALUE, as in --set lr=0.01")
    return key, _parse(value)


def _owner(key: str, text: str) -> tuple[str, tuple[str, ...]]:
    path = tuple(key.split("."))
    if path[0] in ("training", "quantization") and len(path) > 1:
        return path[0], path[1:]
    fields = {kind: load_schema(kind)["properties"] for kind in ("training", "quantization")}
    kinds = [kind for kind in fields if path[0] in fields[kind]]
    if len(kinds) == 2:
        raise UsageError(
            f"--set {text}: both recipes have it; write training.{key} or quantization.{key}"
        )
    if not kinds:
        known = [name for kind in fields for name in fields[kind]]
        raise UsageError(
            f'--set {text}: no recipe has the key "{path[0]}"{suggest(path[0], known)}'
        )
    return kinds[0], path


def _parse(text: str) -> Any:
    """Read a value as JSON; what is not JSON is a string, so that names need no quotes."""
    try:
        return parse_json(text)
    except (ValueError, RecursionError):
        return text


def apply_layer_flags(
    document: Document, flags: Mapping[str, str | None], catalog: Catalog
) -> tuple[Document, dict[str, str]]:
    """Apply `--first-layer` and `--last-layer`.

    Args:
        document: A checked quantization recipe.
        flags: For "first_layer" and "last_layer": "float", "default", a bit-width, or None.
        catalog: Says whether the default quantizers have the option `bits`.

    Returns:
        The recipe, and for each changed part the flag that changed it.
    """
    reasons: dict[str, str] = {}
    for part, choice in flags.items():
        if choice is not None:
            reason = f"--{part.replace('_', '-')} {choice}"
            slots = _slots(document.value["default"], choice, catalog, first=part == "first_layer")
            document = document.with_value((part,), slots, reason)
            reasons[part] = reason
    return document, reasons


def _slots(
    default: Mapping[str, Any], choice: str, catalog: Catalog, *, first: bool
) -> dict[str, Any]:
    if choice == "float":
        return {"weight": None, "input": None}
    slots = {}
    if choice != "default":
        slots["weight"] = _with_bits("weight", default.get("weight"), int(choice), catalog)
        if default.get("input"):
            slots["input"] = _with_bits("input", default["input"], int(choice), catalog)
    received = slots.get("input", default.get("input"))
    # The first layer receives normalized images, which are negative in places.
    if first and received and "signed" in catalog.quantizer(received["quantizer"]).options:
        slots["input"] = {**received, "signed": True}
    return slots


def _with_bits(
    slot: str, default: Mapping[str, Any] | None, bits: int, catalog: Catalog
) -> dict[str, Any]:
    if default and "bits" in catalog.quantizer(default["quantizer"]).options:
        return {**default, "bits": bits}
    try:
        catalog.quantizer(UNIFORM[slot]["quantizer"])
    except PluginError as error:
        raise PluginError(f"a bit-width needs a quantizer with the option bits: {error}") from None
    return {**UNIFORM[slot], "bits": bits}
