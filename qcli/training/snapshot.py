"""Copies of what is trained: written later, they still hold the moment at which they were made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import recursively_apply
from safetensors.torch import load_model, save_model
from torch import Tensor, nn

from qcli.training.durable import give_usual_mode
from qcli.training.random_states import restore_random_states, take_random_states
from qcli.training.seal import METADATA, seal
from qcli.training.state_file import read_state, write_state

MODEL = "model.safetensors"
OPTIMIZER = "optimizer.safetensors"


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
    """What a process goes on from, and how it takes that up again: in files without any pickle.

    Args:
        accelerator: Knows the model, the optimizer, the loss scaler and what was registered. The
            main process keeps all of that, every process its random states.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self._weights: WeightsSnapshot | None = None
        files = {_random_file(accelerator): _own_state(accelerator)}
        if accelerator.is_main_process:
            (model,) = accelerator._models
            self._weights = WeightsSnapshot(model)
            files |= {name: each.state_dict() for name, each in _shared(accelerator).items()}
        self.files: dict[str, Any] = copy_tensors(files)

    def write(self, folder: Path) -> None:
        """Write the files; raises what safetensors does where the disk refuses them."""
        if self._weights is not None:
            self._weights.write(folder / MODEL)
            give_usual_mode(folder / MODEL)
        for name, content in self.files.items():
            write_state(content, folder / name)
            give_usual_mode(folder / name)


def restore(accelerator: Accelerator, folder: Path) -> None:
    """Take up what the snapshots of all processes wrote.

    Raises:
        Exception: A file is missing, damaged, or of another network; the type depends on which.
    """
    own = read_state(folder / _random_file(accelerator))
    shared = _shared(accelerator)
    states = {name: read_state(folder / name) for name in shared}
    (model,) = accelerator._models
    load_model(model, folder / MODEL)
    for name, each in shared.items():
        each.load_state_dict(states[name])
    accelerator.step = own["step"]
    restore_random_states(own["random"], accelerator.device)


def _shared(accelerator: Accelerator) -> dict[str, Any]:
    """Return what is alike in all processes, beside the model, by the name of its file."""
    (optimizer,) = accelerator._optimizers
    found: dict[str, Any] = {OPTIMIZER: optimizer}
    if accelerator.scaler is not None:
        found["scaler.safetensors"] = accelerator.scaler
    for number, registered in enumerate(accelerator._custom_objects):
        found[f"registered_{number}.safetensors"] = registered
    return found


def _own_state(accelerator: Accelerator) -> dict[str, Any]:
    return {"step": accelerator.step, "random": take_random_states(accelerator.device)}


def _random_file(accelerator: Accelerator) -> str:
    return f"random_{accelerator.process_index}.safetensors"


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
        """Write a file that safetensors' `load_model` reads, with a checksum in it."""
        # Of a module, save_model wants the state alone.
        module: Any = self
        save_model(module, str(path), metadata=dict(METADATA))
        seal(path)
