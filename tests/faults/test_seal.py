"""Seals: every flipped and every missing byte of weights is seen, and of checkpoints.

About 2,600 flips and cuts.
"""

import shutil

import pytest
import torch
from torch import nn

from qcli.errors import RunError, UsageError
from qcli.training.checkpoint import load_checkpoint, save_checkpoint
from qcli.training.initial_weights import read_weights
from qcli.training.position import Position
from qcli.training.record import SessionOptions
from qcli.training.session import open_accelerator
from qcli.training.snapshot import WeightsSnapshot

BEFORE = b'"sha256":"'


@pytest.fixture(scope="module")
def sealed(tmp_path_factory):
    """Return a small file of weights."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("sealed") / "best.safetensors"
    WeightsSnapshot(nn.Sequential(nn.Linear(5, 3), nn.BatchNorm1d(3))).write(path)
    return path


def test_every_flipped_byte_of_weights_is_seen(sealed, tmp_path, tally):
    whole = sealed.read_bytes()
    path = tmp_path / "best.safetensors"
    tensors = read_weights(sealed).state
    name = whole.index(BEFORE)
    unseen = []
    for place in range(len(whole)):
        for bit in (0, 3, 7):
            content = bytearray(whole)
            content[place] ^= 1 << bit
            path.write_bytes(content)
            tally.cases += 1
            try:
                state = read_weights(path).state
            except UsageError:
                continue
            unseen.append(place)
            assert all(torch.equal(state[key], value) for key, value in tensors.items())
    # A checksum of another name is none. Then all else in the file is right.
    assert {place - name for place in unseen} <= set(range(len(BEFORE)))


def test_every_missing_byte_of_weights_is_seen(sealed, tmp_path, tally):
    whole = sealed.read_bytes()
    path = tmp_path / "best.safetensors"
    for length in range(0, len(whole), 3):
        path.write_bytes(whole[:length])
        tally.cases += 1
        with pytest.raises(UsageError, match=r"best\.safetensors"):
            read_weights(path)


@pytest.fixture
def checkpoint(tmp_path, make_small):
    """Return an accelerator with a small network, and a run with its checkpoint."""
    accelerator = make_small()
    save_checkpoint(accelerator, tmp_path / "run", Position(3, 2))
    return accelerator, tmp_path / "run"


@pytest.fixture
def make_small(tmp_path):
    (tmp_path / "run").mkdir()

    def make():
        from types import SimpleNamespace

        recipe = SimpleNamespace(precision="float32")
        accelerator = open_accelerator(recipe, SessionOptions(cpu=True))
        model = nn.Linear(4, 3)
        optimizer = torch.optim.Adam(model.parameters())
        model(torch.ones(1, 4)).sum().backward()
        optimizer.step()
        accelerator.prepare(model, optimizer)
        return accelerator

    return make


@pytest.mark.parametrize(
    "name", ["position.json", "model.safetensors", "optimizer.safetensors", "random_0.safetensors"]
)
def test_flipped_and_missing_bytes_of_checkpoints_are_seen(checkpoint, tally, name):
    accelerator, run = checkpoint
    file = run / "checkpoint" / name
    whole = file.read_bytes()
    step = max(1, len(whole) // 100)
    for place in range(0, len(whole), step):
        flipped = bytearray(whole)
        flipped[place] ^= 4
        for content in (bytes(flipped), whole[:place]):
            file.write_bytes(content)
            tally.cases += 1
            with pytest.raises(RunError, match=name):
                load_checkpoint(accelerator, run)
    file.write_bytes(whole)
    assert load_checkpoint(accelerator, run) == Position(3, 2)


def test_a_missing_file_of_a_checkpoint_is_named(checkpoint, tally):
    accelerator, run = checkpoint
    for name in ("model.safetensors", "optimizer.safetensors", "random_0.safetensors"):
        tally.cases += 1
        copy = shutil.copytree(run, run.with_name(name))
        (copy / "checkpoint" / name).unlink()
        with pytest.raises(RunError, match=f"{name} is missing"):
            load_checkpoint(accelerator, copy)
