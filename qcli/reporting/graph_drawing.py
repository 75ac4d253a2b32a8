"""The graph of a network as an SVG that needs nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING

from qcli.reporting.graph_layout import PORT_GAP, Layout, Point, place_boxes

if TYPE_CHECKING:
    from qcli.quantization.network_graph import GraphEdge, GraphNode, NetworkGraph

FLOAT_BITS = 32
# They join the box before them where they take its float result alone.
JOINING = ("norm", "activation")
WIDTH = 216.0
LINE = 15.0
MARGIN = 16.0
LEGEND = ("edges: bits of each value", "stripes: bits of each weight")
LEGEND_HEIGHT = 38.0
# A wider box would be for a node that joins dozens of tensors: its edges have no numbers.
MOST_PORTS = 12
# Letters and digits of 11 pixels are so wide on average.
LETTER = 5.9
DIGIT = 6.6
STYLE = """
.qg{--bg:#fff;--box:#f6f7f9;--line:#c9ced6;--ink:#1c2128;--faint:#5c6570;--on:#fff;
--b1:#8e24aa;--b2:#3949ab;--b4:#00796b;--b8:#b85000;--b16:#6d4c41;--b32:#848b94;
font:11px system-ui,-apple-system,"Segoe UI",Roboto,Helvetica,Arial,sans-serif}
@media (prefers-color-scheme:dark){.qg{--bg:#14181d;--box:#1f252c;--line:#3d4650;--ink:#e8ebef;
--faint:#a3acb7;--on:#14181d;--b1:#d59be0;--b2:#a3aef0;--b4:#5fc9bb;--b8:#ffb25c;--b16:#c9b1a7;
--b32:#7d8793}}
.qg .page{fill:var(--bg)}.qg .box{fill:var(--box);stroke:var(--line)}
.qg text{fill:var(--ink)}.qg .name{font-weight:600}.qg .faint{fill:var(--faint)}
.qg .edge{fill:none;stroke-width:2}.qg .pill text{fill:var(--on);text-anchor:middle;
font-size:10px;font-weight:600}.qg .right{text-anchor:end}
"""
BANDS = (1, 2, 4, 8, 16, FLOAT_BITS)
COLORS = "".join(
    f".qg .edge.b{band}{{stroke:var(--b{band})}}.qg .fill.b{band}{{fill:var(--b{band})}}"
    for band in BANDS
)


@dataclass(frozen=True)
class _Box:
    """A node with the norms and activations that only it feeds."""

    nodes: tuple[GraphNode, ...]

    def lines(self) -> list[tuple[str, str]]:
        """Return what is written in the box, with the style of each line."""
        head = self.nodes[0]
        lines = [("name", head.name)]
        if head.kind not in ("input", "output"):
            lines.append(("plain", f"{head.type} {head.detail}"))
        if head.quantizer:
            lines.append(("plain", f"weights: {_bits(head.bits)}, {head.quantizer}"))
        if len(self.nodes) > 1:
            lines.append(("faint", ", ".join(node.type for node in self.nodes[1:])))
        return lines


def draw_graph(graph: NetworkGraph) -> str:
    """Return the graph as SVG text: boxes of calls, edges with the bits of what flows.

    Colors follow the reader's choice of light or dark; nothing is loaded from outside.
    """
    boxes = _join(graph)
    box_of = {node.name: number for number, box in enumerate(boxes) for node in box.nodes}
    edges = [edge for edge in graph.edges if box_of[edge.source] != box_of[edge.target]]
    pairs = [(box_of[edge.source], box_of[edge.target]) for edge in edges]
    arriving = Counter(target for _, target in pairs)
    sizes = [_size(box, arriving[number]) for number, box in enumerate(boxes)]
    layout = place_boxes(sizes, pairs)
    width = max(layout.width, WIDTH) + 2 * MARGIN
    height = layout.height + LEGEND_HEIGHT + 2 * MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="qg" role="img" width="{width:.0f}" '
        f'height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'aria-label="graph of a network, {len(graph.nodes)} calls">',
        f"<style>{STYLE}{COLORS}</style>",
        f'<rect class="page" width="{width:.0f}" height="{height:.0f}"/>',
        *(
            f'<text class="faint" x="{MARGIN:.0f}" y="{MARGIN + 10 + 14 * at:.0f}">{line}</text>'
            for at, line in enumerate(LEGEND)
        ),
        f'<g transform="translate({MARGIN:.0f} {MARGIN + LEGEND_HEIGHT:.0f})">',
        *_draw(boxes, sizes, edges, layout, [arriving[target] for _, target in pairs]),
        "</g></svg>",
    ]
    return "\n".join(parts) + "\n"


def _draw(
    boxes: Sequence[_Box],
    sizes: Sequence[Point],
    edges: Sequence[GraphEdge],
    layout: Layout,
    crowds: Sequence[int],
) -> list[str]:
    drawn = [_draw_edge(edge, route) for edge, route in zip(edges, layout.routes, strict=True)]
    drawn += map(_draw_box, boxes, layout.corners, sizes)
    return drawn + [
        _draw_pill(edge, route[-1])
        for edge, route, crowd in zip(edges, layout.routes, crowds, strict=True)
        if crowd <= MOST_PORTS
    ]


def _join(graph: NetworkGraph) -> list[_Box]:
    """Return the boxes in the order of their first calls."""
    leaving = Counter(edge.source for edge in graph.edges)
    arriving = Counter(edge.target for edge in graph.edges)
    before = {edge.target: edge for edge in graph.edges}
    boxes: dict[str, list[GraphNode]] = {}
    head_of: dict[str, str] = {}
    kinds = {node.name: node.kind for node in graph.nodes}
    for node in graph.nodes:
        head, edge = node.name, before.get(node.name)
        if edge and node.kind in JOINING and arriving[node.name] == leaving[edge.source] == 1:
            is_float = edge.bits == FLOAT_BITS
            head = head_of[edge.source] if is_float and kinds[edge.source] != "input" else head
        head_of[node.name] = head
        boxes.setdefault(head, []).append(node)
    return [_Box(tuple(nodes)) for nodes in boxes.values()]


def _size(box: _Box, arriving: int) -> Point:
    ports = arriving if arriving <= MOST_PORTS else 0
    return max(WIDTH, PORT_GAP * ports + 12), LINE * len(box.lines()) + 10


def _draw_edge(edge: GraphEdge, route: Sequence[Point]) -> str:
    path = f"M{_at(route[0])}"
    for number, (start, end) in enumerate(pairwise(route)):
        if number % 2 == 0:
            path += f"L{_at(end)}"
            continue
        middle = (start[1] + end[1]) / 2
        path += f"C{_at((start[0], middle))} {_at((end[0], middle))} {_at(end)}"
    title = f"{edge.source} to {edge.target}: {_extent(edge.shape)}, {_bits(edge.bits)}"
    quantizer = f" ({edge.quantizer})" if edge.quantizer else ""
    return (
        f'<path class="edge b{_band(edge.bits)}" d="{path}">'
        f"<title>{_text(title + quantizer)}</title></path>"
    )


def _draw_pill(edge: GraphEdge, port: Point) -> str:
    text = "float" if edge.bits == FLOAT_BITS else f"{edge.bits} b"
    x, y, width = port[0], port[1] - 12, 38 if edge.bits == FLOAT_BITS else 30
    return (
        f'<g class="pill"><rect class="fill b{_band(edge.bits)}" x="{x - width / 2:.1f}" '
        f'y="{y - 7:.1f}" width="{width}" height="14" rx="7"/>'
        f'<text x="{x:.1f}" y="{y + 3.5:.1f}">{text}</text></g>'
    )


def _draw_box(box: _Box, corner: Point, size: Point) -> str:
    (x, y), (width, height), head = corner, size, box.nodes[0]
    stripe = ""
    if head.bits is not None:
        stripe = (
            f'<rect class="fill b{_band(head.bits)}" x="{x:.1f}" y="{y:.1f}" width="5" '
            f'height="{height:.1f}" rx="2"/>'
        )
    return (
        f"<g><title>{_text(_tell(box))}</title>"
        f'<rect class="box" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" '
        f'height="{height:.1f}" rx="4"/>{stripe}{_write_lines(box, corner, width)}</g>'
    )


def _write_lines(box: _Box, corner: Point, width: float) -> str:
    lines, shape = box.lines(), _extent(box.nodes[-1].shape)
    # The shape stands to the right of what makes it.
    beside = min(1, len(lines) - 1)
    texts = []
    for at, (style, line) in enumerate(lines):
        room = width - 20 - (DIGIT * len(shape) + 8) * (at == beside)
        cut = _text(_cut(line, room, keep_end=style == "name"))
        texts.append(f'<text class="{style}" {_place(corner, 11, at)}>{cut}</text>')
    place = _place(corner, width - 8, beside)
    return "".join(texts) + f'<text class="faint right" {place}>{shape}</text>'


def _place(corner: Point, indent: float, line: int) -> str:
    return f'x="{corner[0] + indent:.1f}" y="{corner[1] + 15 + LINE * line:.1f}"'


def _tell(box: _Box) -> str:
    return "\n".join(
        f"{node.name}: {node.type} {node.detail}".rstrip()
        + (f", weights {_bits(node.bits)} {node.quantizer}".rstrip() if node.bits else "")
        + (f", {_extent(node.shape)}" if node.shape else "")
        for node in box.nodes
    )


def _text(text: str) -> str:
    """Return text as XML may hold it: escaped, without control characters."""
    return escape("".join(each if each.isprintable() or each == "\n" else "?" for each in text))


def _cut(text: str, room: float, *, keep_end: bool) -> str:
    """Return as much of a text as has room."""
    letters = max(4, int(room / LETTER))
    if len(text) <= letters:
        return text
    return f"...{text[3 - letters :]}" if keep_end else f"{text[: letters - 3]}..."


def _extent(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def _bits(bits: int | None) -> str:
    if bits in (None, FLOAT_BITS):
        return "float"
    return "1 bit" if bits == 1 else f"{bits} bits"


def _band(bits: int) -> int:
    """Return the color: 1, 2, up to 4, up to 8, up to 31, float."""
    if bits == FLOAT_BITS:
        return FLOAT_BITS
    return next((band for band in BANDS if bits <= band), 16)


def _at(point: Point) -> str:
    return f"{point[0]:.1f} {point[1]:.1f}"
