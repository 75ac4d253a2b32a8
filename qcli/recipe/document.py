"""A recipe file as read: its JSON value, and where every part of it came from."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from qcli.errors import RecipeError
from qcli.recipe.library import find_recipe

Pointer = tuple[str, ...]

LARGEST_BYTES = 1 << 20


@dataclass(frozen=True)
class Document:
    """A JSON object and the origin of its parts.

    Args:
        label: What messages call the whole: a path as the user would type it, or a flag.
        value: The JSON object, after `extends`.
        origins: For a pointer into `value`, the label of what put it there. A part without an
            entry comes from where the nearest part around it comes from.
    """

    label: str
    value: dict[str, Any]
    origins: Mapping[Pointer, str] = field(default_factory=dict)

    def where(self, pointer: Pointer) -> str:
        """Return the label of what put the part at `pointer` there."""
        for length in range(len(pointer), 0, -1):
            if pointer[:length] in self.origins:
                return self.origins[pointer[:length]]
        return self.label

    def with_value(self, pointer: Pointer, value: Any, label: str) -> Document:
        """Return a copy in which `pointer` holds `value`; objects on the way are made."""
        return Document(
            self.label,
            _put(self.value, pointer, value, label),
            {**self.origins, pointer: label},
        )


def read_document(name_or_path: str, kind: str) -> Document:
    """Read a recipe and what it extends.

    Args:
        name_or_path: A path where it has a `/` or ends with `.json`, else a shipped recipe's name.
        kind: "training" or "quantization".

    Raises:
        RecipeError: It is missing, not JSON, not an object (or a value space), or extends itself.
    """
    return _read(find_recipe(name_or_path, kind), kind, ())


def _read(path: Path, kind: str, children: tuple[Path, ...]) -> Document:
    label = _shown(path)
    value = _read_json(path, label)
    if isinstance(value, list) and kind == "quantization":
        slot = {"quantizer": "categorical", "value_space": value}
        value = {"name": path.stem, "default": {"weight": slot}}
    if not isinstance(value, dict):
        raise RecipeError([f"{label}: a {kind} recipe is a JSON object, found {json_type(value)}"])
    if "extends" not in value:
        return Document(label, value)
    return _extend(Document(label, value), path, kind, children)


def _extend(child: Document, path: Path, kind: str, children: tuple[Path, ...]) -> Document:
    parent_name = child.value["extends"]
    if not isinstance(parent_name, str):
        raise RecipeError(
            [f"{child.label}: /extends: found {json_type(parent_name)}, allowed: a recipe's name"]
        )
    parent_path = find_recipe(parent_name, kind, beside=path)
    chain = (*children, path.resolve())
    if parent_path.resolve() in chain:
        raise RecipeError([f'{child.label}: /extends: "{parent_name}" extends this file again'])
    parent = _read(parent_path, kind, chain)
    own = {key: part for key, part in child.value.items() if key != "extends"}
    merged = _merge(parent.value, own)
    inherited: dict[Pointer, str] = {(key,): parent.label for key in parent.value}
    inherited |= parent.origins
    return Document(child.label, merged, inherited | _leaves(own, child.label))


def _merge(old: Any, new: Any) -> Any:
    """Deep-merge objects; lists, slots and schedules replace whole."""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return new
    if {"quantizer", "kind"} & (old.keys() | new.keys()):
        return new
    return {**old, **{key: _merge(old.get(key), part) for key, part in new.items()}}


def _leaves(value: Any, label: str, pointer: Pointer = ()) -> dict[Pointer, str]:
    if isinstance(value, dict) and value and not {"quantizer", "kind"} & value.keys():
        return {
            place: label
            for key, part in value.items()
            for place in _leaves(part, label, (*pointer, key))
        }
    return {pointer: label}


def _put(tree: Any, pointer: Pointer, value: Any, label: str) -> Any:
    if not pointer:
        return value
    key, rest = pointer[0], pointer[1:]
    if isinstance(tree, list):
        if not (key.isdecimal() and int(key) < len(tree)):
            raise RecipeError([f'{label}: "{key}" is no index of a list of {len(tree)}'])
        index = int(key)
        return [*tree[:index], _put(tree[index], rest, value, label), *tree[index + 1 :]]
    if tree is not None and not isinstance(tree, dict):
        raise RecipeError([f'{label}: "{key}" lies below {json.dumps(tree)}, which has no parts'])
    tree = tree or {}
    return {**tree, key: _put(tree.get(key), rest, value, label)}


def _read_json(path: Path, label: str) -> Any:
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise RecipeError([f"{label}: cannot be read: {error.strerror}"]) from None
    if len(raw) > LARGEST_BYTES:
        raise RecipeError([f"{label}: more than 1 MiB, which no recipe needs"])
    try:
        return parse_json(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise RecipeError([f"{label}: byte {error.start} is not UTF-8"]) from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise RecipeError([f"{label}: {place}: not JSON: {error.msg}"]) from None
    except RecursionError:
        raise RecipeError([f"{label}: nested too deeply for a recipe"]) from None
    except ValueError as error:
        raise RecipeError([f"{label}: not JSON: {error}"]) from None


def parse_json(text: str) -> Any:
    """Parse strict JSON: no NaN, no infinities, no key twice.

    Raises:
        ValueError: It is not strict JSON.
    """
    return json.loads(
        text,
        object_pairs_hook=_unique,
        parse_constant=_refuse_constant,
        parse_float=_finite,
    )


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f'the key "{key}" stands twice in one object')
        result[key] = value
    return result


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is too large for a number")
    return number


def json_type(value: Any) -> str:
    """Return what JSON calls the type of `value`, with an article."""
    if isinstance(value, bool):
        return "a boolean"
    names = {str: "a string", list: "a list", dict: "an object", type(None): "null"}
    return names.get(type(value), "a number")


def _shown(path: Path) -> str:
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)
