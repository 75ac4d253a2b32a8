"""Copies of what is trained: written later, they still hold the moment at which they were made."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import recursively_apply, save
from safetensors.torch import save_model
from torch import Tensor, nn


def copy_tensors(value: Any) -> Any:
    """Return nested dicts and lists with copies of their tensors on the CPU.

    Storages are copied, so that tensors that share one share the copy: safetensors saves it once.
    """
    copies: dict[int, torch.UntypedStorage] = {}

    def copy(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        place = storage.data_ptr()
        if place not in copies:
            whole = torch.empty(0, dtype=torch.uint8, device=tensor.device).set_(storage)
            copies[place] = whole.to("cpu", copy=True).untyped_storage()
        shape = tensor.storage_offset(), tensor.shape, tensor.stride()
        return torch.empty(0, dtype=tensor.dtype).set_(copies[place], *shape)

    return recursively_apply(copy, value)


class Snapshot:
    """What a run of one process goes on from, in the files that accelerate's `load_state` reads.

    `save_state` writes the same bytes, but from the state as it is while it writes.

    Args:
        accelerator: Knows the model, the optimizer, the loss scaler and what was registered.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        (model,), (optimizer,) = accelerator._models, accelerator._optimizers
        files = {
            "model.safetensors": accelerator.get_state_dict(model, unwrap=False),
            "optimizer.bin": optimizer.state_dict(),
            "random_states_0.pkl": _random_states(accelerator.step),
        }
        if accelerator.scaler is not None:
            files["scaler.pt"] = accelerator.scaler.state_dict()
        for number, registered in enumerate(accelerator._custom_objects):
            files[f"custom_checkpoint_{number}.pkl"] = registered.state_dict()
        self.files: dict[str, Any] = copy_tensors(files)

    def write(self, folder: Path) -> None:
        """Write the files; raises what torch and safetensors do where the disk refuses them."""
        for name, content in self.files.items():
            save(content, folder / name, safe_serialization=name.endswith(".safetensors"))


def _random_states(step: int) -> dict[str, Any]:
    states: dict[str, Any] = {
        "step": step,
        "random_state": random.getstate(),
        "numpy_random_seed": np.random.get_state(),
        "torch_manual_seed": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        states["torch_cuda_manual_seed"] = torch.cuda.get_rng_state_all()
    return states


class WeightsSnapshot:
    """The weights and buffers of a network.

    Args:
        network: What is copied.
    """

    def __init__(self, network: nn.Module) -> None:
        self._state = copy_tensors(network.state_dict())

    def state_dict(self) -> dict[str, Tensor]:
        """Return the copies, in a dictionary of the caller's own."""
        return dict(self._state)

    def write(self, path: Path) -> None:
        """Write a file that safetensors' `load_model` reads."""
        # Of a module, save_model wants the state alone.
        module: Any = self
        save_model(module, str(path))
