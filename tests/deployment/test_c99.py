"""Generated C: compiled and run, it equals the reference code for code."""

import json
import math
import re
import subprocess
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from graphs import UNREACHABLE, GraphMaker, draw_images, every_operation
from hypothesis import given
from hypothesis import strategies as st

import qcli
from qcli.deployment.execution import run_graph
from qcli.deployment.graph import (
    Convolution,
    Lookup,
    MaxPool,
    Pad,
    Quantize,
    Repeat,
    Spread,
    Tensor,
    Transpose,
)
from qcli_exporters.c99 import describe_c99, run_c99, write_c99
from qcli_exporters.c99.compilation import find_compiler
from qcli_exporters.c99.level_form import choose_form
from qcli_exporters.c99.memory import Buffer, plan_memory
from qcli_exporters.c99.packing import pack_filters
from qcli_exporters.c99.program import make_program
from qcli_exporters.c99.rounding import Places, fit_rounding, scale_places

BORDER = ((1, 1), (1, 1))


def write(graph, path, name="net"):
    write_c99(qcli.Deployment(name, None, graph.image.shape, graph, {}), path)
    return path


def assert_told(found, graph, images):
    expected = run_graph(graph, images)
    assert list(found) == list(graph.observed) == list(expected)
    for name, values in expected.items():
        assert found[name].dtype == (np.int64 if name == "logits" else values.dtype)
        np.testing.assert_array_equal(found[name], values, name)


def check(graph, path, images=None):
    """Demand the reference's integers of all that is observed."""
    images = draw_images(graph) if images is None else images
    assert_told(run_c99(write(graph, path), images), graph, images)


@pytest.mark.parametrize("seed", range(2))
def test_every_operation(seed, tmp_path):
    check(every_operation(seed), tmp_path)


def random_pads(random, kernel):
    return tuple(tuple(int(each) for each in random.integers(-1, k, 2)) for k in kernel)


def add_convolution(make, x, name, random):
    channels, height, width = make.tensors[x].shape
    groups = int(random.choice([each for each in (1, 2, 3, channels) if channels % each == 0]))
    kernel = tuple(map(int, random.integers(1, 4, 2)))
    values = [[-1, 1], [-1, 0, 1], range(-8, 8), range(-127, 128), range(-999, 1000)]
    fields = {
        "stride": tuple(map(int, random.integers(1, 3, 2))),
        "pads": random_pads(random, kernel),
        "dilation": (1, 1) if min(height, width) < 8 else tuple(map(int, random.integers(1, 3, 2))),
    }
    weights = list(values[random.integers(len(values))])
    out_channels = groups * int(random.integers(1, 4))
    return make.convolution(x, name, out_channels, weights, kernel, groups, **fields)


def add_largest(make, x, name, random):
    fields = {"kernel": (2, 3), "stride": (1, 2), "pads": ((0, 1), (1, 1))}
    return make.keep_range(MaxPool, x, name, **fields)


MOVES = {
    "largest": add_largest,
    "sum": lambda make, x, name, random: make.sum_pool(x, name, (2, 2), (1, 1), ((0, 1), (1, 0))),
    "signs": lambda make, x, name, random: make.signs(x, name),
    "repeat": lambda make, x, name, random: make.keep_range(Repeat, x, name, factors=(2, 2)),
    "spread": lambda make, x, name, random: make.keep_range(Spread, x, name, stride=(1, 2)),
    "pad": lambda make, x, name, random: make.keep_range(Pad, x, name, pads=((0, 1), *BORDER)),
    "turn": lambda make, x, name, random: make.keep_range(Transpose, x, name, axes=(2, 0, 1)),
}


def pick_move(shape, random):
    """Return an operation that a tensor is large and small enough for."""
    if min(shape[1:]) < 6:
        return MOVES["repeat"]
    if np.prod(shape) > 4000:
        return MOVES["largest"]
    return MOVES.get(str(random.choice([*MOVES, *["convolution"] * 5])), add_convolution)


LEVELS = [[-1, 1], [0, 1, 2, 4], [5], range(16), range(-128, 128), range(-600, 600, 3)]


