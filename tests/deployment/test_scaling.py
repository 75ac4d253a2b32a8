"""Coarse scalings are N2D2's arithmetic on whole numbers, and change nothing but numbers."""

import math
from dataclasses import replace

import numpy as np
import pytest

from qcli.cli.deployment_options import SCALINGS as SCALINGS_TYPED
from qcli.deployment.execution import run_graph
from qcli.deployment.graph import Graph, Logits, Lookup, Quantize, Reshape, Tensor
from qcli.deployment.lowering.dyadic import FAR
from qcli.deployment.scaling import SCALINGS, coarsen
from qcli.errors import ExportError

STEP = 0.125
# Of each channel: the factor of the accumulator and the offset, in units of the step.
FACTORS = np.array([0.08, -0.0333333, 0.3, 1.7, 0.0])
OFFSETS = np.array([-2.85, 2.0000014, 0.4, -100.2, 3.3])
PIXELS = np.arange(256, dtype=np.uint8)


def make_graph(levels=None, step=STEP):
    """Accumulators -128..127 of five channels, from pixels, and their 4-bit codes."""
    levels = np.arange(16) if levels is None else np.asarray(levels)
    image, rows = Tensor("image", (5, 1, 256), 0, 255), Tensor("sums", (5, 1, 256), -128, 127)
    shift = np.full(5, 32)
    boundaries = np.tile((2 * np.arange(1, 16) - 1) << 31, (5, 1))
    real = np.ldexp(1.0, 32) / STEP
    nodes = (
        Lookup(("image",), rows, np.arange(-128, 128)[None]),
        Quantize(
            ("sums",),
            Tensor("codes", (5, 1, 256), int(levels.min()), int(levels.max())),
            np.rint(FACTORS * STEP * real)[None].astype(np.int64),
            np.rint(OFFSETS * STEP * real).astype(np.int64),
            shift + round(-math.log2(STEP)),
            boundaries,
            levels,
            step,
        ),
        Reshape(("codes",), Tensor("flat", (1280,), 0, 15)),
        Logits(
            ("flat",),
            Tensor("logits", (1280,), 0, 15),
            np.ones((1, 1280), np.int64),
            np.zeros(1280, np.int64),
            0,
        ),
    )
    return Graph(image, nodes)


def codes_of(graph):
    images = np.broadcast_to(PIXELS, (1, 5, 1, 256)).copy()
    return run_graph(graph, images)["codes"][0, :, 0].astype(int)


def n2d2_code(accumulator, channel, multiplier, shift):
    """code = clip((multiplier * (accumulator + bias) + half) >> shift), with a whole bias."""
    bias = round(OFFSETS[channel] / abs(FACTORS[channel]))
    sign = 1 if FACTORS[channel] >= 0 else -1
    total = multiplier * (sign * accumulator + bias)
    return min(max((total + (1 << (shift - 1))) >> shift, 0), 15)


def fixed(bits):
    def multiplier(factor):
        shift = min(max(bits - 1 - math.frexp(abs(factor))[1], 1), 40)
        return min(round(abs(factor) * 2**shift), 2 ** (bits - 1) - 1), shift

    return multiplier


def single_shift(factor):
    return 1, -round(math.log2(abs(factor)))


def double_shift(factor):
    first = 2.0 ** round(math.log2(abs(factor)))
    rest = abs(factor) - first
    second = math.copysign(2.0 ** round(math.log2(abs(rest))), rest) if rest else 0.0
    return round((first + second) * 2**30), 30


@pytest.mark.parametrize(
    ("scaling", "multiplier"),
    [("fixed16", fixed(16)), ("fixed32", fixed(32)), ("double-shift", double_shift)],
)
def test_codes_are_those_of_the_hardware(scaling, multiplier):
    found = codes_of(coarsen(make_graph(), scaling))
    for channel, factor in enumerate(FACTORS):
        if factor == 0:
            continue
        wanted = [n2d2_code(sums, channel, *multiplier(factor)) for sums in range(-128, 128)]
        assert found[channel].tolist() == wanted


