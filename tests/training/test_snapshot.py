"""Copies of what is trained: held still, written without pickles, and taken up bit for bit."""

import os
import random

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, load_model, save_model
from torch import nn

from qcli.training.record import SessionOptions
from qcli.training.seal import is_whole
from qcli.training.session import open_accelerator
from qcli.training.snapshot import Snapshot, WeightsSnapshot, copy_tensors, restore


def test_copies_hold_still_and_share_what_was_shared():
    row = torch.arange(6.0)
    column = row.view(2, 3).t()
    copied = copy_tensors({"a": [row, 7], "b": (column, "text"), "c": torch.zeros(0)})
    row.zero_()
    assert copied["a"][0].tolist() == [0, 1, 2, 3, 4, 5]
    assert copied["b"][0].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert copied["b"][0].stride() == column.stride()
    assert copied["b"][0].data_ptr() == copied["a"][0].data_ptr()
    assert (copied["a"][1], copied["b"][1], copied["c"].shape) == (7, "text", (0,))


class Tied(nn.Module):
    """Two layers with one weight, in another layout of memory."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1).to(memory_format=torch.channels_last)
        self.again = nn.Conv2d(3, 3, 1)
        self.again.weight = self.conv.weight
        self.norm = nn.BatchNorm2d(3)

    def forward(self, images):
        return self.norm(self.again(self.conv(images))).mean((2, 3))


def step(learner):
    learner.forward(torch.rand(4, 3, 6, 6)).square().sum().backward()
    learner.optimizer.step()
    if learner.average is not None:
        learner.average.update()


def describe(value):
    """Return nested values as what can be compared: tensors with their bits and layouts."""
    if isinstance(value, torch.Tensor):
        # Strides of a dimension of length 1 mean nothing.
        strides = [
            stride for stride, length in zip(value.stride(), value.shape, strict=True) if length > 1
        ]
        return value.dtype, value.tolist(), strides
    if isinstance(value, dict):
        return {key: describe(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(describe, value))
    return value


def state_of(learner):
    average = learner.average.state_dict() if learner.average else None
    return describe([learner.network.state_dict(), learner.optimizer.state_dict(), average])


def draw():
    return torch.rand(3).tolist(), random.random(), np.random.rand(3).tolist()


@pytest.mark.parametrize("fields", [{}, {"optimizer": {"name": "adam"}}, {"ema": {"decay": 0.9}}])
@pytest.mark.parametrize("tied", [True, False])
def test_what_was_copied_comes_back(make_network, make_recipe, learn, tmp_path, fields, tied):
    learner = learn(Tied() if tied else make_network(norm=True), make_recipe(**fields))
    step(learner)
    then = state_of(learner)
    snapshot = Snapshot(learner.accelerator)
    drawn = draw()
    # What happens afterwards is not in it.
    step(learner)
    snapshot.write(tmp_path)
    assert state_of(learner) != then
    restore(learner.accelerator, tmp_path)
    assert (state_of(learner), draw()) == (then, drawn)


def test_no_file_of_a_snapshot_is_a_pickle(make_network, make_recipe, learn, tmp_path):
    learner = learn(make_network(norm=True), make_recipe(ema={"decay": 0.9}))
    step(learner)
    Snapshot(learner.accelerator).write(tmp_path)
    names = ["model", "optimizer", "random_0", "registered_0"]
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == [f"{name}.safetensors" for name in names]
    for file in files:
        with safe_open(file, "pt") as whole:
            assert whole.keys()
        assert file.stat().st_mode & 0o777 == 0o666 & ~umask()


def umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize("tied", [True, False])
def test_weights_have_the_tensors_of_save_model(make_network, tmp_path, tied):
    network = Tied() if tied else make_network(norm=True)
    save_model(network, str(tmp_path / "now"))
    now = load_file(tmp_path / "now")
    snapshot = WeightsSnapshot(network)
    with torch.no_grad():
        network.norm.bias.fill_(7) if tied else network.norm1.bias.fill_(7)
    for name in ("best", "last"):
        snapshot.write(tmp_path / name)
        written = load_file(tmp_path / name)
        assert written.keys() == now.keys()
        assert all(torch.equal(written[key], value) for key, value in now.items())
        assert is_whole(tmp_path / name)
    assert (tmp_path / "best").read_bytes() == (tmp_path / "last").read_bytes()
    load_model(network, tmp_path / "best")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_snapshot_of_a_gpu_lies_on_the_cpu(make_network, make_recipe, tmp_path):
    from qcli.training.learner import make_learner

    recipe = make_recipe()
    accelerator = open_accelerator(recipe, SessionOptions())
    learner = make_learner(accelerator, make_network(norm=True).cuda(), recipe)
    expected = {name: value.cpu() for name, value in learner.network.state_dict().items()}
    found = WeightsSnapshot(learner.network).state_dict()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert {each.device.type for each in found.values()} == {"cpu"}
    Snapshot(accelerator).write(tmp_path)
    restore(accelerator, tmp_path)
