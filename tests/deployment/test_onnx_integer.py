"""ONNX of integers: every operation in both forms equals the reference, in onnxruntime itself."""

import sys
from collections import Counter
from dataclasses import replace

import numpy as np
import onnx
import pytest
from graphs import UNREACHABLE, GraphMaker, draw_images, every_operation

import qcli
from qcli.deployment.execution import run_graph, run_node
from qcli.deployment.graph import Convolution, Graph, Logits, MaxPool, Quantize, Tensor
from qcli_exporters.onnx_integer import run_onnx, session, write_onnx_integer
from qcli_exporters.onnx_integer.float_steps import evaluate, find_float_steps
from qcli_exporters.onnx_integer.integer_steps import find_integer_steps
from qcli_exporters.onnx_integer.separation import Points

FORMS = ("strict", "fast")


def write(graph, path, form):
    deployment = qcli.Deployment("net", None, graph.image.shape, graph, {})
    write_onnx_integer(deployment, path, form=form)
    return onnx.load(path)


def check(graph, images, tmp_path):
    """Demand the reference's codes of both forms; returns the files by form."""
    expected = run_graph(graph, images)
    models = {}
    for form in FORMS:
        path = tmp_path / f"{form}.onnx"
        models[form] = write(graph, path, form)
        found = run_onnx(path, images)
        assert list(found) == list(expected)
        for name, values in expected.items():
            assert found[name].dtype == values.dtype
            np.testing.assert_array_equal(found[name], values, f"{form}: {name}")
    return models


def count_operations(model):
    return Counter(node.op_type for node in model.graph.node)


@pytest.mark.parametrize("seed", range(3))
def test_every_operation(seed, tmp_path):
    graph = every_operation(seed)
    models = check(graph, draw_images(graph, 3, seed), tmp_path)
    for model in models.values():
        onnx.checker.check_model(model, full_check=True)
        assert [each.version for each in model.opset_import] == [21]
        assert model.ir_version == 10
        assert [each.name for each in model.graph.output] == ["logits"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 300))
def test_many_graphs(seed, tmp_path):
    graph = every_operation(seed)
    check(graph, draw_images(graph, 2, seed), tmp_path)


def element_types(model):
    """Return the element type of every value by name."""
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    told = [*graph.input, *graph.output, *graph.value_info]
    types = {each.name: each.type.tensor_type.elem_type for each in told}
    return {**types, **{each.name: each.data_type for each in graph.initializer}}


def test_strict_form_holds_no_float(tmp_path):
    model = write(every_operation(), tmp_path / "net.onnx", "strict")
    floats = {onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16}
    types = element_types(model)
    assert {name for node in model.graph.node for name in node.output} <= types.keys()
    assert not floats & set(types.values())


@pytest.mark.parametrize("form", FORMS)
def test_no_int64_operation_that_onnxruntime_computes_wrongly(form, tmp_path):
    graph = wide_accumulators()
    model = write(graph, tmp_path / "net.onnx", form)
    types = element_types(model)
    assert onnx.TensorProto.INT64 in {types[node.output[0]] for node in model.graph.node}
    for node in model.graph.node:
        if node.op_type in ("Max", "Min", "Clip", "ReduceMax", "ReduceMin", "Sign"):
            assert types[node.input[0]] != onnx.TensorProto.INT64


def test_integer_weights_are_uint8_around_128(tmp_path):
    model = write(every_operation(), tmp_path / "net.onnx", "strict")
    constants = {each.name: onnx.numpy_helper.to_array(each) for each in model.graph.initializer}
    products = [each for each in model.graph.node if each.op_type.endswith("Integer")]
    assert {each.op_type for each in products} == {"ConvInteger", "MatMulInteger"}
    for node in products:
        assert constants[node.input[1]].dtype == np.uint8
        assert constants[node.input[3]].shape == ()
        assert constants[node.input[3]] == 128


