"""Freezing parts of a network."""

import pytest
import torch

from qcli.errors import UsageError
from qcli.recipe.schedule import Progress
from qcli.training.batches import MicroBatch
from qcli.training.evaluation import Tally
from qcli.training.freezing import freeze


def test_norm_affine_stays_while_statistics_go_on(make_network, make_recipe, learn):
    network = make_network(norm=True)
    freeze(network, ("norm_affine",))
    before = {name: each.clone() for name, each in network.state_dict().items()}
    learner = learn(network, make_recipe(optimizer={"name": "sgd", "weight_decay": 0.1}))
    images = torch.rand(4, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    batch = MicroBatch(images, torch.arange(4))
    learner.step([batch], Progress(0, 10, 0, 2), Tally(torch.device("cpu")))
    changed = {
        name
        for name, each in learner.network.state_dict().items()
        if not torch.equal(each, before[name])
    }
    assert not changed & {"norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias"}
    assert changed >= {"conv1.weight", "fc.bias", "norm1.running_mean", "norm2.running_var"}


def test_nothing_asked_nothing_frozen(make_network):
    network = make_network(norm=True)
    freeze(network, ())
    assert all(each.requires_grad for each in network.parameters())


def test_a_network_without_norms_is_refused(make_network):
    with pytest.raises(UsageError, match="no batch norm"):
        freeze(make_network(), ("norm_affine",))
