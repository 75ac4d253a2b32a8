"""Quantization networks against hand-computed sigmoids; the staircase is their limit."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import qcli
from qcli.testing import check_quantizer
from qcli_nonuniform.edges import LARGEST_SAMPLE, find_centers, find_edges, middles, sort_sample
from qcli_nonuniform.quantization_networks import QuantizationNetworks
from qcli_nonuniform.sigmoid_sum import sum_sigmoids

W = torch.tensor([[0.9, -0.4, 0.05], [-0.2, 0.6, -1.2]])
G = torch.tensor([[0.1, -0.2, 0.3], [-0.4, 0.5, -0.6]])
X = torch.tensor([0.0, 0.3, 0.9, 1.7, 2.6])
RANGE_4 = [-4, -2, -1, 0, 1, 2, 4]


def make(role: str, shape: tuple[int, ...] = (2, 3), **options) -> QuantizationNetworks:
    info = qcli.TensorInfo(role, shape, 0 if role == "weight" else 1)
    options = {"temperature": 5, "exponent_clamp": None, **options}
    return QuantizationNetworks(info, **options)


def make_seen(edges, **options) -> QuantizationNetworks:
    """Return a quantizer of W, with edges of its own."""
    quantizer = make("weight", **options)
    quantizer.observe(W)
    quantizer.edges.copy_(torch.tensor(edges))
    return quantizer


def make_activation() -> QuantizationNetworks:
    """Return methods.md's: q = 2 and edges of its own."""
    quantizer = make("output", (5,), bits=2, edges="linear")
    quantizer.observe(torch.tensor([0.0, 2.0]))
    return quantizer


def run(quantizer: QuantizationNetworks, x: Tensor, gradient: Tensor) -> dict[str, Tensor]:
    latent = x.clone().requires_grad_()
    value = quantizer(latent)
    value.backward(gradient)
    own = quantizer.input_gain.grad, quantizer.output_scale.grad
    found = (value.detach(), latent.grad, *own)
    assert all(each is not None for each in found)
    return dict(zip(("value", "x", "gain", "scale"), found, strict=True))


def close(actual: Tensor, expected) -> bool:
    expected = torch.as_tensor(expected, dtype=actual.dtype)
    return actual.shape == expected.shape and torch.allclose(actual, expected, rtol=0, atol=1e-5)


VECTORS = {
    "binary": (
        {"bits": 1},
        [0.0],
        [[0.942479, -0.747404, 0.124298], [-0.459209, 0.879192, -0.956301]],
        [[0.009042, -0.196934, 0.737427], [-0.771188, 0.201582, -0.011538]],
        (0.396303, 1.539665),
        [[0.96, -0.96, 0.96], [-0.96, 0.96, -0.96]],
    ),
    "ternary": (
        {"bits": 2},
        [-0.05, 0.05],
        [[0.941944, -0.742808, 0.122408], [-0.453714, 0.87697, -0.956185]],
        [[0.009311, -0.199427, 0.726588], [-0.76737, 0.206357, -0.011896]],
        (0.399402, 1.534542),
        # 0.05 * beta = 0.0521 has reached 0.05.
        [[0.96, -0.96, 0.96], [-0.96, 0.96, -0.96]],
    ),
    "range 4": (
        {"value_space": RANGE_4},
        [-3, -1.5, -0.05, 0.05, 1.5, 3],
        [[0.948968, -0.407785, 0.113758], [-0.240726, 0.514804, -0.959978]],
        None,
        (0.091467, 4.751085),
        [[0.96, -0.48, 0.24], [-0.24, 0.48, -0.96]],
    ),
}


@pytest.mark.parametrize("name", VECTORS)
def test_weight_vectors(name: str) -> None:
    options, edges, soft, by_latent, (by_gain, by_scale), hard = VECTORS[name]
    quantizer = make_seen(edges, **options)
    found = run(quantizer, W, G)
    assert close(found["value"], soft)
    assert by_latent is None or close(found["x"], by_latent)
    assert close(found["gain"], by_gain)
    assert close(found["scale"], by_scale)
    assert close(quantizer.eval()(W).detach(), hard)


@pytest.mark.parametrize(
    ("options", "gain"),
    [
        ({"bits": 1}, 1.0416667),
        ({"bits": 2}, 1.0416667),
        ({"value_space": RANGE_4}, 4.1666667),
    ],
)
def test_gain_starts_at_five_quarters_of_the_range(options, gain: float) -> None:
    quantizer = make("weight", **options)
    quantizer.observe(W)
    assert close(quantizer.input_gain.detach(), gain)
    assert close(quantizer.output_scale.detach(), 1 / gain)