def every_pixel_pair(weight):
    """Begin a graph whose first convolution sees all 65,536 pairs of two pixels.

    Args:
        weight: [O][2].
    """
    make = GraphMaker((2, 256, 256), 0)
    weight = np.array(weight, np.int64)
    low = int(np.clip(weight, None, 0).sum(1).min()) * 255
    high = int(np.clip(weight, 0, None).sum(1).max()) * 255
    weight = weight[:, :, None, None]
    make.add(Convolution, ["image"], "sum", low, high, weight=weight, layer="sum")
    first, second = np.divmod(np.arange(1 << 16).reshape(256, 256), 256)
    return make, np.stack([first, second])[None].astype(np.uint8)


def finish(make, x):
    """End a graph with logits of a few of the values."""
    x = make.keep_range(MaxPool, x, "few", kernel=(16, 16), stride=(64, 64))
    x = make.add_reshape(x, "flat", (int(np.prod(make.tensors[x].shape)),))
    make.logits(x)
    return make.graph()


def test_every_accumulator_of_a_range(tmp_path):
    make, images = every_pixel_pair([[256, 1], [-256, -1], [1, -256], [256, 1], [256, 1]])
    graph = finish(make, make.quantize("sum", "codes", range(-8, 8)))
    models = check(graph, images, tmp_path)
    # 256 is no byte: of the weight, two parts.
    assert count_operations(models["strict"])["ConvInteger"] == 2
    assert count_operations(models["strict"])["GreaterOrEqual"] == 0
    assert count_operations(models["fast"])["GreaterOrEqual"] == 0


def test_a_rounding_stands_between_products_and_multiplication(tmp_path):
    make, _ = every_pixel_pair([[3, 1], [5, -2]])
    graph = finish(make, make.quantize("sum", "codes", range(16)))
    nodes = write(graph, tmp_path / "net.onnx", "fast").graph.node
    made_by = {name: node.op_type for node in nodes for name in node.output}
    multiplied = {
        made_by.get(name) for node in nodes if node.op_type == "Mul" for name in node.input
    }
    assert "Floor" in multiplied
    assert "Conv" not in multiplied
    assert "MatMul" not in multiplied


def test_two_levels_compare_once(tmp_path):
    make, images = every_pixel_pair([[256, 1], [-256, -1], [1, -256]])
    graph = finish(make, make.quantize("sum", "codes", [-1, 1], thresholds=[0.5]))
    for model in check(graph, images, tmp_path).values():
        assert count_operations(model)["GreaterOrEqual"] == 1


UNEVEN = {
    "count": ([0, 1, 2, 4, 8, 9], [0.3, 0.31, 1.5, 3.9, np.inf]),
    "search": (list(range(200)), list(np.sqrt(np.arange(199)) * 12)),
    "search up to a power of two": (list(range(-128, 128)), list((np.arange(255) / 16) ** 2)),
}


@pytest.mark.parametrize("name", UNEVEN)
def test_boundaries_on_no_line_are_compared(name, tmp_path):
    levels, thresholds = UNEVEN[name]
    make, images = every_pixel_pair([[256, 1], [-256, -1], [1, -256]])
    graph = finish(make, make.quantize("sum", "codes", levels, thresholds=thresholds))
    for model in check(graph, images, tmp_path).values():
        assert count_operations(model)["GreaterOrEqual"] > 1


@pytest.mark.parametrize("inputs", [["sum"], ["sum", "image"]])
def test_boundaries_near_a_line_are_guessed_and_compared_once(inputs, tmp_path):
    make, images = every_pixel_pair([[256, 1], [-256, -1]])
    jitter = np.random.default_rng(0).uniform(-0.3, 0.3, 99)
    thresholds = [-np.inf, *(np.arange(99) + jitter), np.inf]
    make.quantize(inputs, "codes", list(range(-50, 51)), thresholds=thresholds[:100])
    for model in check(finish(make, "codes"), images, tmp_path).values():
        assert count_operations(model)["GreaterOrEqual"] == 1


