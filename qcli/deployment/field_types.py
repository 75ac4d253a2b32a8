"""Whether what was read from a file has the types that the records of a graph declare."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np

from qcli.deployment.graph import Concat, Logits, Node, Quantize, Tensor

# What adds up any number of inputs; all else has one.
_JOINING = (Concat, Logits, Quantize)
_INTERPOLATIONS = ("bilinear", "bicubic")
_LONGEST_SIDE = 1 << 14


def require_types(record: Node | Tensor) -> None:
    """Refuse a record with a field of another type than it declares.

    Raises:
        TypeError: There is one, or a node has another number of inputs than it takes.
    """
    hints = get_type_hints(type(record))
    wrong = [
        field.name
        for field in fields(record)
        if not _is(getattr(record, field.name), hints[field.name])
    ]
    if wrong:
        raise TypeError(f"{wrong[0]} has another type")
    if isinstance(record, Node):
        joins = isinstance(record, _JOINING)
        if not record.inputs or (len(record.inputs) > 1 and not joins):
            raise TypeError("takes another number of inputs")


def _is(value: Any, hint: Any) -> bool:
    origin, parts = get_origin(hint), get_args(hint)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        if parts[-1] is Ellipsis:
            return all(_is(each, parts[0]) for each in value)
        return len(value) == len(parts) and all(map(_is, value, parts))
    if origin is UnionType:
        return any(_is(value, part) for part in parts)
    if origin is np.ndarray:
        return isinstance(value, np.ndarray) and value.dtype == np.int64
    if hint is int:
        return type(value) is int
    if hint is float:
        return type(value) in (int, float)
    return value is None if hint is NoneType else isinstance(value, hint)


def require_facts(facts: Any) -> None:
    """Refuse what no exporter says beside a graph, of what is used where it runs.

    Raises:
        TypeError: The names of classes or the rule for images have another form.
    """
    if not isinstance(facts, Mapping):
        raise TypeError("facts are no object")
    classes, rule = facts.get("classes") or [], facts.get("image") or {}
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise TypeError("classes are no names")
    if not (isinstance(rule, dict) and _is_rule(rule)):
        raise TypeError("image is no rule for images")


def _is_rule(rule: Mapping[str, Any]) -> bool:
    known = rule.get("interpolation", "bilinear") in _INTERPOLATIONS
    known &= rule.get("channels", 1) in (1, 3) and _is_size(rule.get("crop"), one=False)
    return known and _is_size(rule.get("resize"), one=True)


def _is_size(size: Any, *, one: bool) -> bool:
    """Say whether a size is height and width, that of the shorter side where `one`, or unsaid."""
    sides = [size] if one and type(size) is int else size
    if not size:
        return size is None
    counts = isinstance(sides, list) and len(sides) in (1, 2)
    return counts and all(type(side) is int and 1 <= side <= _LONGEST_SIDE for side in sides)
