"""Clipping of gradients: at the latents, or at quantized weights before the chain rule."""

import pytest
import torch
from torch import nn

from qcli.quantization.quantizer import Quantizer
from qcli.recipe.schedule import Progress
from qcli.training.batches import MicroBatch
from qcli.training.evaluation import Tally

CPU = torch.device("cpu")
START = Progress(0, 10, 0, 2)
IMAGE = torch.tensor([[1.0, 2.0]])


class Steep(Quantizer):
    """Multiplies by a trained gain of 100: the gradient at the latent is 100 times as long."""

    def __init__(self, info):
        super().__init__(info)
        self.gain = nn.Parameter(torch.tensor(100.0))

    def forward(self, latent):
        return latent * self.gain

    def codebook(self):
        return torch.tensor([-1.0, 1.0])


@pytest.fixture
def gradients(learn, make_recipe, quantize_by):
    """Return a function that gives the gradients of one clipped step, by name."""

    def make(at, limit, accumulate=1):
        network = nn.Sequential(nn.Linear(2, 2))
        with torch.no_grad():
            network[0].weight.copy_(torch.tensor([[0.01, 0.0], [0.0, 0.01]]))
            network[0].bias.zero_()
        network = quantize_by(network, (2,), {"weight": {"quantizer": "own"}}, own=Steep)
        plain = {"name": "sgd", "momentum": 0}
        recipe = make_recipe(lr=1, optimizer=plain, clip_gradient_norm=limit, clip_gradient_at=at)
        learner = learn(network, recipe)
        before = {name: each.detach().clone() for name, each in network.named_parameters()}
        part = MicroBatch(IMAGE, torch.tensor([0]), 1 / accumulate)
        learner.step([part] * accumulate, START, Tally(CPU))
        after = {name: each.detach() for name, each in learner.network.named_parameters()}
        return {name.split(".")[-1]: before[name] - after[name] for name in before}

    return make


def by_hand():
    """Return the gradients of the quantized weight and the bias: (p - onehot) outer (x, 1)."""
    logits = IMAGE[0] @ torch.eye(2).T
    error = logits.softmax(0) - torch.tensor([1.0, 0.0])
    return error[:, None] * IMAGE, error


@pytest.mark.parametrize("accumulate", [1, 4])
@pytest.mark.parametrize("limit", [0.5, 1e6])
def test_norm_of_what_reaches_the_quantizer(gradients, limit, accumulate):
    by_weight, by_bias = by_hand()
    norm = torch.cat([by_weight.flatten(), by_bias]).norm()
    factor = min(1.0, limit / float(norm))
    found = gradients("quantized", limit, accumulate)
    torch.testing.assert_close(found["original"], 100 * by_weight * factor, rtol=1e-4, atol=0)
    torch.testing.assert_close(found["bias"], by_bias * factor, rtol=1e-4, atol=0)
    by_gain = (by_weight * torch.eye(2) * 0.01).sum() * factor
    torch.testing.assert_close(found["gain"], by_gain, rtol=1e-3, atol=0)


def test_norm_of_latents_counts_the_chain_rule(gradients):
    found = gradients("latent", 0.5)
    norm = torch.cat([each.flatten() for each in found.values()]).norm()
    assert float(norm) == pytest.approx(0.5, rel=1e-3)
    by_weight, _ = by_hand()
    assert float(found["original"].norm()) < 0.5 < float(by_weight.norm())


def test_nothing_is_kept_from_step_to_step(learn, make_recipe, quantize_by):
    network = quantize_by(
        nn.Sequential(nn.Linear(2, 2)), (2,), {"weight": {"quantizer": "own"}}, own=Steep
    )
    learner = learn(network, make_recipe(clip_gradient_norm=1.0, clip_gradient_at="quantized"))
    learner.step([MicroBatch(IMAGE, torch.tensor([0]))], START, Tally(CPU))
    assert learner.clipping.arrived == {}