SATURATED = {
    "above": ([*np.arange(1, 12) - 0.5, np.inf, np.inf, np.inf, np.inf], 0),
    "below": ([-np.inf, -np.inf, *np.arange(13) + 2.5], 0),
    "all but one": ([-np.inf] * 7 + [4.0] + [np.inf] * 7, 1),
    "all": ([-np.inf] * 15, 1),
    "none": ([np.inf] * 15, 1),
}


@pytest.mark.parametrize("name", SATURATED)
def test_levels_that_no_channel_reaches(name, tmp_path):
    """As of a ReLU6 before levels that go on."""
    thresholds, comparisons = SATURATED[name]
    make, images = every_pixel_pair([[256, 1], [-256, -1]])
    make.quantize("sum", "codes", list(range(-3, 13)), thresholds=thresholds)
    for model in check(finish(make, "codes"), images, tmp_path).values():
        assert count_operations(model)["GreaterOrEqual"] == comparisons


def halves(step):
    """Return a quantization of accumulators / 4 to 16 codes whose ties go to the even one."""
    places = np.arange(1, 16)
    operand = Tensor("sum", (2, 1, 1), -100, 100)
    node = Quantize(
        ("sum",),
        Tensor("codes", (2, 1, 1), 0, 15),
        multipliers=np.array([[256, -256]]),
        bias=np.array([0, 512]),
        shift=np.array([10, 10]),
        boundaries=np.tile((2 * places - 1) * 512 + places % 2, (2, 1)),
        levels=np.arange(16),
        step=step,
    )
    return node, operand


def test_ties_to_even_need_rounding_to_even():
    node, operand = halves(1.0)
    steps = find_float_steps(node, [operand])
    assert steps is not None
    assert steps.rounding == "Round"
    assert_float_steps_count(steps, node, [operand])
    assert find_integer_steps(node, [operand]) is None


def test_ties_fall_back_to_comparisons(tmp_path):
    node, _ = halves(None)
    assert find_float_steps(node, [Tensor("sum", (2, 1, 1), -100, 100)]) is None
    make, images = every_pixel_pair([[1, -1], [1, 1]])
    fields = {name: getattr(node, name) for name in ("multipliers", "bias", "shift")}
    fields |= {"boundaries": node.boundaries, "levels": node.levels}
    make.add(Quantize, ["sum"], "codes", 0, 15, **fields)
    for model in check(finish(make, "codes"), images, tmp_path).values():
        assert count_operations(model)["GreaterOrEqual"] == 15


def all_numbers(operands):
    """Return every combination of what operands can hold: [J, P]."""
    ranges = [np.arange(each.low, each.high + 1) for each in operands]
    return np.stack([each.ravel() for each in np.meshgrid(*ranges, indexing="ij")])


def codes_of(node, numbers):
    """Return the reference's codes of numbers [J, P]: [C, P]."""
    channels = len(node.bias)
    inputs = [np.broadcast_to(row[:, None], (len(row), channels)) for row in numbers]
    return run_node(replace(node, levels=np.arange(len(node.levels))), inputs, {}).T


def assert_float_steps_count(steps, node, operands):
    numbers = all_numbers(operands)
    expected, last = codes_of(node, numbers), len(node.levels) - 1
    for channel, codes in enumerate(expected):
        points = Points(numbers, codes)
        np.testing.assert_array_equal(evaluate(steps, channel, points).clip(0, last), codes)


def assert_integer_steps_count(steps, node, operands):
    numbers = all_numbers(operands)
    total = steps.multipliers.T @ numbers + steps.biases[:, None]
    assert np.abs(total).max() <= np.iinfo(steps.dtype).max
    quotient = np.trunc(total / steps.divisors[:, None].astype(np.longdouble))
    codes = quotient.clip(0, len(node.levels) - 1)
    np.testing.assert_array_equal(codes, codes_of(node, numbers))


RANGES = {
    "unsigned": [(0, 3000)],
    "signed": [(-2000, 2500)],
    "two": [(-300, 200), (0, 15)],
    "two signed": [(-8, 7), (-250, 250)],
}


