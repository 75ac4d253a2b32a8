"""How the weights of two runs differ, layer by layer: their codes, and the values deployed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from qcli.campaign.run_difference import LayerDifference
from qcli.quantization.health import narrow_codes
from qcli.quantization.surgery import bake, latents, quantizers
from qcli.training.revival import revive_run


def compare_layers(
    first: Path, second: Path, weights: str, plugins: Sequence[str] = ()
) -> Iterator[LayerDifference]:
    """Yield the layers whose weights differ, and last what belongs to no layer, if it differs.

    Raises:
        RunError: The network of a run cannot be built, or its weights are damaged.
    """
    models = [revive_run(path, weights, plugins).model.eval() for path in (first, second)]
    codes = [read_codes(model) for model in models]
    states = [bake(model) for model in models]
    layers = dict.fromkeys(name for model in models for name, _ in model.named_modules())
    for layer in layers:
        name = f"{layer}.weight" if layer else "weight"
        if not any(name in state and state[name].ndim > 1 for state in states):
            continue
        values = differing_share(*(state.pop(name, None) for state in states))
        if values != 0.0:
            shares = differing_share(*(each.get(layer) for each in codes))
            yield LayerDifference(layer, shares, values)
    rest = _differing_rest(*states)
    if rest:
        yield LayerDifference("", None, rest)


@torch.no_grad()
def read_codes(model: nn.Module) -> dict[str, Tensor]:
    """Return the codes of every quantized weight, by layer."""
    trained = latents(model)
    found = {
        layer: narrow_codes(quantizer, trained[quantizer])
        for layer, slot, quantizer in quantizers(model)
        if slot == "weight"
    }
    return {layer: codes for layer, codes in found.items() if codes is not None}


def differing_share(first: Tensor | None, second: Tensor | None) -> float | None:
    """Return the share of numbers that differ, 0..1; None where the shapes do; NaN equals NaN."""
    if first is None or second is None or first.shape != second.shape:
        return None
    differ = (first != second) & ~((first != first) & (second != second))
    return float(differ.float().mean()) if differ.numel() else 0.0


def _differing_rest(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> float:
    """Return the share of other tensors, such as norms and biases, that differ anywhere."""
    names = {**first, **second}
    shares = [differing_share(first.get(name), second.get(name)) for name in names]
    return sum(share != 0.0 for share in shares) / max(len(shares), 1)
