"""Networks that start from files: float weights, quantized runs, and files that lie."""

import argparse
import json
import os
import pickle
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from qcli.errors import PluginError, UsageError
from qcli.quantization.plan_json import plan_to_json
from qcli.quantization.surgery import bake, quantizers
from qcli.recipe.setting import Request, resolve_setting
from qcli.training.assembly import assemble, build_float_model
from qcli.training.initial_weights import read_weights

TRAINING = "lenet5-digits-20ep"
LSQ8 = {"quantizer": "lsq", "bits": 8}
WIDER = {
    "name": "wider",
    "default": {
        "weight": {"quantizer": "qnn", "bits": 2},
        "input": {"quantizer": "lsq", "bits": 4, "signed": False},
    },
    "first_layer": {"weight": LSQ8, "input": LSQ8},
    "last_layer": {"weight": LSQ8, "input": LSQ8 | {"signed": False}},
}
LATENT = ".parametrizations.weight.original"


@pytest.fixture
def resolve(catalog):
    """Return a function from a quantization recipe to a setting."""

    def make(quantization=None, *overrides):
        request = Request(train_json=TRAINING, quant_json=quantization, overrides=overrides)
        return resolve_setting(request, catalog)

    return make


@pytest.fixture
def float_state(resolve):
    """The weights of a float network, which differ from those of any other seed."""
    torch.manual_seed(1234)
    model = build_float_model(resolve(), 10)
    model.train()
    model(torch.rand(4, 1, 28, 28))
    return {name: value.clone() for name, value in model.state_dict().items()}


def save_as(kind, state, path):
    if kind == "safetensors":
        file = path / "weights.safetensors"
        save_file(state, file)
    else:
        file = path / "weights.pth"
        torch.save({"state_dict": state, "epoch": 3} if kind == "wrapped" else state, file)
    return file


@pytest.mark.parametrize("kind", ["safetensors", "plain", "wrapped"])
def test_float_weights_start_a_float_network(resolve, catalog, float_state, tmp_path, kind):
    file = save_as(kind, float_state, tmp_path)
    assembly = assemble(resolve(), catalog, 10, file)
    assert assembly.fresh == ()
    found = assembly.model.state_dict()
    assert found.keys() == float_state.keys()
    assert all(torch.equal(found[name], value) for name, value in float_state.items())


def test_a_run_directory_means_its_best_weights(float_state, tmp_path):
    save_file(float_state, tmp_path / "best.safetensors")
    save_file({"other": torch.zeros(1)}, tmp_path / "last.safetensors")
    assert read_weights(tmp_path).state.keys() == float_state.keys()


def test_quantizers_observe_the_float_weights_that_were_loaded(
    resolve, catalog, float_state, tmp_path
):
    file = save_as("safetensors", float_state, tmp_path)
    found = assemble(resolve("lsq-w4a4"), catalog, 10, file).model.state_dict()
    for layer, highest in (("conv1", 127), ("conv2", 7), ("fc1", 7), ("fc2", 127)):
        weight = float_state[f"{layer}.weight"]
        assert torch.equal(found[f"{layer}{LATENT}"], weight)
        step = 2 * weight.abs().mean() / highest**0.5
        torch.testing.assert_close(found[f"{layer}.parametrizations.weight.0.step_size"], step)


def test_quantizers_are_told_of_trained_weights(resolve, catalog, float_state, tmp_path):
    file = save_as("safetensors", float_state, tmp_path)
    setting = resolve("lsq-w4a4")
    for init_from in (None, file):
        model = assemble(setting, catalog, 10, init_from).model
        told = {quantizer.info.pretrained for _, _, quantizer in quantizers(model)}
        assert told == {init_from is not None}


def quantized_state(setting, catalog, seed=99):
    """The state of a quantized run, with numbers that no fresh network has."""
    torch.manual_seed(seed)
    state = assemble(setting, catalog, 10).model.state_dict()
    for name, value in state.items():
        if name.endswith("step_size"):
            value.fill_(0.625)
        if name.endswith("observed"):
            value.fill_(True)
    return {name: value.clone() for name, value in state.items()}


