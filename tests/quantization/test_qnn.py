"""QNN against hand-computed vectors: signs, fixed-point numbers, powers of two."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import qcli
from qcli.testing import check_quantizer
from qcli_binary.qnn import QNN

ENTRY = qcli.load_catalog().quantizer("qnn")
WEIGHTS = replace(ENTRY, quantizes=frozenset({"weight"}))
DATA = replace(ENTRY, quantizes=frozenset({"input", "output"}))
X = torch.tensor([-1.5, -1, -0.3, 0, 0.4, 1, 2])
G = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7])
MIDDLE = qcli.Progress(step=50, total_steps=100, epoch=5, total_epochs=10, seed=3)


def make(role: str = "input", shape: tuple[int, ...] = (7,), **options) -> QNN:
    return QNN(qcli.TensorInfo(role, shape, int(role != "weight"), "layer"), **options)


def gradient_of(quantizer: QNN, x: Tensor, gradient: Tensor) -> Tensor:
    latent = x.clone().requires_grad_()
    quantizer(latent).backward(gradient)
    assert latent.grad is not None
    return latent.grad


def close(actual: Tensor, expected) -> bool:
    return torch.allclose(actual, torch.as_tensor(expected, dtype=torch.float32), rtol=0, atol=1e-5)


@pytest.mark.parametrize("scheme", ["linear", "log"])
@pytest.mark.parametrize("role", ["weight", "input"])
def test_one_bit_is_the_sign_and_zero_is_positive(role: str, scheme: str) -> None:
    quantizer = make(role, (7, 1) if role == "weight" else (7,), scheme=scheme)
    assert quantizer(X).tolist() == [-1, -1, -1, 1, 1, 1, 1]
    assert quantizer.codes(X).tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert quantizer(torch.tensor([-0.0])).tolist() == [1]
    assert quantizer.codebook().tolist() == [-1, 1]


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("scheme", ["linear", "log"])
def test_gradient_is_that_of_hardtanh(bits: int, scheme: str) -> None:
    quantizer = make(bits=min(bits, 7) if scheme == "log" else bits, scheme=scheme)
    assert close(gradient_of(quantizer, X, G), [0, 0.2, 0.3, 0.4, 0.5, 0.6, 0])


@pytest.mark.parametrize(
    ("bits", "values"),
    [(2, [-1, -1, -0.5, 0, 0.5, 0.5, 0.5]), (4, [-1, -1, -0.25, 0, 0.375, 0.875, 0.875])],
)
def test_linear_vectors(bits: int, values) -> None:
    quantizer = make(bits=bits)
    assert quantizer(X).tolist() == values
    assert (quantizer.codes(X) * 2.0 ** (1 - bits) - 1).tolist() == values


@pytest.mark.parametrize("bits", range(2, 9))
def test_linear_levels_are_fixed_point(bits: int) -> None:
    half = 2 ** (bits - 1)
    quantizer = make(bits=bits)
    assert quantizer.codebook().tolist() == [n / half for n in range(-half, half)]
    grid = quantizer.grid()
    assert grid is not None
    assert grid.integers.tolist() == list(range(-half, half))
    assert quantizer.bits == bits


@pytest.mark.parametrize("bits", range(1, 9))
def test_unsigned_levels_end_below_one(bits: int) -> None:
    quantizer = make(bits=bits, signed=False)
    assert quantizer.codebook().tolist() == [n / 2**bits for n in range(2**bits)]
    edges = torch.tensor([-0.1, -0.0, 0.0, 0.5, 1.0, 1.1])
    top = 1 - 2.0**-bits
    assert quantizer(edges).tolist() == [0, 0, 0, 0.5, top, top]
    assert gradient_of(quantizer, edges, torch.ones(6)).tolist() == [0, 1, 1, 1, 1, 0]


def test_ties_round_to_even_and_zero_has_no_sign() -> None:
    result = make(bits=3)(torch.tensor([-0.375, -0.125, -0.0, 0.125, 0.375]))
    assert result.tolist() == [-0.5, 0, 0, 0, 0.5]
    assert not result[result == 0].signbit().any()


def test_nearest_power_of_two() -> None:
    """AP2 where the range does not cut."""
    x = torch.tensor([0.3, -0.7, 1.0, -0.02])
    assert make(bits=4, scheme="log")(x).tolist() == [0.25, -0.5, 1, -0.015625]
    # AP2(1.4) is 1; 1.5 would be 2, which the range cuts to 1.
    assert make(bits=4, scheme="log")(torch.tensor([1.4, 1.5, -9.0])).tolist() == [1, 1, -1]


@pytest.mark.parametrize(
    ("bits", "signed", "levels"),
    [
        (2, True, [-1, -0.5, 0.5, 1]),
        (3, True, [-1, -0.5, -0.25, -0.125, 0.125, 0.25, 0.5, 1]),
        (1, False, [0, 1]),
        (2, False, [0, 0.25, 0.5, 1]),
    ],
)
def test_log_levels(bits: int, signed: bool, levels) -> None:
    quantizer = make(bits=bits, signed=signed, scheme="log")
    assert quantizer.codebook().tolist() == levels
    assert quantizer.bits == bits


def test_log_levels_reach_out_to_what_is_smaller() -> None:
    x = torch.tensor([-0.01, -0.0, 0.0, 0.01])
    assert make(bits=2, scheme="log")(x).tolist() == [-0.5, 0.5, 0.5, 0.5]
    # Unsigned, 2^-2.5 = 0.1768 rounds to 2^-2 or, in vain, to 2^-3.
    x = torch.tensor([-1, 0, 0.17, 0.18])
    assert make(bits=2, signed=False, scheme="log")(x).tolist() == [0, 0, 0, 0.25]


def test_log_agrees_with_rounding_the_logarithm() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(10000, generator=generator, dtype=torch.float64).clamp(-1, 1)
    power = torch.round(torch.log2(x.abs())).clamp(min=-7)
    expected = (x.sign() * 2**power).float()
    result = make(bits=4, scheme="log")(x.float())
    near = (torch.log2(x.abs()) % 1 - 0.5).abs() < 1e-6
    assert torch.equal(result[~near], expected[~near])


def test_latent_is_cut_at_the_start_and_after_each_step() -> None:
    quantizer = make("weight", (7, 1))
    cut = X.clamp(-1, 1)
    assert torch.equal(quantizer.right_inverse(X), cut)
    latent = X.clone()
    quantizer.after_step(latent)
    assert torch.equal(latent, cut)


def test_few_bits_do_not_round_the_start_to_zero() -> None:
    """A network's own start of 0.05 lies below the half of every step."""
    weight = torch.tensor([[0.05, -0.02, 0.01], [-0.03, 0.04, 0]])
    spread = make("weight", (2, 3), bits=2)
    latent = spread.right_inverse(weight)
    assert close(latent, 20 * weight)
    assert spread(latent).tolist() == [[0.5, -0.5, 0], [-0.5, 0.5, 0]]
    given = make("weight", (2, 3), bits=2, initial_weights="given")
    assert torch.equal(given.right_inverse(weight), weight)
    assert not given(weight).any()


