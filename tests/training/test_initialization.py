"""Weights drawn anew before training: their variance, and what they depend on."""

import math

import pytest
import torch
from torch import nn

from qcli.recipe.setting import Request, resolve_setting
from qcli.training.assembly import assemble, build_float_model
from qcli.training.initialization import initialize
from qcli.training.record import SessionOptions
from qcli.training.session import run_session

TRAINING = "lenet5-digits-20ep"
DRAWN = ["xavier_fan_out", "he_fan_out"]
# Makes a layer; its fan-out is output channels x kernel.
LAYERS = [
    (lambda: nn.Conv2d(32, 96, 3), 96 * 9),
    (lambda: nn.Conv1d(64, 128, 5), 128 * 5),
    (lambda: nn.Linear(256, 512), 512),
    (lambda: nn.ConvTranspose2d(64, 32, 4), 32 * 16),
]


@pytest.fixture
def resolve(catalog):
    """Return a function from changes of a training recipe to a setting."""

    def make(*overrides, quantization=None):
        request = Request(train_json=TRAINING, quant_json=quantization, overrides=overrides)
        return resolve_setting(request, catalog)

    return make


def drawn(layer, initialization, seed=0):
    initialize(layer, initialization, seed)
    return layer


def equal_states(one, other):
    return all(torch.equal(one[name], other[name]) for name in one.keys() | other.keys())


@pytest.mark.parametrize(("make_layer", "fan_out"), LAYERS)
def test_xavier_is_uniform_with_variance_1_by_fan_out(make_layer, fan_out):
    weight = drawn(make_layer(), "xavier_fan_out").weight
    bound = math.sqrt(3 / fan_out)
    assert weight.var().item() == pytest.approx(1 / fan_out, rel=0.03)
    # A uniform draw comes close to its bounds, and never beyond.
    assert 0.999 * bound < weight.abs().max().item() <= bound * (1 + 1e-6)
    assert weight.mean().item() == pytest.approx(0, abs=0.02 * bound)


@pytest.mark.parametrize(("make_layer", "fan_out"), LAYERS)
def test_he_is_normal_with_variance_2_by_fan_out(make_layer, fan_out):
    weight = drawn(make_layer(), "he_fan_out").weight
    deviation = math.sqrt(2 / fan_out)
    assert weight.std().item() == pytest.approx(deviation, rel=0.02)
    # 68.27 % of a normal draw lie within one deviation.
    within = (weight.abs() < deviation).double().mean().item()
    assert within == pytest.approx(0.6827, abs=0.01)


@pytest.mark.parametrize("initialization", DRAWN)
def test_biases_are_zero_and_norms_stay(initialization):
    layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 5, bias=False))
    nn.init.constant_(layers[1].weight, 0.25)
    nn.init.constant_(layers[1].bias, -2.0)
    initialize(layers, initialization, 0)
    assert layers[0].bias.tolist() == [0.0] * 4
    assert layers[1].weight.tolist() == [0.25] * 4
    assert layers[1].bias.tolist() == [-2.0] * 4


@pytest.mark.parametrize("initialization", DRAWN)
def test_draws_depend_on_the_seed_alone(initialization):
    def draw(seed):
        return drawn(nn.Sequential(nn.Linear(6, 7), nn.Linear(7, 6)), initialization, seed)

    first = draw(1).state_dict()
    torch.manual_seed(1234)
    assert equal_states(first, draw(1).state_dict())
    assert not torch.equal(first["0.weight"], draw(2).state_dict()["0.weight"])
    assert not torch.equal(first["0.weight"].flatten(), first["1.weight"].flatten())


def test_drawing_leaves_other_random_numbers_alone():
    layer = nn.Linear(3, 3)
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    initialize(layer, "he_fan_out", 0)
    assert torch.equal(torch.rand(3), expected)


def test_default_is_the_networks_own_start(resolve, catalog):
    setting = resolve()
    assert setting.training.initialization == "default"
    torch.manual_seed(7)
    own = build_float_model(setting, 10).state_dict()
    torch.manual_seed(7)
    assert equal_states(own, assemble(setting, catalog, 10).model.state_dict())


@pytest.mark.parametrize("channels_last", ["false", "true"])
def test_a_recipe_draws_before_the_network_is_quantized(resolve, catalog, channels_last):
    changes = ("initialization=xavier_fan_out", "seed=5", f"channels_last={channels_last}")
    setting = resolve(*changes, quantization="lsq-w4a4")
    expected = build_float_model(setting, 10)
    initialize(expected, "xavier_fan_out", 5)
    found = assemble(setting, catalog, 10).model.state_dict()
    weight = expected.fc1.weight
    assert torch.equal(found["fc1.parametrizations.weight.original"], weight)
    # LSQ starts from the weights that it is shown.
    step = 2 * weight.abs().mean() / 7**0.5
    torch.testing.assert_close(found["fc1.parametrizations.weight.0.step_size"], step)


def test_weights_that_are_loaded_win(resolve, catalog, tmp_path):
    torch.manual_seed(11)
    state = build_float_model(resolve(), 10).state_dict()
    torch.save(state, tmp_path / "weights.pth")
    setting = resolve("initialization=he_fan_out")
    found = assemble(setting, catalog, 10, tmp_path / "weights.pth").model.state_dict()
    assert equal_states(found, state)


class Listener:
    """Hears what a session says, and nothing else."""

    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)

    def __getattr__(self, name):
        return lambda *_, **__: None


@pytest.mark.parametrize(
    ("initialization", "said"),
    [
        ("he_fan_out", ["initialization he_fan_out has no effect: weights were loaded"]),
        ("default", []),
    ],
)
def test_an_initialization_without_effect_is_told(resolve, catalog, tmp_path, initialization, said):
    torch.save(build_float_model(resolve(), 10).state_dict(), tmp_path / "weights.pth")
    setting = resolve(f"initialization={initialization}", "epochs=1")
    files = {"init_from": tmp_path / "weights.pth", "work_dir": tmp_path / "run"}
    listener = Listener()
    run_session(setting, SessionOptions(cpu=True, **files), catalog, listener)
    assert [note for note in listener.notes if "initialization" in note] == said
