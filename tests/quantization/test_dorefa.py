"""DoReFa against hand-computed vectors of eq. 5-11."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

import qcli
from qcli.testing import check_quantizer
from qcli_uniform.dorefa import DoReFa
from qcli_uniform.gradient_rounding import draw_noise, round_gradient, salt_seed

W = torch.tensor([[0.9, -0.4, 0.05], [-0.2, 0.6, -1.2]])
G = torch.tensor([[0.1, -0.2, 0.3], [-0.4, 0.5, -0.6]])
X = torch.tensor([-0.3, 0.1, 0.5, 0.7, 1.2])
DETACHED = [[0.058408, -0.205274, 0.358963], [-0.461123, 0.426782, -0.21953]]


def make(role: str = "weight", shape: tuple[int, ...] = (2, 3), **options) -> DoReFa:
    return DoReFa(qcli.TensorInfo(role, shape, int(role != "weight"), "layer"), **options)


def gradient_of(quantizer: DoReFa, x: Tensor, gradient: Tensor) -> Tensor:
    latent = x.clone().requires_grad_()
    quantizer(latent).backward(gradient)
    assert latent.grad is not None
    return latent.grad


def close(actual: Tensor, expected) -> bool:
    return torch.allclose(actual, torch.as_tensor(expected, dtype=torch.float32), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("bits", "codes"),
    [
        (2, [[3, 1, 2], [1, 2, 0]]),
        (3, [[7, 2, 4], [3, 6, 0]]),
        (4, [[14, 4, 8], [6, 12, 0]]),
    ],
)
def test_weight_codes(bits: int, codes) -> None:
    quantizer = make(bits=bits)
    top = 2**bits - 1
    assert quantizer.codes(W).tolist() == codes
    assert close(quantizer(W), (2 * torch.tensor(codes) - top) / top)


def test_weight_values_of_two_bits() -> None:
    third = 1 / 3
    assert close(make(bits=2)(W), [[1, -third, third], [-third, third, -1]])


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_weight_gradients(bits: int) -> None:
    """The gradient does not depend on the width; through the maximum only [1, 2] changes."""
    assert close(gradient_of(make(bits=bits, gradient_through_max=False), W, G), DETACHED)
    through = [DETACHED[0], [*DETACHED[1][:2], 0.22387]]
    assert close(gradient_of(make(bits=bits), W, G), through)


def test_largest_weights_that_tie_share_the_gradient_as_autograd_does() -> None:
    weight = torch.tensor([[0.8, -0.8, 0.1], [0.3, 0.8, -0.2]])
    reference = weight.double().requires_grad_()
    bounded = torch.tanh(reference)
    (bounded / bounded.abs().amax()).backward(G.double())
    assert reference.grad is not None
    assert close(gradient_of(make(bits=2), weight, G), reference.grad.float())


def test_tiny_weights_have_a_finite_gradient() -> None:
    assert gradient_of(make(bits=2), W * 1e-30, G).isfinite().all()


def test_one_bit_is_the_sign_times_the_mean_magnitude() -> None:
    quantizer = make(bits=1)
    quantizer.observe(W)
    assert close(quantizer.magnitude, 0.5583333)
    assert torch.equal(quantizer(W), W.sign() * quantizer.magnitude)
    assert torch.equal(gradient_of(quantizer, W, G), G)


@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_sign_of_zero_is_positive(zero: float) -> None:
    quantizer = make(bits=1)
    assert quantizer(torch.tensor([zero])).tolist() == [1.0]
    assert quantizer.codes(torch.tensor([zero])).tolist() == [1]


def test_one_bit_follows_the_weight_after_each_step() -> None:
    quantizer = make(bits=1)
    quantizer.after_step(2 * W)
    assert close(quantizer.magnitude, 2 * 0.5583333)


@pytest.mark.parametrize(
    ("bits", "values"),
    [(1, [0, 0, 0, 1, 1]), (2, [0, 0, 2 / 3, 2 / 3, 1])],
)
def test_input_values(bits: int, values) -> None:
    assert close(make("input", (5,), bits=bits)(X), values)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_input_gradient_passes_inside_and_on_the_bounds(bits: int) -> None:
    quantizer = make("input", (5,), bits=bits)
    gradient = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5])
    assert close(gradient_of(quantizer, X, gradient), [0, 0.2, 0.3, 0.4, 0])
    bounds = torch.tensor([0.0, 1.0, -1e-7, 1 + 1e-6])
    assert gradient_of(quantizer, bounds, torch.ones(4)).tolist() == [1, 1, 0, 0]


def test_input_of_negative_zero_is_zero() -> None:
    assert not make("input", (1,), bits=2)(torch.tensor([-0.0])).signbit().any()


@pytest.mark.parametrize("bits", range(1, 9))
def test_codebooks(bits: int) -> None:
    top = 2**bits - 1
    step = torch.tensor(1 / top)
    assert torch.equal(make("input", (5,), bits=bits).codebook(), torch.arange(top + 1) * step)
    if bits > 1:
        weights = make(bits=bits)
        assert torch.equal(weights.codebook(), torch.arange(-top, top + 1, 2) * step)
        assert 0 not in weights.codebook()
        assert weights.bits == bits


def test_all_zero_weight_keeps_its_codes() -> None:
    quantizer = make(bits=2)
    zeros = torch.zeros(2, 3)
    assert torch.equal(quantizer.decode(quantizer.codes(zeros)), quantizer(zeros))
    assert gradient_of(quantizer, zeros, G).isfinite().all()


@pytest.mark.parametrize("role", ["weight", "input", "output"])
def test_thirty_two_bits_leave_everything_as_it_is(role: str) -> None:
    quantizer = make(role, bits=32)
    assert torch.equal(quantizer(W), W)
    assert torch.equal(gradient_of(quantizer, W, G), G)
    assert (quantizer.bits, quantizer.quantizes) == (32, False)
    assert quantizer.grid() is None
    assert quantizer.thresholds() is None


def test_kept_nonlinearity_clips_and_rounds_nothing() -> None:
    quantizer = make("input", (5,), bits=32, keep_nonlinearity=True)
    assert torch.equal(quantizer(X), torch.tensor([0, 0.1, 0.5, 0.7, 1]))
    gradient = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5])
    assert close(gradient_of(quantizer, X, gradient), [0, 0.2, 0.3, 0.4, 0])
    bounds = torch.tensor([0.0, 1.0, -1e-7, 1 + 1e-6])
    assert gradient_of(quantizer, bounds, torch.ones(4)).tolist() == [1, 1, 0, 0]
    assert not quantizer(torch.tensor([-0.0])).signbit().any()
    assert not quantizer.quantizes


def test_weights_have_no_nonlinearity_to_keep() -> None:
    assert torch.equal(make(bits=32, keep_nonlinearity=True)(W), W)


def test_inputs_are_rectified_on_purpose() -> None:
    assert DoReFa.rectifies


DR = torch.tensor([[0.02, -0.05, 0.04], [-0.3, 0.1, 0.06]])


def test_gradient_vectors() -> None:
    rounded = round_gradient(DR, torch.zeros(2, 3), bits=2)
    assert close(rounded, [[0.016667, -0.05, 0.05], [-0.3, 0.1, 0.1]])


def test_noise_moves_a_gradient_to_the_next_level() -> None:
    """Within a step of 2m/N = 0.1/3 of the first sample, half a step up or down at most."""
    up = round_gradient(DR, torch.full((2, 3), 0.4999), bits=2)
    down = round_gradient(DR, torch.full((2, 3), -0.4999), bits=2)
    assert close(up[0], [0.05, -0.05, 0.05])
    assert close(down[0], [0.016667, -0.05, 0.016667])


def test_samples_and_zeros_are_on_their_own() -> None:
    gradient = torch.stack([torch.zeros(2, 2), torch.tensor([[1.0, -1.0], [0.5, 0.0]])])
    rounded = round_gradient(gradient, torch.zeros(2, 2, 2), bits=8)
    assert not rounded[0].any()
    assert rounded[1, 0].tolist() == [1, -1]


def test_gradients_that_overflowed_stay_broken() -> None:
    gradient = torch.tensor([[1.0, torch.inf], [1.0, 2.0]])
    rounded = round_gradient(gradient, torch.zeros(2, 2), bits=4)
    assert not rounded[0].isfinite().all()
    assert rounded[1].isfinite().all()


def output(layer: str = "layer", **options) -> DoReFa:
    info = qcli.TensorInfo("output", (3,), 1, layer)
    return DoReFa(info, **{"bits": 32, "gradient_bits": 2, **options})


def at(step: int, seed: int = 1) -> qcli.Progress:
    return qcli.Progress(step, total_steps=100, epoch=0, total_epochs=10, seed=seed)


def test_output_passes_and_its_gradient_is_rounded() -> None:
    quantizer = output()
    quantizer.on_progress(at(3))
    assert torch.equal(quantizer(W), W)
    found = gradient_of(quantizer, W, DR)
    seed = salt_seed(quantizer.noise_seed, DR)
    assert torch.equal(found, round_gradient(DR, draw_noise(DR.shape, seed), 2))
    thirds = (found / (2 * DR.abs().amax(1, keepdim=True)) + 0.5) * 3
    assert close(thirds, thirds.round())


def test_micro_batches_of_a_step_draw_noise_of_their_own() -> None:
    """They have one seed; alike noise would not average out."""
    quantizer = output()
    quantizer.on_progress(at(3))
    ramp = torch.linspace(-1, 1, 300).reshape(1, 300)
    first, second = (gradient_of(quantizer, ramp, scale * ramp) / scale for scale in (1.0, 4.0))
    assert torch.equal(first, gradient_of(quantizer, ramp, ramp))
    assert (first != second).float().mean() > 0.1


def test_output_of_few_bits_is_quantized_too() -> None:
    quantizer = output(bits=2, gradient_bits=8)
    quantizer.on_progress(at(3))
    assert close(quantizer(X.unsqueeze(0)), [[0, 0, 2 / 3, 2 / 3, 1]])
    found = gradient_of(quantizer, X.unsqueeze(0), torch.ones(1, 5))
    assert close(found, [[0, 1, 1, 1, 0]]) is False
    assert torch.allclose(found, torch.tensor([[0, 1.0, 1, 1, 0]]), atol=2 / 255)


def noise_of(layer: str, step: int, seed: int, rank: int, monkeypatch) -> Tensor:
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: rank)
    quantizer = output(layer)
    quantizer.on_progress(at(step, seed))
    return draw_noise(torch.Size((100,)), quantizer.noise_seed)


def test_equal_seed_step_layer_and_process_draw_equal_noise(monkeypatch) -> None:
    first = noise_of("conv1", 3, 7, 0, monkeypatch)
    torch.rand(5)
    assert torch.equal(first, noise_of("conv1", 3, 7, 0, monkeypatch))


@pytest.mark.parametrize(
    ("layer", "step", "seed", "rank"),
    [("conv2", 3, 7, 0), ("conv1", 4, 7, 0), ("conv1", 3, 8, 0), ("conv1", 3, 7, 1)],
)
def test_anything_else_draws_other_noise(
    layer: str, step: int, seed: int, rank: int, monkeypatch
) -> None:
    first = noise_of("conv1", 3, 7, 0, monkeypatch)
    assert not torch.isclose(first, noise_of(layer, step, seed, rank, monkeypatch)).any()


def test_noise_is_uniform_and_independent() -> None:
    noise = [draw_noise(torch.Size((100, 1000)), torch.tensor(seed)) for seed in (0, 1, 2**31)]
    for each in noise:
        assert -0.5 <= float(each.min()) < float(each.max()) <= 0.5
        shares = torch.histc(each, 10, -0.5, 0.5) / each.numel()
        assert torch.allclose(shares, torch.full((10,), 0.1), atol=0.005)
        assert float(each.std()) == pytest.approx(12**-0.5, rel=0.01)
    flat = torch.stack([each.flatten() for each in [*noise, noise[0].roll(1, 1)]])
    assert torch.allclose(torch.corrcoef(flat), torch.eye(4), atol=0.02)


def test_noise_leaves_no_bias() -> None:
    gradient = torch.linspace(-1, 1, 21).repeat(1, 5000)
    noise = draw_noise(gradient.shape, torch.tensor(7))
    mean = round_gradient(gradient, noise, bits=2).reshape(5000, 21).mean(0)
    inner = slice(1, -1)
    assert torch.allclose(mean[inner], gradient[0, :21][inner], atol=0.02)


@pytest.mark.parametrize("role", ["weight", "input"])
def test_gradient_bits_elsewhere_are_refused(role: str) -> None:
    with pytest.raises(ValueError, match="output"):
        make(role, gradient_bits=6)


ENTRY = qcli.load_catalog().quantizer("dorefa")
ON_OUTPUTS = replace(ENTRY, quantizes=frozenset({"output"}))


@pytest.mark.parametrize("bits", [*range(1, 9), 32])
def test_laws(bits: int) -> None:
    check_quantizer(ENTRY, {"bits": bits})


@pytest.mark.parametrize("bits", [1, 2, 32])
@pytest.mark.parametrize("option", [{"gradient_through_max": False}, {"keep_nonlinearity": True}])
def test_laws_of_options(bits: int, option: dict[str, bool]) -> None:
    check_quantizer(ENTRY, {"bits": bits, **option})


@pytest.mark.parametrize(("bits", "gradient_bits"), [(2, 4), *((32, g) for g in range(1, 9))])
def test_laws_of_quantized_gradients(bits: int, gradient_bits: int) -> None:
    check_quantizer(ON_OUTPUTS, {"bits": bits, "gradient_bits": gradient_bits})


@pytest.mark.slow
def test_quantized_gradients_compile_to_one_graph() -> None:
    check_quantizer(ON_OUTPUTS, {"bits": 32, "gradient_bits": 6}, compiled=True)