def test_a_quantized_run_starts_the_same_network(resolve, catalog, tmp_path):
    setting = resolve("lsq-w4a4")
    state = quantized_state(setting, catalog)
    save_file(state, tmp_path / "best.safetensors")
    assembly = assemble(setting, catalog, 10, tmp_path)
    found = assembly.model.state_dict()
    assert assembly.fresh == ()
    assert all(torch.equal(found[name], value) for name, value in state.items())


def test_new_quantizers_of_inputs_start_fresh(resolve, catalog, tmp_path):
    """Weights first, activations second."""
    state = quantized_state(
        resolve("lsq-w4a4", "default.input=null", "last_layer.input=null"), catalog
    )
    assert not any("input_quantizer" in name for name in state)
    save_file(state, tmp_path / "best.safetensors")
    assembly = assemble(resolve("lsq-w4a4"), catalog, 10, tmp_path)
    found = assembly.model.state_dict()
    assert all(torch.equal(found[name], value) for name, value in state.items())
    assert {(each.info.layer, each.info.role) for each in assembly.fresh} == {
        (layer, "input") for layer in ("conv2", "fc1", "fc2")
    }
    assert not found["fc1.input_quantizer.observed"]


def test_new_quantizers_of_weights_observe_the_latents_that_were_loaded(resolve, catalog, tmp_path):
    """Clamp first, quantize second: as after a quantizer that has no values of its own."""
    fresh = [f"{layer}.parametrizations.weight.0." for layer in ("conv2", "fc1")]
    state = quantized_state(resolve("lsq-w4a4"), catalog)
    state = {k: v for k, v in state.items() if not k.startswith(tuple(fresh))}
    save_file(state, tmp_path / "best.safetensors")
    assembly = assemble(resolve("lsq-w4a4"), catalog, 10, tmp_path)
    found = assembly.model.state_dict()
    for layer, prefix in zip(("conv2", "fc1"), fresh, strict=True):
        step = 2 * state[f"{layer}{LATENT}"].abs().mean() / 7**0.5
        torch.testing.assert_close(found[f"{prefix}step_size"], step)
    # What the run had is what it has.
    assert found["conv1.parametrizations.weight.0.step_size"] == 0.625
    assert [each.info.layer for each in assembly.fresh] == ["conv2", "fc1"]


def test_quantizers_of_another_width_start_fresh(resolve, catalog, tmp_path):
    before = resolve("lsq-w4a4")
    save_file(quantized_state(before, catalog), tmp_path / "best.safetensors")
    plan = plan_to_json(assemble(before, catalog, 10).plan)
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    assembly = assemble(resolve("lsq-w2a2"), catalog, 10, tmp_path)
    layers = {(each.info.layer, each.info.role) for each in assembly.fresh}
    assert layers == {(layer, role) for layer in ("conv2", "fc1") for role in ("weight", "input")}
    found = assembly.model.state_dict()
    weight = found[f"conv2{LATENT}"]
    step = found["conv2.parametrizations.weight.0.step_size"]
    torch.testing.assert_close(step, 2 * weight.abs().mean())
    assert found["fc2.parametrizations.weight.0.step_size"] == 0.625
    assert not found["conv2.input_quantizer.observed"]


@pytest.mark.parametrize("of", ["folder", "file"])
def test_another_method_starts_from_the_latents_that_were_loaded(resolve, catalog, tmp_path, of):
    """QNN spreads small weights over [-1, 1]: left as they are, 2 bits would round all to 0."""
    setting = resolve("lsq-w4a4")
    state = quantized_state(setting, catalog)
    save_file(state, tmp_path / "best.safetensors")
    plan = assemble(setting, catalog, 10).plan
    (tmp_path / "plan.json").write_text(json.dumps(plan_to_json(plan)))
    (tmp_path / "qnn.json").write_text(json.dumps(WIDER))
    path = tmp_path if of == "folder" else tmp_path / "best.safetensors"
    assembly = assemble(resolve(str(tmp_path / "qnn.json")), catalog, 10, path)
    found = assembly.model.state_dict()["conv2" + LATENT]
    loaded = state["conv2" + LATENT]
    torch.testing.assert_close(found, loaded / loaded.abs().max())
    assert "conv2" in {each.info.layer for each in assembly.fresh}