@pytest.mark.parametrize("name", RANGES)
@pytest.mark.parametrize("num_levels", [3, 16, 256])
def test_steps_hold_for_all_numbers(name, num_levels):
    make = GraphMaker((40, 1, 1), num_levels)
    operands = [Tensor(f"x{j}", (40, 1, 1), *each) for j, each in enumerate(RANGES[name])]
    make.tensors |= {each.name: each for each in operands}
    make.quantize([each.name for each in operands], "codes", range(num_levels))
    (node,) = make.nodes
    floats = integers = 0
    for channel in range(40):
        one = take_channel(node, channel)
        steps = find_float_steps(one, operands)
        if steps is not None:
            assert_float_steps_count(steps, one, operands)
            floats += 1
        exact = find_integer_steps(one, operands)
        if exact is not None:
            assert_integer_steps_count(exact, one, operands)
            integers += 1
    assert floats >= 38
    assert integers >= 38


def take_channel(node, channel):
    kept = slice(channel, channel + 1)
    return replace(
        node,
        multipliers=node.multipliers[:, kept],
        bias=node.bias[kept],
        shift=node.shift[kept],
        boundaries=node.boundaries[kept],
    )


def test_no_line_through_uneven_boundaries():
    node, operand = halves(1.0)
    uneven = replace(node, boundaries=np.tile(np.arange(1, 16) ** 2 * 256, (2, 1)))
    assert find_float_steps(uneven, [operand]) is None
    assert find_integer_steps(uneven, [operand]) is None


def test_one_boundary_off_by_one_is_no_line():
    node, operand = halves(None)
    node = replace(node, boundaries=np.tile(np.arange(1, 16) * 1024, (2, 1)))
    assert find_integer_steps(node, [operand]) is not None
    shifted = node.boundaries.copy()
    shifted[1, 7] += 256
    broken = replace(node, boundaries=shifted)
    assert find_float_steps(broken, [operand]) is None
    assert find_integer_steps(broken, [operand]) is None


def wide_accumulators():
    """Return a graph with accumulators from 2^31 to 2^32, and t beyond: one and two operands."""
    make, _ = every_pixel_pair([[1 << 23, 1 << 16], [1 << 24, -(1 << 23)], [1, 2]])
    pooled = make.keep_range(
        MaxPool, "sum", "largest", kernel=(2, 3), stride=(1, 1), pads=((0, 1), (1, 1))
    )
    pooled = make.signs(pooled, "turned")
    summed = make.sum_pool("sum", "summed", (2, 2), (1, 1), ((0, 1), (1, 0)))
    one = make.quantize(pooled, "one", list(range(16)))
    uneven, thresholds = [-2, 0, 1, 4], [-np.inf, 3.3, 3.4]
    two = make.quantize([summed, one], "two", uneven, thresholds=thresholds)
    both = make.quantize([two, one, two], "both", list(range(-128, 128)))
    return finish(make, both)


def test_numbers_beyond_int32(tmp_path):
    graph = wide_accumulators()
    assert graph.tensors["largest"].high >= 1 << 31
    check(graph, every_pixel_pair([[1, 1]])[1], tmp_path)


def test_t_between_int32_and_uint32(tmp_path):
    """Where onnxruntime's int64 Max, Min and Clip are wrong."""
    make, images = every_pixel_pair([[256, 1]])
    for name, levels in (("few", [0, 1, 2, 4]), ("many", list(range(16)))):
        steps = np.arange(len(levels) - 1)
        fields = {
            "multipliers": np.array([[40000], [40000]]),
            "bias": np.array([-(1 << 31)]),
            "shift": np.array([0]),
            "boundaries": (1 << 31) + (steps[None] * (1 << 31)) // len(levels) + steps[None] ** 2,
            "levels": np.array(levels),
        }
        make.add(Quantize, ["sum", "sum"], f"{name}.codes", 0, max(levels), **fields)
    make.concat(["few.codes", "many.codes"], "joined")
    check(finish(make, "joined"), images, tmp_path)


