"""Categorical search against hand-computed vectors, and its gradient against float64 autograd."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

import qcli
from qcli_categorical.search import CategoricalSearch, fit_scale

V = [-1.0, -0.5, 0.5, 1.0]
A = torch.tensor([0.1, 0.4, -0.2, 0.3]).reshape(4, 1)
UNSORTED = [-0.25, -0.5, -1.0, -2.0, 2.0, 1.0, 0.5, 0.25]
SHAPE = (4, 3, 3, 3)
MODES = ["hard", "soft", "gumbel"]


def make(shape: tuple[int, ...] = SHAPE, layer: str = "layer", **options) -> CategoricalSearch:
    return CategoricalSearch(qcli.TensorInfo("weight", shape, 0, layer), **options)


def at(step: int, seed: int = 0) -> qcli.Progress:
    return qcli.Progress(step, total_steps=100, epoch=step // 10, total_epochs=10, seed=seed)


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def close(actual: Tensor, expected) -> bool:
    return torch.allclose(actual, torch.as_tensor(expected, dtype=torch.float32), rtol=0, atol=1e-5)


def soft_weight(logits: Tensor, values: Tensor, temperature: float) -> Tensor:
    chances = torch.softmax(logits / temperature, 0)
    return (chances * values.reshape(-1, *[1] * (logits.dim() - 1))).sum(0)


@pytest.mark.parametrize(
    ("temperature", "weight", "by_logits"),
    [
        (1.0, -0.0192755, [-0.227437, -0.150487, 0.089212, 0.288711]),
        (0.5, -0.0297833, [-0.39904, -0.352389, 0.119583, 0.631846]),
        (0.1, -0.1272181, None),
    ],
)
@pytest.mark.parametrize("sampling", MODES)
def test_vectors(sampling: str, temperature: float, weight: float, by_logits) -> None:
    quantizer = make((1,), value_space=V, sampling=sampling, temperature=temperature)
    latent = A.clone().requires_grad_()
    result = quantizer(latent)
    result.backward(torch.ones(1))
    assert close(result.detach(), [weight if sampling == "soft" else -0.5])
    assert latent.grad is not None
    if by_logits:
        assert close(latent.grad.flatten(), by_logits)
    assert quantizer.eval()(latent).tolist() == [-0.5]
    assert quantizer.codes(A).tolist() == [1]


@pytest.mark.parametrize("levels", [2, 3, 5, 16, 256])
@pytest.mark.parametrize("sampling", MODES)
@pytest.mark.parametrize("temperature", [1.0, 0.1])
def test_gradient_is_that_of_the_soft_form(sampling: str, levels: int, temperature: float) -> None:
    space = {"linspace": [-1, 1, levels]}
    quantizer = make(value_space=space, sampling=sampling, temperature=temperature)
    quantizer.on_progress(at(3))
    latent = normal(levels, *SHAPE).requires_grad_()
    gradient = normal(*SHAPE)
    quantizer(latent).backward(gradient)
    reference = latent.detach().double().requires_grad_()
    scores = reference + quantizer.noise.double() if sampling == "gumbel" else reference
    divisor = quantizer.temperature.double().item()
    soft_weight(scores, quantizer.values.double(), divisor).backward(gradient.double())
    assert latent.grad is not None
    assert reference.grad is not None
    torch.testing.assert_close(latent.grad.double(), reference.grad, rtol=1e-4, atol=1e-5)


def test_soft_form_passes_gradcheck() -> None:
    """The reference of the test above is itself the derivative, by finite differences."""
    values = torch.tensor(V, dtype=torch.float64)
    latent = normal(4, 2, 3).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda logits: soft_weight(logits, values, 0.7), (latent,))


def test_soft_mode_emits_the_expected_value() -> None:
    quantizer = make(value_space=V, sampling="soft", temperature=0.3)
    latent = normal(4, *SHAPE)
    assert close(quantizer(latent), soft_weight(latent, torch.tensor(V), 0.3))


@pytest.mark.parametrize("levels", [2, 3, 7, 256])
def test_hard_mode_emits_the_likeliest_value(levels: int) -> None:
    quantizer = make(value_space={"linspace": [-1, 1, levels]})
    latent = normal(levels, *SHAPE)
    assert torch.equal(quantizer(latent), quantizer.values[latent.argmax(0)])
    assert quantizer.bits == max(1, math.ceil(math.log2(levels)))


def test_unsorted_space_keeps_its_order() -> None:
    quantizer = make((8,), value_space=UNSORTED)
    one_each = torch.eye(8)
    assert quantizer.codebook().tolist() == UNSORTED
    assert quantizer.codes(one_each).tolist() == list(range(8))
    assert quantizer(one_each).tolist() == UNSORTED
    grid = quantizer.grid()
    assert grid is not None
    assert grid.integers.tolist() == [-1, -2, -4, -8, 8, 4, 2, 1]


@pytest.mark.parametrize("training", [True, False])
def test_ties_pick_the_lowest_index(training: bool) -> None:
    quantizer = make((3,), value_space=UNSORTED).train(training)
    logits = torch.zeros(8, 3)
    logits[[2, 5], 1] = 1
    logits[[6, 7], 2] = 1
    assert quantizer.codes(logits).tolist() == [0, 2, 6]
    assert quantizer(logits).tolist() == [-0.25, -1.0, 0.5]


@pytest.mark.parametrize("sampling", MODES)
@pytest.mark.parametrize("scale", ["none", "tensor", "channel"])
def test_nothing_of_the_size_of_the_logits_is_saved_but_themselves(
    sampling: str, scale: str
) -> None:
    quantizer = make(value_space=V, sampling=sampling, scale=scale)
    latent = nn.Parameter(normal(4, *SHAPE))
    saved: list[Tensor] = []

    def pack(tensor: Tensor) -> Tensor:
        saved.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        quantizer(latent).sum().backward()
    large = {tensor.untyped_storage().data_ptr() for tensor in saved if tensor.numel() > 4 * 27}
    allowed = {latent.untyped_storage().data_ptr()}
    if sampling == "gumbel":
        allowed.add(quantizer.noise.untyped_storage().data_ptr())
    assert large == allowed


@pytest.mark.parametrize("space", [V, UNSORTED, [-1, 1], {"integers": [-8, 7]}])
def test_pretrained_logits_prefer_the_nearest_value(space) -> None:
    quantizer = make(value_space=space, initial_logits="pretrained", confidence=3)
    weight = normal(*SHAPE) * 0.1
    latent = quantizer.right_inverse(weight)
    factor = fit_scale(weight, quantizer.values)
    distances = (weight / factor - quantizer.values.reshape(-1, 1, 1, 1, 1)).square()
    assert torch.equal(quantizer(latent), quantizer.values[distances.argmin(0)])
    torch.testing.assert_close(latent, -3 * distances)


@pytest.mark.parametrize(("pretrained", "spread"), [(False, 1e-5), (True, 0.1)])
def test_auto_starts_from_pretrained_weights_where_there_are_some(
    pretrained: bool, spread: float
) -> None:
    info = qcli.TensorInfo("weight", SHAPE, 0, "layer", pretrained=pretrained)
    latent = CategoricalSearch(info, value_space=V).right_inverse(normal(*SHAPE))
    assert (float(latent.std()) > spread) == pretrained


def test_uniform_logits_are_nearly_equal_chances() -> None:
    latent = make(value_space=V, initial_logits="uniform").right_inverse(normal(*SHAPE))
    assert float((latent + math.log(4)).abs().max()) <= 0.5e-5 + 1e-6
    assert len(latent.unique()) > 10


@pytest.mark.parametrize(("axis", "fan_out"), [(0, 64 * 9), (1, 32 * 9)])
def test_normal_logits_have_the_variance_of_he(axis: int, fan_out: int) -> None:
    """fan_out is the output channels times the kernel, on either axis."""
    info = qcli.TensorInfo("weight", (64, 32, 3, 3), axis, "layer")
    torch.manual_seed(0)
    quantizer = CategoricalSearch(info, value_space=V, initial_logits="normal")
    latent = quantizer.right_inverse(torch.zeros(64, 32, 3, 3))
    assert float(latent.var()) == pytest.approx(2 / fan_out, rel=0.05)


def test_one_temperature_follows_its_schedule_in_a_buffer() -> None:
    quantizer = make()
    assert dict(quantizer.named_buffers())["temperature"].shape == ()
    for epoch in (0, 1, 5, 9):
        quantizer.on_progress(at(10 * epoch))
        assert float(quantizer.temperature) == pytest.approx(0.97**epoch)


def test_temperature_never_falls_below_its_end() -> None:
    quantizer = make()
    quantizer.on_progress(qcli.Progress(9990, total_steps=10000, epoch=999, total_epochs=1000))
    assert float(quantizer.temperature) == pytest.approx(1e-5)


def noise_of(layer: str, step: int, seed: int) -> Tensor:
    quantizer = make(layer=layer, value_space=V, sampling="gumbel")
    quantizer.on_progress(at(step, seed))
    return quantizer.noise.clone()


def test_equal_seed_step_and_layer_draw_equal_noise() -> None:
    first = noise_of("conv1", 3, 7)
    torch.rand(5)
    assert torch.equal(first, noise_of("conv1", 3, 7))


@pytest.mark.parametrize(
    ("layer", "step", "seed"), [("conv2", 3, 7), ("conv1", 4, 7), ("conv1", 3, 8)]
)
def test_another_seed_step_or_layer_draws_other_noise(layer: str, step: int, seed: int) -> None:
    assert not torch.equal(noise_of("conv1", 3, 7), noise_of(layer, step, seed))


def test_noise_is_gumbel() -> None:
    quantizer = make((64, 64, 3, 3), sampling="gumbel")
    quantizer.on_progress(at(0))
    assert float(quantizer.noise.mean()) == pytest.approx(0.5772, abs=0.02)
    assert float(quantizer.noise.var()) == pytest.approx(math.pi**2 / 6, rel=0.03)


def test_noise_leaves_the_global_generator_alone() -> None:
    quantizer = make(sampling="gumbel")
    before = torch.get_rng_state()
    quantizer.on_progress(at(0))
    assert torch.equal(before, torch.get_rng_state())


def test_gumbel_draws_values_by_their_chances() -> None:
    quantizer = make((20000,), value_space=V, sampling="gumbel")
    quantizer.on_progress(at(0))
    drawn = quantizer(A.expand(4, 20000))
    shares = [float((drawn == value).float().mean()) for value in V]
    assert shares == pytest.approx([0.231907, 0.313041, 0.171801, 0.283251], abs=0.015)


def test_randomness_zero_is_hard_sampling() -> None:
    latent = normal(2, *SHAPE).requires_grad_()
    found = []
    for options in ({"sampling": "gumbel", "randomness": 0}, {"sampling": "hard"}):
        quantizer = make(**options)
        quantizer.on_progress(at(3))
        result = quantizer(latent)
        (gradient,) = torch.autograd.grad(result, latent, normal(*SHAPE))
        found.append((result.detach(), gradient))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])


def test_evaluation_has_no_noise() -> None:
    quantizer = make(sampling="gumbel").eval()
    quantizer.on_progress(at(3))
    latent = normal(2, *SHAPE)
    assert torch.equal(quantizer(latent), quantizer.values[latent.argmax(0)])


@pytest.mark.parametrize("factor", [1e-3, 0.3, 40.0])
def test_fit_scale_finds_the_factor_of_a_scaled_space(factor: float) -> None:
    values = torch.tensor(UNSORTED)
    weight = values[torch.randint(8, (500,), generator=torch.Generator().manual_seed(0))] * factor
    assert float(fit_scale(weight, values)) == pytest.approx(factor, rel=1e-5)


def test_fit_scale_of_a_sign_is_the_mean_magnitude() -> None:
    weight = normal(100)
    assert close(fit_scale(weight, torch.tensor([-1.0, 1.0])), weight.abs().mean())


def test_fit_scale_cannot_be_bettered_nearby() -> None:
    weight, values = normal(1000), torch.tensor(V)

    def error(scale: float) -> float:
        return float((weight.unsqueeze(1) - scale * values).square().amin(1).sum())

    best = float(fit_scale(weight, values, rounds=100))
    assert error(best) <= min(error(best * 0.99), error(best * 1.01))


@pytest.mark.parametrize("weight", [torch.zeros(4), -torch.ones(4)])
def test_fit_scale_is_one_where_nothing_fits(weight: Tensor) -> None:
    assert float(fit_scale(weight, torch.tensor([0.0, 1.0]))) == 1


@pytest.mark.parametrize(("scale", "axis"), [("tensor", 0), ("channel", 0), ("channel", 1)])
def test_scale_is_fitted_trained_and_in_the_codebook(scale: str, axis: int) -> None:
    info = qcli.TensorInfo("weight", SHAPE, axis, "layer")
    quantizer = CategoricalSearch(info, value_space=V, scale=scale, initial_logits="pretrained")
    weight = normal(*SHAPE) * 0.1
    latent = quantizer.right_inverse(weight).requires_grad_()
    assert quantizer.scale is not None
    rows = weight.movedim(axis, 0).flatten(1) if scale == "channel" else [weight]
    fits = torch.stack([fit_scale(row, quantizer.values) for row in rows])
    assert torch.equal(quantizer.scale.detach().flatten(), fits)
    result = quantizer(latent)
    result.backward(normal(*SHAPE))
    chosen = quantizer.values[latent.argmax(0)]
    expected = (chosen * normal(*SHAPE)).sum_to_size(quantizer.scale.shape)
    assert quantizer.scale.grad is not None
    torch.testing.assert_close(quantizer.scale.grad, expected)
    assert torch.equal(quantizer.decode(quantizer.codes(latent)), result.detach())


def test_scale_stays_positive() -> None:
    quantizer = make(scale="tensor")
    assert quantizer.scale is not None
    with torch.no_grad():
        quantizer.scale.fill_(-1)
    quantizer.after_step(None)
    assert float(quantizer.scale.detach()) > 0


@pytest.mark.parametrize("space", [[1.0], [1.0, 1.0], {"integers": [0, 300]}])
def test_space_that_is_none_is_refused(space) -> None:
    with pytest.raises(ValueError, match="value"):
        make(value_space=space)
