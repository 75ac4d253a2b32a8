"""PACT and CG-PACT against hand-computed vectors of their equations."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import qcli
from qcli.quantization.roles import assign_roles
from qcli.testing import check_quantizer
from qcli_uniform.dorefa import DoReFa
from qcli_uniform.pact import CGPACT, PACT

CATALOG = qcli.load_catalog()
ENTRIES = {name: CATALOG.quantizer(name) for name in ("pact", "cg_pact")}
DATA = frozenset({"input", "output"})
X = torch.tensor([-0.3, 0.2, 0.4, 0.9, 1.5, 2.0])
G = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
W = torch.tensor([[0.9, -0.4, 0.05], [-0.2, 0.6, -1.2]])
CALIBRATED = [0, -0.1333333, 0.0666667, 0.0666667, 1, 1]


def make(kind: type[PACT] = PACT, role: str = "input", **options) -> PACT:
    shape = (6,) if role != "weight" else (2, 3)
    return kind(qcli.TensorInfo(role, shape, int(role != "weight"), "layer"), **options)


def run(quantizer: PACT, x: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the result, the gradient of x, and that of the clip."""
    latent = x.clone().requires_grad_()
    result = quantizer(latent)
    result.backward(gradient)
    assert latent.grad is not None
    assert quantizer.clip.grad is not None
    return result.detach(), latent.grad, quantizer.clip.grad


def close(actual: Tensor, expected) -> bool:
    return torch.allclose(actual, torch.as_tensor(expected, dtype=torch.float32), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("kind", "by_clip"), [(PACT, 1.1), (CGPACT, 1.12)])
def test_two_bit_vectors(kind: type[PACT], by_clip: float) -> None:
    result, by_input, clip_gradient = run(make(kind, bits=2, initial_clip=1.5), X, G)
    assert result.tolist() == [0, 0, 0.5, 1, 1.5, 1.5]
    assert close(by_input, [0, 0.2, 0.3, 0.4, 0, 0])
    assert close(clip_gradient, by_clip)


@pytest.mark.parametrize(
    ("gradient", "elements"), [("plain", [0, 0, 0, 0, 1, 1]), ("calibrated", CALIBRATED)]
)
def test_every_element_of_the_clip_gradient(gradient: str, elements: list[float]) -> None:
    for place, expected in enumerate(elements):
        quantizer = make(bits=2, initial_clip=1.5, gradient=gradient)
        assert close(run(quantizer, X, torch.eye(6)[place])[2], expected)


@pytest.mark.parametrize("gradient", ["plain", "calibrated"])
@pytest.mark.parametrize("bits", [2, 32])
def test_the_bounds_are_outside(gradient: str, bits: int) -> None:
    """At 0 the clip gets nothing, and at the clip it gets all; x gets nothing at either."""
    quantizer = make(bits=bits, initial_clip=1.5, gradient=gradient, keep_nonlinearity=True)
    edges = torch.tensor([-0.0, 0.0, 1.5])
    _, by_input, by_clip = run(quantizer, edges, torch.tensor([1.0, 10.0, 100.0]))
    assert by_input.tolist() == [0, 0, 0]
    assert float(by_clip) == 100


def test_ties_round_to_even() -> None:
    quantizer = make(bits=2, initial_clip=3.0)
    assert quantizer(torch.tensor([0.5, 1.5, 2.5])).tolist() == [0, 2, 2]


def test_no_negative_zero() -> None:
    for quantizer in (make(bits=2), make(bits=32, keep_nonlinearity=True)):
        assert not quantizer(torch.tensor([-0.0, -1.0])).signbit().any()


@pytest.mark.parametrize("bits", range(1, 9))
def test_codebook_is_the_multiples_of_the_step(bits: int) -> None:
    quantizer = make(bits=bits, initial_clip=0.7)
    top = 2**bits - 1
    step = quantizer.clip.detach() / top
    assert torch.equal(quantizer.codebook(), torch.arange(top + 1) * step)
    assert quantizer.bits == bits
    grid = quantizer.grid()
    assert grid is not None
    assert grid.integers.tolist() == list(range(top + 1))


def test_32_bits_are_float_and_can_keep_the_clip() -> None:
    plain = make(bits=32)
    assert torch.equal(plain(X), X)
    assert list(plain.parameters()) == []
    kept = make(bits=32, keep_nonlinearity=True, initial_clip=1.5)
    result, by_input, by_clip = run(kept, X, G)
    assert close(result, [0, 0.2, 0.4, 0.9, 1.5, 1.5])
    assert close(by_input, [0, 0.2, 0.3, 0.4, 0, 0])
    assert close(by_clip, 1.1)
    for quantizer in (plain, kept):
        assert quantizer.bits == 32
        assert quantizer.grid() is None
        assert quantizer.thresholds() is None


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_weights_are_those_of_dorefa(bits: int) -> None:
    info = qcli.TensorInfo("weight", (2, 3), 0, "layer")
    own, other = PACT(info, bits=bits), DoReFa(info, bits=bits)
    results = []
    for quantizer in (own, other):
        latent = quantizer.right_inverse(W).clone().requires_grad_()
        result = quantizer(latent)
        result.backward(G.reshape(2, 3))
        results.append((result, latent.grad))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])
    assert torch.equal(own.codebook(), other.codebook())
    assert list(own.parameters()) == []


@pytest.mark.parametrize("keep", [False, True])
def test_weights_of_32_bits_are_float(keep: bool) -> None:
    quantizer = make(role="weight", bits=32, keep_nonlinearity=keep)
    assert torch.equal(quantizer(W), W)
    assert quantizer.bits == 32


def test_two_bit_weight_vectors() -> None:
    third = 1 / 3
    assert close(make(role="weight", bits=2)(W), [[1, -third, third], [-third, third, -1]])


def test_clip_stays_positive() -> None:
    quantizer = make()
    with torch.no_grad():
        quantizer.clip.neg_()
    quantizer.after_step(None)
    assert float(quantizer.clip.detach()) == torch.finfo(torch.float32).eps


def test_clip_starts_at_ten_and_decays_with_the_weights(catalog, make_recipe) -> None:
    network = nn.Sequential(nn.Linear(4, 3))
    recipe = make_recipe(default={"input": {"quantizer": "pact"}})
    qcli.quantize(network, qcli.make_plan(network, recipe, (4,), catalog=catalog))
    (clip,) = [each for each in assign_roles(network) if each.name.endswith("clip")]
    assert clip.role == "quantizer"
    assert clip.defaults.weight_decay is None
    assert float(clip.parameter.detach()) == 10


@pytest.mark.parametrize("name", ENTRIES)
@pytest.mark.parametrize("bits", [*range(1, 9), 32])
def test_every_width_obeys(name: str, bits: int) -> None:
    check_quantizer(ENTRIES[name], {"bits": bits})


@pytest.mark.parametrize("name", ENTRIES)
@pytest.mark.parametrize(
    "options",
    [
        {"gradient": "plain"},
        {"gradient": "calibrated", "bits": 2},
        {"initial_clip": 0.3},
        {"bits": 32, "keep_nonlinearity": True},
        {"bits": 3, "keep_nonlinearity": True},
    ],
    ids=str,
)
def test_every_option_obeys(name: str, options) -> None:
    check_quantizer(replace(ENTRIES[name], quantizes=DATA), options)


@pytest.mark.slow
@pytest.mark.parametrize("name", ENTRIES)
def test_compiles(name: str) -> None:
    check_quantizer(ENTRIES[name], {"bits": 2}, compiled=True)