@pytest.mark.parametrize(
    ("bits", "pretrained", "followed_by", "spreads"),
    [
        (1, False, "BatchNorm2d", False),
        (2, False, "ReLU", True),
        (8, True, "BatchNorm2d", True),
        (8, True, "ReLU", False),
    ],
)
def test_spread_is_for_bits_and_for_scales_that_are_free(
    bits: int, pretrained: bool, followed_by: str, spreads: bool
) -> None:
    info = qcli.TensorInfo(
        "weight", (2, 3), 0, "layer", followed_by=followed_by, pretrained=pretrained
    )
    weight = torch.tensor([[0.25, -0.5, 0], [0.125, 0, 0]])
    expected = 2 * weight if spreads else weight
    assert torch.equal(QNN(info, bits=bits).right_inverse(weight), expected)


def test_gradient_of_every_latent_that_is_cut_passes() -> None:
    quantizer = make("weight", (7, 1))
    assert torch.equal(gradient_of(quantizer, quantizer.encode(X), G), G)


def test_stochastic_signs_have_their_chances() -> None:
    """P(1) = clip((w + 1) / 2, 0, 1)."""
    latent = torch.tensor([-1.5, -1, -0.5, 0, 0.5, 1, 1.5]).unsqueeze(1).expand(7, 20000)
    quantizer = make("weight", (7, 20000), stochastic=True).train()
    quantizer.on_progress(MIDDLE)
    signs = quantizer(latent)
    assert signs.unique().tolist() == [-1, 1]
    shares = (signs == 1).float().mean(1)
    assert torch.allclose(shares, torch.tensor([0, 0, 0.25, 0.5, 0.75, 1, 1]), atol=0.02)
    assert shares[[0, 1, 5, 6]].tolist() == [0, 0, 1, 1]


def test_stochastic_signs_belong_to_the_step_the_seed_and_the_layer() -> None:
    def draw(progress: qcli.Progress, layer: str = "layer") -> Tensor:
        info = qcli.TensorInfo("weight", (4, 50), 0, layer)
        quantizer = QNN(info, stochastic=True).train()
        quantizer.on_progress(progress)
        return quantizer(torch.zeros(4, 50))

    first = draw(MIDDLE)
    assert torch.equal(first, draw(MIDDLE))
    others = [
        draw(replace(MIDDLE, step=51)),
        draw(replace(MIDDLE, seed=4)),
        draw(MIDDLE, "other"),
    ]
    assert all(not torch.equal(first, other) for other in others)


