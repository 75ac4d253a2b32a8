"""Steps on a copy of the network, timed: what a run measures of itself before it begins."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from qcli.quantization.ops import all_reduce_max
from qcli.quantization.surgery import latents, quantizers
from qcli.recipe.schedule import Progress
from qcli.recipe.training import TrainingRecipe
from qcli.training.batches import MicroBatch
from qcli.training.loss import training_loss

# As many rounds as fit into the time, within these bounds.
FEWEST_ROUNDS, MOST_ROUNDS = 3, 20
SECONDS_FOR_ROUNDS = 60.0

Step = Callable[[], float]
Clock = Callable[[], float]
Choice = TypeVar("Choice")


@dataclass(frozen=True)
class Workload:
    """What a run does over and over.

    Args:
        accelerator: Its devices and processes.
        model: Quantized and calibrated, on its device, not yet wrapped for processes.
        recipe: How it is trained.
        batches: The micro-batches of one step of this process.
        total_steps: Optimizer steps of the whole run.
    """

    accelerator: Accelerator
    model: nn.Module
    recipe: TrainingRecipe
    batches: Sequence[MicroBatch]
    total_steps: int


class Rehearsal:
    """Takes steps on a copy of a network, whose own state and gradients stay as they are.

    The optimizer, the teacher and the exchange of gradients are left out: they cost the same
    whatever is compared here. In several processes all must take the same steps.

    Args:
        workload: What is rehearsed.
        clock: Returns seconds.
    """

    def __init__(self, workload: Workload, clock: Clock = time.perf_counter) -> None:
        self.workload = workload
        self.clock = clock
        self.network = copy.deepcopy(workload.model).train()
        latent_of = latents(self.network)
        self.served = [(each, latent_of.get(each)) for _, _, each in quantizers(self.network)]
        self.loss = training_loss(workload.recipe)
        self.steps_done = 0

    def step(self, forward: Callable[[Tensor], Tensor]) -> float:
        """Take one step to its end on the device.

        Args:
            forward: Of the copy, perhaps compiled.

        Returns:
            Seconds.
        """
        self._anneal()
        started = self.clock()
        for batch in self.workload.batches:
            with self.workload.accelerator.autocast():
                logits = forward(batch.images)
            loss = self.loss(logits.float(), batch.labels)
            torch.autograd.backward(loss * batch.weight)
        with torch.no_grad():
            for quantizer, latent in self.served:
                quantizer.after_step(latent)
        if self.workload.accelerator.device.type == "cuda":
            torch.cuda.synchronize(self.workload.accelerator.device)
        seconds = self.clock() - started
        self.network.zero_grad()
        return seconds

    def _anneal(self) -> None:
        """Let schedules move, as they will: one that compiles anew at each change costs time."""
        recipe, total = self.workload.recipe, self.workload.total_steps
        progress = Progress(self.steps_done % total, total, 0, recipe.epochs, recipe.seed)
        for quantizer, _ in self.served:
            quantizer.on_progress(progress)
        self.steps_done += 1

    def compare(self, steps: Mapping[Choice, Step], round_seconds: float) -> dict[Choice, float]:
        """Return the median seconds of each kind of step, taken in turns.

        Args:
            steps: Each takes one step and returns its seconds.
            round_seconds: About how long one of each takes, the same in every process.
        """
        fitting = int(SECONDS_FOR_ROUNDS / max(round_seconds, 1e-9))
        rounds = min(MOST_ROUNDS, max(FEWEST_ROUNDS, fitting))
        taken = [[step() for step in steps.values()] for _ in range(rounds)]
        medians = [statistics.median(each) for each in zip(*taken, strict=True)]
        return dict(zip(steps, self.slowest(*medians), strict=True))

    def slowest(self, *seconds: float) -> list[float]:
        """Return each time as the slowest process has it, the same in all of them."""
        device = self.workload.accelerator.device
        result: list[Any] = all_reduce_max(torch.tensor(seconds, device=device)).tolist()
        return result
