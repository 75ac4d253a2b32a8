"""The plan as a tree of modules, each layer with its quantizers in the color of their bits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.text import Text

from qcli.reporting.console import format_bytes, make_console
from qcli.reporting.tables import print_table

if TYPE_CHECKING:
    from qcli.quantization.plan import LayerPlan, Plan, SlotPlan

COLUMNS = ("layer", "type", "weight", "input", "output", "weights", "MACs", "because")
# The most bits that a color stands for, few bits first.
COLORS = ((1, "bright_magenta"), (2, "bright_blue"), (4, "bright_cyan"), (8, "green"))
WIDE = "yellow"
# What stands before the last of some siblings, and before the others; then below each.
BRANCHES = (("\u2514\u2500 ", "   "), ("\u251c\u2500 ", "\u2502  "))
ASCII_BRANCHES = (("`- ", "   "), ("|- ", "|  "))


@dataclass
class Node:
    """A module of the network: a layer, or what holds layers.

    Args:
        row: The plan's row; None for a module that is only a container.
        children: The modules in it, by name.
    """

    row: LayerPlan | None = None
    children: dict[str, Node] = field(default_factory=dict)


def grow_tree(plan: Plan) -> Node:
    """Return the plan's rows as a tree by their dotted names; an only child joins its parent."""
    root = Node()
    for row in plan.layers:
        node = root
        for part in row.layer.split("."):
            node = node.children.setdefault(part, Node())
        node.row = row
    root.children = dict(_join(name, child) for name, child in root.children.items())
    return root


def _join(name: str, node: Node) -> tuple[str, Node]:
    node.children = dict(_join(below, child) for below, child in node.children.items())
    if node.row is None and len(node.children) == 1:
        ((below, child),) = node.children.items()
        return f"{name}.{below}", child
    return name, node


def walk_tree(
    node: Node, *, ascii_only: bool = False, depth: int = 0, guide: str = ""
) -> Iterator[tuple[str, LayerPlan | None]]:
    """Yield each module's name, behind the lines of the tree, with its row."""
    branches = ASCII_BRANCHES if ascii_only else BRANCHES
    for place, (name, child) in enumerate(node.children.items(), 1):
        before, below = branches[place < len(node.children)] if depth else ("", "")
        yield f"{guide}{before}{name}", child.row
        yield from walk_tree(child, ascii_only=ascii_only, depth=depth + 1, guide=f"{guide}{below}")


def print_plan(plan: Plan) -> None:
    """Print the plan's tree and totals to stdout."""
    from qcli.quantization.cost import FORMULA, count_cost

    console = make_console(stderr=False)
    tree = walk_tree(grow_tree(plan), ascii_only=console.options.ascii_only)
    print_table(COLUMNS, [[name, *_cells(row)] for name, row in tree])
    cost = count_cost(plan)
    quantized = [row for row in plan.layers if row.has_quantized_weight]
    layers = sum(row.weights > 0 for row in plan.layers)
    lines = (
        "",
        f"{len(quantized)} of {layers} layers have quantized weights; "
        f"{cost.parameters:,} parameters, {cost.weights:,} of them weights of layers",
        f"{cost.macs / 1e6:,.2f} million MACs, {cost.bit_operations / 1e9:,.3f} billion bit "
        f"operations for one image",
        f"weights take {format_bytes(cost.weight_bytes)} ({cost.weight_megabytes:.3f} MB) "
        f"instead of {format_bytes(cost.float_bytes)} as float32",
        FORMULA,
    )
    for line in lines:
        console.print(line, markup=False)


def _cells(row: LayerPlan | None) -> list[str | Text]:
    if row is None:
        return [""] * (len(COLUMNS) - 1)
    slots = [_slot(row.slots[name], row, name) for name in ("weight", "input", "output")]
    macs = f"{row.macs:,}" if row.macs else ""
    weights = f"{row.weights:,}" if row.weights else ""
    return [row.type, *slots, weights, macs, row.because]


def _slot(slot: SlotPlan | None, row: LayerPlan, name: str) -> Text:
    if slot:
        return Text(slot.label, style=color_of(slot.bits))
    return Text("float" if row.weights or name == "output" else "", style=color_of(32))


def color_of(bits: int) -> str:
    """Return the color that a width has; float is dim."""
    if bits >= 32:
        return "dim"
    return next((color for most, color in COLORS if bits <= most), WIDE)
