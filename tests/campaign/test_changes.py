"""What differs between two JSON values."""

import math

import pytest

from qcli.campaign.changes import ABSENT, find_changes


@pytest.mark.parametrize(
    ("first", "second", "changes"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": math.nan}, {"a": math.nan}, []),
        ({"a": 1}, {"a": 1.0}, []),
        ({"a": 1}, {"a": True}, [("/a", 1, True)]),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, [("/a/b", 1, 2)]),
        ({"a": 1}, {"b": 2}, [("/a", 1, ABSENT), ("/b", ABSENT, 2)]),
        ({"a": None}, {}, [("/a", None, ABSENT)]),
        ([1, 2], [1, 3, 4], [("/1", 2, 3), ("/2", ABSENT, 4)]),
        ({"a": [1]}, {"a": {"0": 1}}, [("/a", [1], {"0": 1})]),
        ({"a/b": 1, "c~d": 1}, {"a/b": 2, "c~d": 2}, [("/a~1b", 1, 2), ("/c~0d", 1, 2)]),
        (1, "1", [("", 1, "1")]),
    ],
    ids=str,
)
def test_changes(first, second, changes):
    found = [(each.pointer, each.first, each.second) for each in find_changes(first, second)]
    assert found == changes


def test_a_side_that_has_nothing_is_left_out():
    (change,) = find_changes({}, {"a": None})
    assert change.to_json() == {"pointer": "/a", "second": None}
