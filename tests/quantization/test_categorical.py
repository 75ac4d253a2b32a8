"""Categorical search against hand-computed vectors, and its gradient against float64 autograd."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

import qcli
from qcli.testing import check_quantizer
from qcli_categorical.choice import expected_values
from qcli_categorical.fitting import fit_scale
from qcli_categorical.growth import open_values
from qcli_categorical.search import LEAD, CategoricalSearch

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


def gradient_of(quantizer: CategoricalSearch, latent: Tensor) -> Tensor:
    leaf = latent.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(quantizer(leaf), leaf, normal(*latent.shape[1:]))
    return gradient


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


@pytest.mark.parametrize("form", [soft_weight, expected_values])
def test_soft_form_passes_gradcheck(form) -> None:
    """The forward of soft sampling, and the reference of the test above, in float64."""
    values = torch.tensor(V, dtype=torch.float64)
    latent = normal(4, 2, 3).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda logits: form(logits, values, 0.7), (latent,))


def test_chances_of_the_vectors() -> None:
    one_each = torch.eye(4)
    chances = [expected_values(A, values, 1.0).item() for values in one_each]
    assert close(torch.tensor(chances), [0.231907, 0.313041, 0.171801, 0.283251])


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
    """fan_out is the output channels times the kernel times the values, on either axis."""
    info = qcli.TensorInfo("weight", (64, 32, 3, 3), axis, "layer")
    torch.manual_seed(0)
    quantizer = CategoricalSearch(info, value_space=V, initial_logits="normal")
    latent = quantizer.right_inverse(torch.zeros(64, 32, 3, 3))
    assert float(latent.var()) == pytest.approx(2 / (4 * fan_out), rel=0.05)


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


@pytest.mark.parametrize("followed_by", ["ReLU", "Conv2d"])
def test_layers_without_a_norm_need_a_scale(followed_by: str) -> None:
    info = qcli.TensorInfo("weight", SHAPE, 0, "layer", followed_by=followed_by)
    with pytest.raises(ValueError, match=f'no batch norm follows .*{followed_by}.*"scale"'):
        CategoricalSearch(info)
    assert CategoricalSearch(info, scale="tensor").scale is not None
    assert CategoricalSearch(info, scale="channel").scale is not None


@pytest.mark.parametrize("followed_by", [None, "BatchNorm1d", "BatchNorm2d", "GroupNorm"])
def test_layers_before_a_norm_or_the_end_need_none(followed_by: str | None) -> None:
    info = qcli.TensorInfo("weight", SHAPE, 0, "layer", followed_by=followed_by)
    assert CategoricalSearch(info).scale is None


@pytest.mark.parametrize("sampling", MODES)
@pytest.mark.parametrize("step", [49, 50, 99])
def test_final_choice_is_hard_and_trains_nothing(sampling: str, step: int) -> None:
    quantizer = make(value_space=V, sampling=sampling, hard_from_fraction=0.5)
    undecided = make(value_space=V, sampling=sampling)
    latent = normal(4, *SHAPE)
    for each in (quantizer, undecided):
        each.on_progress(at(step))
    before, after = undecided(latent), quantizer(latent)
    assert torch.equal(quantizer.eval()(latent), quantizer.values[latent.argmax(0)])
    quantizer.train()
    if step < 50:
        assert torch.equal(after, before)
        assert torch.equal(gradient_of(quantizer, latent), gradient_of(undecided, latent))
    else:
        assert torch.equal(after, quantizer.values[latent.argmax(0)])
        assert not gradient_of(quantizer, latent).any()


@pytest.mark.parametrize(("step", "settled"), [(49, False), (50, True)])
def test_final_choice_outlives_what_the_optimizer_still_adds(step: int, settled: bool) -> None:
    quantizer = make(value_space=V, sampling="soft", hard_from_fraction=0.5)
    latent = normal(4, *SHAPE)
    chosen = quantizer.codes(latent)
    quantizer.on_progress(at(step))
    for _ in range(30):
        quantizer.after_step(latent)
        latent -= 0.1 * normal(4, *SHAPE)
    assert torch.equal(quantizer.codes(latent), chosen) == settled
    quantizer.after_step(latent)
    assert bool((latent.amax(0) == LEAD).all()) == settled


def test_scale_of_a_final_choice_trains_on() -> None:
    quantizer = make(value_space=V, scale="tensor", sampling="soft", hard_from_fraction=0.0)
    quantizer.on_progress(at(0))
    quantizer(normal(4, *SHAPE)).sum().backward()
    assert quantizer.scale is not None
    assert quantizer.scale.grad is not None
    assert quantizer.scale.grad.any()


PO2 = [-1.0, -0.5, -0.25, -0.125, 0.125, 0.25, 0.5, 1.0]


@pytest.mark.parametrize(
    ("space", "order", "stages"),
    [
        (V, "spread", [[-1, 1], V]),
        (V, "magnitude", [[-1, 1], V]),
        (PO2, "magnitude", [[-1, 1], [-1, -0.5, 0.5, 1], PO2]),
        (PO2, "spread", [[-1, 1], [-1, -0.25, 0.25, 1], PO2]),
        (UNSORTED, "magnitude", [[-2, 2], [-1, -2, 2, 1], UNSORTED]),
        (range(-4, 4), "spread", [[-4, 3], [-4, -2, 1, 3], range(-4, 4)]),
        (range(-3, 4), "spread", [[-3, 3], [-3, -1, 1, 3], range(-3, 4)]),
        (range(-3, 4), "magnitude", [[-3, 3], [-3, -2, 2, 3], range(-3, 4)]),
        ([-1, 0, 1], "spread", [[-1, 1], [-1, 0, 1]]),
    ],
)
def test_open_values(space, order: str, stages) -> None:
    """Powers of two grow as DNN-weight-search's sign and factors, integers as its subtractions."""
    values = torch.tensor([float(value) for value in space])
    for bits, expected in enumerate(stages, 1):
        assert values[open_values(values, bits, order)].tolist() == list(expected)


