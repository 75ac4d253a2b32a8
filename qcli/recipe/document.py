"""A recipe file as read: its JSON value, and where every part of it came from."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from qcli.errors import RecipeError
from qcli.recipe.library import exists, find_recipe

Pointer = tuple[str, ...]

LARGEST_BYTES = 1 << 20
DEEPEST = 50


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
        changed = _put(self.value, pointer, value, label)
        origins = _replaced(self.origins, {_first_put(self.value, pointer): label})
        return Document(self.label, changed, origins)

    def with_filled(self, pointer: Pointer, value: Any, origins: Mapping[Pointer, str]) -> Document:
        """Return a copy in which the part at `pointer` is a fuller one.

        Args:
            pointer: Where the part lies.
            value: The part, with all that was there.
            origins: For each pointer into the document that is new, the label of its origin.
        """
        whole = _put(self.value, pointer, value, self.label)
        return Document(self.label, whole, {**self.origins, **origins})


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
    value = read_json(path, f"; {_shown(children[-1])} extends it" if children else "")
    if isinstance(value, list) and kind == "quantization":
        slot = {"quantizer": "categorical", "value_space": value}
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).lstrip("._-")[:100]
        value = {"name": name or "value-space", "default": {"weight": slot}}
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
    try:
        parent_path = find_recipe(parent_name, kind, beside=path)
    except RecipeError as error:
        raise RecipeError([f"{child.label}: /extends: {error}"]) from None
    chain = (*children, path)
    if os.path.realpath(parent_path) in map(os.path.realpath, chain):
        circle = " -> ".join(_shown(each) for each in (*chain, parent_path))
        raise RecipeError([f"{child.label}: /extends: goes in a circle: {circle}"])
    parent = _read(parent_path, kind, chain)
    own = {key: part for key, part in child.value.items() if key != "extends"}
    merged = _merge(parent.value, own)
    inherited: dict[Pointer, str] = {(key,): parent.label for key in parent.value}
    inherited |= parent.origins
    return Document(child.label, merged, _replaced(inherited, _leaves(own, child.label)))


def _replaced(old: Mapping[Pointer, str], new: Mapping[Pointer, str]) -> dict[Pointer, str]:
    """Add origins; what lay below a part that is replaced is gone."""
    kept = {
        pointer: label
        for pointer, label in old.items()
        if not any(pointer[:length] in new for length in range(1, len(pointer)))
    }
    return {**kept, **new}


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


def _first_put(tree: Any, pointer: Pointer) -> Pointer:
    """Return the pointer of the outermost part that putting something at `pointer` makes."""
    for length, key in enumerate(pointer, 1):
        tree = tree[int(key)] if isinstance(tree, list) else tree.get(key)
        if tree is None:
            return pointer[:length]
    return pointer


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


def read_json(path: Path, wanted_by: str = "") -> Any:
    """Read a file of strict JSON.

    Args:
        path: The file.
        wanted_by: What a message says of who needs the file.

    Raises:
        RecipeError: It cannot be read, or is not strict JSON.
    """
    # A pipe is read where the user names it, as in <(...), and waited for. No file may ask for it.
    if wanted_by and exists(path) and not (path.is_file() or path.is_dir()):
        raise RecipeError([f"{_shown(path)}: is no file{wanted_by}"])
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST_BYTES + 1)
    except OSError as error:
        reason = f"cannot be read: {error.strerror}{wanted_by}"
        raise RecipeError([f"{_shown(path)}: {reason}"]) from None
    try:
        return _parse(raw)
    except ValueError as error:
        raise RecipeError([f"{_shown(path)}: {error}"]) from None


def _parse(raw: bytes) -> Any:
    """Parse the content of a file; raises ValueError with what is wrong."""
    if len(raw) > LARGEST_BYTES:
        raise ValueError("more than 1 MiB, which no recipe needs")
    if not raw.strip():
        raise ValueError("the file is empty, allowed: a JSON object")
    try:
        value = parse_json(raw.decode("utf-8-sig"))
        refuse_depth(value)
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not UTF-8; save the file as UTF-8") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise ValueError(f"{place}: not JSON: {error.msg}") from None
    except RecursionError:
        raise ValueError(f"nested more than {DEEPEST} deep, which no recipe needs") from None
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from None
    return value


def refuse_depth(value: Any) -> None:
    """Refuse a JSON value of which later code, which walks it recursively, might make too much.

    Raises:
        RecursionError: It is nested more than `DEEPEST` deep.
    """
    level = [value]
    for _ in range(DEEPEST):
        objects = [part.values() for part in level if isinstance(part, dict)]
        lists = [part for part in level if isinstance(part, list)]
        level = [part for parts in (*objects, *lists) for part in parts]
    if level:
        raise RecursionError


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
        parse_int=_whole,
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


def _whole(text: str) -> int:
    _finite(text)
    return int(text)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        shown = text if len(text) <= 30 else f"{text[:10]}... ({len(text)} digits)"
        raise ValueError(f"{shown} is too large for a number")
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
    except (ValueError, OSError, RuntimeError):
        return str(path)