def random_graph(seed):
    """Return a chain of random operations, each of which may also meet what was before it."""
    random = np.random.default_rng(seed)
    make = GraphMaker((int(random.integers(1, 4)), 12, 11), seed)
    x = "image"
    for place in range(5):
        before, x = x, pick_move(make.tensors[x].shape, random)(make, x, f"{place}", random)
        levels = list(LEVELS[random.integers(len(LEVELS))])
        thresholds = random.choice([None, "drawn"])
        if thresholds:
            thresholds = np.sort(random.uniform(-1, len(levels), len(levels) - 1))
        same = make.tensors[before].shape == make.tensors[x].shape
        operands = [x, before] if same else [x, x] if random.random() < 0.1 else [x]
        x = make.quantize(operands, f"{place}.output", levels, thresholds)
    x = make.add_reshape(x, "flat", (int(np.prod(make.tensors[x].shape)),))
    if random.random() < 0.5:
        x = make.quantize(x, "flat.output", list(range(8)))
    make.logits(make.linear(x, "last", 7, list(range(-8, 8))))
    return make.graph()


@pytest.mark.parametrize("seed", range(3))
def test_a_few_random_graphs(seed, tmp_path):
    check(random_graph(seed), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 160))
def test_many_random_graphs(seed, tmp_path):
    check(random_graph(seed), tmp_path)


def residual_block():
    """Return a graph whose sums are read by quantizers of two operands, and once by two nodes."""
    make = GraphMaker((3, 8, 8), 5)
    x = make.quantize(
        make.convolution("image", "stem", 6, range(-8, 8), pads=BORDER), "a", range(16)
    )
    inner = make.convolution(x, "inner", 6, [-1, 0, 1], pads=BORDER)
    x = make.quantize([inner, x], "identity", range(256))
    left = make.convolution(x, "left", 4, [-1, 1], stride=(2, 2), pads=BORDER)
    right = make.convolution(x, "right", 4, range(-8, 8), kernel=(1, 1), stride=(2, 2))
    x = make.quantize([left, right], "downsample", [-3, -1, 1, 3])
    shared = make.convolution(x, "shared", 4, [-1, 1], pads=BORDER)
    flat = make.add_reshape(shared, "flat", (64,))
    plain = make.quantize(shared, "plain", range(16))
    both = make.concat([make.quantize(flat, "by.place", range(16)), flat], "both")
    rows = make.add_reshape(plain, "rows", (4, 1, 16))
    rows = make.convolution(rows, "row", 5, range(-4, 5), kernel=(1, 3))
    rows = make.quantize(make.add_reshape(rows, "line", (5, 14)), "line.output", range(4))
    rows = make.keep_range(Transpose, rows, "turned", axes=(1, 0))
    rows = make.add_reshape(rows, "ends", (70,))
    make.logits([make.linear(both, "one", 9, [-1, 1]), make.linear(rows, "two", 9, range(-8, 8))])
    return make.graph()


def test_sums_that_are_read_in_several_ways(tmp_path):
    graph = residual_block()
    check(graph, tmp_path)
    steps = make_program(graph).steps
    inside = {step.node.name: step.product.name for step in steps if step.product}
    assert inside == {
        "a": "stem",
        "identity": "inner",
        "downsample": "right",
        "line.output, before line": "row",
        "logits": "two",
    }


def pooled_sums(shared_scale):
    """Return a graph that quantizes what it has pooled and flattened, after a change of signs."""
    make = GraphMaker((1, 12, 12), 7)
    x = make.convolution("image", "first", 8, range(-127, 128))
    x = make.keep_range(MaxPool, make.signs(x, "signs"), "pool", kernel=(2, 2), stride=(2, 2))
    x = make.add_reshape(x, "flat", (200,))
    x = make.quantize(x, "codes", range(16))
    if shared_scale:
        quantize = make.nodes[-1]
        numbers = {
            key: np.repeat(getattr(quantize, key)[..., 2::25], 25, -1)
            for key in ("multipliers", "bias", "shift")
        }
        numbers["boundaries"] = np.repeat(quantize.boundaries[2::25], 25, 0)
        make.nodes[-1] = replace(quantize, **numbers)
    make.logits(make.linear(x, "last", 10, range(-8, 8)))
    return make.graph()


def test_codes_are_pooled_where_they_are_those_of_pooled_sums(tmp_path):
    early, late = pooled_sums(True), pooled_sums(False)
    (multipliers,) = (node.multipliers for node in early.nodes if isinstance(node, Quantize))
    assert (multipliers > 0).all()
    check(early, tmp_path / "early")
    check(late, tmp_path / "late")
    kinds = [type(step.node).__name__ for step in make_program(early).steps]
    assert kinds == ["Quantize", "MaxPool", "Logits"]
    # 8 x 10 x 10 codes of a byte, or sums of four, and 8 x 5 x 5 of what is pooled.
    assert describe_c99(tmp_path / "early")["ram_bytes"] == 800 + 200
    assert describe_c99(tmp_path / "late")["ram_bytes"] >= 3200 + 800


