"""The float32 network beside its integers: local differences, and accuracy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from qcli.deployment.comparison import Agreement, Results
from qcli.deployment.graph import Graph, Integers, Quantize
from qcli.quantization.quantizer import Quantizer
from qcli.quantization.surgery import quantizers
from qcli.training.evaluation import evaluating


class FloatAgreement(Agreement):
    """How the float32 network compares with the integers.

    `wrong` and `compared` count codes locally: every quantizer receives what the integers before
    it give, so that one difference does not become many.
    """

    @property
    def rates(self) -> dict[str, float]:
        """The local mismatch of each quantizer, 0..1."""
        return {name: self.wrong[name] / self.compared[name] for name in self.wrong}

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
            classes = model(images).argmax(1).numpy()
            with self._watching(model, graph, reference):
                model(images)
        self.argmax += int((classes == reference["logits"].argmax(1)).sum())
        self.right += int((classes == labels).sum())
        self.images += len(labels)

    @contextmanager
    def _watching(self, model: nn.Module, graph: Graph, reference: Results) -> Iterator[None]:
        levels = {node.name: node.levels for node in graph.nodes if isinstance(node, Quantize)}
        handles = [
            quantizer.register_forward_hook(
                self._replacer(name, quantizer, _codes(levels[name], reference[name]))
            )
            for name, quantizer in _named(model).items()
            if name in levels
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _replacer(self, name: str, quantizer: Quantizer, codes: Integers) -> Any:
        wanted = torch.from_numpy(codes)

        def compare(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
            differ = int((quantizer.codes(args[0]) != wanted).sum())
            self.wrong[name] = self.wrong.get(name, 0) + differ
            self.compared[name] = self.compared.get(name, 0) + wanted.numel()
            return quantizer.decode(wanted)

        return compare


def _named(model: nn.Module) -> Mapping[str, Quantizer]:
    return {
        f"{layer}.{slot}": quantizer
        for layer, slot, quantizer in quantizers(model)
        if slot != "weight"
    }


def _codes(levels: Integers, values: NDArray[Any]) -> Integers:
    return np.ascontiguousarray(np.searchsorted(levels, values)).astype(np.int64)
