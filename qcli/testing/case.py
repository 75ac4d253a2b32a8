"""A quantizer before one tensor: what every law of quantizers is asked about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from qcli.catalog.entries import SLOTS, QuantizerEntry
from qcli.quantization.plan import build_quantizer
from qcli.quantization.quantizer import Quantizer, TensorInfo
from qcli.recipe.schedule import Progress

SEED = 5

#: The beginning, the middle and the last step of one run.
MOMENTS = (
    Progress(step=0, total_steps=100, epoch=0, total_epochs=10, seed=1),
    Progress(step=37, total_steps=100, epoch=3, total_epochs=10, seed=1),
    Progress(step=99, total_steps=100, epoch=9, total_epochs=10, seed=1),
)

_CONVOLUTION, _LINEAR, _SINGLE = (4, 3, 3, 3), (5, 7), (1, 1)
_DEPTHWISE, _GROUPED = (6, 1, 3, 3), (4, 2, 3, 3)
# By slot: the shape of a weight, or of one sample, and the channel axis.
_SHAPES: Mapping[str, tuple[tuple[tuple[int, ...], int], ...]] = {
    "weight": (
        (_CONVOLUTION, 0),
        (_LINEAR, 0),
        (_CONVOLUTION, 1),
        (_DEPTHWISE, 0),
        (_GROUPED, 0),
        (_SINGLE, 0),
    ),
    "input": (((3, 4, 4), 1), ((7,), 1), ((1,), 1)),
    "output": (((3, 4, 4), 1), ((7,), 1), ((1,), 1)),
}
_KINDS = ("normal", "all zero", "constant", "tiny", "huge")


@dataclass(frozen=True)
class Case:
    """A quantizer of an entry, and a tensor for it.

    Args:
        entry: The entry.
        info: The tensor as the quantizer is told of it.
        kind: What the tensor holds: normal, all zero, constant, tiny or huge.
        tensor: A weight, or a batch of inputs or outputs.
        options: The options that are not the defaults.
    """

    entry: QuantizerEntry
    info: TensorInfo
    kind: str
    tensor: Tensor
    options: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        shape = "x".join(str(length) for length in self.tensor.shape)
        chosen = "".join(f", {key} {part}" for key, part in self.options.items())
        return f"{self.info.role} ({self.kind}, {shape}{chosen})"

    def build(self) -> Quantizer:
        """Return a fresh quantizer that has seen nothing."""
        return build_quantizer(self.entry, self.info, self.options)

    def start(self) -> tuple[Quantizer, Tensor]:
        """Return a quantizer ready for training, as `qcli.quantize` leaves it, and its latent.

        Whatever it draws at random comes from one seed: every call starts alike.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            quantizer = self.build()
            if self.info.role == "weight":
                latent = quantizer.right_inverse(self.tensor)
            else:
                latent = self.tensor
                with torch.no_grad():
                    quantizer.observe(latent)
        quantizer.on_progress(MOMENTS[0])
        return quantizer.train(), latent.detach().clone()

    def latent_for_step(self, latent: Tensor) -> Tensor | None:
        """Return what `after_step` is given: the latent of a weight, else None."""
        return latent if self.info.role == "weight" else None


def make_cases(entry: QuantizerEntry, options: Mapping[str, Any]) -> Iterator[Case]:
    """Yield every slot of an entry with every kind of tensor, and further shapes."""
    for slot in SLOTS:
        if slot not in entry.quantizes:
            continue
        for number, (shape, axis) in enumerate(_SHAPES[slot]):
            info = TensorInfo(role=slot, shape=shape, channel_axis=axis, layer="layer")
            full = shape if slot == "weight" else (2, *shape)
            for kind in _KINDS if number == 0 else _KINDS[:1]:
                yield Case(entry, info, kind, _make_tensor(kind, full), options)


def _make_tensor(kind: str, shape: tuple[int, ...]) -> Tensor:
    normal = torch.randn(shape, generator=torch.Generator().manual_seed(SEED))
    match kind:
        case "all zero":
            return torch.zeros(shape)
        case "constant":
            return torch.full(shape, 0.7)
        case "tiny":
            return normal * 1e-30
        case "huge":
            return normal * 1e30
        case _:
            return normal


def evaluate(quantizer: Quantizer, latent: Tensor) -> Tensor:
    """Return what eval mode makes of a latent; the quantizer is in train mode after it."""
    quantizer.eval()
    with torch.no_grad():
        result: Tensor = quantizer(latent)
    quantizer.train()
    return result


def same_bits(left: Tensor, right: Tensor) -> bool:
    """Whether two tensors hold the same bits: 0.0 differs from -0.0, NaN equals itself."""
    if left.dtype != right.dtype or left.shape != right.shape:
        return False
    return torch.equal(bits_of(left), bits_of(right))


def bits_of(x: Tensor) -> Tensor:
    """Return the bits of a tensor as integers."""
    integers = {2: torch.int16, 4: torch.int32, 8: torch.int64}
    if not x.is_floating_point():
        return x
    return x.detach().contiguous().view(integers[x.element_size()])