@pytest.mark.parametrize("order", ["spread", "magnitude"])
@pytest.mark.parametrize("count", [2, 3, 5, 6, 16, 23, 256])
def test_open_values_are_nested_and_as_many_as_the_bits_say(order: str, count: int) -> None:
    values = torch.linspace(-1, 1, count)
    bits = (count - 1).bit_length()
    masks = [open_values(values, number, order) for number in range(1, bits + 1)]
    for number, (fewer, more) in enumerate(zip(masks, [*masks[1:], masks[-1]], strict=True), 1):
        assert 2 <= int(fewer.sum()) <= 2**number
        assert not (fewer & ~more).any()
    assert masks[-1].all()


GROWING = {"value_space": PO2, "growth_fractions": [0.3, 0.6], "growth_order": "magnitude"}


@pytest.mark.parametrize("sampling", MODES)
@pytest.mark.parametrize(("step", "bits"), [(0, 1), (29, 1), (30, 2), (59, 2), (60, 3), (99, 3)])
def test_values_that_are_not_open_are_out_of_reach(sampling: str, step: int, bits: int) -> None:
    quantizer = make(sampling=sampling, temperature=1, **GROWING)
    quantizer.on_progress(at(step))
    latent = normal(8, *SHAPE)
    allowed = open_values(torch.tensor(PO2), bits, "magnitude")
    result, gradient = quantizer(latent), gradient_of(quantizer, latent)
    assert gradient.isfinite().all()
    assert not gradient[~allowed].any()
    assert gradient[allowed].any()
    if sampling == "soft":
        open_logits = latent[allowed]
        assert close(result, soft_weight(open_logits, torch.tensor(PO2)[allowed], 1.0))
    else:
        assert set(result.unique().tolist()) == set(torch.tensor(PO2)[allowed].tolist())
    evaluated = quantizer.eval()(latent)
    best = latent.masked_fill(~allowed.reshape(-1, 1, 1, 1, 1), -math.inf).argmax(0)
    assert torch.equal(evaluated, torch.tensor(PO2)[best])
    assert torch.equal(quantizer.decode(quantizer.codes(latent)), evaluated)
    assert quantizer.codebook().tolist() == PO2


def test_open_bits_are_kept_with_the_state() -> None:
    quantizer, fresh = make(**GROWING), make(**GROWING)
    quantizer.on_progress(at(99))
    fresh.load_state_dict(quantizer.state_dict())
    latent = normal(8, *SHAPE)
    assert torch.equal(fresh.eval()(latent), quantizer.eval()(latent))


@pytest.mark.parametrize("fractions", [[0.5], [0.6, 0.3], [0.3, 0.3], [0.1, 0.2, 0.3]])
def test_growth_that_is_none_is_refused(fractions) -> None:
    with pytest.raises(ValueError, match="needs 2 ascending fractions"):
        make(value_space=PO2, growth_fractions=fractions)


ENTRY = qcli.load_catalog().quantizer("categorical")


@pytest.mark.parametrize("sampling", MODES)
@pytest.mark.parametrize("fraction", [0.0, 0.2, 0.9])
def test_laws_of_a_final_choice(sampling: str, fraction: float) -> None:
    options = {"value_space": V, "sampling": sampling, "hard_from_fraction": fraction}
    if fraction:
        check_quantizer(ENTRY, options)
    else:
        with pytest.raises(AssertionError, match="the gradient of the latent is 0 everywhere"):
            check_quantizer(ENTRY, options)


@pytest.mark.parametrize("sampling", MODES)
@pytest.mark.parametrize("order", ["spread", "magnitude"])
@pytest.mark.parametrize("scale", ["none", "channel"])
def test_laws_of_a_growing_space(sampling: str, order: str, scale: str) -> None:
    options = {**GROWING, "sampling": sampling, "growth_order": order, "scale": scale}
    check_quantizer(ENTRY, options)


@pytest.mark.slow
@pytest.mark.parametrize("sampling", MODES)
def test_growth_and_final_choice_compile_to_one_graph(sampling: str) -> None:
    options = {**GROWING, "sampling": sampling, "hard_from_fraction": 0.9}
    check_quantizer(ENTRY, options, compiled=True)
