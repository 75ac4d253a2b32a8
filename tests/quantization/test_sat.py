"""SAT against hand-computed vectors: the clamp stage, the modes, rescaling, CG-PACT."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import qcli
from qcli.quantization.roles import assign_roles
from qcli.testing import check_quantizer
from qcli_uniform.dorefa import DoReFa
from qcli_uniform.sat import SAT, bound_weight

ENTRY = qcli.load_catalog().quantizer("sat")
WEIGHT = replace(ENTRY, quantizes=frozenset({"weight"}))
W = torch.tensor([[0.9, -0.4, 0.05], [-0.2, 0.6, -1.2]])
G = torch.tensor([[0.1, -0.2, 0.3], [-0.4, 0.5, -0.6]])
X = torch.tensor([-0.3, 0.2, 0.4, 0.9, 1.5, 2.0])
CLAMPED = [[0.859226, -0.455763, 0.059927], [-0.236759, 0.644211, -1]]
GRADIENT = [[0.058408, -0.205274, 0.358963], [-0.461123, 0.426782, -0.21953]]
TWO_BITS = [[1, -1 / 3, 1 / 3], [-1 / 3, 1 / 3, -1]]
FOUR_BITS = [[13 / 15, -7 / 15, 1 / 15], [-3 / 15, 9 / 15, -1]]


def make(role: str = "weight", shape: tuple[int, ...] = (2, 3), axis: int = 0, **options) -> SAT:
    followed_by = options.pop("followed_by", None)
    axis = axis if role == "weight" else 1
    info = qcli.TensorInfo(role, shape, axis, "layer", followed_by=followed_by)
    return SAT(info, **options)


def run(quantizer: SAT, x: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Return the result and the gradient of x."""
    latent = (quantizer.right_inverse(x) if quantizer.is_weight else x).clone().requires_grad_()
    result = quantizer(latent)
    result.backward(gradient)
    assert latent.grad is not None
    return result.detach(), latent.grad


def close(actual: Tensor, expected) -> bool:
    expected = torch.as_tensor(expected, dtype=torch.float32)
    return torch.allclose(actual, expected, rtol=0, atol=1e-5)


def test_clamp_stage() -> None:
    quantizer = make(rounding=False, rescale=False)
    result, by_weight = run(quantizer, W, G)
    assert close(result, CLAMPED)
    assert close(by_weight, GRADIENT)
    assert quantizer.bits == 32
    assert quantizer.grid() is None


def test_clamp_stage_rescales_by_its_own_variance() -> None:
    quantizer = make(rounding=False)
    result, by_weight = run(quantizer, W, G)
    assert close(quantizer.factor, 1.016844)
    assert close(result[0], [0.873699, -0.46344, 0.060936])
    assert close(by_weight, 1.016844 * torch.tensor(GRADIENT))


def test_clamp_stage_leaves_activations() -> None:
    quantizer = make("input", (6,), rounding=False)
    assert torch.equal(quantizer(X), X)
    assert list(quantizer.parameters()) == []
    assert quantizer.bits == 32
    assert quantizer.thresholds() is None


@pytest.mark.parametrize(
    ("bits", "values"),
    [(1, [[1, -1, 1], [-1, 1, -1]]), (2, TWO_BITS), (4, FOUR_BITS)],
)
def test_default_mode(bits: int, values) -> None:
    """One bit is -1 and 1 alone, without mean|w|; the gradient does not depend on the width."""
    result, by_weight = run(make(bits=bits, rescale=False), W, G)
    assert close(result, values)
    assert close(by_weight, GRADIENT)


def test_rescaled_two_bits() -> None:
    quantizer = make(bits=2)
    result, by_weight = run(quantizer, W, G)
    assert close(quantizer.factor, 1 / math.sqrt(2 * 0.4888889))
    assert close(result, 1.0112998 * torch.tensor(TWO_BITS))
    assert close(by_weight, [[0.059068, -0.207594, 0.363019], [-0.466333, 0.431605, -0.22201]])


