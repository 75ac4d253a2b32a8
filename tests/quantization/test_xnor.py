"""XNOR-Net and BWN against hand-computed vectors: three gradients, centering, the scale K."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import qcli
from qcli.testing import check_quantizer
from qcli_binary.filter_sign import binarize
from qcli_binary.input_scale import measure_windows
from qcli_binary.xnor import XNOR

ENTRY = qcli.load_catalog().quantizer("xnor")
WEIGHTS = replace(ENTRY, quantizes=frozenset({"weight"}))
INPUTS = replace(ENTRY, quantizes=frozenset({"input"}))
DATA = replace(ENTRY, quantizes=frozenset({"input", "output"}))
W = torch.tensor([[0.9, -0.4, 0.05], [-0.2, 0.6, -1.2]])
G = torch.tensor([[0.1, -0.2, 0.3], [-0.4, 0.5, -0.6]])
CENTERED = [[0.716667, -0.583333, -0.133333], [0.066667, 0.866667, -0.933333]]
# What a 2x2 convolution of two channels receives, and its weight (mean magnitude 0.75).
IMAGE = torch.tensor(
    [[[1, -2, 0.5], [0, 3, -1], [2, -0.5, 1]], [[-1, 1, -1.5], [2, -1, 0], [0.5, 0.5, -2]]]
).unsqueeze(0)
KERNEL = torch.tensor([[[0.5, -1], [0.25, 0.25]], [[-0.5, 0.5], [1, -2]]]).unsqueeze(0)
SIGNS = {"quantizer": "xnor", "center": False}
SCALED = {"quantizer": "xnor", "input_scale": True}


def make(role: str = "weight", shape: tuple[int, ...] = (2, 3), **options) -> XNOR:
    return XNOR(qcli.TensorInfo(role, shape, int(role != "weight"), "layer"), **options)


def make_weight(**options) -> XNOR:
    quantizer = make(center=False, **options)
    quantizer.observe(W)
    return quantizer


def gradient_of(quantizer: nn.Module, x: Tensor, gradient: Tensor) -> Tensor:
    latent = x.clone().requires_grad_()
    quantizer(latent).backward(gradient)
    assert latent.grad is not None
    return latent.grad


def close(actual: Tensor, expected) -> bool:
    expected = torch.as_tensor(expected, dtype=torch.float32)
    return actual.shape == expected.shape and torch.allclose(actual, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("asked", [True, False])
def test_scales_outputs_where_it_is_asked_to(asked: bool) -> None:
    assert make("input", (2, 3, 3), input_scale=asked).scales_output is asked


def test_weight_vectors() -> None:
    quantizer = make_weight()
    assert close(quantizer.magnitude.flatten(), [0.45, 0.6666667])
    a, b = 0.45, 0.6666667
    assert close(quantizer(W), [[a, -a, a], [-b, b, -b]])
    assert close(quantizer.codebook(), [[-a, a], [-b, b]])
    assert quantizer.codes(W).tolist() == [[1, 0, 1], [0, 1, 0]]
    assert quantizer.bits == 1


@pytest.mark.parametrize(
    ("gradient", "expected"),
    [
        ("paper", [[0.078333, -0.156667, 0.235], [-0.4, 0.5, -0.2]]),
        ("exact", [[0.245, -0.29, 0.335], [-0.766667, 0.833333, -0.5]]),
        ("ste", G.tolist()),
    ],
)
def test_gradient_vectors(gradient: str, expected) -> None:
    assert close(gradient_of(make_weight(gradient=gradient), W, G), expected)
    amplified = make_weight(gradient=gradient, gradient_factor="fan_in")
    assert close(gradient_of(amplified, W, G), 3 * torch.tensor(expected))


def test_exact_gradient_is_the_derivative_through_the_mean() -> None:
    """Where |w| > 1 the sign passes nothing: what is left is smooth."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(4, 3, 2, 2, generator=generator, dtype=torch.float64)
    weight = weight + 1.5 * weight.sign()
    assert bool((weight.abs() > 1).all())

    def emit(latent: Tensor) -> Tensor:
        return binarize(latent, latent.detach().abs().mean((1, 2, 3), keepdim=True), True)

    upstream = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
    found = gradient_of(emit, weight, upstream)
    smooth = weight.clone().requires_grad_()
    (smooth.abs().mean((1, 2, 3), keepdim=True) * weight.sign()).backward(upstream)
    assert torch.allclose(found.float(), smooth.grad.float(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("gradient", ["paper", "exact"])
def test_mask_includes_its_bounds(gradient: str) -> None:
    edges = torch.tensor([[1.0, -1.0, 1.001, -1.001]])
    quantizer = make(shape=(1, 4), center=False, gradient=gradient)
    quantizer.observe(edges)
    scale = float(quantizer.magnitude)
    upstream = torch.tensor([[1.0, 1.0, 1.0, 1.0]])
    # The signs add up to 0, so that nothing flows through the mean of the exact rule.
    through_mean = 0.25 if gradient == "paper" else 0
    expected = torch.tensor([[scale, scale, 0, 0]]) + through_mean
    assert close(gradient_of(quantizer, edges, upstream), expected)


def test_zero_is_positive() -> None:
    quantizer = make_weight()
    zeros = torch.tensor([[0.0, -0.0, -1e-30], [0.0, -0.0, 1.0]])
    assert (quantizer(zeros) > 0).tolist() == [[True, True, False], [True, True, True]]
    assert make("input", (3,))(torch.tensor([0.0, -0.0, -1e-30])).tolist() == [1, 1, -1]


@pytest.mark.parametrize("shape", [(2, 3, 1, 1), (2, 3)])
def test_centering_vectors(shape: tuple[int, ...]) -> None:
    quantizer = make(shape=shape)
    latent = quantizer.right_inverse(W.reshape(shape))
    assert close(latent.reshape(2, 3), CENTERED)
    assert close(quantizer.magnitude.flatten(), [0.477778, 0.622222])
    stepped = W.reshape(shape).clone()
    quantizer.after_step(stepped)
    assert torch.equal(stepped, latent)


def test_centering_takes_the_mean_of_each_kernel_position() -> None:
    weight = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(1)) * 0.1
    latent = make(shape=(4, 3, 3, 3)).encode(weight)
    assert torch.allclose(latent.mean(1), torch.zeros(4, 3, 3), atol=1e-7)
    transposed = XNOR(qcli.TensorInfo("weight", (4, 3, 3, 3), 1, "layer"))
    assert torch.allclose(transposed.encode(weight).mean(0), torch.zeros(3, 3, 3), atol=1e-7)


def test_depthwise_weight_is_cut_alone() -> None:
    weight = torch.tensor([0.5, -2.0]).reshape(2, 1, 1, 1)
    quantizer = make(shape=(2, 1, 1, 1))
    assert quantizer.right_inverse(weight).flatten().tolist() == [0.5, -1]
    assert quantizer.magnitude.flatten().tolist() == [0.5, 1]


def test_weight_that_is_not_centered_stays() -> None:
    latent = W.clone()
    quantizer = make(center=False)
    quantizer.after_step(latent)
    assert torch.equal(latent, W)
    assert close(quantizer.magnitude.flatten(), [0.45, 0.6666667])


def test_channels_of_transposed_convolutions_lie_on_their_axis() -> None:
    quantizer = XNOR(qcli.TensorInfo("weight", (2, 3), 1, "layer"), center=False)
    quantizer.observe(W)
    assert close(quantizer.magnitude, [[0.55, 0.5, 0.625]])
    expected = G * (1 / 2 + quantizer.magnitude * (W.abs() <= 1))
    assert close(gradient_of(quantizer, W, G), expected)


def test_input_signs_and_their_gradient() -> None:
    x = torch.tensor([-1.5, -1, -0.3, 0, 0.4, 1, 2])
    quantizer = make("input", (7,))
    assert quantizer(x).tolist() == [-1, -1, -1, 1, 1, 1, 1]
    assert gradient_of(quantizer, x, torch.ones(7)).tolist() == [0, 1, 1, 1, 1, 1, 0]


def test_inputs_of_more_bits() -> None:
    """q_k(x) = 2 (rne((2^k - 1) (x + 1) / 2) / (2^k - 1) - 1/2)."""
    x = torch.tensor([-1.5, -1, -0.4, 0, 0.3, 0.5, 1, 2])
    # (x + 1) / 2 * 3 = 0, 0, 0.9, 1.5, 1.95, 2.25, 3, 3; the tie 1.5 goes to 2.
    expected = [-1, -1, -1 / 3, 1 / 3, 1 / 3, 1 / 3, 1, 1]
    quantizer = make("input", (8,), bits=2)
    assert close(quantizer(x), expected)
    assert quantizer.codes(x).tolist() == [0, 0, 1, 2, 2, 2, 3, 3]
    assert gradient_of(quantizer, x, torch.ones(8)).tolist() == [0, 1, 1, 1, 1, 1, 1, 0]


@pytest.mark.parametrize("bits", range(1, 9))
def test_levels_of_inputs_are_odd(bits: int) -> None:
    quantizer = make("input", (3,), bits=bits)
    top = 2**bits - 1
    assert close(quantizer.codebook(), torch.arange(-top, top + 1, 2) / top)
    grid = quantizer.grid()
    assert grid is not None
    assert grid.integers.tolist() == list(range(-top, top + 1, 2))


def make_conv(kernel: Tensor = KERNEL, **options) -> nn.Conv2d:
    out_channels, channels, *size = kernel.shape
    channels *= options.get("groups", 1)
    layer = nn.Conv2d(channels, out_channels, size, **{"bias": False, **options})
    layer.weight.data.copy_(kernel)
    if layer.bias is not None:
        layer.bias.data.fill_(10)
    return layer


def quantize(layer: nn.Module, image: Tensor = IMAGE, data=SCALED) -> nn.Sequential:
    """Return a network of one layer, with binary weights and inputs."""
    network = nn.Sequential(layer)
    slots = {"weight": SIGNS, "input": data}
    recipe = {"name": "xnor", "default": slots, "first_layer": slots, "last_layer": slots}
    shape = tuple(image.shape[1:])
    return qcli.quantize(network, qcli.make_plan(network, recipe, shape))


def test_windows_of_inputs() -> None:
    """A = mean over channels of |I|; K = A convolved with the mean filter (eq. 11)."""
    assert close(IMAGE[0].abs().mean(0), [[1, 1.5, 1], [1, 2, 0.5], [1.25, 0.5, 1.5]])
    assert close(measure_windows(make_conv(), IMAGE), [[[[1.375, 1.25], [1.1875, 1.125]]]])


def test_output_is_scaled() -> None:
    plain = quantize(make_conv(), data={"quantizer": "xnor"})
    assert close(plain(IMAGE), [[[[6, -4.5], [-1.5, 4.5]]]])
    scaled = quantize(make_conv())
    assert close(scaled(IMAGE), [[[[8.25, -5.625], [-1.78125, 5.0625]]]])
    assert torch.equal(scaled.eval()(IMAGE), scaled.train()(IMAGE))


def test_bias_is_not_scaled() -> None:
    scaled = quantize(make_conv(bias=True))
    assert close(scaled(IMAGE), [[[[18.25, 4.375], [8.21875, 15.0625]]]])


def test_scale_is_constant_in_backward() -> None:
    image = IMAGE.clone().requires_grad_()
    quantize(make_conv())(image).sum().backward()
    windows = measure_windows(make_conv(), IMAGE)
    weight = 0.75 * torch.where(KERNEL >= 0, 1.0, -1.0)
    by_sign = nn.functional.conv_transpose2d(windows, weight)
    assert image.grad is not None
    assert close(image.grad, torch.where(IMAGE.abs() <= 1, by_sign, 0.0))


def test_padding_shrinks_the_scale_at_borders() -> None:
    layer = make_conv(torch.ones(1, 2, 3, 3), padding=1, stride=2)
    means = IMAGE.abs().mean(1)[0]
    windows = measure_windows(layer, IMAGE)
    assert windows.shape == (1, 1, 2, 2)
    assert windows[0, 0, 0, 0] == pytest.approx(float(means[:2, :2].sum() / 9))
    assert windows.shape == layer(IMAGE).shape


def test_dilation_spreads_the_window() -> None:
    layer = make_conv(dilation=2)
    corners = IMAGE.abs().mean(1)[0][::2, ::2]
    assert measure_windows(layer, IMAGE).item() == pytest.approx(float(corners.mean()))


def test_each_group_has_its_scale() -> None:
    layer = make_conv(torch.ones(4, 1, 1, 1), groups=2)
    windows = measure_windows(layer, IMAGE)
    assert torch.equal(windows, IMAGE.abs()[:, [0, 0, 1, 1]])


def test_convolutions_of_one_dimension() -> None:
    layer = nn.Conv1d(2, 3, 2)
    line = IMAGE[:, :, 0]
    means = line.abs().mean(1)[0]
    expected = (means[:-1] + means[1:]) / 2
    assert close(measure_windows(layer, line)[0], expected.expand(3, 2))


def test_linear_layers_scale_by_the_mean_of_a_sample() -> None:
    layer = nn.Linear(3, 2)
    layer.weight.data.copy_(W)
    layer.bias.data.fill_(10)
    x = torch.tensor([[1.0, -2.0, 3.0], [0.5, 0.5, -0.5]])
    binary = torch.tensor([[3 * 0.45, -3 * 0.6666667], [-0.45, 0.6666667]])
    expected = binary * torch.tensor([[2], [0.5]]) + 10
    assert close(quantize(layer, x)(x), expected)


def test_transposed_convolution_has_no_scale() -> None:
    network = quantize(nn.ConvTranspose2d(2, 3, 2))
    with pytest.raises(qcli.PlanError, match=r"layer 0, input: xnor: .* leave"):
        network(IMAGE)


def test_scale_leaves_nothing_behind() -> None:
    network = quantize(make_conv())
    fresh = list(network.state_dict())
    result = network(IMAGE)
    quantizer = network[0].input_quantizer
    assert quantizer.received is None
    assert list(network.state_dict()) == fresh
    assert torch.equal(copy.deepcopy(network)(IMAGE), result)


def test_scale_keeps_the_dtype() -> None:
    assert quantize(make_conv()).bfloat16()(IMAGE.bfloat16()).dtype == torch.bfloat16


def test_scale_ignores_autocast() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        windows = measure_windows(make_conv(), IMAGE * 1.001)
    assert windows.dtype == torch.float32
    assert torch.equal(windows, measure_windows(make_conv(), IMAGE * 1.001))


@pytest.mark.slow
def test_network_with_scale_compiles_to_one_graph() -> None:
    network = quantize(make_conv())
    expected = network(IMAGE)
    graphs = []

    def count(graph, inputs):
        graphs.append(graph)
        return graph.forward

    torch.compiler.reset()
    compiled = torch.compile(network, fullgraph=True, backend=count)
    for _ in range(3):
        assert torch.equal(compiled(IMAGE), expected)
    assert len(graphs) == 1


def test_weights_do_not_decay_by_default() -> None:
    assert make().parameter_defaults["latent"].weight_decay == 0


def test_32_bits_are_float() -> None:
    for quantizer in (make(bits=32), make("input", (3,), bits=32)):
        assert torch.equal(quantizer(W), W)
        assert torch.equal(quantizer.right_inverse(W), W)
        latent = W.clone()
        quantizer.after_step(latent if quantizer.is_weight else None)
        assert torch.equal(latent, W)
        assert quantizer.bits == 32


@pytest.mark.parametrize(
    ("role", "options", "hint"),
    [
        *(("weight", {"bits": bits}, "weights have 1 bit") for bits in (2, 8)),
        ("weight", {"input_scale": True}, "for inputs"),
        ("output", {"input_scale": True}, "for inputs"),
        ("input", {"input_scale": True, "bits": 2}, "of 1 bit"),
        ("input", {"input_scale": True, "bits": 32}, "of 1 bit"),
    ],
)
def test_what_cannot_be_is_refused(role: str, options, hint: str) -> None:
    with pytest.raises(ValueError, match=hint):
        make(role, **options)


@pytest.mark.parametrize("role", ["input", "output"])
def test_the_sign_of_a_relu_is_refused(role: str) -> None:
    info = qcli.TensorInfo(role, (7,), 1, "layer", nonnegative=True)
    with pytest.raises(ValueError, match='"block_order": "norm_first"'):
        XNOR(info)
    for bits in (2, 32):
        assert XNOR(info, bits=bits).info is info


@pytest.mark.parametrize("bits", [*range(1, 9), 32])
def test_every_width_of_data_obeys(bits: int) -> None:
    check_quantizer(DATA, {"bits": bits})


def test_widths_of_weights_obey() -> None:
    check_quantizer(WEIGHTS)
    check_quantizer(WEIGHTS, {"bits": 32})


@pytest.mark.parametrize("gradient", ["paper", "exact", "ste"])
@pytest.mark.parametrize("factor", ["none", "fan_in"])
@pytest.mark.parametrize("center", [True, False])
def test_every_option_of_weights_obeys(gradient: str, factor: str, center: bool) -> None:
    options = {"gradient": gradient, "gradient_factor": factor, "center": center}
    check_quantizer(WEIGHTS, options)


def test_scale_of_inputs_obeys() -> None:
    check_quantizer(INPUTS, {"input_scale": True})


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"gradient": "exact"}], ids=str)
def test_compiles(options) -> None:
    check_quantizer(ENTRY, options, compiled=True)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"bits": 4}, {"input_scale": True}], ids=str)
def test_inputs_compile(options) -> None:
    check_quantizer(INPUTS, options, compiled=True)