def test_sums_that_fall_are_pooled_before_they_are_quantized(tmp_path):
    make = GraphMaker((1, 12, 12), 7)
    x = make.convolution("image", "first", 4, range(-127, 128))
    x = make.keep_range(MaxPool, x, "pool", kernel=(2, 2), stride=(2, 2))
    x = make.quantize(x, "codes", range(16))
    assert (make.nodes[-1].multipliers < 0).any()
    make.logits(make.add_reshape(x, "flat", (100,)))
    check(make.graph(), tmp_path)


def test_flattened_images_are_not_copied(tmp_path):
    make = GraphMaker((3, 6, 5), 2)
    x = make.quantize("image", "pixels", range(16))
    x = make.signs(make.add_reshape(x, "flat", (90,)), "signs")
    x = make.lookup(x, "levels", list(range(-100, 100)), rows=90)
    x = make.quantize(x, "coarse", range(-4, 4))
    make.logits(make.linear(x, "last", 5, range(-8, 8)))
    graph = make.graph()
    check(graph, tmp_path)
    copies = [step.node.name for step in make_program(graph).steps if "last" in step.node.name]
    assert copies == ["image, channels last"]


def test_wide_integers(tmp_path):
    make = GraphMaker((2, 5, 5), 3)
    x = make.lookup("image", "wide", list(range(-(1 << 15), 1 << 15, 77)), rows=2)
    x = make.convolution(x, "sum", 3, list(range(-30000, 30001, 7)), kernel=(5, 4))
    assert make.tensors[x].dtype == "int64"
    narrow = make.quantize(x, "narrow", range(-40, 40))
    x = make.sum_pool(make.signs(x, "turned"), "more", (1, 2), (1, 1))
    x = make.quantize(x, "more.output", [-(1 << 31), 7, 1 << 40])
    assert make.tensors[x].dtype == "int64"
    flat = [
        make.add_reshape(each, f"{each}.flat", (make.tensors[each].shape[0] * n,))
        for each, n in ((x, 1), (narrow, 2))
    ]
    make.logits(make.linear(make.concat(flat, "both"), "last", 4, [-1, 0, 1]))
    check(make.graph(), tmp_path, draw_images(make.graph(), 50))


CHANNELS = 6


def make_quantize(boundaries, scale, shift, offset, levels=None):
    """Return a quantization of as many operands as `scale` has rows, of one number or [C].

    The fifth channel has one code alone, the sixth falls.
    """
    scale = np.array(scale).reshape(len(scale), -1) * np.ones(CHANNELS)
    multipliers = np.rint(np.ldexp(scale, shift))
    multipliers[:, 4] = 0
    multipliers[:, 5] *= -1
    levels = np.arange(boundaries.shape[1] + 1) if levels is None else np.array(levels)
    return Quantize(
        tuple(f"operand {j}" for j in range(len(scale))),
        Tensor("codes", (CHANNELS, 16, 16), int(levels.min()), int(levels.max())),
        multipliers=multipliers.astype(np.int64),
        bias=np.rint(np.ldexp(offset, shift)).astype(np.int64),
        shift=shift,
        boundaries=boundaries,
        levels=levels,
    )


def round_boundaries(real, shift):
    scaled = np.ldexp(np.array(real, float), shift[:, None])
    return np.ceil(np.clip(scaled, -UNREACHABLE, UNREACHABLE)).astype(np.int64)


def half_even(first, count, shift):
    codes = np.arange(first, first + count)
    return ((2 * codes - 1) << (shift[:, None] - 1)) + codes % 2


