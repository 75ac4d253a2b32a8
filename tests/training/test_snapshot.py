"""Copies of what is trained: the bytes that accelerate and safetensors write, held still."""

import pytest
import torch
from safetensors.torch import load_model, save_model
from torch import nn

from qcli.training.record import SessionOptions
from qcli.training.session import open_accelerator
from qcli.training.snapshot import Snapshot, WeightsSnapshot, copy_tensors


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


@pytest.mark.parametrize("fields", [{}, {"optimizer": {"name": "adam"}}, {"ema": {"decay": 0.9}}])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.filterwarnings("ignore:Removed shared tensor")
def test_a_snapshot_has_the_bytes_of_save_state(
    make_network, make_recipe, learn, tmp_path, fields, tied
):
    learner = learn(Tied() if tied else make_network(norm=True), make_recipe(**fields))
    step(learner)
    snapshot = Snapshot(learner.accelerator)
    learner.accelerator.save_state(str(tmp_path / "now"))
    # What happens afterwards is not in it.
    step(learner)
    torch.rand(3)
    (tmp_path / "later").mkdir()
    snapshot.write(tmp_path / "later")
    names = sorted(file.name for file in (tmp_path / "now").iterdir())
    assert sorted(file.name for file in (tmp_path / "later").iterdir()) == names
    for name in names:
        now, later = (tmp_path / each / name for each in ("now", "later"))
        assert now.read_bytes() == later.read_bytes(), name


@pytest.mark.parametrize("tied", [True, False])
def test_weights_have_the_bytes_of_save_model(make_network, tmp_path, tied):
    network = Tied() if tied else make_network(norm=True)
    save_model(network, str(tmp_path / "now"))
    snapshot = WeightsSnapshot(network)
    with torch.no_grad():
        network.norm.bias.fill_(7) if tied else network.norm1.bias.fill_(7)
    for name in ("best", "last"):
        snapshot.write(tmp_path / name)
        assert (tmp_path / name).read_bytes() == (tmp_path / "now").read_bytes()
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
    accelerator.load_state(str(tmp_path))