def test_the_value_space_is_the_recipes_own(resolve, catalog, tmp_path):
    state = quantized_state(resolve("search-1b"), catalog)
    save_file(state, tmp_path / "best.safetensors")
    setting = resolve("search-1b", "default.weight.value_space=[-2, 2]")
    model = assemble(setting, catalog, 10, tmp_path).model
    assert sorted(bake(model)["conv2.weight"].unique().tolist()) == [-2.0, 2.0]


def test_a_run_that_quantized_inputs_alone_starts_the_same_network(resolve, catalog, tmp_path):
    floats = ("default.weight=null", "first_layer.weight=null", "last_layer.weight=null")
    setting = resolve("lsq-w4a4", *floats)
    state = quantized_state(setting, catalog)
    assert "fc1.input_quantizer.step_size" in state
    assert not any("parametrizations" in name for name in state)
    save_file(state, tmp_path / "best.safetensors")
    found = assemble(setting, catalog, 10, tmp_path).model.state_dict()
    assert all(torch.equal(found[name], value) for name, value in state.items())


def test_quantized_weights_of_other_layers_are_refused(resolve, catalog, tmp_path):
    save_file(quantized_state(resolve("lsq-w4a4"), catalog), tmp_path / "best.safetensors")
    setting = resolve("lsq-w4a4", "first_layer.weight=null")
    with pytest.raises(UsageError) as caught:
        assemble(setting, catalog, 10, tmp_path)
    text = str(caught.value)
    assert f"--init-from {tmp_path}: its quantized weights do not fit this recipe: " in text
    assert "conv1.weight is missing" in text
    assert f"conv1{LATENT} is unknown" in text
    assert text.endswith("; start from a float run, or quantize its layers alike")


def test_quantized_weights_of_another_shape_are_refused(resolve, catalog, tmp_path):
    setting = resolve("lsq-w4a4")
    state = quantized_state(setting, catalog)
    state["fc2.bias"] = torch.zeros(7)
    save_file(state, tmp_path / "best.safetensors")
    with pytest.raises(UsageError, match=r"fc2\.bias is \[7\] instead of \[10\]"):
        assemble(setting, catalog, 10, tmp_path)


def change(state, name, value):
    return {**state, name: value}


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (
            lambda s: change(s, "fc2.weight", torch.zeros(3, 2)),
            "fc2.weight is [3, 2] instead of [10, 512]",
        ),
        (lambda s: change(s, "fc9.weight", torch.zeros(1)), "fc9.weight is unknown"),
        (lambda s: {k: v for k, v in s.items() if k != "fc2.bias"}, "fc2.bias is missing"),
        (lambda s: {f"module.{k}": v for k, v in s.items()}, "module.conv1.weight is unknown"),
        (lambda s: {}, "conv1.weight is missing"),
    ],
    ids=["shape", "unknown", "missing", "wrapped", "empty"],
)
@pytest.mark.parametrize("quantization", [None, "lsq-w4a4"])
def test_float_weights_that_do_not_fit_are_refused_in_one_line(
    resolve, catalog, float_state, tmp_path, quantization, damage, said
):
    file = tmp_path / "weights.pth"
    torch.save(damage(float_state), file)
    with pytest.raises(UsageError) as caught:
        assemble(resolve(quantization), catalog, 10, file)
    text = str(caught.value)
    assert text.startswith(f"--init-from {file}: does not fit the network: ")
    assert said in text
    assert "\n" not in text
    assert len(text) < 500 + len(str(file))


class Attack:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "pickle"])
@pytest.mark.parametrize("suffix", ["pth", "pt", "bin", "ckpt"])
def test_a_file_with_code_is_refused_and_not_executed(tmp_path, suffix, zipped):
    file, sign = tmp_path / f"weights.{suffix}", tmp_path / "executed"
    value = {"weight": torch.zeros(1), "attack": Attack(sign)}
    torch.save(value, file, _use_new_zipfile_serialization=zipped)
    text = f"^--init-from {file}: {file} is damaged or holds more than weights .*; save the state"
    with pytest.raises(UsageError, match=text):
        read_weights(file)
    assert not sign.exists()
    torch.load(file, weights_only=False)
    assert sign.exists()