SHIFT = np.array([24, 21, 26, 20, 22, 23])
EQUAL = np.full(CHANNELS, 20)
OFFSET = np.array([0.3, 1.2, -0.7, 2.1, 3.4, 9.6])
STEEP = np.where(np.arange(CHANNELS) == 1, 10, 35)
UNEVEN = [-np.inf, 0.1, 0.75, 1.9, 4.2, 4.3, 8.8, np.inf]
MANY = np.sort(np.random.default_rng(0).uniform(0, 40, 150))
NODES = {
    "shift up": make_quantize(half_even(1, 15, SHIFT), [0.0371], SHIFT, OFFSET),
    # Quarters: every second boundary is met by a tie.
    "shift even": make_quantize(half_even(1, 15, EQUAL), [0.25], EQUAL, OFFSET.round()),
    "shift odd": make_quantize(half_even(-6, 15, EQUAL), [0.25], EQUAL, OFFSET.round()),
    "thresholds": make_quantize(
        round_boundaries(UNEVEN, SHIFT), [0.031], SHIFT, OFFSET, [-9, -4, -1, 0, 1, 3, 7, 8, 9]
    ),
    "grid": make_quantize(round_boundaries(UNEVEN, SHIFT), [0.03, 0.07], SHIFT, OFFSET),
    "grid of many": make_quantize(round_boundaries(MANY, SHIFT), [0.031], SHIFT, OFFSET),
    # In the second channel, 2^25 * t leaves 64 bits.
    "grid of steep channels": make_quantize(
        round_boundaries(UNEVEN, STEEP),
        [np.where(STEEP == 10, 1 << 20, 0.03), [0.07] * CHANNELS],
        STEEP,
        OFFSET,
    ),
    # The fifth channel, of one code alone, would need a grid of its own.
    "grid of far channels": make_quantize(
        round_boundaries(UNEVEN, SHIFT + 37 * (np.arange(6) == 4)),
        [0.03, 0.07],
        SHIFT + 37 * (np.arange(6) == 4),
        OFFSET,
    ),
    "boundaries": make_quantize(
        round_boundaries(np.outer(np.arange(1, 7), [0.3, 0.5, 1.2]), SHIFT),
        [0.02, -0.05],
        SHIFT,
        OFFSET,
    ),
    "shift even of two": make_quantize(
        half_even(1, 255, EQUAL), [0.25, 0.5], EQUAL, 90 + OFFSET.round()
    ),
    "thresholds of one level": make_quantize(
        np.empty((CHANNELS, 0), np.int64), [0.1], SHIFT, OFFSET, [7]
    ),
}


@given(
    st.floats(1e-4, 3),
    st.floats(-40, 40),
    st.lists(st.floats(-1e-3, 1e-3), min_size=1, max_size=40),
    st.integers(-500, 0),
    st.integers(1, 500),
)
def test_a_rounding_is_found_only_where_it_is_right(slope, offset, jitter, low, high):
    places = np.arange(low, high + 1)
    points = np.sort(np.arange(len(jitter)) + 0.5 + jitter - offset) / slope
    reached = np.ceil(points).clip(low, high + 1).astype(np.int64)
    node = Quantize(
        ("sum",),
        Tensor("codes", (1,), 0, len(jitter)),
        multipliers=np.array([[1 << 20]]),
        bias=np.array([0]),
        shift=np.array([20]),
        boundaries=reached[None] << 20,
        levels=np.arange(len(jitter) + 1),
    )
    bounds = Places(reached[None], np.array([low]), np.array([high]))
    rounding = fit_rounding(bounds, *scale_places(node, bounds))
    if rounding is None:
        return
    (factor,), (shift,), (constant,) = rounding.factors, rounding.shifts, rounding.offsets
    scaled = [Fraction(int(factor) * x + int(constant), 1 << int(shift)) for x in places.tolist()]
    odd = rounding.ties == "odd"
    found = [math.floor(x) if rounding.ties == "up" else round(x + odd) - odd for x in scaled]
    wanted = np.searchsorted(reached, places, side="right")
    np.testing.assert_array_equal(np.clip(found, 0, len(jitter)), wanted)


def meet_boundaries(node):
    """Return integers [C, 256] of each operand, most of them next to where a code begins."""
    random = np.random.default_rng(1)
    tables = random.integers(-300, 301, (len(node.inputs), CHANNELS, 256))
    for channel, boundaries in enumerate(node.boundaries):
        reached = boundaries[np.abs(boundaries) < UNREACHABLE]
        multiplier = node.multipliers[0, channel]
        if not multiplier or not len(reached):
            continue
        targets = random.choice(reached, 250) - node.bias[channel]
        for row, table in zip(node.multipliers[1:, channel], tables[1:, channel], strict=True):
            targets -= row * table[:250]
        tables[0, channel, :250] = targets // multiplier + random.integers(0, 2, 250)
    return tables


def quantize_tables(node, tables):
    """Return a graph that hands a quantization an integer of each table for each pixel code."""
    image = Tensor("image", node.output.shape, 0, 255)
    make = GraphMaker(image.shape)
    for name, table in zip(node.inputs, tables, strict=True):
        make.add(Lookup, ["image"], name, table.min(), table.max(), table=table)
    make.nodes.append(node)
    make.tensors["codes"] = node.output
    make.logits(make.add_reshape("codes", "flat", (CHANNELS * 256,)))
    return make.graph()