def test_sums_beyond_the_whole_numbers_of_float32(tmp_path):
    make, images = every_pixel_pair([[3 << 16, 1], [1 << 16, -1]])
    assert 1 << 24 < make.tensors["sum"].high < 1 << 26
    check(finish(make, "sum"), images, tmp_path)


def test_inputs_and_weights_wider_than_bytes(tmp_path):
    make = GraphMaker((2, 9, 9), 3)
    x = make.lookup("image", "wide", list(range(-32768, 32768, 7)), rows=2)
    fields = {"pads": ((1, 2), (0, -1)), "stride": (2, 1)}
    x = make.convolution(x, "first", 6, list(range(-255, 256)), groups=2, **fields)
    x = make.quantize(x, "wider", [0, 1, 40000, 70000], thresholds=[1, 4, 9])
    x = make.add_reshape(x, "flat", (int(np.prod(make.tensors[x].shape)),))
    x = make.linear(x, "last", 5, list(range(-40000, 40001)))
    make.logits(x)
    graph = make.graph()
    models = check(graph, draw_images(graph), tmp_path)
    counts = count_operations(models["strict"])
    assert counts["ConvInteger"] == 4
    assert counts["MatMulInteger"] == 9


POOLS = {
    "overlapping": {"kernel": (3, 3), "stride": (2, 2), "pads": ((1, 1), (1, 1))},
    "past the end": {"kernel": (2, 3), "stride": (2, 2), "pads": ((0, 1), (0, 2))},
    "cropped": {"kernel": (2, 2), "stride": (2, 2), "pads": ((-1, 0), (0, -2))},
}
DILATED = {"kernel": (3, 2), "stride": (1, 2), "dilation": (3, 2), "pads": ((5, 4), (2, 1))}


@pytest.mark.parametrize("name", [*POOLS, "dilated"])
def test_pooling(name, tmp_path):
    fields = {**POOLS, "dilated": DILATED}[name]
    make = GraphMaker((2, 11, 12), 5)
    x = make.convolution("image", "first", 4, [-3, -1, 2])
    accumulators = make.keep_range(MaxPool, x, "of accumulators", **fields)
    x = make.quantize(x, "codes", list(range(-4, 4)))
    codes = make.keep_range(MaxPool, x, "of codes", **fields)
    pooled = [make.quantize(accumulators, "first codes", list(range(4))), codes]
    if "dilation" not in fields:
        pooled.append(make.sum_pool(x, "sums of codes", **fields))
    x = make.concat(pooled, "all")
    whole = make.tensors[x].shape[1:]
    x = make.sum_pool(x, "whole", whole, (1, 1))
    x = make.add_reshape(x, "flat", (make.tensors[x].shape[0],))
    make.logits(x)
    graph = make.graph()
    check(graph, draw_images(graph), tmp_path)


def small_graph():
    make = GraphMaker((1, 2, 3), 2)
    x = make.add_reshape("image", "flat", (6,))
    x = make.quantize(make.linear(x, "first", 4, [-1, 1]), "codes", list(range(4)))
    make.logits(make.linear(x, "last", 3, [-2, 1]))
    return make.graph()


@pytest.mark.parametrize("count", [0, 1, session.BATCH_SIZE, session.BATCH_SIZE + 1])
def test_any_number_of_images(count, tmp_path):
    graph = small_graph()
    check(graph, draw_images(graph, count), tmp_path)


def test_a_constant_node_and_a_constant_channel(tmp_path):
    make, images = every_pixel_pair([[1, 2], [3, 4]])
    fields = {
        "multipliers": np.zeros((1, 2), np.int64),
        "bias": np.array([5, -5]),
        "shift": np.array([1, 1]),
        "boundaries": np.array([[-UNREACHABLE, 0, 5, 6], [-UNREACHABLE, 0, 5, UNREACHABLE]]),
        "levels": np.array([-2, -1, 0, 1, 2]),
    }
    make.add(Quantize, ["sum"], "codes", -2, 2, **fields)
    check(finish(make, "codes"), images, tmp_path)
    codes = run_graph(make.graph(), images)["codes"]
    assert set(np.unique(codes[:, 0])) == {1}
    assert set(np.unique(codes[:, 1])) == {-1}


