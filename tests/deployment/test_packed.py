"""The packed file: what is read computes what was written, and no damage goes unseen."""

import ast
import hashlib
import json
import math
import re
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from graphs import GraphMaker, draw_images, every_operation
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save

import qcli
from qcli.deployment.array_forms import restore, store_boundaries, store_levels, store_whole
from qcli.deployment.bit_packing import count_bits, pack_bits, unpack_bits
from qcli.deployment.execution import run_graph
from qcli.deployment.graph import MaxPool, Node
from qcli.deployment.packed import pack_graph, read_graph, unpack_graph, write_graph
from qcli.deployment.sizes import LayerSize, count_sizes

DOCUMENT = (Path(__file__).parents[2] / "docs" / "packed.md").read_text("utf-8")
(READER,) = re.findall(r"^```python\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
FAR = 1 << 62


def assert_equal(found, wanted):
    """Compare records that hold arrays."""
    assert type(found) is type(wanted)
    for each in fields(wanted):
        one, other = getattr(found, each.name), getattr(wanted, each.name)
        if isinstance(other, np.ndarray):
            assert one.dtype == np.int64
            np.testing.assert_array_equal(one, other)
        else:
            assert one == other
            assert type(one) is type(other)


def simple_chain():
    """Return a graph of the operations that the documented reader computes."""
    make = GraphMaker((3, 13, 11))
    x = make.lookup("image", "image.levels", list(range(-7, 9)))
    fields = {"stride": (2, 1), "pads": ((2, 1), (1, -1))}
    x = make.convolution(x, "first", 8, list(range(-255, 256, 2)), **fields)
    x = make.keep_range(MaxPool, x, "largest", kernel=(3, 2), stride=(2, 1), pads=((1, 1), (0, 1)))
    x = make.quantize(x, "first.output", list(range(16)))
    fields = {"pads": ((1, 1), (1, 1)), "dilation": (1, 2)}
    one = make.convolution(x, "second", 8, [-1, 1], groups=2, **fields)
    other = make.convolution(x, "third", 8, [0, 1], **fields)
    x = make.quantize([one, other], "second.output", [-2, 0, 1], thresholds=[-math.inf, 3.4])
    x = make.sum_pool(x, "pooled", (2, 2), (2, 2), ((0, 1), (1, 0)))
    x = make.add_reshape(x, "flat", (int(np.prod(make.tensors[x].shape)),))
    make.logits(make.linear(x, "last", 10, list(range(-127, 128))))
    return make.graph()


@pytest.fixture(scope="module", params=[every_operation, simple_chain])
def graph(request):
    return request.param()


def test_bits_of_a_byte():
    """The bit order that docs/packed.md gives, and examples by hand."""
    assert pack_bits(np.array([1, 10]), 4).tolist() == [0xA1]
    assert pack_bits(np.array([1, 0, 0, 1, 1, 0, 0, 0, 1]), 1).tolist() == [0b00011001, 1]
    assert pack_bits(np.array([5, 7, 1]), 3).tolist() == [0b01111101, 0]
    assert pack_bits(np.array([0x1FF, 0]), 9).tolist() == [0xFF, 0x01, 0]


@given(st.integers(1, 17), st.integers(0, 70), st.integers(0, 2**32))
def test_codes_of_each_width(bits, count, seed):
    codes = np.random.default_rng(seed).integers(0, 1 << bits, count)
    packed = pack_bits(codes, bits)
    assert len(packed) == math.ceil(count * bits / 8)
    np.testing.assert_array_equal(unpack_bits(packed, bits, count), codes)


@pytest.mark.parametrize(
    ("levels", "bits"),
    [
        ([5], 1),
        ([-1, 1], 1),
        ([-1, 0, 1], 2),
        ([0, 1, 2, 4, 8], 3),
        (range(-7, 8), 4),
        (range(-255, 256, 2), 8),
        (range(-255, 257), 9),
        (range(-(1 << 15), 1 << 15), 16),
    ],
)
def test_weights_take_the_bits_of_their_levels(levels, bits):
    assert count_bits(len(levels)) == bits
    weight = np.random.default_rng(0).permutation(np.resize(levels, (1 << 16) + 8))
    weight = weight.reshape(-1, 1, 2, 4)
    stored = store_levels(weight)
    assert stored.parts["codes"].nbytes == weight.size * bits // 8
    np.testing.assert_array_equal(restore(stored), weight)


@given(
    st.lists(
        st.floats(-300, 300, allow_subnormal=False)
        | st.sampled_from([-math.inf, math.inf, 1e-40, -1e-40]),
        max_size=20,
    ),
    st.lists(st.integers(-9, 200), min_size=1, max_size=9),
    st.booleans(),
)
def test_real_boundaries_are_kept_once(real, shift, strict):
    """As lowering makes them: the integer that first reaches, or exceeds, a real number."""
    shift = np.array(shift)
    scaled = np.ldexp(np.sort(np.array(real, float)), shift[:, None]).clip(-FAR, FAR)
    boundaries = np.ceil(scaled).astype(np.int64)
    if strict:
        boundaries = np.where(
            np.abs(scaled) < FAR, np.floor(scaled).astype(np.int64) + 1, boundaries
        )
    stored = store_boundaries(boundaries, shift)
    np.testing.assert_array_equal(restore(stored), boundaries)
    # Between channels farther apart the sign of a boundary can be lost, and all are kept.
    if np.ptp(shift) < 60:
        assert stored.parts.keys() == {"finest", "finest_shift", "shift"}


def test_other_boundaries_are_kept_whole():
    boundaries = np.array([[3, FAR], [-FAR, FAR], [5, 9]])
    stored = store_boundaries(boundaries, np.array([4, 5, 6]))
    assert stored.parts.keys() == {"values"}
    np.testing.assert_array_equal(restore(stored), boundaries)


@pytest.mark.parametrize("off", [-1, 1])
def test_a_boundary_that_is_off_by_one_is_not_lost(off):
    boundaries = np.array([[1 << 20, 3 << 20], [1 << 10, 3 << 10]])
    shift = np.array([20, 10])
    assert "finest" in store_boundaries(boundaries, shift).parts
    for place in np.ndindex(2, 2):
        changed = boundaries.copy()
        changed[place] += off
        np.testing.assert_array_equal(restore(store_boundaries(changed, shift)), changed)


def test_narrowest_type():
    for values, kind in [([0, 255], "uint8"), ([-1, 127], "int8"), ([-1, 128], "int16")]:
        assert store_whole(np.array(values)).parts["values"].dtype == kind
    assert store_whole(np.array([FAR])).parts["values"].dtype == np.int64


def test_a_graph_is_read_as_it_was(graph, tmp_path):
    path = tmp_path / "network.qcli"
    write_graph(graph, path)
    found = read_graph(path)
    assert_equal(found.image, graph.image)
    assert len(found.nodes) == len(graph.nodes)
    for one, other in zip(found.nodes, graph.nodes, strict=True):
        assert_equal(one, other)
    assert found.facts == graph.facts
    images = draw_images(graph)
    outputs = run_graph(found, images)
    assert tuple(outputs) == graph.observed
    for name, wanted in run_graph(graph, images).items():
        np.testing.assert_array_equal(outputs[name], wanted)


def test_the_graphs_have_every_operation():
    operations = {type(node) for node in every_operation().nodes}
    assert operations == set(Node.__subclasses__())


def test_equal_graphs_make_equal_files():
    code = (
        "import hashlib, sys; sys.path.insert(0, sys.argv[1]); import graphs;"
        "from qcli.deployment.packed import pack_graph;"
        "print(hashlib.sha256(pack_graph(graphs.every_operation())).hexdigest())"
    )
    command = [sys.executable, "-c", code, str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == hashlib.sha256(pack_graph(every_operation())).hexdigest()


def test_numbers_of_numpy_are_written(graph):
    """Lowering may leave NumPy's integers in records."""
    image = replace(graph.image, low=np.int64(0), shape=tuple(np.array(graph.image.shape)))
    assert_equal(unpack_graph(pack_graph(replace(graph, image=image)), "x").image, graph.image)


def test_the_file_is_a_safetensors_file(graph, tmp_path):
    path = tmp_path / "network.qcli"
    write_graph(graph, path)
    arrays = load_file(path)
    weights = [node for node in graph.nodes if hasattr(node, "weight")]
    assert {f"{node.name}/weight/codes" for node in weights} <= arrays.keys()


def test_every_damaged_byte_is_seen(graph):
    content = pack_graph(graph)
    random = np.random.default_rng(0)
    places = {*range(0, 600), *random.integers(0, len(content), 400).tolist(), len(content) - 1}
    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= int(random.integers(1, 256))
        with pytest.raises(qcli.ArtifactError, match=r"^network\.qcli: "):
            unpack_graph(bytes(damaged), "network.qcli")


@pytest.mark.parametrize("keep", [0, 1, 7, 8, 9, 500, -1, -100])
def test_a_cut_file_is_seen(graph, keep):
    with pytest.raises(qcli.ArtifactError, match="damaged"):
        unpack_graph(pack_graph(graph)[:keep], "network.qcli")


def test_a_longer_file_is_seen(graph):
    with pytest.raises(qcli.ArtifactError, match="does not match its checksum"):
        unpack_graph(pack_graph(graph) + b"\0", "network.qcli")


def sign(header, arrays=None):
    """Return a file with a right checksum and this header."""
    header = {"format": "qcli-packed", "format_version": 1, "sha256": "0" * 64, **header}
    content = save(arrays or {}, {"qcli": json.dumps(header)})
    digest = hashlib.sha256(content).hexdigest()
    return content.replace(b"0" * 64, digest.encode(), 1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no packed file, or a damaged one"),
        (b"\x89PNG\r\n\x1a\n" + b"x" * 100, "is no packed file, or a damaged one"),
        (b"\x02\0\0\0\0\0\0\0[]", "is no packed file, or a damaged one"),
        (b"[" * 100000, "is no packed file, or a damaged one"),
        (save({"weight": np.zeros(3)}), "is a safetensors file, but not a packed one"),
        (save({}, {"qcli": "no JSON"}), "is a safetensors file, but not a packed one"),
        (save({}, {"format": "pt"}), "is a safetensors file, but not a packed one"),
        (save({}, {"qcli": '{"format": "qcli-packed"}'}), "does not match its checksum"),
        (sign({"format_version": 2}), "has format version 2, this qcli reads 1; install"),
        (sign({}), "holds no graph of integers"),
        (sign({"image": {}, "nodes": [], "facts": {}}), "holds no graph of integers"),
        (sign({"image": [], "nodes": 3, "facts": {}}), "holds no graph of integers"),
    ],
)
def test_what_is_no_artifact(content, message, tmp_path):
    path = tmp_path / "network.qcli"
    path.write_bytes(content)
    with pytest.raises(qcli.ArtifactError, match=re.escape(message)) as caught:
        read_graph(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_sizes_by_hand():
    make = GraphMaker((3, 8, 8))
    x = make.convolution("image", "first", 4, list(range(-8, 8)))
    x = make.quantize(x, "first.output", list(range(16)))
    for plane in (0, 1):
        make.convolution(x, f"second.{plane}", 8, [-1, 1])
        make.nodes[-1] = replace(make.nodes[-1], layer="second", plane=plane)
    make.quantize(["second.0", "second.1"], "second.output", [0, 1])
    first, second = count_sizes(make.graph())
    # 108 weights of 4 bits, and 16 integers; as float32 4 bytes each.
    # Of 4 channels: multipliers int32, bias int64, shift uint8 twice; 15 boundaries; 16 levels.
    assert first == LayerSize("first", 108, 54 + 16, 4 * (4 + 8 + 1 + 1) + 15 * (8 + 1) + 16)
    # In each plane 288 weights of 1 bit, and the integers -1 and 1.
    assert second == LayerSize("second", 288, 2 * (36 + 2), second.side_bytes)
    assert (first.float_bytes, second.float_bytes) == (432, 1152)


def vgg_small():
    """Return VGG-Small for 32 x 32 images: 1-bit weights, 8 bits in the first and last layer."""
    make = GraphMaker((3, 32, 32))
    eight, four, pads = list(range(-255, 256, 2)), list(range(16)), ((1, 1), (1, 1))
    x = "image"
    for place, channels in enumerate([128, 128, 256, 256, 512, 512]):
        values = [-1, 1] if place else eight
        x = make.convolution(x, f"conv{place}", channels, values, pads=pads)
        if place % 2:
            x = make.keep_range(MaxPool, x, f"pool{place}", kernel=(2, 2), stride=(2, 2))
        x = make.quantize(x, f"conv{place}.output", four, step=0.1)
    x = make.add_reshape(x, "flat", (8192,))
    make.logits(make.linear(x, "last", 10, eight))
    return make.graph()


def test_vgg_small_takes_as_much_as_promised():
    """The goal: 0.66 MB of weights, 0.78 MB in all."""
    graph = vgg_small()
    sizes = count_sizes(graph)
    assert sum(size.weights for size in sizes) == 4656512
    packed = sum(size.packed_bytes for size in sizes)
    total = len(pack_graph(graph))
    assert packed <= 0.66e6
    assert packed + sum(size.side_bytes for size in sizes) < total <= 0.78e6


def read_by_document(graph, tmp_path):
    path = tmp_path / "network.qcli"
    write_graph(graph, path)
    names = {}
    exec(compile(READER, "docs/packed.md", "exec"), names)
    return names, names["read"](path)


def test_the_documented_reader_is_short_and_stands_alone():
    assert len(READER.splitlines()) < 80
    tree = ast.parse(READER)
    imports = [each for each in ast.walk(tree) if isinstance(each, ast.Import | ast.ImportFrom)]
    assert {alias.name for each in imports for alias in each.names} == {"json", "numpy"}


def test_the_documented_reader_unpacks_everything(graph, tmp_path):
    _, header = read_by_document(graph, tmp_path)
    assert header["facts"] == graph.facts
    for document, node in zip(header["nodes"], graph.nodes, strict=True):
        assert document["operation"] == type(node).__name__
        for each in fields(node):
            wanted = getattr(node, each.name)
            if isinstance(wanted, np.ndarray):
                np.testing.assert_array_equal(document[each.name], wanted)


def test_the_documented_reader_computes(tmp_path):
    graph = simple_chain()
    names, header = read_by_document(graph, tmp_path)
    images = draw_images(graph)
    wanted = run_graph(graph, images, keep=lambda name: True)
    for place, image in enumerate(images):
        found = names["run"](header, image)
        for name, values in wanted.items():
            np.testing.assert_array_equal(found[name], values[place])


def test_the_document_names_every_operation():
    listed = re.findall(r"^\| `([A-Z]\w+)` \|", DOCUMENT, re.MULTILINE)
    assert set(listed) == {operation.__name__ for operation in Node.__subclasses__()}
    assert DOCUMENT.isascii()