def test_temperature_hardens_the_sigmoid() -> None:
    quantizer = make_seen([0.0], bits=1)
    quantizer.temperature.fill_(50)
    assert close(quantizer(W).detach()[0, 2], 0.827768)


def test_activation_vectors() -> None:
    quantizer = make_activation()
    assert quantizer.edges.tolist() == [0.5, 1.5, 2.5]
    assert close(quantizer.input_gain.detach(), 1.875)
    found = run(quantizer, X, torch.ones(5))
    assert close(found["value"], [0.040754, 0.312898, 0.924201, 1.583274, 1.599996])
    assert close(found["x"], [0.3533, 1.265494, 1.10735, 0.151959, 0.000035])
    quantizer.eval()
    assert close(quantizer(X).detach(), [0, 0.533333, 1.066667, 1.6, 1.6])
    assert quantizer.codes(X).tolist() == [0, 1, 2, 3, 3]


@pytest.mark.parametrize(
    ("backward_slope", "by_first"),
    [("exact", 0.009042), ("t1_times_t", 0.202216), ("t1", 0.202216 / 5)],
)
def test_backward_slope(backward_slope: str, by_first: float) -> None:
    found = run(make_seen([0.0], bits=1, backward_slope=backward_slope), W, G)
    assert close(found["x"][0, 0], by_first)
    assert close(found["value"], VECTORS["binary"][2])


@pytest.mark.parametrize(("exponent_clamp", "slope"), [(10.0, 0.045396), (None, 0.0)])
def test_clamp_leaves_a_slope_to_saturated_values(exponent_clamp, slope: float) -> None:
    """T = 1000, |beta x - b| = 0.1, alpha = beta = s = 1."""
    quantizer = make("output", (2,), bits=1, exponent_clamp=exponent_clamp, temperature=1000)
    found = run(quantizer, torch.tensor([0.4, 0.6]), torch.ones(2))
    assert close(found["x"], [slope, slope])
    bounds = [4.53979e-5, 1 - 4.53979e-5] if exponent_clamp else [0.0, 1.0]
    assert torch.allclose(found["value"], torch.tensor(bounds), rtol=0, atol=1e-7)


@pytest.mark.parametrize("exponent_clamp", [None, 100.0])
@pytest.mark.parametrize("levels", [[-1, 1], [-1, 0, 1], RANGE_4, [0, 1, 2, 3], [-0.5, 0.25, 3]])
def test_gradients_are_those_of_the_soft_form(levels, exponent_clamp) -> None:
    values = torch.tensor(levels, dtype=torch.float64)
    edges, temperature = middles(values) * 0.9 + 0.03, torch.tensor(3.0).double()

    def soften(x: Tensor, gain: Tensor, scale: Tensor) -> Tensor:
        return sum_sigmoids(
            x,
            gain,
            scale,
            levels=values,
            edges=edges,
            temperature=temperature,
            exponent_clamp=exponent_clamp,
            backward_slope="exact",
            hard=False,
        )

    def plain(x: Tensor, gain: Tensor, scale: Tensor) -> Tensor:
        shares = torch.sigmoid(temperature * (gain * x.unsqueeze(-1) - edges))
        return scale * ((values.diff() * shares).sum(-1) + values[0])

    start = (W.double(), torch.tensor(1.7).double(), torch.tensor(0.6).double())
    ours, theirs = ([each.clone().requires_grad_() for each in start] for _ in range(2))
    assert torch.allclose(soften(*ours), plain(*theirs))
    soften(*ours).backward(G.double())
    plain(*theirs).backward(G.double())
    for mine, expected in zip(ours, theirs, strict=True):
        assert mine.grad is not None
        assert expected.grad is not None
        assert torch.allclose(mine.grad, expected.grad)
    assert torch.autograd.gradcheck(soften, tuple(each.requires_grad_() for each in start))


def test_hard_sampling_emits_the_staircase_with_the_soft_gradient() -> None:
    soft, hard = (make_seen([-0.05, 0.05], sampling=each) for each in ("soft", "hard"))
    expected, found = run(soft, W, G), run(hard, W, G)
    assert torch.equal(found["value"], hard.eval()(W).detach())
    assert torch.equal(found["x"], expected["x"])
    assert torch.equal(found["gain"], expected["gain"])
    # dq/da = q / a, with the q that is emitted.
    assert close(found["scale"], (G * found["value"] / 0.96).sum())


@pytest.mark.parametrize("mode", ["eval", "hard"])
def test_edges_belong_to_the_level_above(mode: str) -> None:
    """A(0) = 1."""
    quantizer = make("weight", bits=1, sampling="hard" if mode == "hard" else "soft")
    quantizer.train(mode == "hard")
    x = torch.tensor([[-1e-30, -0.0, 0.0]])
    assert quantizer(x).tolist() == [[-1, 1, 1]]
    assert quantizer.codes(x).tolist() == [[0, 1, 1]]


