"""The float32 network beside its integers: local differences, scores and accuracy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from qcli.deployment.comparison import Agreement, Results
from qcli.deployment.graph import Graph
from qcli.quantization.quantizer import Quantizer
from qcli.quantization.surgery import quantizers
from qcli.training.evaluation import evaluating

# Above it a float32 network is not what its integers are.
LOCAL_MISMATCH = 1e-4
SCORE_ERROR = 1e-4


@dataclass
class FloatAgreement(Agreement):
    """How the float32 network compares with the integers.

    `wrong` and `compared` count codes locally: every quantizer receives what the integers before
    it give, so that one difference does not become many.

    Args:
        score_error: The greatest difference of a score, given the integers before it, as a part
            of the greatest score.
    """

    score_error: float = 0.0

    @property
    def rates(self) -> dict[str, float]:
        """The local mismatch of each quantizer, 0..1."""
        return {name: self.wrong[name] / self.compared[name] for name in self.wrong}

    @property
    def faults(self) -> list[str]:
        """What shows that the integers are those of another network; one code may always turn."""
        found = [
            f"{name}: {count:,} of {self.compared[name]:,} codes differ from the float32 network's"
            for name, count in self.wrong.items()
            if count > max(1, LOCAL_MISMATCH * self.compared[name])
        ]
        if self.score_error > SCORE_ERROR:
            error = f"{self.score_error:.1e}"
            found.append(f"logits: scores differ by {error} of the greatest from the float32 ones")
        return found

    def add_network(
        self,
        model: nn.Module,
        graph: Graph,
        images: Tensor,
        reference: Results,
        labels: NDArray[Any],
    ) -> None:
        """Count a batch.

        Args:
            model: The float32 network in eval mode.
            graph: Its integers.
            images: As the network takes them.
            reference: What the integers gave.
            labels: int64 [N].
        """
        with evaluating(model):
            scores = model(images).numpy()
            with self._watching(model, reference):
                local = model(images).double().numpy()
        self.count_classes(scores, reference["logits"], labels)
        wanted = np.ldexp(reference["logits"].astype(np.float64), -graph.logits.shift)
        error = np.abs(local - wanted).max() / max(np.abs(wanted).max(), np.finfo(float).tiny)
        self.score_error = max(self.score_error, float(error))

    @contextmanager
    def _watching(self, model: nn.Module, reference: Results) -> Iterator[None]:
        handles = [
            quantizer.register_forward_hook(self._replacer(name, quantizer, reference[name]))
            for name, quantizer in _named(model).items()
            if name in reference
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _replacer(self, name: str, quantizer: Quantizer, values: NDArray[Any]) -> Any:
        wanted = _codes(quantizer, values)

        def compare(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
            different = int((quantizer.codes(args[0]) != wanted).sum())
            self.count(name, different, wanted.numel())
            return quantizer.decode(wanted)

        return compare


def _named(model: nn.Module) -> Mapping[str, Quantizer]:
    return {
        f"{layer}.{slot}": quantizer
        for layer, slot, quantizer in quantizers(model)
        if slot != "weight"
    }


def _codes(quantizer: Quantizer, values: NDArray[Any]) -> Tensor:
    """Return the codes of integers: of a grid, or codes already."""
    planes = quantizer.planes()
    assert planes is not None
    levels = planes.integers[:, 0].cpu().numpy()
    if planes.integers.shape[1] > 1:
        levels = np.arange(len(levels))
    return torch.from_numpy(np.searchsorted(levels, values).astype(np.int64))
