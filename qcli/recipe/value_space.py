"""Value spaces: the ordered candidate values of a searched weight, in short and long forms."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

ValueSpace = Sequence[float] | Mapping[str, Any]

LARGEST_COUNT = 256

# A plugin's option that is a value space; recipes resolve the reference, as that of a schedule.
VALUE_SPACE_SCHEMA: dict[str, Any] = {
    "$ref": "#/$defs/value_space",
    "description": (
        "The candidate values, in the order of their codes: a list, or "
        '{"powers_of_two": [lo, hi]} for both signs of 2^lo .. 2^hi, '
        '{"integers": [lo, hi]} for lo .. hi, {"linspace": [first, last, count]}.'
    ),
}


def expand_value_space(space: ValueSpace) -> tuple[float, ...]:
    """Return the candidate values of a value space, in the order of their codes.

    Raises:
        ValueError: It has fewer than 2 values or more than 256, or two that are equal as float32,
            or one that float32 cannot hold.
    """
    values = _expand(space)
    if not 2 <= len(values) <= LARGEST_COUNT:
        raise ValueError(_count_fault(len(values)))
    seen: dict[float, float] = {}
    for value in values:
        near = _as_float32(value)
        if near in seen:
            raise ValueError(_twin_fault(seen[near], value))
        seen[near] = value
    return values


def _expand(space: ValueSpace) -> tuple[float, ...]:
    if not isinstance(space, Mapping):
        return tuple(float(value) for value in space)
    ((form, bounds),) = space.items()
    if form == "linspace":
        first, last, count = bounds
        return tuple(first + (last - first) * k / (count - 1) for k in range(count))
    low, high = bounds
    if low > high:
        raise ValueError(
            f'"{form}" runs from {low} down to {high}, allowed: the lower bound first; '
            f'write {{"{form}": [{high}, {low}]}}'
        )
    count = (high - low + 1) * (2 if form == "powers_of_two" else 1)
    if count > LARGEST_COUNT:
        raise ValueError(_count_fault(count))
    if form == "integers":
        return tuple(float(value) for value in range(low, high + 1))
    powers = [2.0**exponent for exponent in range(low, high + 1)]
    return tuple([-power for power in reversed(powers)] + powers)


def _count_fault(count: int) -> str:
    return f"found {count} value{'s' * (count != 1)}, allowed: 2 to {LARGEST_COUNT}"


def _twin_fault(first: float, second: float) -> str:
    same = first == second
    words = f"{first:g} stands twice" if same else f"{first} and {second} are one number"
    return f"{words}, allowed: values that differ as float32"


def _as_float32(value: float) -> float:
    try:
        (near,) = struct.unpack("<f", struct.pack("<f", value))
    except OverflowError:
        raise ValueError(f"{value:g} is too large for float32") from None
    return float(near)