@pytest.mark.parametrize("bits", range(2, 9))
def test_default_codes_are_those_of_dorefa(bits: int) -> None:
    weight = torch.randn(20, 30, generator=torch.Generator().manual_seed(0))
    quantizer = make(shape=(20, 30), bits=bits, rescale=False)
    other = DoReFa(quantizer.info, bits=bits)
    assert torch.equal(quantizer.codes(weight), other.codes(weight))
    assert torch.equal(quantizer(weight), other(weight))


def test_full_range_has_bins_of_equal_width() -> None:
    values = [FOUR_BITS[0], [FOUR_BITS[1][0], 11 / 15, -1]]
    result, by_weight = run(make(bits=4, mode="full_range", rescale=False), W, G)
    assert close(result, values)
    assert close(by_weight, (1 + 0.9998 / 15) * torch.tensor(GRADIENT))
    even = torch.linspace(-1, 1, 80001).atanh().clamp(-20, 20)
    counts = make(shape=(80001, 1), bits=2, mode="full_range").codes(even).bincount()
    assert (counts / 20000 - 1).abs().max() < 1e-3


def test_symmetric_has_zero_and_as_many_levels_on_both_sides() -> None:
    quantizer = make(bits=4, mode="symmetric", rescale=False)
    result, by_weight = run(quantizer, W, G)
    assert close(result, torch.tensor([[6, -3, 0], [-2, 5, -7]]) / 7)
    assert close(by_weight, GRADIENT)
    assert close(quantizer.codebook(), torch.arange(-7, 8) / 7)
    assert not result.signbit()[0, 2]


def test_asymmetric_uses_every_code() -> None:
    quantizer = make(bits=4, mode="asymmetric", rescale=False)
    result, by_weight = run(quantizer, W, G)
    assert close(result, torch.tensor([[6, -4, 0], [-2, 4, -8]]) / 7)
    assert close(by_weight, (1 + 1 / 14) * torch.tensor(GRADIENT))
    assert close(quantizer.codebook(), torch.arange(-8, 8) / 7)


def test_asymmetric_clamp_stage_is_shifted_too() -> None:
    result, by_weight = run(make(mode="asymmetric", rounding=False, rescale=False), W, G)
    assert close(result, (1 + 1 / 14) * torch.tensor(CLAMPED) - 1 / 14)
    assert close(by_weight, (1 + 1 / 14) * torch.tensor(GRADIENT))


def test_integer_mode_is_default_whose_grid_holds_the_integers() -> None:
    integer, default = make(bits=4, mode="integer"), make(bits=4)
    assert torch.equal(run(integer, W, G)[0], run(default, W, G)[0])
    grid = make(bits=4, mode="integer", rescale=False).grid()
    assert grid is not None
    assert grid.integers.tolist() == list(range(-15, 16, 2))
    assert torch.equal(grid.step, torch.tensor(1 / 15))


def test_gradient_through_the_maximum_changes_the_largest_weight_alone() -> None:
    _, by_weight = run(make(bits=2, rescale=False, gradient_through_max=True), W, G)
    assert close(by_weight, [GRADIENT[0], [*GRADIENT[1][:2], 0.22387]])


def test_bounding_has_its_true_gradient() -> None:
    weight = W.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: bound_weight(x, through_max=True), (weight,))


@pytest.mark.parametrize(
    ("followed_by", "rescale", "rescales"),
    [
        (None, "auto", True),
        ("ReLU", "auto", True),
        ("BatchNorm2d", "auto", False),
        ("BatchNorm2d", True, True),
        (None, False, False),
    ],
)
def test_layers_before_a_norm_are_not_rescaled(followed_by, rescale, rescales: bool) -> None:
    quantizer = make(bits=2, rescale=rescale, followed_by=followed_by)
    quantizer.observe(W)
    assert close(quantizer.factor, 1.0112998 if rescales else 1.0)


@pytest.mark.parametrize(
    ("shape", "axis", "outputs"),
    [((4, 6), 0, 4), ((4, 3, 5, 2), 0, 40), ((4, 3, 5, 2), 1, 30), ((6, 1, 3, 3), 0, 54)],
)
def test_outputs_are_counted_with_the_places_of_the_kernel(shape, axis: int, outputs: int) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    quantizer = make(shape=shape, axis=axis, bits=3)
    quantizer.observe(weight)
    value = quantizer(weight)
    assert close(outputs * value.var(), 1.0)