def test_logits_are_those_of_the_file_as_it_is(tmp_path, monkeypatch):
    """What the network with observed outputs gives excuses no other result of the file itself."""
    run = session._run

    def run_otherwise(network, images):
        found = run(network, images)
        return {**found, "logits": found["logits"] + 1} if len(found) == 1 else found

    graph, path = small_graph(), tmp_path / "net.onnx"
    write(graph, path, "strict")
    images = draw_images(graph)
    monkeypatch.setattr(session, "_run", run_otherwise)
    found, expected = run_onnx(path, images), run_graph(graph, images)
    np.testing.assert_array_equal(found["codes"], expected["codes"])
    np.testing.assert_array_equal(found["logits"], expected["logits"] + 1)


def test_lookup_of_signed_values(tmp_path):
    make, images = every_pixel_pair([[1, -1], [-1, 1]])
    x = make.quantize("sum", "codes", list(range(-6, 4)))
    x = make.concat([make.lookup(x, f"plane {rows}", [-3, 5, 7], rows) for rows in (1, 2)], "both")
    check(finish(make, x), images, tmp_path)


def test_too_many_products_for_int32_are_refused(tmp_path):
    image = Tensor("image", (1, 280, 250), 0, 255)
    make = GraphMaker(image.shape)
    x = make.add_reshape("image", "flat", (70000,))
    make.logits(make.linear(x, "fc.long", 2, [127]))
    for form in FORMS:
        with pytest.raises(qcli.ExportError, match=r"fc\.long: sums of up to .* 32 bits"):
            write(make.graph(), tmp_path / "net.onnx", form)


def damage_missing(path):
    path.unlink()


def damage_cut(path):
    path.write_bytes(path.read_bytes()[:-40])


def damage_text(path):
    path.write_text("not a network")


def damage_operation(path):
    model = onnx.load(path)
    model.graph.node[0].op_type = "Nonsense"
    onnx.save_model(model, path)


def damage_metadata(path):
    model = onnx.load(path)
    del model.metadata_props[:]
    onnx.save_model(model, path)


@pytest.mark.parametrize(
    "damage", [damage_missing, damage_cut, damage_text, damage_operation, damage_metadata]
)
def test_damaged_files(damage, tmp_path):
    graph, path = small_graph(), tmp_path / "net.onnx"
    write(graph, path, "strict")
    damage(path)
    with pytest.raises(qcli.ArtifactError, match=r"net\.onnx: "):
        run_onnx(path, draw_images(graph))


def test_images_of_another_shape(tmp_path):
    write(small_graph(), tmp_path / "net.onnx", "fast")
    with pytest.raises(qcli.DataError, match=r"shape \[1, 2, 3\], not \[1, 3, 3\]"):
        run_onnx(tmp_path / "net.onnx", np.zeros((2, 1, 3, 3), np.uint8))


def test_without_onnxruntime(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(qcli.MissingTool, match=r"pip install 'qcli\[onnx\]'"):
        run_onnx(tmp_path / "net.onnx", np.zeros((1, 1, 2, 3), np.uint8))


def test_logits_alone(tmp_path):
    """A network of one operation: two operands and a bias, with nothing to quantize."""
    image = Tensor("image", (3,), 0, 255)
    output = Tensor("logits", (3,), -(1 << 40), 1 << 40)
    multipliers = np.array([[1 << 30, -5, 0], [-7, 1 << 29, 1]])
    logits = Logits(("image", "image"), output, multipliers, np.array([1, -(1 << 31), 3]), 4)
    graph = Graph(image, (logits,))
    check(graph, np.array([[0, 255, 3], [255, 0, 1]], np.uint8), tmp_path)
