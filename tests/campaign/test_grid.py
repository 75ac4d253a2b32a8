"""A grid has every method at every width, once."""

import pytest

from qcli.campaign.grid import make_grid
from qcli.catalog.load import load_catalog
from qcli.errors import UsageError
from qcli.recipe.experiment import Row
from qcli.recipe.setting import resolve_setting

BASE = Row("g", "lenet5", "lenet5-digits-20ep")


def test_recipes_keep_their_own_widths():
    rows = make_grid(BASE, ["float", "dorefa-w2a2"], [])
    assert [(row.id, row.quantization, row.set) for row in rows] == [
        ("g-float", None, {}),
        ("g-dorefa-w2a2", "dorefa-w2a2", {}),
    ]


def test_widths_are_put_into_the_recipes():
    rows = make_grid(BASE, ["float", "dorefa-w2a2", "lsq-w4a4"], ["3/5", "2/32"])
    assert [row.id for row in rows] == [
        *("g-float", "g-dorefa-w3a5", "g-dorefa-w2a32", "g-lsq-w3a5", "g-lsq-w2a32"),
    ]
    for row in rows[1:]:
        recipe = resolve_setting(row.request(), load_catalog()).quantization
        assert f"g-{recipe.name}" == row.id
        weight, received = recipe.default["weight"], recipe.default["input"]
        assert weight["bits"] == (3 if "w3" in row.id else 2)
        assert (received and received["bits"]) == (5 if "a5" in row.id else None)


@pytest.mark.parametrize("width", ["4", "4/", "/4", "a/b", "4/4/4", "-1/2"])
def test_widths_that_cannot_be_read_are_refused(width):
    with pytest.raises(UsageError, match="write WEIGHT/INPUT"):
        make_grid(BASE, ["dorefa-w2a2"], [width])


def test_two_recipes_of_one_name_are_refused():
    with pytest.raises(UsageError, match='two recipes of the grid become "g-q"'):
        make_grid(BASE, ["a/q.json", "b/q.json"], [])
    with pytest.raises(UsageError, match='become "g-dorefa-w4a4"'):
        make_grid(BASE, ["dorefa-w1a2", "dorefa-w2a2"], ["4/4"])
    assert len(make_grid(BASE, ["dorefa-w1a2", "dorefa-w1a2"], [])) == 1
