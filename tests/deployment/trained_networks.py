"""Networks that are as if trained, for the exporters of fake-quantized networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import parametrize

import qcli
from qcli.quantization.calibration import calibrate
from qcli.quantization.surgery import quantizers
from qcli.recipe.setting import Request, resolve_setting
from qcli.training.assembly import assemble

PREPROCESSING = {"mean": [0.5, 0.25, 0.4], "std": [0.25, 0.5, 0.3]}


@dataclass(frozen=True)
class Trained:
    """A network and what an exporter receives of it."""

    deployment: qcli.Deployment
    images: Tensor

    @property
    def model(self) -> nn.Module:
        return self.deployment.model

    def normalized(self) -> Tensor:
        mean, std = (
            torch.tensor(self.deployment.preprocessing[key])[:, None, None]
            for key in ("mean", "std")
        )
        return (self.images - mean) / std

    @torch.no_grad()
    def observe(self) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the scores, and what the quantizers of inputs and outputs returned, by slot."""
        seen: dict[str, Tensor] = {}
        hooks = [
            quantizer.register_forward_hook(_keeper(seen, f"{layer}.{slot}"))
            for layer, slot, quantizer in quantizers(self.model)
            if slot != "weight"
        ]
        scores = self.model(self.normalized())
        for hook in hooks:
            hook.remove()
        return scores, seen

    def weights(self) -> dict[str, Tensor]:
        """Return what eval mode multiplies by, by layer."""
        return {
            name: module.weight.detach()
            for name, module in self.model.named_modules()
            if parametrize.is_parametrized(module, "weight")
        }


def _keeper(seen: dict[str, Tensor], name: str) -> Callable[..., None]:
    def keep(module: nn.Module, args: Any, output: Tensor) -> None:
        seen[name] = output.detach()

    return keep


def assert_close(found: NDArray[np.float32], scores: Tensor) -> None:
    """Compare scores image by image.

    Most agree to 1e-4: a sum beside a boundary, taken in another order, turns a code, and then what
    follows from it; that is as rare as such sums are.
    """
    expected = scores.numpy()
    errors = np.abs(found - expected).max(1) / np.abs(expected).max()
    assert np.median(errors) <= 1e-4
    assert (found.argmax(1) == expected.argmax(1)).mean() >= 0.75


def train_network(architecture: str, recipe: str, dataset: str, count: int = 16) -> Trained:
    """Assemble a network by a shipped recipe, as if trained."""
    catalog = qcli.load_catalog()
    request = Request(architecture=architecture, quant_json=recipe, dataset=dataset)
    setting = resolve_setting(request, catalog)
    torch.manual_seed(0)
    return finish(assemble(setting, catalog, 10).model, setting.image_shape, count)


def quantize_network(
    network: nn.Module,
    slots: Mapping[str, Any],
    image_shape: tuple[int, int, int],
    count: int = 8,
    pretrained: bool = False,
) -> Trained:
    """Quantize a network by the default slots of a recipe, as if trained."""
    recipe = {"name": "test", "default": slots, "first_layer": {}, "last_layer": {}}
    plan = qcli.make_plan(network, recipe, image_shape, pretrained=pretrained)
    return finish(qcli.quantize(network, plan), image_shape, count)


def boundary_network(slot: Mapping[str, Any]) -> Trained:
    """Return a network that quantizes its images: each boundary, its neighbors, and far numbers."""
    network = quantize_network(
        nn.Sequential(nn.Identity(), nn.Flatten()), {"output": slot}, (1, 4, 4)
    ).model
    ((_, _, quantizer),) = quantizers(network)
    thresholds = quantizer.thresholds()
    assert thresholds is not None
    tau = thresholds.tau.float()
    below, above = (torch.nextafter(tau, torch.tensor(end)) for end in (-torch.inf, torch.inf))
    far = torch.tensor([0.0, -0.0, 1e-30, -1e-30, 1e6, -1e6])
    images = torch.cat([below, tau, above, far])[None, None, None]
    plain = {"mean": [0.0], "std": [1.0]}
    shape = (1, 1, images.shape[-1])
    return Trained(qcli.Deployment("test", network, shape, None, plain), images)


def finish(network: nn.Module, image_shape: tuple[int, int, int], count: int) -> Trained:
    """Give norms statistics, biases and negative factors, and calibrate."""
    generator = torch.Generator().manual_seed(1)

    def draw(like: Tensor, low: float, high: float) -> Tensor:
        return torch.rand(like.shape, generator=generator) * (high - low) + low

    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.copy_(draw(module.running_mean, -0.3, 0.3))
            module.running_var.copy_(draw(module.running_var, 0.5, 2))
            if module.affine:
                signs = draw(module.weight, -0.3, 1).sign()
                module.weight.data.copy_(draw(module.weight, 0.5, 1.5) * signs)
                module.bias.data.copy_(draw(module.bias, -0.5, 0.5))
    channels = image_shape[0]
    images = torch.randint(0, 256, (count, *image_shape), generator=generator) / 255
    preprocessing = {key: numbers[:channels] for key, numbers in PREPROCESSING.items()}
    deployment = qcli.Deployment("test", network, image_shape, None, preprocessing)
    trained = Trained(deployment, images)
    calibrate(network, [trained.normalized()])
    network.eval()
    return trained
