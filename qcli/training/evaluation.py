"""Measure loss and accuracy; counts stay on the device until they are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import parametrize

from qcli.errors import RunError
from qcli.quantization.ops import all_reduce_sum
from qcli.training.batches import EvaluationBatches
from qcli.training.class_counts import ClassCounts
from qcli.training.loss import Loss


@dataclass(frozen=True)
class Metrics:
    """What was measured over a set of images.

    Args:
        loss: Mean of the recipe's loss; of training steps, with its label smoothing, and blended
            with what a teacher says where the recipe distills.
        top1: Share of images whose likeliest class is right, 0..1.
        top5: Share of images whose class is among the five likeliest, 0..1.
        count: Images seen, by all processes.
        confusion: int64 [C, C], on the CPU: images by true class (rows) and likeliest class
            (columns); None where classes were not counted.
    """

    loss: float
    top1: float
    top5: float
    count: int
    confusion: Tensor | None = field(default=None, compare=False, repr=False)


class Tally:
    """Sums over images, on the device.

    `sums` is [loss, right in one, right in five, images], in float64 where the device has it.

    Args:
        device: Where the images are.
        num_classes: How many classes to count by; None: they are not told apart.
    """

    def __init__(self, device: torch.device, num_classes: int | None = None) -> None:
        dtype = torch.float32 if device.type == "mps" else torch.float64
        self.sums = torch.zeros(4, dtype=dtype, device=device)
        self.classes = ClassCounts(num_classes, device) if num_classes else None

    @torch.no_grad()
    def add(self, logits: Tensor, labels: Tensor, mean_loss: Tensor) -> None:
        """Count a batch; nothing is read from the device."""
        likeliest = logits.topk(min(5, logits.shape[1]), 1).indices
        right = likeliest == labels[:, None]
        parts = (
            mean_loss.detach() * len(labels),
            right[:, 0].sum(),
            right.sum(),
            labels.new_full((), len(labels)),
        )
        self.sums += torch.stack([part.to(self.sums.dtype) for part in parts])
        if self.classes:
            self.classes.add(likeliest[:, 0], labels)

    def read(self) -> Metrics:
        """Return the metrics so far, over all processes: one exchange and read of each tensor."""
        loss, top1, top5, count = all_reduce_sum(self.sums).tolist()
        seen = max(1.0, count)
        confusion = self.classes.read() if self.classes else None
        return Metrics(loss / seen, top1 / seen, top5 / seen, int(count), confusion)


@contextmanager
def plain_forward(model: nn.Module) -> Iterator[None]:
    """Let a network compute in float32, which is what is deployed.

    accelerate puts a forward into the network that computes in the precision of training.
    """
    original = model.__dict__.get("_original_forward")
    if original is None:
        yield
        return
    wrapped = model.__dict__["forward"]
    model.__dict__["forward"] = original
    try:
        yield
    finally:
        model.__dict__["forward"] = wrapped


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a network into eval mode, in float32, with every weight quantized once, and back."""
    training = model.training
    model.eval()
    try:
        with plain_forward(model), torch.inference_mode(), parametrize.cached():
            yield
    finally:
        model.train(training)


def evaluate(
    model: nn.Module,
    batches: EvaluationBatches,
    device: torch.device,
    loss: Loss = cross_entropy,
    num_classes: int | None = None,
) -> Metrics:
    """Measure a network on a test or validation set, over all processes.

    Args:
        model: The network.
        batches: The images.
        device: Where the network is.
        loss: Of scores and labels, a mean over images.
        num_classes: How many classes to count by; None: without a confusion matrix.

    Raises:
        RunError: Not every image was counted exactly once.
    """
    tally = Tally(device, num_classes)
    with evaluating(model):
        for batch in batches:
            logits = model(batch.images).float()
            tally.add(logits, batch.labels, loss(logits, batch.labels))
    metrics = tally.read()
    if metrics.count != batches.num_images:
        raise RunError(f"evaluated {metrics.count} images, but the set has {batches.num_images}")
    return metrics
