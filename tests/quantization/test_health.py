"""What is measured of a quantizer, and which numbers are findings."""

import math

import pytest
import torch
from torch import nn

import qcli
from qcli.quantization.health import (
    count_levels,
    count_met,
    describe,
    list_levels,
    measure_weight,
    narrow_codes,
    sum_counts,
)
from qcli.quantization.plan import build_quantizer
from qcli.quantization.surgery import latents, quantizers
from qcli.quantization.verdict import judge


@pytest.fixture
def make(catalog):
    """Return a function from an entry's name, a shape and options to a quantizer."""

    def build(name, shape, role="weight", **options):
        info = qcli.TensorInfo(role, shape, 0 if role == "weight" else 1, layer="conv")
        return build_quantizer(catalog.quantizer(name), info, options)

    return build


def start(quantizer, weight):
    return quantizer.right_inverse(weight)


def measure(quantizer, latent, before=None):
    return measure_weight(quantizer, latent, narrow_codes(quantizer, latent), before)


def kinds(numbers, slot="weight", epochs=1, total=20):
    """Return the kinds of findings where each of some epochs had the same numbers."""
    rows = [{f"conv.{slot}": numbers}] * epochs
    return [finding.kind for finding in judge(rows, total)]


WEIGHT = torch.randn(32, 8, 3, 3, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("book", "axis", "codes", "counts"),
    [
        ([-1.0, 0.0, 1.0], 0, [[0, 0], [2, 1]], [2, 1, 1]),
        # A value space is not always sorted: counts are.
        ([1.0, -1.0, 0.0], 0, [[0, 0], [2, 1]], [1, 1, 2]),
        # One codebook for each channel, the second upside down.
        ([[-1.0, 1.0], [1.0, -1.0]], 0, [[0, 0], [0, 1]], [3, 1]),
        ([[-1.0, 1.0], [1.0, -1.0]], 1, [[0, 0], [0, 1]], [3, 1]),
    ],
)
def test_levels_are_counted_from_the_smallest(book, axis, codes, counts):
    quantizer = qcli.Quantizer(qcli.TensorInfo("weight", (2, 2), axis))
    quantizer.codebook = lambda: torch.tensor(book)
    assert count_levels(quantizer, torch.tensor(codes, dtype=torch.int32)).tolist() == counts


def test_numbers_of_counts():
    counts = torch.tensor([1, 0, 6, 3])
    shared = {"levels": 4, "count": 10, "unused": 1, "fullest": 0.6}
    assert describe(counts, "weight") == {**shared, "ends": 0.4}
    assert describe(counts, "input") == {**shared, "top": 0.3}
    assert describe(torch.zeros(2, dtype=torch.int64), "input")["fullest"] == 0.0


def test_flips_are_the_share_of_codes_that_changed(make):
    quantizer = make("lsq", (4, 2), bits=2, initial_step=1.0)
    latent = torch.tensor([[-2.0, -1.0], [0.0, 1.0], [0.1, 0.2], [0.3, 1.4]])
    before = narrow_codes(quantizer, latent)
    assert before.dtype == torch.uint8
    latent[3, 0] = 1.0
    assert measure(quantizer, latent, before)["flips"] == 0.125
    assert "flips" not in measure(quantizer, latent)
    assert "flips" not in measure(quantizer, latent, before[:2])


def test_codes_of_a_float_weight_are_none(make):
    quantizer = qcli.Quantizer(qcli.TensorInfo("weight", (2, 2)))
    quantizer.codebook = lambda: torch.empty(0)
    assert narrow_codes(quantizer, torch.ones(2, 2)) is None


def test_lsq_tells_its_smallest_step(make):
    quantizer = make("lsq", (2, 3), granularity="channel")
    quantizer.step_size.data.copy_(torch.tensor([[0.5], [0.25]]))
    assert measure(quantizer, torch.ones(2, 3))["step"] == 0.25


@pytest.mark.parametrize(("sampling", "divisor"), [("soft", 0.5), ("gumbel", 2.0)])
def test_search_tells_the_entropy_of_its_choice(make, sampling, divisor):
    """Soft: softmax(A / T). Gumbel: argmax(A + r G) is j with the chance softmax(A / r)_j."""
    quantizer = make(
        "categorical", (1, 1), sampling=sampling, scale="tensor", temperature=0.5, randomness=2.0
    )
    quantizer.on_progress(qcli.Progress(0, 10, 0, 2, seed=0))
    gap = 0.7
    p = 1 / (1 + math.exp(-gap / divisor))
    expected = -(p * math.log2(p) + (1 - p) * math.log2(1 - p))
    assert quantizer.health(torch.tensor([[[0.0]], [[gap]]]))["entropy"] == pytest.approx(expected)
    assert quantizer.health(torch.zeros(2, 1, 1))["entropy"] == pytest.approx(1.0)
    assert quantizer.health(torch.tensor([[[0.0]], [[1e3]]]))["entropy"] == pytest.approx(0.0)


