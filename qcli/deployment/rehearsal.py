"""Lower an untrained network, to know before training what will keep it from being integers."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from qcli.catalog.catalog import Catalog
from qcli.deployment.lowering.walk import Pixels, lower
from qcli.deployment.preparation import MEAN_OF_EACH_PIXEL
from qcli.errors import ExportError, PlanError
from qcli.quantization.calibration import calibrate
from qcli.quantization.surgery import quantizers
from qcli.recipe.setting import Setting
from qcli.training.assembly import assemble

IMAGES = 4
# What normalized images look like, where a recipe normalizes them.
OFFSET = -0.5


def find_obstacles(setting: Setting, catalog: Catalog) -> list[str]:
    """Say what keeps a setting's network from being exported as integers, as export will say it.

    Args:
        setting: What would be trained.
        catalog: Where plugins are found.
    """
    normalize = setting.training.normalize if setting.training else "dataset"
    offset = 0.0 if normalize == "none" else OFFSET
    model = assemble(setting, catalog, num_classes=None).model
    channels, height, width = setting.image_shape
    draw = torch.Generator().manual_seed(0)
    images = torch.rand(IMAGES, channels, height, width, generator=draw) + offset
    faults = [MEAN_OF_EACH_PIXEL] if normalize == "lq_nets" else []
    try:
        if any(slot != "weight" for _, slot, _ in quantizers(model)):
            calibrate(model, [images])
        _pretend_training(model, draw)
        pixels = Pixels(np.array([1 / 255]), np.array([offset]))
        lower(model.eval(), (channels, height, width), pixels, {})
    except (PlanError, ExportError) as error:
        return [*faults, *error.faults]
    return faults


def _pretend_training(model: nn.Module, draw: torch.Generator) -> None:
    """Give norms a shift of each channel, as training does: fresh ones have none."""
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.affine:
                module.bias.add_(torch.rand(module.bias.shape, generator=draw) + 0.1)
                module.weight.mul_(torch.rand(module.weight.shape, generator=draw) + 0.5)