def test_a_bare_pickle_with_code_is_refused_and_not_executed(tmp_path):
    file, sign = tmp_path / "weights.pkl", tmp_path / "executed"
    file.write_bytes(pickle.dumps(Attack(sign)))
    with pytest.raises(UsageError, match="holds more than weights"):
        read_weights(file)
    assert not sign.exists()


@pytest.mark.parametrize(
    "value",
    [
        [torch.zeros(1)],
        torch.zeros(1),
        {"weight": 1},
        {"weight": torch.zeros(1), "epoch": 3},
        {0: torch.zeros(1)},
        {"state_dict": {"weight": "x"}},
        {"state_dict": None},
    ],
    ids=["list", "tensor", "number", "mixed", "integer key", "text", "null"],
)
def test_a_file_without_a_state_dict_is_refused(tmp_path, value):
    file = tmp_path / "weights.pth"
    torch.save(value, file)
    with pytest.raises(UsageError, match=f"^--init-from {file}: {file} holds no state dict$"):
        read_weights(file)


@pytest.mark.parametrize("value", [argparse.Namespace(lr=1), torch.nn.Linear(1, 1)], ids=type)
def test_a_file_with_objects_is_refused(tmp_path, value):
    file = tmp_path / "weights.pth"
    torch.save({"state_dict": {}, "what": value}, file)
    with pytest.raises(UsageError, match=r"holds more than weights .*; save the state dict alone$"):
        read_weights(file)


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
@pytest.mark.parametrize("kept", [0, 5, 400])
def test_a_file_that_is_cut_short_is_refused_in_one_line(tmp_path, name, kept):
    file = tmp_path / name
    state = {"weight": torch.zeros(500)}
    save_file(state, file) if file.suffix == ".safetensors" else torch.save(state, file)
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(
        UsageError, match=f"^--init-from {file}: {file} (cannot be read|is dam)"
    ) as caught:
        read_weights(file)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    file = tmp_path / "nowhere.safetensors"
    with pytest.raises(UsageError, match=f"^--init-from {file}: {file} does not exist$"):
        read_weights(file)


def test_a_folder_without_weights_is_named(tmp_path):
    with pytest.raises(
        UsageError, match=f"--init-from {tmp_path}: .*best.safetensors does not exist"
    ):
        read_weights(tmp_path)


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("quantization", [None, "lsq-w4a4"])
def test_weights_lie_as_the_training_recipe_asks(resolve, catalog, quantization, channels_last):
    setting = resolve(quantization, f"channels_last={str(channels_last).lower()}")
    weight = assemble(setting, catalog, 10).model.conv2.weight
    assert weight.is_contiguous(memory_format=torch.channels_last) is channels_last


def test_channels_last_goes_with_the_logits_of_search(resolve, catalog):
    model = assemble(resolve("search-2b", "channels_last=true"), catalog, 10).model
    assert model.get_parameter(f"conv2{LATENT}").shape == (4, 64, 32, 5, 5)


def test_an_architecture_that_builds_something_else_is_broken(resolve, catalog):
    setting = resolve()
    entry = replace(setting.architecture, name="mine", build=lambda *_, **__: "network")
    with pytest.raises(PluginError, match=r'^"mine" builds a str, not a torch Module$'):
        assemble(replace(setting, architecture=entry), catalog, 10)


@pytest.mark.filterwarnings("ignore::UserWarning")  # torch's, of sparse tensors it reads
@pytest.mark.parametrize("odd", ["sparse", "complex"])
def test_odd_numbers_are_refused(resolve, catalog, float_state, tmp_path, odd):
    state = dict(float_state)
    weight = state["fc1.weight"]
    state["fc1.weight"] = weight.to_sparse() if odd == "sparse" else weight.to(torch.complex64)
    torch.save(state, tmp_path / "odd.pt")
    with pytest.raises(UsageError, match=r"fc1.weight is sparse or complex"):
        assemble(resolve(), catalog, 10, tmp_path / "odd.pt")