@pytest.mark.parametrize(
    ("role", "bits", "space"),
    [
        ("weight", 1, [-1, 1]),
        ("weight", 2, [-1, 0, 1]),
        ("weight", 3, list(range(-3, 4))),
        ("weight", 4, list(range(-7, 8))),
        ("weight", 5, list(range(-15, 16))),
        ("input", 1, [0, 1]),
        ("output", 2, [0, 1, 2, 3]),
        ("output", 4, list(range(16))),
    ],
)
def test_default_space(role: str, bits: int, space: list[int]) -> None:
    quantizer = make(role, bits=bits)
    assert quantizer.codebook().tolist() == space
    assert quantizer.bits == bits


def test_value_space_is_sorted() -> None:
    quantizer = make("weight", value_space=[1, -0.0, -2, 0.5])
    assert quantizer.codebook().tolist() == [-2, 0, 0.5, 1]
    assert not quantizer.codebook()[1].signbit()
    assert quantizer.edges.tolist() == [-1, 0.25, 0.75]


def test_asymmetric_space_starts_at_its_lowest_value() -> None:
    """The offset is -Y_1: half of the sum of s_i would fit symmetric sets alone."""
    quantizer = make("weight", value_space=[-1, 0, 3], temperature=1000)
    x = torch.tensor([[-9.0, 0.2, 9.0]])
    assert quantizer(x).detach().flatten().tolist() == pytest.approx([-1, 0, 3], abs=1e-3)
    assert quantizer.eval()(x).flatten().tolist() == [-1, 0, 3]


@pytest.mark.parametrize(
    ("rule", "role", "levels", "edges"),
    [
        ("linear", "weight", [-1, 1], [0]),
        ("linear", "weight", RANGE_4, [-3, -1.5, -0.5, 0.5, 1.5, 3]),
        ("linear", "output", [0, 1, 2, 3], [0.5, 1.5, 2.5]),
        ("paper", "weight", [-1, 1], [0]),
        ("paper", "weight", [-1, 0, 1], [-0.05, 0.05]),
        ("paper", "weight", [0, 1, 2], [0.05, 2.3]),
        ("paper", "weight", [-2, -1, 0], [-1.0, -0.05]),
        ("paper", "weight", [1, 2, 3], [-1.0, 2.3]),
        ("paper", "output", [0, 1, 2], [-1.0, 2.3]),
        ("paper", "output", [0, 1], [0.25]),
        ("kmeans", "weight", [-1, 0, 1], [-1.0, 2.3]),
        ("kmeans", "weight", [-1, 1], [0.25]),
    ],
)
def test_edges(rule: str, role: str, levels, edges) -> None:
    """Clusters around -2.1, 0.1 and 4.5; of two, around -1 and 1.5."""
    three = torch.tensor([-2.2, -2.1, -2.0, 0.0, 0.1, 0.2, 4.4, 4.6]).double()
    two = torch.tensor([-1.1, -0.9, 1.4, 1.6]).double()
    values = two if len(levels) == 2 else three
    found = find_edges(rule, torch.tensor(levels), values, role == "weight")
    assert close(found, edges)


def test_edges_stay_in_order_around_zero() -> None:
    """Clusters nearer to 0 than 0.05."""
    values = torch.linspace(-0.05, 0.05, 101).double()
    found = find_edges("paper", torch.arange(-3, 4), values, True)
    assert close(found, [-0.05, -0.05, -0.05, 0.05, 0.05, 0.05])


def test_clusters_are_optimal_in_one_dimension() -> None:
    """Lloyd-Max levels of a normal distribution (Max, 1960)."""
    chances = (torch.arange(100001).double() + 0.5) / 100001
    normal = torch.special.ndtri(chances)
    assert torch.allclose(
        find_centers(normal, 4), torch.tensor([-1.510, -0.4528, 0.4528, 1.510]).double(), atol=2e-3
    )


def test_zeros_of_a_relu_get_the_lowest_level() -> None:
    """Half of the values are one: as start of two clusters it would leave a level unused."""
    x = torch.randn(1000, generator=torch.Generator().manual_seed(0)).relu()
    quantizer = make("output", (1000,), bits=2, edges="kmeans").eval()
    quantizer.observe(x)
    counts = torch.bincount(quantizer.codes(x).flatten())
    assert quantizer.codes(torch.zeros(1)).tolist() == [0]
    assert len(counts) == 4
    assert counts.min() > 0


@pytest.mark.parametrize("edges", ["paper", "kmeans", "linear"])
def test_layer_of_zeros(edges: str) -> None:
    quantizer = make("weight", bits=3, edges=edges).eval()
    quantizer.observe(torch.zeros(2, 3))
    assert quantizer.input_gain.isfinite()
    assert not quantizer(torch.zeros(2, 3)).any()


