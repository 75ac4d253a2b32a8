"""PCA lighting: the color augmentation of AlexNet."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchvision.transforms import v2

# Eigenvalues and eigenvectors of the RGB covariance of ImageNet, for images in [0, 1], as
# fb.resnet.torch publishes them.
EIGENVALUES = (0.2175, 0.0188, 0.0045)
EIGENVECTORS = (
    (-0.5675, 0.7192, 0.4009),
    (-0.5808, -0.0045, -0.8140),
    (-0.5836, -0.6948, 0.4203),
)


class Lighting(v2.Transform):  # type: ignore[misc]
    """Add a random color along the principal components of natural images.

    Adds eigenvectors @ (a * eigenvalues), a ~ N(0, std^2) for each component, to every pixel of an
    image in [0, 1]; uint8 images are rounded and clipped.

    Source: Krizhevsky et al., NIPS 2012, section 4.1.
    """

    def __init__(self, std: float) -> None:
        super().__init__()
        self.std = std

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the color of one image: float32 [3, 1, 1]."""
        amounts = torch.randn(3) * self.std * torch.tensor(EIGENVALUES)
        return {"color": (torch.tensor(EIGENVECTORS) @ amounts)[:, None, None]}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Tensor:
        """Add the color to an image, uint8 [3, H, W]."""
        lit: Tensor = inpt.float() + 255 * params["color"]
        return lit.round().clamp(0, 255).to(torch.uint8)
