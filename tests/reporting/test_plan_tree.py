"""The plan as a tree."""

import io

import pytest
from rich.console import Console

from qcli.quantization.plan import LayerPlan, Plan
from qcli.reporting.plan_tree import color_of, grow_tree, print_plan, walk_tree


def plan_of(*names):
    slots = dict.fromkeys(("weight", "input", "output"))
    rows = [LayerPlan(name, "Conv2d", slots, "default", 10, 9, 90, 32) for name in names]
    return Plan(tuple(rows), 10)


def draw(*names, **options):
    return [name for name, _ in walk_tree(grow_tree(plan_of(*names)), **options)]


def test_flat_networks_have_no_branches():
    assert draw("conv1", "fc") == ["conv1", "fc"]


def test_modules_are_branches():
    names = ("conv1", "layer1.0.conv1", "layer1.0.conv2", "layer1.1.conv1", "fc")
    assert draw(*names, ascii_only=True) == [
        *("conv1", "layer1", "|- 0", "|  |- conv1", "|  `- conv2", "`- 1.conv1", "fc"),
    ]
    assert draw("a.b", "a.c") == ["a", "\u251c\u2500 b", "\u2514\u2500 c"]


def test_a_layer_may_hold_layers():
    plan = plan_of("block.0", "block.0.conv", "block.1")
    rows = list(walk_tree(grow_tree(plan), ascii_only=True))
    assert [name for name, _ in rows] == ["block", "|- 0", "|  `- conv", "`- 1"]
    assert [row and row.layer for _, row in rows] == [None, "block.0", "block.0.conv", "block.1"]


def test_every_row_is_printed_once_and_without_color_on_a_pipe(capsys):
    print_plan(plan_of("conv1", "layer1.0", "layer1.1"))
    out = capsys.readouterr().out
    assert out.count("Conv2d") == 3
    assert "\x1b" not in out


@pytest.mark.parametrize(("variable", "colored"), [("", True), ("1", False)])
def test_colors_are_left_out_where_nobody_wants_them(variable, colored, monkeypatch):
    monkeypatch.setenv("NO_COLOR", variable)
    console = Console(file=io.StringIO(), force_terminal=True, color_system="standard")
    console.print("2b", style=color_of(2))
    assert ("\x1b[94m" in console.file.getvalue()) is colored


def test_colors_tell_widths_apart():
    assert len({color_of(bits) for bits in (1, 2, 4, 8, 16, 32)}) == 6
    assert color_of(3) == color_of(4)
