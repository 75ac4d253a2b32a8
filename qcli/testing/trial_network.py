"""Small quantized networks, as if trained, with their integers: what exporters are tried on."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from qcli.deployment.deployment import Deployment
from qcli.deployment.lowering.walk import Pixels, lower
from qcli.quantization.calibration import calibrate
from qcli.quantization.planner import make_plan
from qcli.quantization.surgery import quantize
from qcli.testing.trial_quantizer import CATALOG

IMAGE_SHAPE = (3, 8, 8)
CLASSES = ("first", "second", "third")
RANDOM_IMAGES = 14
MEAN, STD = 0.5, 0.25

_EIGHT, _FOUR = ({"quantizer": "steps", "bits": bits} for bits in (8, 4))
RECIPE: dict[str, Any] = {
    "name": "trial",
    "default": {"weight": _FOUR, "output": _FOUR},
    "first_layer": {"weight": _EIGHT, "input": _EIGHT},
    "last_layer": {"weight": _EIGHT},
}


class Chain(nn.Sequential):
    """A convolution, a pool and a linear layer, one behind the other."""

    def __init__(self) -> None:
        super().__init__(
            *(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4), nn.ReLU()),
            *(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, len(CLASSES))),
        )


class Branches(nn.Module):
    """A grouped convolution whose result is added to what it received, and an average."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.bn1, self.relu1 = nn.BatchNorm2d(4), nn.ReLU()
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1, groups=2, bias=False)
        self.bn2, self.relu2 = nn.BatchNorm2d(4), nn.ReLU()
        self.pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(4, len(CLASSES))

    def forward(self, images: Tensor) -> Tensor:
        """Return the scores [B, 3] of images [B, 3, 8, 8]."""
        x = self.relu1(self.bn1(self.conv1(images)))
        x = self.relu2(self.bn2(self.conv2(x)) + x)
        scores: Tensor = self.fc(self.pool(x).flatten(1))
        return scores


NETWORKS: tuple[Callable[[], nn.Module], ...] = (Chain, Branches)


def make_deployments() -> tuple[Deployment, ...]:
    """Return every trial network, quantized and lowered: the same ones, and new, each time."""
    return copy.deepcopy(_make_deployments())


@cache
def _make_deployments() -> tuple[Deployment, ...]:
    with torch.random.fork_rng(devices=[]):
        return tuple(_deploy(build, seed) for seed, build in enumerate(NETWORKS))


def _deploy(build: Callable[[], nn.Module], seed: int) -> Deployment:
    torch.manual_seed(seed)
    model = build()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                # As training leaves them: no two channels alike.
                module.bias.uniform_(-0.5, 0.5)
                module.running_var.uniform_(0.5, 2.0)  # type: ignore[union-attr]
    quantize(model, make_plan(model, RECIPE, IMAGE_SHAPE, catalog=CATALOG))
    calibrate(model, [torch.rand(8, *IMAGE_SHAPE).sub(MEAN).div(STD)])
    pixels = Pixels(np.array([1 / (255 * STD)]), np.array([-MEAN / STD]))
    image = {"channels": 3, "interpolation": "bilinear", "resize": None, "crop": None}
    facts = {"architecture": build.__name__, "image": image, "classes": [*CLASSES]}
    graph = lower(model.eval(), IMAGE_SHAPE, pixels, facts)
    preprocessing = {"mean": [MEAN] * 3, "std": [STD] * 3, "image": image, "classes": [*CLASSES]}
    return Deployment(build.__name__.lower(), model, IMAGE_SHAPE, graph, preprocessing)


def draw_images() -> NDArray[np.uint8]:
    """Return uint8 [N, 3, 8, 8]: random pixels, and images that are black and white all over."""
    drawn = np.random.default_rng(0).integers(0, 256, (RANDOM_IMAGES, *IMAGE_SHAPE), np.uint8)
    even = [np.full((1, *IMAGE_SHAPE), pixel, np.uint8) for pixel in (0, 255)]
    return np.concatenate([drawn, *even])
