"""How an epoch is divided into steps, micro-batches and processes."""

from __future__ import annotations

from dataclasses import dataclass

from qcli.errors import UsageError


@dataclass(frozen=True)
class Part:
    """The images of one micro-batch that one process takes.

    Args:
        start: First place in the epoch's order.
        stop: One after the last.
        weight: Factor on the mean loss of the part, so that the gradients of all parts, averaged
            over processes and summed over micro-batches, are the mean over the batch.
    """

    start: int
    stop: int
    weight: float


@dataclass(frozen=True)
class Division:
    """An epoch's division: the same global batches on any number of processes.

    Args:
        num_images: Images of the training set.
        batch_size: Images of a step, over all processes.
        accumulate: Micro-batches of a step.
        drop_last: Whether a last batch that is not full is left out.
        num_processes: The number of processes.
    """

    num_images: int
    batch_size: int
    accumulate: int = 1
    drop_last: bool = False
    num_processes: int = 1

    def __post_init__(self) -> None:
        parts = self.accumulate * self.num_processes
        if self.batch_size % parts:
            below = self.batch_size // parts * parts
            sizes = " or ".join(str(size) for size in (below, below + parts) if size)
            raise UsageError(
                f"batch_size {self.batch_size} cannot be divided by {self.num_processes} processes "
                f"x accumulate {self.accumulate}; use --set batch_size={sizes}"
            )
        if not self.num_steps:
            raise UsageError(
                f"the training set has {self.num_images} images, too few for one step of "
                f"batch_size {self.batch_size}; use a smaller one"
            )

    @property
    def num_steps(self) -> int:
        """Optimizer steps of an epoch."""
        full, rest = divmod(self.num_images, self.batch_size)
        return full + int(self._keeps(rest))

    @property
    def images_per_epoch(self) -> int:
        """Images that an epoch uses."""
        return min(self.num_images, self.num_steps * self.batch_size)

    def _keeps(self, rest: int) -> bool:
        """Keep a last batch of which every part has two images: batch norms need them."""
        return not self.drop_last and rest >= 2 * self.accumulate * self.num_processes

    def parts(self, step: int, process: int) -> list[Part]:
        """Return what one process takes of one step: a part for each micro-batch."""
        first = step * self.batch_size
        size = min(self.batch_size, self.num_images - first)
        count = self.accumulate * self.num_processes
        bounds = [first + size * number // count for number in range(count + 1)]
        numbers = range(process, count, self.num_processes)
        return [
            Part(
                bounds[number],
                bounds[number + 1],
                (bounds[number + 1] - bounds[number]) * self.num_processes / size,
            )
            for number in numbers
        ]
