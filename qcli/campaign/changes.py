"""What differs between two JSON values, place by place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


class _Absent:
    """Stands where one of the two has nothing."""

    def __repr__(self) -> str:
        return "nothing"


ABSENT = _Absent()


@dataclass(frozen=True)
class Change:
    """One place where two values differ.

    Args:
        pointer: The JSON pointer of the place; "" is the whole.
        first: What the first has there; ABSENT where it has nothing.
        second: What the second has there.
    """

    pointer: str
    first: Any
    second: Any

    def to_json(self) -> dict[str, Any]:
        """Return the change as JSON; a side that has nothing is left out."""
        sides = {"first": self.first, "second": self.second}
        there = {name: value for name, value in sides.items() if value is not ABSENT}
        return {"pointer": self.pointer, **there}


def find_changes(first: Any, second: Any, pointer: str = "") -> Iterator[Change]:
    """Yield every place where two JSON values differ, as deep as both are alike around it."""
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        for key in {**first, **second}:
            place = f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}"
            yield from find_changes(first.get(key, ABSENT), second.get(key, ABSENT), place)
    elif isinstance(first, list) and isinstance(second, list):
        for index in range(max(len(first), len(second))):
            one, other = (part[index] if index < len(part) else ABSENT for part in (first, second))
            yield from find_changes(one, other, f"{pointer}/{index}")
    elif not is_same(first, second):
        yield Change(pointer, first, second)


def is_same(first: Any, second: Any) -> bool:
    """Say whether two values without parts are equal; NaN equals NaN, True is no 1."""
    if isinstance(first, bool) != isinstance(second, bool):
        return False
    return bool(first == second or (first != first and second != second))
