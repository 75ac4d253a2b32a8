"""LQ-Nets against hand-computed levels and least squares; the basis moves once per step."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

import qcli
from qcli.testing import check_quantizer
from qcli_nonuniform import lq_nets
from qcli_nonuniform.basis import solve_basis, thin_out
from qcli_nonuniform.lq_nets import LQNets
from qcli_nonuniform.staircase import tally_levels

W = torch.tensor([[0.9, -0.4, 0.05, -0.2, 0.6, -1.2]])
W_CODES = torch.tensor([[1, 1], [1, -1], [-1, 1], [1, -1], [1, 1], [-1, -1]]).double()
X = torch.tensor([0.0, 0.1, 0.4, 0.5, 0.8, 1.1, 0.2])
X_CODES = torch.tensor([[0, 0], [0, 0], [1, 0], [0, 1], [1, 1], [1, 1], [1, 0]]).double()


def make(role: str, basis, *, shape=(1, 6), **options) -> LQNets:
    """Return a quantizer in train mode with a basis of its own."""
    options.setdefault("bits", torch.tensor(basis).shape[-1])
    quantizer = LQNets(qcli.TensorInfo(role, shape, 0 if role == "weight" else 1), **options)
    quantizer._set_basis(torch.tensor(basis).expand_as(quantizer.basis))
    return quantizer


def close(actual: Tensor, expected) -> bool:
    expected = torch.as_tensor(expected, dtype=actual.dtype)
    return actual.shape == expected.shape and torch.allclose(actual, expected, rtol=0, atol=1e-6)


def step(quantizer: LQNets, *batches: Tensor) -> Tensor:
    """Take one optimizer step over micro-batches; return the basis."""
    for batch in batches:
        quantizer(batch)
    quantizer.after_step(batches[-1] if quantizer.is_weight else None)
    return quantizer.basis


def test_levels_of_weights() -> None:
    quantizer = make("weight", [[0.2, 0.5]])
    assert close(quantizer.codebook(), [[-0.7, -0.3, 0.3, 0.7]])
    assert close(quantizer(W), [[0.7, -0.3, 0.3, -0.3, 0.7, -0.7]])
    assert quantizer.codes(W).tolist() == [[3, 1, 2, 1, 3, 0]]
    assert quantizer.bits == 2


def test_levels_of_inputs() -> None:
    quantizer = make("input", [0.3, 0.6], shape=(7,))
    assert close(quantizer.codebook(), [0, 0.3, 0.6, 0.9])
    assert close(quantizer(X), [0, 0, 0.3, 0.6, 0.9, 0.9, 0.3])
    thresholds = quantizer.eval().thresholds()
    assert thresholds is not None
    assert close(thresholds.tau.float(), [0.15, 0.45, 0.75])


@pytest.mark.parametrize("role", ["weight", "input"])
def test_boundaries_take_the_lower_level(role: str) -> None:
    """The authors' comparison is strict."""
    quantizer = make(role, [0.25, 0.5] if role == "input" else [[0.25, 0.5]], shape=(1, 3))
    x = (
        torch.tensor([[-0.5, 0.0, 0.5]])
        if role == "weight"
        else torch.tensor([0.125, 0.375, 0.625])
    )
    assert quantizer.codes(x).flatten().tolist() == [0, 1, 2]
    above = x.nextafter(torch.tensor(torch.inf))
    assert quantizer.codes(above).flatten().tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("role", "x", "rows", "basis", "gram", "moment", "fitted"),
    [
        ("weight", W, W_CODES, [0.2, 0.5], [[6, 0], [0, 6]], [2.05, 3.35], [0.341664, 0.558332]),
        ("input", X, X_CODES, [0.3, 0.6], [[4, 2], [2, 3]], [2.5, 2.4], [0.3375, 0.575]),
    ],
)
def test_fit_is_least_squares(role: str, x, rows, basis, gram, moment, fitted) -> None:
    """v* = (B'B)^-1 B'x; with the ridge, (B'B + r I)^-1 (B'x + r v)."""
    assert (rows.T @ rows).tolist() == gram
    assert torch.allclose(rows.T @ x.flatten().double(), torch.tensor(moment).double())
    quantizer = make(role, basis, shape=(1, 6) if role == "weight" else (7,))
    found = quantizer._fit(tally_levels(x, quantizer.levels, quantizer.row_shape)).flatten()
    old = torch.tensor(basis).double()
    ridged = rows.T @ rows + 1e-4 * torch.eye(2).double()
    assert torch.allclose(ridged @ found, rows.T @ x.flatten().double() + 1e-4 * old)
    assert torch.allclose(found, torch.tensor(fitted).double(), atol=1e-5)


