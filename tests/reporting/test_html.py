"""Names that a network or a data set brings into a page are text, and nothing else."""

from html.parser import HTMLParser

import torch

from qcli.quantization.distribution import Distribution, Histogram
from qcli.quantization.network_graph import GraphEdge, GraphNode, NetworkGraph
from qcli.reporting.report.html import Document, write_html
from qcli.reporting.report.page import make_page
from qcli.reporting.report.picture import drawing
from qcli.training.evaluation import Metrics
from qcli.training.inspection import Inspection
from qcli.training.run_account import RunAccount

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>\x1b[2J\u202e$\\frac$"


class Tags(HTMLParser):
    """The tags and attributes of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes = set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


def test_layers_classes_and_calls_with_hostile_names_are_text(tmp_path):
    histogram = Histogram(0.0, 1.0, (1, 2), 0)
    slot = Distribution(HOSTILE, "weight", 3, histogram, levels=(0.0, 1.0), used=(1, 2))
    nodes = tuple(
        GraphNode(f"{HOSTILE}{number}", "conv", HOSTILE, HOSTILE, (1,), HOSTILE, 4)
        for number in (1, 2)
    )
    graph = NetworkGraph(nodes, (GraphEdge(nodes[0].name, nodes[1].name, 4, HOSTILE, (1,)),))
    metrics = Metrics(1.0, 0.5, 1.0, 4, torch.tensor([[1, 1], [1, 1]]))
    inspection = Inspection((slot,), (), graph, metrics, 4, (HOSTILE, f"{HOSTILE}b"), (HOSTILE,))
    with drawing():
        page = make_page(HOSTILE, RunAccount(tmp_path / "<b>run", {}), inspection)
    text = write_html(Document(HOSTILE, HOSTILE, (), None, (page,)))
    found = Tags(text)
    assert {"svg", "table", "pre"} <= found.tags
    assert not {"script", "img", "b"} & found.tags
    assert "onerror" not in found.attributes
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert text.count("&lt;script&gt;alert(1)&lt;/script&gt;") > 8