def test_tails_are_cut_off_at_either_end() -> None:
    """As seed 000: then the value space reaches to the largest that is left."""
    x = torch.arange(1000.0)
    whole, cut = make("output", (1000,)), make("output", (1000,), tail_fraction=0.01)
    for quantizer in (whole, cut):
        quantizer.observe(x)
    assert close(whole.input_gain.detach(), 5 * 3 / (4 * 999))
    assert close(cut.input_gain.detach(), 3 / 989)
    weight = make("weight", tail_fraction=0.4)
    weight.observe(W)
    assert close(weight.input_gain.detach(), 1.0416667)


def test_large_tensors_are_sampled_but_their_maximum_is_not() -> None:
    x = torch.zeros(2 * LARGEST_SAMPLE)
    x[1], x[3:6] = 8, 1
    assert len(sort_sample(x, 0.0)) <= LARGEST_SAMPLE
    quantizer = make("output", (len(x),), bits=1)
    quantizer.observe(x)
    assert close(quantizer.input_gain.detach(), 5 / 32)


def test_activations_start_from_the_first_batch_alone() -> None:
    quantizer = make_activation()
    quantizer.observe(torch.tensor([0.0, 200.0]))
    assert close(quantizer.input_gain.detach(), 1.875)


def test_weights_start_again_from_other_weights() -> None:
    quantizer = make_seen([-0.05, 0.05], bits=2)
    quantizer.observe(2 * W)
    assert close(quantizer.input_gain.detach(), 1.0416667 / 2)


def test_edges_are_never_trained() -> None:
    quantizer = make_seen([-0.05, 0.05], bits=2)
    assert {name for name, _ in quantizer.named_parameters()} == {"input_gain", "output_scale"}
    assert "edges" in quantizer.state_dict()
    assert quantizer.parameter_defaults["quantizer"].weight_decay == 0


def test_gain_and_scale_need_not_be_trained() -> None:
    quantizer = make("weight", learned=False)
    latent = W.clone().requires_grad_()
    quantizer(latent).sum().backward()
    assert latent.grad is not None
    assert quantizer.input_gain.grad is None
    assert quantizer.output_scale.grad is None


def test_gain_and_scale_stay_positive() -> None:
    quantizer = make("weight")
    with torch.no_grad():
        quantizer.input_gain.fill_(-0.1)
        quantizer.output_scale.fill_(-0.1)
    quantizer.after_step(W)
    assert quantizer.health(W) == {
        "scale": pytest.approx(1.1920929e-7),
        "gain": pytest.approx(1.1920929e-7),
    }


@pytest.mark.parametrize(("epoch", "temperature"), [(0, 5), (1, 10), (199, 1000)])
def test_temperature_is_five_times_the_epoch_counted_from_one(
    epoch: int, temperature: float
) -> None:
    quantizer = QuantizationNetworks(qcli.TensorInfo("weight", (2, 3)))
    assert float(quantizer.temperature) == 5
    quantizer.on_progress(qcli.Progress(epoch * 10 + 9, 2000, epoch, 200))
    assert float(quantizer.temperature) == temperature


@pytest.mark.parametrize(("schedule", "bound"), [(0, 1e-3), (float("inf"), 1e6)])
def test_temperature_is_bounded(schedule: float, bound: float) -> None:
    quantizer = make("weight", temperature=schedule)
    quantizer.on_progress(qcli.Progress(0, 10, 0, 1))
    assert float(quantizer.temperature) == pytest.approx(bound)
    assert quantizer(torch.zeros(2, 3)).isfinite().all()


ENTRY = qcli.load_catalog().quantizer("quantization_networks")


@pytest.mark.parametrize(
    "options",
    [
        *({"bits": bits, "edges": edges} for bits in (1, 2, 5) for edges in ("paper", "kmeans")),
        *({"bits": bits} for bits in (3, 4)),
        {"edges": "linear"},
        {"value_space": RANGE_4},
        {"value_space": [3, -0.5, 0.25]},
        {"sampling": "hard"},
        {"exponent_clamp": None, "edges": "linear"},
        {"backward_slope": "t1"},
        {"backward_slope": "t1_times_t"},
        {"tail_fraction": 0.1},
        {"learned": False},
        {"temperature": 3},
    ],
    ids=str,
)
def test_obeys(options) -> None:
    check_quantizer(ENTRY, options)


@pytest.mark.slow
@pytest.mark.parametrize("sampling", ["soft", "hard"])
def test_compiles(sampling: str) -> None:
    check_quantizer(ENTRY, {"bits": 3, "sampling": sampling}, compiled=True)