def name_form(form):
    if "shifts" in form.channels:
        return f"shift {form.ties}"
    if "lifts" in form.channels:
        return "grid"
    return "boundaries" if "multipliers" in form.channels else "thresholds"


@pytest.mark.parametrize("name", NODES)
def test_every_form_at_every_boundary(name, tmp_path):
    node = NODES[name]
    graph = quantize_tables(node, meet_boundaries(node))
    operands = [graph.tensors[each] for each in node.inputs]
    if len(node.levels) > 1:
        assert name.startswith(name_form(choose_form(node, operands)))
    pixels = np.tile(np.arange(256, dtype=np.uint8).reshape(16, 16), (1, CHANNELS, 1, 1))
    check(graph, tmp_path, pixels)
    codes = run_graph(graph, pixels)["codes"]
    assert len(np.unique(codes[:, :4])) >= min(len(node.levels), 6)


STRICT = ("-Wconversion", "-Wsign-conversion", "-Wshadow", "-Wundef", "-Wstrict-prototypes")
SANITIZED = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


@pytest.mark.parametrize("make", [every_operation, residual_block])
def test_no_warning_and_no_fault_while_it_runs(make, tmp_path, monkeypatch):
    monkeypatch.setenv("CC", " ".join([*find_compiler(), *STRICT, *SANITIZED]))
    check(make(), tmp_path)


def strip_comments(text):
    return re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)


def test_the_core_has_no_float_no_allocation_and_no_wide_division(tmp_path):
    for number, graph in enumerate([every_operation(), residual_block()]):
        folder = write(graph, tmp_path / str(number))
        core = strip_comments((folder / "net.c").read_text() + (folder / "net.h").read_text())
        words = set(re.findall(r"\w+", core))
        assert not words & {"float", "double", "malloc", "calloc", "alloca", "free", "long"}
        assert not re.search(r"\d\.\d", core)
        assert set(re.findall(r"#include (\S+)", core)) == {'"net.h"', "<stddef.h>", "<stdint.h>"}
        for line in core.splitlines():
            assert not ("/" in line and "int64_t" in line) or line.startswith("    int64_t int64[")
        static = re.findall(r"^static (?!const|union)[^(\n]*$", core, re.MULTILINE)
        assert static == []


def read_symbols(folder, name="net"):
    """Return the bytes of the constants and of the variables of a network, as compiled."""
    binary = folder / "core.o"
    source = str(folder / f"{name}.c")
    subprocess.run([*find_compiler(), "-std=c99", "-O0", "-c", "-o", binary, source], check=True)
    listing = subprocess.run(["nm", "-S", binary], check=True, capture_output=True, text=True)
    sizes = {"b": 0, "r": 0, "d": 0}
    for _, size, kind, _ in (
        row.split() for row in listing.stdout.splitlines() if row[17:18] != " "
    ):
        if kind.lower() in sizes:
            sizes[kind.lower()] += int(size, 16)
    return sizes


@pytest.mark.parametrize("make", [every_operation, residual_block])
def test_memory_is_what_the_compiler_says(make, tmp_path):
    folder = write(make(), tmp_path)
    told = describe_c99(folder)
    symbols = read_symbols(folder)
    assert symbols == {"b": told["ram_bytes"], "r": told["flash_bytes"], "d": 0}
    header = (folder / "net.h").read_text()
    assert f"#define NET_RAM_BYTES {told['ram_bytes']}\n" in header
    assert f"#define NET_FLASH_BYTES {told['flash_bytes']}\n" in header


