"""Weights to start from: of a float network, or of a quantized run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from qcli.errors import RunError, UsageError
from qcli.quantization.plan import Plan
from qcli.quantization.quantizer import Quantizer
from qcli.quantization.surgery import INPUT, OUTPUT, latents, quantizers
from qcli.training.run_files import read_object
from qcli.training.seal import is_whole

Slots = Mapping[tuple[str, str], Mapping[str, Any]]


@dataclass(frozen=True)
class InitialWeights:
    """A state dict, and where it comes from.

    Args:
        source: What the user called it.
        state: Tensors by name.
        slots: By layer and slot, the quantizers of the run that it is from; None: not known.
    """

    source: str
    state: dict[str, Tensor] = field(repr=False)
    slots: Slots | None = None

    @property
    def is_quantized(self) -> bool:
        """Whether quantizers are among the tensors."""
        return any(
            {"parametrizations", INPUT, OUTPUT} & set(name.split(".")) for name in self.state
        )

    def load_float(self, model: nn.Module) -> None:
        """Load into a float network.

        Raises:
            UsageError: A tensor is missing, unknown or of another shape.
        """
        own = model.state_dict(keep_vars=True)
        state = _with_twins(self.state, own)
        missing = [name for name in own if name not in state]
        self._refuse(_find_faults(own, state, missing), "does not fit the network")
        model.load_state_dict(state)

    def load_quantized(self, model: nn.Module, plan: Plan) -> list[Quantizer]:
        """Load into a quantized network.

        Quantizers that the state does not have start fresh, as do those that are now of another
        method or width; only they may be missing.

        Returns:
            The quantizers that start fresh.

        Raises:
            UsageError: Anything else is missing, unknown or of another shape.
        """
        own = model.state_dict(keep_vars=True)
        changed = self._changed(plan)
        prefixes = {_prefix(layer, slot): each for layer, slot, each in quantizers(model)}
        dropped = tuple(_prefix(*place) for place in changed)
        kept = {name: value for name, value in self.state.items() if not name.startswith(dropped)}
        state = _with_twins(kept if dropped else self.state, own)
        missing = [name for name in own if name not in state]
        lost = [name for name in missing if not name.startswith(tuple(prefixes))]
        faults = _find_faults(own, state, lost)
        advice = "; start from a float run, or quantize its layers alike"
        self._refuse(faults, "its quantized weights do not fit this recipe", advice)
        model.load_state_dict(state, strict=False)
        fresh = [
            quantizer
            for prefix, quantizer in prefixes.items()
            if prefix in dropped or any(name.startswith(prefix) for name in missing)
        ]
        _encode_again(model, fresh)
        return fresh

    def _changed(self, plan: Plan) -> list[tuple[str, str]]:
        """Return the places whose quantizer is of another method or width than in the run."""
        if self.slots is None:
            return []
        return [
            (layer, slot)
            for layer, slot, planned in plan.slots()
            if (old := self.slots.get((layer, slot)))
            and (old["quantizer"], old["bits"]) != (planned.entry.name, planned.bits)
        ]

    def _refuse(self, faults: Sequence[str], what: str, advice: str = "") -> None:
        if faults:
            raise UsageError(f"--init-from {self.source}: {what}: {', '.join(faults)}{advice}")


@torch.no_grad()
def _encode_again(model: nn.Module, fresh: Sequence[Quantizer]) -> None:
    """Let new weight quantizers start from the loaded weights: they were built on random ones."""
    latent_of = latents(model)
    for quantizer in fresh:
        latent = latent_of.get(quantizer)
        if latent is not None and latent.shape == quantizer.info.shape:
            latent.copy_(quantizer.right_inverse(latent))


def _prefix(layer: str, slot: str) -> str:
    inner = "parametrizations.weight.0" if slot == "weight" else f"{slot}_quantizer"
    return f"{layer}.{inner}."


def _with_twins(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Add the second names of tied weights, which are saved under one."""
    full = dict(state)
    names = {id(value): name for name, value in own.items() if name in state}
    for name, value in own.items():
        if name not in full and id(value) in names:
            full[name] = full[names[id(value)]]
    return full


def _find_faults(
    own: Mapping[str, Tensor], state: Mapping[str, Tensor], lost: Sequence[str]
) -> list[str]:
    """Return in words what is missing, unknown or of another shape, three of each at most."""
    shapes = [
        f"{name} is {list(state[name].shape)} instead of {list(own[name].shape)}"
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]
    extra = [name for name in state if name not in own]
    return [
        *(f"{name} is missing" for name in lost[:3]),
        *(f"{name} is unknown" for name in extra[:3]),
        *shapes[:3],
    ]


def read_weights(path: Path) -> InitialWeights:
    """Read a state dict from a run directory, a .safetensors file, or a torch file.

    Torch files load with `weights_only`, so that they cannot execute code.

    Raises:
        UsageError: It is missing, damaged, or holds no state dict.
    """
    file = path / "best.safetensors" if path.is_dir() else path
    if not file.is_file():
        what = "is no file" if file.exists() else "does not exist"
        raise UsageError(f"--init-from {path}: {file} {what}")
    state = _read_state(file, f"--init-from {path}: {file}")
    return InitialWeights(str(path), state, _read_slots(file.parent / "plan.json"))


def _read_state(file: Path, label: str) -> dict[str, Tensor]:
    try:
        if file.suffix == ".safetensors":
            if not is_whole(file):
                raise UsageError(f"{label} is damaged: its content does not match its checksum")
            return load_file(file)
        state: Any = torch.load(file, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, RuntimeError, ValueError, EOFError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(f"{label} cannot be read: {reason}") from None
    except Exception as error:
        raise UsageError(
            f"{label} is damaged or holds more than weights "
            f"({type(error).__name__}); save the state dict alone"
        ) from None
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not (isinstance(state, dict) and all(map(_is_entry, state.items()))):
        raise UsageError(f"{label} holds no state dict")
    odd = [name for name, value in state.items() if value.is_sparse or value.is_complex()]
    if odd:
        raise UsageError(f"{label}: {odd[0]} is sparse or complex, allowed: dense real numbers")
    return state


def _is_entry(item: tuple[Any, Any]) -> bool:
    return isinstance(item[0], str) and isinstance(item[1], Tensor)


def _read_slots(file: Path) -> Slots | None:
    """Return the quantizers of a run's plan; None where there is none.

    Raises:
        UsageError: It is damaged.
    """
    try:
        rows = read_object(file)["layers"]
    except FileNotFoundError:
        return None
    except (OSError, RunError) as error:
        raise UsageError(f"--init-from: {error}") from None
    return {
        (row["layer"], slot): row[slot]
        for row in rows
        for slot in ("weight", "input", "output")
        if row[slot]
    }