@pytest.mark.parametrize("rounding", [True, False])
@pytest.mark.parametrize("weight", [torch.zeros(2, 3), torch.full((2, 3), -0.7), torch.ones(1, 1)])
def test_equal_weights_have_the_factor_one(weight: Tensor, rounding: bool) -> None:
    quantizer = make(shape=tuple(weight.shape), bits=3, rounding=rounding)
    result, _ = run(quantizer, weight, torch.ones_like(weight))
    assert float(quantizer.factor) == 1
    assert result.isfinite().all()


def test_factor_follows_the_weight_after_each_step_alone() -> None:
    quantizer = make(bits=2)
    quantizer.observe(W)
    before = quantizer.factor.clone()
    quantizer(W.abs())
    assert torch.equal(quantizer.factor, before)
    quantizer.after_step(torch.tensor([[1.0, -1.0, 1.0], [-1.0, 1.0, -1.0]]))
    assert close(quantizer.factor, 1 / math.sqrt(2 * 1.2))


def test_activations_are_clipped_as_in_cg_pact() -> None:
    quantizer = make("output", (6,), bits=2, initial_clip=1.5)
    result, by_input = run(quantizer, X, torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]))
    assert result.tolist() == [0, 0, 0.5, 1, 1.5, 1.5]
    assert close(by_input, [0, 0.2, 0.3, 0.4, 0, 0])
    assert quantizer.clip.grad is not None
    assert close(quantizer.clip.grad, 1.12)


def test_clip_starts_at_eight_stays_positive_and_decays(catalog, make_recipe) -> None:
    network = nn.Sequential(nn.Linear(4, 3))
    recipe = make_recipe(default={"input": {"quantizer": "sat"}})
    qcli.quantize(network, qcli.make_plan(network, recipe, (4,), catalog=catalog))
    (clip,) = [each for each in assign_roles(network) if each.name.endswith("clip")]
    assert clip.defaults.weight_decay is None
    assert float(clip.parameter.detach()) == 8
    quantizer = network[0].input_quantizer
    assert isinstance(quantizer, SAT)
    with torch.no_grad():
        quantizer.clip.neg_()
    quantizer.after_step(None)
    assert float(quantizer.clip.detach()) > 0


@pytest.mark.parametrize("mode", ["symmetric", "asymmetric"])
def test_one_bit_with_zero_is_refused(mode: str) -> None:
    with pytest.raises(ValueError, match="2 bits"):
        make(bits=1, mode=mode)


@pytest.mark.parametrize("role", ["weight", "input"])
def test_32_bits_are_the_identity(role: str) -> None:
    quantizer = make(role, bits=32)
    quantizer.observe(W)
    assert torch.equal(quantizer(W), W)
    assert quantizer.bits == 32


@pytest.mark.parametrize("bits", [*range(1, 9), 32])
def test_every_width_obeys(bits: int) -> None:
    check_quantizer(ENTRY, {"bits": bits})


@pytest.mark.parametrize("bits", [2, 5, 8])
@pytest.mark.parametrize("mode", ["full_range", "symmetric", "asymmetric", "integer"])
@pytest.mark.parametrize("rescale", ["auto", False])
def test_every_mode_obeys(mode: str, bits: int, rescale) -> None:
    check_quantizer(WEIGHT, {"mode": mode, "bits": bits, "rescale": rescale})


@pytest.mark.parametrize(
    "options",
    [
        {"rounding": False},
        {"rounding": False, "mode": "asymmetric", "rescale": False},
        {"bits": 1, "rescale": False},
        {"rescale": True},
        {"initial_clip": 0.3},
        {"gradient_through_max": True},
    ],
    ids=str,
)
def test_every_option_obeys(options) -> None:
    check_quantizer(ENTRY, options)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"bits": 2}, {"rounding": False}], ids=str)
def test_compiles(options) -> None:
    check_quantizer(ENTRY, options, compiled=True)
