"""The states of all random generators that training draws from: taken and given back."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch


def take_random_states(device: torch.device) -> dict[str, Any]:
    """Return the states of Python, NumPy, torch's CPU and one device: numbers and tensors."""
    kind, keys, *rest = np.random.get_state()
    states: dict[str, Any] = {
        "python": random.getstate(),
        "numpy": (kind, torch.from_numpy(np.asarray(keys, np.int64)), *rest),
        "torch": torch.get_rng_state(),
    }
    if device.type != "cpu":
        states["device"] = torch.get_device_module(device).get_rng_state(*_place(device))
    return states


def restore_random_states(states: Mapping[str, Any], device: torch.device) -> None:
    """Let all generators go on from what `take_random_states` returned.

    Raises:
        Exception: These are no such states; the type depends on what is wrong.
    """
    kind, keys, *rest = states["numpy"]
    random.setstate(states["python"])
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(states["torch"])
    if device.type != "cpu":
        torch.get_device_module(device).set_rng_state(states["device"], *_place(device))


def _place(device: torch.device) -> tuple[torch.device, ...]:
    # There is one Metal device, and its functions take none.
    return () if device.type == "mps" else (device,)