def test_large_batches_are_fitted_as_in_float64() -> None:
    """Counts and sums are gathered in float32, from one boundary to the next."""
    x = torch.randn(1 << 20, generator=torch.Generator().manual_seed(0)).relu()
    quantizer = make("input", [0.3, 0.6], shape=(1 << 20,))
    codes = quantizer.codes(x)
    rows = torch.stack([codes & 1, codes >> 1], -1).double()
    gram = rows.T @ rows + 1e-4 * torch.eye(2).double()
    moment = rows.T @ x.double() + 1e-4 * quantizer.basis.double()
    found = quantizer._fit(tally_levels(x, quantizer.levels, quantizer.row_shape))
    assert torch.allclose(found, torch.linalg.solve(gram, moment), rtol=1e-6, atol=0)


def test_fit_without_ridge() -> None:
    ones = torch.ones(6).double()
    fitted = solve_basis(W_CODES, ones, W[0].double(), torch.zeros(2).double(), 0.0)
    assert close(fitted, [0.3416667, 0.5583333])
    assert float((W[0] - W_CODES @ torch.tensor([0.2, 0.5]).double()).square().sum()) == (
        pytest.approx(0.3825)
    )
    assert float((W[0] - W_CODES @ fitted).square().sum()) == pytest.approx(0.241667, abs=1e-6)


@pytest.mark.parametrize(
    ("role", "x", "basis", "moved"),
    [
        ("weight", W, [[0.2, 0.5]], [[0.2141664, 0.5058332]]),
        ("input", X, [0.3, 0.6], [0.30375, 0.5975]),
    ],
)
def test_basis_moves_a_tenth_of_the_way_after_the_step(role: str, x, basis, moved) -> None:
    quantizer = make(role, basis, shape=(1, 6) if role == "weight" else (7,))
    before = quantizer(x)
    assert torch.equal(quantizer(x), before)
    assert torch.allclose(step(quantizer, x), torch.tensor(moved), rtol=0, atol=1e-5)
    assert not quantizer.gathered.any()


def test_moving_average_of_zero_takes_the_fit() -> None:
    quantizer = make("input", [0.3, 0.6], shape=(7,), moving_average=0.0)
    assert torch.allclose(step(quantizer, X), torch.tensor([0.3375, 0.575]), atol=1e-5)


def test_gradient_of_weights_is_unchanged() -> None:
    latent = W.clone().requires_grad_()
    gradient = torch.arange(6.0).reshape(1, 6)
    make("weight", [[0.2, 0.5]])(latent).backward(gradient)
    assert latent.grad is not None
    assert torch.equal(latent.grad, gradient)