def test_weights_take_their_bits():
    make = GraphMaker((1, 8, 8), 0)
    for bits in (1, 2, 4):
        values = np.arange(1 << bits) * 2 - (1 << bits) + 1
        weight = make.random.choice(values, (7, 25))
        filters = pack_filters(weight)
        assert filters.rows.shape == (7, -(-25 * bits // 8))
    three_bits = pack_filters(make.random.choice(np.arange(-4, 4), (7, 25)))
    assert three_bits.bits == 4
    odd = pack_filters(make.random.choice(np.arange(-255, 256, 2), (90, 25)))
    assert (odd.rows.dtype, odd.bits, odd.dtype) == (np.uint8, 8, "int16")


@given(st.lists(st.tuples(st.integers(1, 99), st.integers(0, 9), st.integers(0, 4)), max_size=12))
def test_what_lives_together_lies_apart(needs):
    buffers = [
        Buffer(str(number), size, first, first + length)
        for number, (size, first, length) in enumerate(needs)
    ]
    plan = plan_memory(buffers)
    for one in buffers:
        start = plan.offsets[one.name]
        assert start % 8 == 0
        assert start + one.size_bytes <= plan.size_bytes
        for other in buffers:
            if other is not one and one.first <= other.last and other.first <= one.last:
                begin = plan.offsets[other.name]
                assert start + one.size_bytes <= begin or begin + other.size_bytes <= start


def test_a_chain_takes_two_neighbors():
    chain = [Buffer(str(step), size, step, step + 1) for step, size in enumerate([64, 8, 40, 16])]
    assert plan_memory(chain).size_bytes == 72


def small_network(seed=0):
    make = GraphMaker((2, 6, 6), seed)
    x = make.quantize(make.convolution("image", "first", 4, range(-8, 8)), "codes", range(16))
    make.logits(make.linear(make.add_reshape(x, "flat", (64,)), "last", 5, [-1, 0, 1]))
    return make.graph()


def test_main_classifies_raw_images(tmp_path):
    graph = small_network()
    folder = write(graph, tmp_path / "net", "tiny_9")
    subprocess.run(["make", "-C", folder], check=True, capture_output=True)
    images = draw_images(graph, 6)
    images.tofile(tmp_path / "images")
    logits = run_graph(graph, images)["logits"]

    def run(*arguments, **fields):
        command = [folder / "tiny_9", *arguments]
        return subprocess.run(command, capture_output=True, text=fields.pop("text", True), **fields)

    classes = "".join(f"{each}\n" for each in logits.argmax(1))
    assert run(tmp_path / "images").stdout == classes
    scores = "".join(f"{row.argmax()} {' '.join(map(str, row))}\n" for row in logits)
    assert run("-v", tmp_path / "images").stdout == scores
    assert run("-", input=images[:1].tobytes(), text=False).stdout == classes[:2].encode()
    (tmp_path / "short").write_bytes(images.tobytes()[:100])
    for path, fault in (
        ("short", "28 bytes after image 1; an image has 72"),
        ("none", "cannot be read"),
    ):
        done = run(tmp_path / path)
        assert done.returncode == 1
        assert done.stderr == f"{tmp_path / path}: {fault}\n"
    assert run().returncode == 2


@pytest.mark.parametrize("name", ["main", "4bit", "_private", "Net_2"])
def test_any_name_of_a_run_names_the_files(name, tmp_path):
    graph = small_network()
    images = draw_images(graph)
    assert_told(run_c99(write(graph, tmp_path, name), images), graph, images)


def test_a_compiler_is_needed(tmp_path, monkeypatch):
    graph = small_network()
    write(graph, tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(qcli.MissingTool, match=r"no C compiler is installed .* install gcc"):
        run_c99(tmp_path, draw_images(graph))
    monkeypatch.setenv("CC", "no-such-cc -m32")
    with pytest.raises(qcli.MissingTool, match="CC=no-such-cc -m32: there is no such C compiler"):
        run_c99(tmp_path, draw_images(graph))


def test_damaged_folders_are_named(tmp_path):
    graph = small_network()
    images = draw_images(graph)
    with pytest.raises(qcli.ArtifactError, match=r"nowhere/manifest\.json: .*export again"):
        run_c99(tmp_path / "nowhere", images)
    write(graph, tmp_path)
    with pytest.raises(qcli.ArtifactError, match=r"images \[2, 6, 5\]; it reads \[2, 6, 6\]"):
        run_c99(tmp_path, images[..., :5])
    (tmp_path / "net.c").write_text("int x = y;")
    with pytest.raises(qcli.ArtifactError, match=r"net.c.*export again"):
        run_c99(tmp_path, images)
    (tmp_path / "manifest.json").write_text(json.dumps({"name": "net"}))
    with pytest.raises(qcli.ArtifactError, match=r"manifest.*export again"):
        describe_c99(tmp_path)


def test_what_exceeds_64_bits_is_refused_by_name(tmp_path):
    make = GraphMaker((1, 2, 2))
    make.add(Convolution, ["image"], "sum", 0, 1 << 64, weight=np.ones((1, 1, 2, 2), np.int64))
    with pytest.raises(qcli.ExportError, match=r"sum: .* exceeds 64 bits; c99"):
        write(make.graph(), tmp_path / "net")
    assert not (tmp_path / "net").exists()