def test_one_shift_is_a_power_of_two():
    found = codes_of(coarsen(make_graph(), "single-shift"))
    for channel, factor in enumerate(FACTORS[:3]):
        _, shift = single_shift(factor)
        wanted = [n2d2_code(sums, channel, 1, shift) for sums in range(-128, 128)]
        assert found[channel].tolist() == wanted


def test_numbers_worked_out_by_hand():
    """0.08 in 16 bits: 0.08 * 2^18 = 20971.52, so 20972; -2.85 / 0.08 = -35.625, so -36."""
    (_, node, *_) = coarsen(make_graph(), "fixed16").nodes
    assert (node.multipliers[0, 0], node.shift[0], node.bias[0]) == (20972, 18, -36 * 20972)
    # Of one shift: 0.08 is nearest to 2^-4 = 0.0625 on the scale of logarithms, 0.3 to 2^-2.
    (_, node, *_) = coarsen(make_graph(), "single-shift").nodes
    assert node.multipliers[0, 0] / 2.0 ** node.shift[0] == 0.0625
    assert node.multipliers[0, 2] / 2.0 ** node.shift[2] == 0.25
    # Of two: 0.3 = 1/4 + 1/20, and 1/20 is nearest to 1/16.
    (_, node, *_) = coarsen(make_graph(), "double-shift").nodes
    assert node.multipliers[0, 2] / 2.0 ** node.shift[2] == 0.3125


def change_node(**fields):
    graph = make_graph()
    lookup, node, *rest = graph.nodes
    return Graph(graph.image, (lookup, replace(node, **fields), *rest))


def test_a_multiplier_stays_within_its_bits():
    """0.99999 * 2^15 rounds to 2^15, which 16 bits with a sign do not hold."""
    multipliers = np.full((1, 5), round(0.99999 * 2**32))
    (_, node, *_) = coarsen(change_node(multipliers=multipliers), "fixed16").nodes
    assert np.abs(node.multipliers).max() == 2**15 - 1


def test_a_factor_too_small_for_a_multiplier_leaves_the_offset():
    multipliers = make_graph().nodes[1].multipliers.copy()
    multipliers[0, 4] = 1
    for scaling in ("fixed16", "single-shift"):
        codes = codes_of(coarsen(change_node(multipliers=multipliers), scaling))
        assert set(codes[4]) == {3}


def test_learned_thresholds_are_refused():
    moved = make_graph().nodes[1].boundaries.copy()
    moved[2, 7] += 1 << 29
    with pytest.raises(ExportError, match="codes: its thresholds do not lie halfway"):
        coarsen(change_node(boundaries=moved), "fixed32")


def test_a_factor_beyond_a_multiplier_is_refused():
    with pytest.raises(ExportError, match="codes: a sum of 1 is 4096 levels or more"):
        coarsen(change_node(multipliers=np.full((1, 5), 5000 << 32)), "fixed32")


def test_the_command_line_offers_what_there_is():
    assert ("exact", *SCALINGS) == SCALINGS_TYPED


def test_a_constant_channel_stays():
    assert set(codes_of(coarsen(make_graph(), "fixed16"))[4]) == {3}


def test_coarse_means_different_and_says_so():
    graph = make_graph()
    coarse = coarsen(graph, "single-shift")
    assert (codes_of(coarse) != codes_of(graph)).any()
    assert coarse.facts["scaling"] == "single-shift"
    assert coarsen(graph, "exact") is graph


def test_what_is_never_reached_stays_so():
    graph = make_graph()
    (lookup, quantize, *rest) = graph.nodes
    quantize.boundaries[:, 9:] = FAR
    assert codes_of(coarsen(Graph(graph.image, (lookup, quantize, *rest)), "fixed32")).max() == 9


@pytest.mark.parametrize("graph", [make_graph(levels=[-1, *range(1, 16)]), make_graph(step=None)])
def test_other_levels_are_refused(graph):
    with pytest.raises(ExportError) as caught:
        coarsen(graph, "fixed16")
    assert str(caught.value) == (
        "codes: its levels are not 0, 1, 2, ..., which a multiplier could reach; "
        "use --scaling exact"
    )
