"""Weights for other programs: float ones for the plain network, and codes with their codebooks.

weights.safetensors   the state of the plain architecture with the values that are deployed
codes.npz             LAYER/codes, LAYER/codebook; LAYER/integers and LAYER/step on a grid
activations.npz       LAYER/SLOT/codebook, tau, strict; LAYER/SLOT/integers and step on a grid

codebook is float32 [K], or [O, K] with a row for each output channel, which are the first axis of
a weight, and the second of one of a transposed convolution. On a grid it is integers [K]
times step, [] or [O]. The code of an activation is the number of boundaries tau [K - 1] that it
has reached, or exceeded where strict holds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

import qcli

Arrays = dict[str, Any]


@torch.no_grad()
def write_weights(deployment: qcli.Deployment, path: Path) -> None:
    """Write the folder. Layers and slots that are left float have no arrays.

    Raises:
        OSError: The disk is full or not writable.
    """
    model = deployment.model
    path.mkdir(parents=True, exist_ok=True)
    baked = {name: value.contiguous() for name, value in qcli.bake(model).items()}
    save_file(baked, path / "weights.safetensors")
    np.savez(path / "codes.npz", **_read_weights(model))
    np.savez(path / "activations.npz", **_read_activations(model))


def _read_weights(model: nn.Module) -> Arrays:
    latents = qcli.latents(model)
    arrays: Arrays = {}
    for layer, slot, quantizer in qcli.quantizers(model):
        if slot == "weight" and quantizer.quantizes:
            codes = quantizer.codes(latents[quantizer]).numpy()
            greatest = quantizer.codebook().shape[-1] - 1
            arrays[f"{layer}/codes"] = codes.astype(np.min_scalar_type(greatest))
            arrays |= _named(layer, _read_codebook(quantizer))
    return arrays


def _read_activations(model: nn.Module) -> Arrays:
    arrays: Arrays = {}
    for layer, slot, quantizer in qcli.quantizers(model):
        thresholds = quantizer.thresholds() if slot != "weight" else None
        if thresholds is not None:
            found = {"tau": thresholds.tau.numpy(), "strict": thresholds.strict.numpy()}
            arrays |= _named(f"{layer}/{slot}", _read_codebook(quantizer) | found)
    return arrays


def _read_codebook(quantizer: qcli.Quantizer) -> Arrays:
    arrays = {"codebook": quantizer.codebook().numpy()}
    grid = quantizer.grid()
    if grid is not None:
        arrays["integers"] = (grid.integers - grid.zero_point).numpy()
        arrays["step"] = grid.step.numpy()
    return arrays


def _named(place: str, arrays: Arrays) -> Arrays:
    return {f"{place}/{name}": values for name, values in arrays.items()}