@pytest.mark.parametrize("options", [{}, {"sampling": "soft", "hard_from_fraction": 0.9}])
def test_search_that_is_hard_or_becomes_so_has_no_entropy_to_fall(make, options):
    quantizer = make("categorical", (1, 1), scale="tensor", **options)
    assert quantizer.health(torch.zeros(2, 1, 1)) == {}


@pytest.mark.parametrize("name", ["lsq", "dorefa", "uniform"])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_fresh_weights_are_healthy(make, name, bits):
    quantizer = make(name, tuple(WEIGHT.shape), bits=bits)
    assert kinds(measure(quantizer, start(quantizer, WEIGHT))) == []


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_a_step_forced_tiny_is_collapsed(make, bits):
    quantizer = make("lsq", tuple(WEIGHT.shape), bits=bits)
    latent = start(quantizer, WEIGHT)
    quantizer.step_size.data.fill_(torch.finfo(torch.float32).eps)
    assert kinds(measure(quantizer, latent)) == ["collapsed"]
    quantizer.step_size.data.fill_(-0.1)
    assert kinds(measure(quantizer, latent)) == ["collapsed"]


@pytest.mark.parametrize("name", ["input_gain", "output_scale"])
def test_a_gain_or_a_scale_forced_tiny_is_collapsed(make, name):
    """What a tiny gain multiplies lies below every edge: the cause is told, not one level alone."""
    quantizer = make("quantization_networks", tuple(WEIGHT.shape), bits=2)
    latent = start(quantizer, WEIGHT)
    assert kinds(measure(quantizer, latent)) == []
    getattr(quantizer, name).data.fill_(torch.finfo(torch.float32).eps)
    assert kinds(measure(quantizer, latent)) == ["collapsed"]


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_a_step_too_small_for_its_weights_saturates_them(make, bits):
    quantizer = make("lsq", tuple(WEIGHT.shape), bits=bits)
    latent = start(quantizer, WEIGHT)
    quantizer.step_size.data.fill_(1e-5)
    assert kinds(measure(quantizer, latent)) == ["saturated"]


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_weights_all_in_one_level(make, bits):
    quantizer = make("lsq", tuple(WEIGHT.shape), bits=bits)
    start(quantizer, WEIGHT)
    assert kinds(measure(quantizer, torch.full_like(WEIGHT, 1e-6))) == ["one level"]


def test_a_range_too_wide_leaves_levels_unused(make):
    quantizer = make("lsq", tuple(WEIGHT.shape), bits=4)
    latent = start(quantizer, WEIGHT)
    quantizer.step_size.data.mul_(3)
    numbers = measure(quantizer, latent)
    assert numbers["unused"] > 8
    assert kinds(numbers) == ["unused levels"]
    (finding,) = judge([{"conv1.0.weight": numbers}], 20)
    assert finding.text.startswith(f"layer conv1.0, weight: {numbers['unused']:g} of 16 levels")
    assert "limit 8; try " in finding.text
    assert (finding.layer, finding.slot, finding.limit) == ("conv1.0", "weight", 8)


def test_few_weights_cannot_fill_many_levels(make):
    quantizer = make("lsq", (3, 3), bits=4)
    numbers = measure(quantizer, start(quantizer, WEIGHT[0, 0]))
    assert kinds({**numbers, "unused": 12}) == []


@pytest.fixture
def network(catalog):
    """A layer whose input has 2 bits, and batches of rectified inputs for it."""
    model = nn.Sequential(nn.Linear(10, 4))
    slots = {"input": {"quantizer": "lsq", "bits": 2, "signed": False}}
    recipe = {"name": "x", "default": slots, "first_layer": slots, "last_layer": slots}
    qcli.quantize(model, qcli.make_plan(model, recipe, (10,), catalog=catalog))
    ((_, _, quantizer),) = quantizers(model)
    x = torch.rand(200, 10, generator=torch.Generator().manual_seed(0))
    quantizer.step_size.data.fill_(1 / 3)
    return model.eval(), quantizer, x


