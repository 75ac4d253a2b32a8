"""Value spaces: the ordered candidate values of a searched weight, in short and long forms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

ValueSpace = Sequence[float] | Mapping[str, Any]

VALUE_SPACE_SCHEMA: dict[str, Any] = {
    "description": (
        "The candidate values, in the order of their codes: a list, or "
        '{"powers_of_two": [lo, hi]} for both signs of 2^lo .. 2^hi, '
        '{"integers": [lo, hi]} for lo .. hi, {"linspace": [first, last, count]}.'
    ),
    "type": ["array", "object"],
    "items": {"type": "number"},
    "minItems": 2,
    "maxItems": 256,
    "uniqueItems": True,
    "properties": {
        "powers_of_two": {
            "description": "The lowest and the highest exponent.",
            "type": "array",
            "items": {"type": "integer", "minimum": -64, "maximum": 64},
            "minItems": 2,
            "maxItems": 2,
        },
        "integers": {
            "description": "The lowest and the highest integer.",
            "type": "array",
            "items": {"type": "integer", "minimum": -32768, "maximum": 32767},
            "minItems": 2,
            "maxItems": 2,
        },
        "linspace": {
            "description": "The first value, the last value and their number.",
            "type": "array",
            "prefixItems": [{"type": "number"}, {"type": "number"}, {"type": "integer"}],
            "minItems": 3,
            "maxItems": 3,
        },
    },
    "minProperties": 1,
    "maxProperties": 1,
    "additionalProperties": False,
}


def expand_value_space(space: ValueSpace) -> tuple[float, ...]:
    """Return the candidate values of a checked value space, in the order of their codes.

    Raises:
        ValueError: The space is empty, has one value, repeats one, or has more than 256.
    """
    values = _expand(space)
    if len(set(values)) < len(values):
        raise ValueError(f"the values {values} repeat")
    if not 2 <= len(values) <= 256:
        raise ValueError(f"{len(values)} values, but a value space has 2 to 256")
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
        raise ValueError(f"{form} runs from {low} down to {high}: put the lower bound first")
    if form == "integers":
        return tuple(float(value) for value in range(low, min(high, low + 256) + 1))
    powers = [2.0**exponent for exponent in range(low, high + 1)]
    return tuple([-power for power in reversed(powers)] + powers)