def test_evaluation_is_never_stochastic() -> None:
    quantizer = make("weight", (7, 1), stochastic=True).eval()
    quantizer.on_progress(MIDDLE)
    assert quantizer(X).tolist() == [-1, -1, -1, 1, 1, 1, 1]


@pytest.mark.parametrize(
    ("shape", "fans"),
    [((8, 4), 12), ((8, 4, 3, 3), 12 * 9), ((6, 1, 3, 3), 7 * 9)],
)
def test_glorot_scales_the_learning_rate(shape: tuple[int, ...], fans: int) -> None:
    defaults = make("weight", shape, lr_scale="glorot").parameter_defaults["latent"]
    assert defaults.lr_factor == pytest.approx(1 / math.sqrt(1.5 / fans))
    assert defaults.weight_decay == 0


def test_weights_neither_decay_nor_are_scaled_by_default() -> None:
    for quantizer in (make("weight", (8, 4)), make(lr_scale="glorot")):
        assert quantizer.parameter_defaults["latent"] == qcli.ParameterDefaults(0.0, 1.0)


def test_32_bits_are_float_and_can_keep_hardtanh() -> None:
    for quantizer in (make("weight", (7, 1), bits=32, keep_nonlinearity=True), make(bits=32)):
        assert torch.equal(quantizer(X), X)
        assert torch.equal(quantizer.right_inverse(X), X)
        assert quantizer.bits == 32
    kept = make(bits=32, keep_nonlinearity=True)
    assert torch.equal(kept(X), nn.functional.hardtanh(X))
    assert close(gradient_of(kept, X, G), [0, 0.2, 0.3, 0.4, 0.5, 0.6, 0])
    unsigned = make(bits=32, keep_nonlinearity=True, signed=False)
    assert torch.equal(unsigned(X), X.clamp(0, 1))
    latent = X.clone()
    make("weight", (7, 1), bits=32).after_step(latent)
    assert torch.equal(latent, X)


@pytest.mark.parametrize(
    ("role", "options", "hint"),
    [
        ("weight", {"signed": False}, 'leave "signed" out'),
        ("input", {"stochastic": True}, 'leave "stochastic" out'),
        ("weight", {"stochastic": True, "bits": 2}, 'leave "stochastic" out'),
        ("input", {"scheme": "log", "bits": 8}, "set 6"),
        ("input", {"scheme": "log", "bits": 7, "signed": False}, "set 6"),
    ],
)
def test_what_cannot_be_is_refused(role: str, options, hint: str) -> None:
    with pytest.raises(ValueError, match=hint):
        make(role, (7, 1), **options)


@pytest.mark.parametrize("role", ["input", "output"])
@pytest.mark.parametrize("scheme", ["linear", "log"])
def test_the_sign_of_a_relu_is_refused(role: str, scheme: str) -> None:
    info = qcli.TensorInfo(role, (7,), 1, "layer", nonnegative=True)
    with pytest.raises(ValueError, match='"activation": "hardtanh"'):
        QNN(info, scheme=scheme)
    for options in ({"signed": False}, {"bits": 2}, {"bits": 32}):
        assert QNN(info, scheme=scheme, **options).info is info


def test_plan_names_the_layer_whose_sign_is_constant() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3))
    signs = {"input": {"quantizer": "qnn"}}
    recipe = {"name": "signs", "default": signs, "last_layer": signs}
    with pytest.raises(qcli.PlanError, match=r"layer 2, input: qnn: the sign of what comes from"):
        qcli.make_plan(network, recipe, (3, 8, 8))


@pytest.mark.parametrize("bits", [*range(1, 9), 32])
def test_every_width_obeys(bits: int) -> None:
    check_quantizer(ENTRY, {"bits": bits})
    check_quantizer(DATA, {"bits": bits, "signed": False})


@pytest.mark.parametrize("bits", [*range(1, 7), 32])
def test_every_width_of_log_obeys(bits: int) -> None:
    check_quantizer(ENTRY, {"bits": bits, "scheme": "log"})
    check_quantizer(DATA, {"bits": bits, "scheme": "log", "signed": False})


def test_every_option_obeys() -> None:
    check_quantizer(ENTRY, {"bits": 7, "scheme": "log"})
    check_quantizer(WEIGHTS, {"stochastic": True})
    check_quantizer(WEIGHTS, {"lr_scale": "glorot"})
    check_quantizer(WEIGHTS, {"initial_weights": "spread"})
    check_quantizer(WEIGHTS, {"initial_weights": "given", "bits": 4})
    for signed in (True, False):
        check_quantizer(DATA, {"bits": 32, "keep_nonlinearity": True, "signed": signed})


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"bits": 4}, {"bits": 4, "scheme": "log"}], ids=str)
def test_compiles(options) -> None:
    check_quantizer(ENTRY, options, compiled=True)


@pytest.mark.slow
def test_stochastic_signs_compile() -> None:
    check_quantizer(WEIGHTS, {"stochastic": True}, compiled=True)