def count_inputs(network, samples=64):
    model, quantizer, x = network
    with count_met([quantizer], samples) as counts, torch.inference_mode():
        model(x)
        model(x * 100)
    return sum_counts([quantizer], counts)[quantizer]


def test_inputs_are_counted_in_the_first_batch_alone(network):
    _, quantizer, x = network
    expected = torch.bincount(torch.round(x[:64] * 3).int().flatten(), minlength=4)
    assert count_inputs(network).tolist() == expected.tolist()
    assert kinds(describe(expected, "input"), "input") == []
    assert not quantizer._forward_pre_hooks


def test_a_quantizer_that_meets_nothing_counts_nothing(network):
    _, quantizer, _ = network
    with count_met([quantizer], 64) as counts:
        pass
    assert sum_counts([quantizer], counts)[quantizer].tolist() == [0, 0, 0, 0]
    assert kinds(describe(torch.zeros(4, dtype=torch.int64), "input"), "input") == []


def test_a_clip_too_low_saturates_inputs(network):
    network[1].step_size.data.fill_(0.1)
    numbers = describe(count_inputs(network), "input")
    assert numbers["top"] > 0.5
    assert kinds(numbers, "input") == ["saturated"]


def test_inputs_that_are_all_zero_have_one_level(network):
    model, quantizer, x = network
    numbers = describe(count_inputs((model, quantizer, -x)), "input")
    assert kinds(numbers, "input") == ["one level"]


HEALTHY = {"levels": 4, "count": 1000, "unused": 0, "fullest": 0.3, "ends": 0.4}


def course(name, values, total, **more):
    rows = [{"conv.weight": {**HEALTHY, **more, name: value}} for value in values]
    return [finding.kind for finding in judge(rows, total)]


def test_codes_that_never_change_in_the_first_quarter_are_frozen():
    assert course("flips", [0.0] * 4, 20) == []
    assert course("flips", [0.0] * 5, 20) == ["frozen"]
    assert course("flips", [0.0] * 4 + [1e-6], 20) == []
    assert course("flips", [0.0] * 5 + [0.1], 20) == ["frozen"]
    assert course("flips", [0.0] * 7, 7) == []


def test_codes_that_change_much_in_the_last_quarter_oscillate():
    assert course("flips", [0.5] * 15, 20) == []
    assert course("flips", [0.5] * 16, 20) == ["oscillating"]
    assert course("flips", [0.5] * 15 + [0.2], 20) == []
    assert course("flips", [0.5] * 16, 20, levels=256) == []
    assert course("flips", [0.5] * 7, 7) == []


def test_entropy_must_fall_in_the_first_half():
    assert course("entropy", [1.0] * 10, 20) == []
    assert course("entropy", [1.0] * 11, 20) == ["undecided"]
    assert course("entropy", [1.0] * 10 + [0.89], 20) == []
    assert course("entropy", [0.4] * 11, 20) == []


def test_latents_behind_quantizers_are_measured_as_trained(catalog):
    """The watch reads the trained parameter itself, not a copy."""
    model = nn.Sequential(nn.Linear(10, 4), nn.ReLU(), nn.Linear(4, 4))
    recipe = {"name": "x", "default": {}, "first_layer": {"weight": {"quantizer": "lsq"}}}
    qcli.quantize(model, qcli.make_plan(model, recipe, (10,), catalog=catalog))
    ((quantizer, latent),) = latents(model).items()
    before = narrow_codes(quantizer, latent)
    with torch.no_grad():
        latent.neg_()
    assert measure(quantizer, latent, before)["flips"] > 0.5


def test_levels_are_listed_in_ascending_order_with_only_the_ends_of_many(make):
    few = make("lsq", (2, 3), bits=2)
    start(few, torch.tensor([[0.5, -0.5, 0.5], [-0.5, 0.5, -0.5]]))
    # Starts at 2 mean|x| / sqrt(1) = 1, with the levels -2 to 1.
    assert list_levels(few) == [-2.0, -1.0, 0.0, 1.0]
    many = make("lsq", (2, 3), bits=8)
    start(many, torch.full((2, 3), math.sqrt(127) / 2))
    assert list_levels(many) == [-128.0, 127.0]


def test_the_levels_of_channels_are_their_means(make):
    quantizer = make("xnor", (2, 2))
    start(quantizer, torch.tensor([[0.25, -0.25], [0.75, -0.75]]))
    assert list_levels(quantizer) == [-0.5, 0.5]
