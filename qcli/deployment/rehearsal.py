"""Lower an untrained network, to know before training what will keep it from being integers."""

from __future__ import annotations

import numpy as np
import torch

from qcli.catalog.catalog import Catalog
from qcli.deployment.lowering.walk import Pixels, lower
from qcli.errors import ExportError, PlanError
from qcli.quantization.calibration import calibrate
from qcli.quantization.surgery import quantizers
from qcli.recipe.setting import Setting
from qcli.training.assembly import assemble

IMAGES = 4


def find_obstacles(setting: Setting, catalog: Catalog) -> list[str]:
    """Say what keeps a setting's network from being exported as integers, as export will say it.

    Args:
        setting: What would be trained.
        catalog: Where plugins are found.
    """
    model = assemble(setting, catalog, num_classes=None).model
    shape = setting.image_shape
    images = torch.rand(IMAGES, *shape, generator=torch.Generator().manual_seed(0))
    if any(slot != "weight" for _, slot, _ in quantizers(model)):
        try:
            calibrate(model, [images])
        except PlanError as error:
            return list(error.faults)
    try:
        lower(model.eval(), (shape[0], shape[1], shape[2]), _pixels(setting), {})
    except ExportError as error:
        return list(error.faults)
    return []


def _pixels(setting: Setting) -> Pixels:
    """Return a normalization like that of training: with an offset, unless the recipe has none."""
    plain = setting.training is not None and setting.training.normalize == "none"
    offset = np.zeros(1) if plain else np.array([-0.5])
    return Pixels(np.array([1 / 255]), offset)
