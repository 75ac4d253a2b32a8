"""What packed networks weigh, against what their bits alone weigh."""

import numpy as np
import torch

import qcli
from qcli.catalog.building import build_entry
from qcli.deployment.lowering.walk import Pixels, lower
from qcli.deployment.packed import pack_graph
from qcli.deployment.sizes import count_sizes
from qcli.quantization.calibration import calibrate


def lower_network(architecture, recipe, shape):
    entry, _ = qcli.load_catalog().architecture(architecture)
    torch.manual_seed(0)
    model = build_entry(entry, 10, shape)
    qcli.quantize(model, qcli.make_plan(model, recipe, shape))
    calibrate(model, [torch.rand(4, *shape)])
    return lower(model.eval(), shape, Pixels(np.array([1 / 255]), np.zeros(1)), {})


def test_a_binary_vgg_small_takes_what_its_bits_take():
    graph = lower_network("vgg_small", "search-1b-a4-integer", (3, 32, 32))
    sizes = count_sizes(graph)
    inner, ends = 4_571_136, 3_456 + 81_920
    assert sum(each.weights for each in sizes) == inner + ends
    bits = (inner + 8 * ends) / 8
    packed = sum(each.packed_bytes for each in sizes)
    # The ends may use fewer than 256 values; each table of values takes a few bytes.
    assert inner / 8 < packed < bits + 16 * len(sizes) + 512
    assert packed <= 660_000
    assert len(pack_graph(graph)) <= 780_000