def test_gradient_of_inputs_stops_above_the_highest_level() -> None:
    quantizer = make("input", [0.25, 0.5], shape=(5,))
    x = torch.tensor([-1.0, 0.1, 0.75, 0.7500001, 2.0], requires_grad=True)
    quantizer(x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [1, 1, 1, 0, 0]


def test_input_gradient_vector() -> None:
    x = X.clone().requires_grad_()
    make("input", [0.3, 0.6], shape=(7,))(x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [1, 1, 1, 1, 1, 0, 1]


def test_one_bit_weights_are_the_mean_magnitude() -> None:
    """K = 1 is BWN: v* = mean|w| of the channel."""
    weight = torch.cat([W, 2 * W + 0.1])
    quantizer = make("weight", [0.3], shape=(2, 6), moving_average=0.0)
    moved = step(quantizer, weight)
    assert torch.allclose(moved, weight.abs().mean(1, keepdim=True), atol=1e-4)


@pytest.mark.parametrize("basis", [[0.5, 0.2], [-0.2, 0.5], [0.2, -0.5], [-0.5, -0.2]])
def test_levels_are_sorted_with_their_codes(basis: list[float]) -> None:
    """A basis that turned negative or crossed has the same levels, and fits the same ones."""
    straight, turned = make("weight", [[0.2, 0.5]]), make("weight", [basis])
    assert torch.equal(turned.codebook(), straight.codebook())
    step(straight, W)
    assert close(step(turned, W).abs().sort().values, straight.basis.tolist())
    assert torch.equal(turned.basis.sign()[0], torch.tensor(basis).sign())
    assert torch.equal(turned(W), straight(W))


def test_negative_basis_of_inputs_is_legal() -> None:
    quantizer = make("input", [-0.2, 0.5], shape=(7,)).eval()
    assert close(quantizer.codebook(), [-0.2, 0, 0.3, 0.5])
    assert torch.equal(quantizer.decode(quantizer.codes(X)), quantizer(X))


def test_accumulation_leaves_the_fit_of_weights_alone() -> None:
    """The ridge must not weigh less when the same weight passes four times."""
    once, often = make("weight", [[0.2, 0.5]], ridge=1.0), make("weight", [[0.2, 0.5]], ridge=1.0)
    assert torch.equal(step(once, W), step(often, W, W, W, W))


def test_micro_batches_of_inputs_count_as_one_batch() -> None:
    whole, parts = (make("input", [0.3, 0.6], shape=(7,), ridge=1.0) for _ in range(2))
    assert torch.equal(step(whole, X), step(parts, X[:3], X[3:]))


@pytest.mark.parametrize("role", ["weight", "input"])
def test_processes_share_inputs_and_agree_on_weights(role: str, monkeypatch) -> None:
    """Inputs: as one process with all batches; weights: as one process."""
    shape, basis = ((1, 6), [[0.2, 0.5]]) if role == "weight" else ((7,), [0.3, 0.6])
    here, there, alone = (make(role, basis, shape=shape, ridge=1.0) for _ in range(3))
    x, other = (W, W) if role == "weight" else (X, X.flip(0) * 1.5)
    there(other)
    step(alone, x, other)
    monkeypatch.setattr(lq_nets, "all_reduce_sum", lambda each: each + there.gathered)
    assert torch.equal(step(here, x), alone.basis)


@pytest.mark.parametrize("mode", ["eval", "no_grad"])
def test_nothing_is_gathered_without_training(mode: str) -> None:
    quantizer = make("input", [0.3, 0.6], shape=(7,)).train(mode != "eval")
    with torch.set_grad_enabled(mode != "no_grad"):
        quantizer(X)
    before = quantizer.basis.clone()
    quantizer.after_step(None)
    assert torch.equal(quantizer.basis, before)


def test_overflow_leaves_the_basis_alone() -> None:
    quantizer = make("input", [0.3, 0.6], shape=(7,))
    before = quantizer.basis.clone()
    assert torch.equal(step(quantizer, torch.full((7,), torch.inf)), before)


def test_empty_maps_leave_the_basis_alone() -> None:
    """B'B is 0: without a ridge it has no inverse."""
    quantizer = make("input", [0.3, 0.6], shape=(7,))
    assert close(step(quantizer, torch.zeros(7)), [0.3, 0.6])


def test_untrained_weights_start_from_the_std_of_he() -> None:
    info = qcli.TensorInfo("weight", (16, 8, 3, 3))
    quantizer = LQNets(info, bits=2)
    quantizer.observe(torch.randn(16, 8, 3, 3))
    assert close(quantizer.basis, [[0.0397453, 0.0794906]] * 16)
    transposed = LQNets(qcli.TensorInfo("weight", (8, 16, 3, 3), 1), bits=2)
    assert torch.equal(transposed.basis, quantizer.basis)


def test_inputs_start_from_rectified_normal_numbers() -> None:
    assert close(LQNets(qcli.TensorInfo("input", (7,), 1)).basis, [0.4496667, 0.8993333])


def test_trained_weights_are_fitted() -> None:
    """Four clusters a basis can name are found exactly, in each channel."""
    row = torch.tensor([-0.7, -0.3, 0.3, 0.7]).repeat(5)
    weight = torch.stack([row, 3 * row])
    info = qcli.TensorInfo("weight", (2, 20), pretrained=True)
    quantizer = LQNets(info, bits=2)
    quantizer.observe(weight)
    assert torch.allclose(quantizer(weight), weight, rtol=1e-3)


@pytest.mark.parametrize(("bits", "most"), [(1, 0.3634), (2, 0.1188), (3, 0.03744), (4, 0.01154)])
def test_fit_comes_near_the_best_even_levels(bits: int, most: float) -> None:
    """The best even levels for normal numbers have the error `most` (Max, 1960)."""
    weight = torch.randn(8, 4000, generator=torch.Generator().manual_seed(0))
    quantizer = LQNets(qcli.TensorInfo("weight", (8, 4000), pretrained=True), bits=bits)
    quantizer.observe(weight)
    assert float((quantizer(weight) - weight).square().mean()) < 1.2 * most


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_inputs_of_any_size_are_fitted(scale: float) -> None:
    x = scale * torch.randn(4, 1000, generator=torch.Generator().manual_seed(0)).relu()
    quantizer = LQNets(qcli.TensorInfo("input", (1000,), 1), bits=2)
    quantizer.observe(x)
    error = (quantizer(x) - x).square().mean() / x.square().mean()
    assert float(error) < 0.1


def test_later_batches_continue_the_fit() -> None:
    quantizer = LQNets(qcli.TensorInfo("input", (7,), 1))
    quantizer.observe(torch.zeros(7))
    assert close(quantizer.basis, [0.4496667, 0.8993333])
    quantizer.observe(X)
    fitted = quantizer.basis.clone()
    quantizer.observe(X)
    assert torch.allclose(quantizer.basis, fitted, atol=1e-4)


def test_large_batches_are_thinned_out_over_all_columns() -> None:
    x = torch.arange(1024).expand(1024, 1024)
    kept = thin_out(x)
    assert len(kept) <= 1 << 17
    assert len(kept.unique()) == 1024


ENTRY = qcli.load_catalog().quantizer("lq_nets")


@pytest.mark.parametrize(
    "options",
    [
        *({"bits": bits} for bits in (1, 2, 3, 4)),
        {"moving_average": 0},
        {"ridge": 1.0},
    ],
    ids=str,
)
def test_obeys(options) -> None:
    check_quantizer(ENTRY, options)


class Trained(LQNets):
    """Takes every weight as trained before."""

    def __init__(
        self,
        info: qcli.TensorInfo,
        *,
        bits: int = 2,
        moving_average: float = 0.9,
        ridge: float = 1e-4,
    ) -> None:
        known = replace(info, pretrained=True)
        super().__init__(known, bits=bits, moving_average=moving_average, ridge=ridge)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_trained_weights_obey(bits: int) -> None:
    weights = frozenset({"weight"})
    check_quantizer(replace(ENTRY, build=Trained, quantizes=weights), {"bits": bits})


@pytest.mark.slow
def test_compiles() -> None:
    check_quantizer(ENTRY, {"bits": 3}, compiled=True)
