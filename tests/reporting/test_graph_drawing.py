"""The drawing is SVG of its own: well-formed, escaped, with the bits written out."""

import re
from dataclasses import replace
from xml.etree import ElementTree

from qcli.quantization.network_graph import GraphEdge, GraphNode, NetworkGraph
from qcli.reporting.graph_drawing import draw_graph

SVG = "{http://www.w3.org/2000/svg}"
IMAGE = GraphNode("image", "input", "image", "", (3, 8, 8))
CONV = GraphNode("conv", "conv", "Conv2d", "3x3 /2", (4, 4, 4), "LSQ", 2)
NORM = GraphNode("norm", "norm", "BatchNorm2d", "", (4, 4, 4))
FC = GraphNode("fc", "linear", "Linear", "", (10,), "", 32)
GRAPH = NetworkGraph(
    (IMAGE, CONV, NORM, FC),
    (
        GraphEdge("image", "conv", 8, "Uniform", (3, 8, 8)),
        GraphEdge("conv", "norm", 32, "", (4, 4, 4)),
        GraphEdge("norm", "fc", 1, "Sign", (4, 4, 4)),
    ),
)


def texts(drawing):
    return [each.text for each in ElementTree.fromstring(drawing).iter(f"{SVG}text")]


def titles(drawing):
    return [each.text for each in ElementTree.fromstring(drawing).iter(f"{SVG}title")]


def test_calls_and_bits_are_written():
    drawing = draw_graph(GRAPH)
    written = texts(drawing)
    assert {"conv", "Conv2d 3x3 /2", "weights: 2 bits, LSQ", "4x4x4", "fc"} <= set(written)
    assert [each for each in written if re.fullmatch(r"\d+ b|float", each)] == ["8 b", "1 b"]
    assert "image to conv: 3x8x8, 8 bits (Uniform)" in titles(drawing)
    assert len(ElementTree.fromstring(drawing).findall(f".//{SVG}path")) == 2


def test_a_norm_joins_the_box_before_it_where_it_takes_float_values():
    assert "BatchNorm2d" in texts(draw_graph(GRAPH))
    rounded = replace(
        GRAPH, edges=(GRAPH.edges[0], replace(GRAPH.edges[1], bits=4), GRAPH.edges[2])
    )
    written = texts(draw_graph(rounded))
    assert "norm" in written
    assert [each for each in written if each.endswith(" b")] == ["8 b", "4 b", "1 b"]
    shared = replace(GRAPH, edges=(*GRAPH.edges, GraphEdge("conv", "fc", 32, "", (4, 4, 4))))
    assert "norm" in texts(draw_graph(shared))


def test_names_are_text_and_nothing_else():
    hostile = '</text><script>alert(1)</script>"&\x00\x1b\ud800'
    node = replace(CONV, name=hostile, type=hostile, detail=hostile, quantizer=hostile)
    edge = replace(GRAPH.edges[0], target=hostile, quantizer=hostile)
    drawing = draw_graph(NetworkGraph((IMAGE, node), (edge,)))
    tags = {each.tag.removeprefix(SVG) for each in ElementTree.fromstring(drawing).iter()}
    assert tags == {"svg", "style", "rect", "text", "g", "title", "path"}
    assert any("<script>alert(1)</script>" in title for title in titles(drawing))
    assert drawing.isprintable() or not re.search(r"[\x00-\x09\x0b-\x1f\ud800]", drawing)


def test_it_stands_alone_and_follows_the_reader():
    drawing = draw_graph(GRAPH)
    outside = drawing.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert not re.search(r"https?:|url\(|@import|href", outside)
    assert "prefers-color-scheme:dark" in drawing
    used = set(re.findall(r"var\((--\w+)\)", drawing))
    light, dark = drawing.split("@media")
    for part in (light, dark):
        assert used <= set(re.findall(r"(--\w+):#", part))
    assert drawing == draw_graph(GRAPH)


def test_a_network_of_one_call():
    assert "image" in texts(draw_graph(NetworkGraph((IMAGE,), ())))
