"""One optimizer step, and what it needs."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from qcli.errors import RunError
from qcli.quantization.quantizer import Quantizer
from qcli.quantization.surgery import latents, quantizers
from qcli.recipe.schedule import Progress
from qcli.recipe.training import TrainingRecipe
from qcli.training.average import WeightAverage
from qcli.training.batches import MicroBatch
from qcli.training.clipping import Clipping
from qcli.training.compilation import compile_network
from qcli.training.diagnosis import find_first_non_finite
from qcli.training.distillation import Teacher
from qcli.training.evaluation import Tally
from qcli.training.loss import Loss, training_loss
from qcli.training.optimizer import make_optimizer, set_learning_rate
from qcli.training.step_weights import StepWeights, trains_others


@dataclass(frozen=True)
class Learner:
    """A network in training.

    Args:
        accelerator: Devices and processes.
        network: The bare network: its state is what is saved and evaluated.
        forward: What training calls: the network, perhaps wrapped for processes and compiled.
        optimizer: Over the network's parameters.
        recipe: How it is trained.
        loss: Of scores and labels.
        clipping: Cuts the gradient, where the recipe asks for it.
        served: Every quantizer, with its latent where it serves a weight.
        average: Of what is trained, where the recipe asks for one.
        teacher: What the network learns from beside the labels, where the recipe asks for it.
        weights: Those that are quantized; None: a compiled network quantizes them itself.
    """

    accelerator: Accelerator
    network: nn.Module
    forward: Any
    optimizer: Any
    recipe: TrainingRecipe
    loss: Loss
    clipping: Clipping | None
    served: tuple[tuple[Quantizer, nn.Parameter | None], ...]
    average: WeightAverage | None
    teacher: Teacher | None = None
    weights: StepWeights | None = None

    def step(self, batches: Sequence[MicroBatch], progress: Progress, tally: Tally) -> None:
        """Take one optimizer step.

        Args:
            batches: The micro-batches of this process.
            progress: Where training is.
            tally: Counts the batches.

        Raises:
            RunError: On the CPU, at once: the loss is not finite. On other devices, whose numbers
                are not read at each step, `stop_if_not_finite` finds out later.
        """
        set_learning_rate(self.optimizer, self.recipe, progress)
        for quantizer, _ in self.served:
            quantizer.on_progress(progress)
        with self.weights.holding() if self.weights else nullcontext():
            for number, batch in enumerate(batches, 1):
                is_last = number == len(batches)
                with nullcontext() if is_last else self.accelerator.no_sync(self.forward):
                    self._backward(batch, tally, is_last)
        if self.weights:
            self.weights.pass_on(self._settle if self._may_settle() else None)
        self._update()

    def _backward(self, batch: MicroBatch, tally: Tally, is_last: bool) -> None:
        if self.weights:
            self.weights.is_last = is_last
        logits = self.forward(batch.images).float()
        loss = self.loss(logits, batch.labels)
        if self.teacher is not None:
            loss = self.teacher.blend(loss, logits, batch.images)
        if loss.device.type == "cpu":
            self.stop_if_not_finite(loss, batch)
        tally.add(logits, batch.labels, loss)
        self.accelerator.backward(loss * batch.weight)

    def _may_settle(self) -> bool:
        """Say whether parameters may be updated one after the other.

        A norm of all gradients needs them together, and a loss scaler drops all of them or none.
        """
        return self.clipping is None and self.recipe.precision != "float16"

    def _settle(self) -> None:
        self.optimizer.step()
        self.optimizer.zero_grad()

    def _update(self) -> None:
        if self.clipping is not None:
            self.clipping.clip()
        self._settle()
        if not self.accelerator.optimizer_step_was_skipped:
            with torch.no_grad():
                for quantizer, latent in self.served:
                    quantizer.after_step(latent)
            if self.average is not None:
                self.average.update()

    def stop_if_not_finite(self, loss: Tensor, batch: MicroBatch) -> None:
        """Raise RunError, naming the layer, where a loss is not finite."""
        if not bool(torch.isfinite(loss)):
            if self.teacher is not None and not self.teacher.is_finite(batch.images):
                raise RunError(
                    f"the loss is {loss.item()}: the scores of the teacher are not finite; the "
                    "last checkpoint is kept; give another --teacher to a new run"
                )
            cause = find_first_non_finite(self.network, batch.images)
            raise RunError(
                f"the loss is {loss.item()}: {cause}; the last checkpoint is kept; "
                "try a smaller lr, a warm_up or clip_gradient_norm"
            )


def make_learner(
    accelerator: Accelerator,
    model: nn.Module,
    recipe: TrainingRecipe,
    teacher: Teacher | None = None,
    patience: timedelta | None = None,
) -> Learner:
    """Group the parameters, build the optimizer and prepare both for devices and processes.

    `patience` is how long processes wait for one another; None: torch's choice.
    `compile: auto` counts as false: what it comes to, `settle` of tuning.py measures before.
    """
    optimizer = make_optimizer(
        model, recipe.optimizer, accelerator.device, scaled=recipe.precision == "float16"
    )
    # Dynamo would break the graph at each weight.
    holds = recipe.compile is not True and trains_others(model)
    weights = StepWeights(model, accelerator.num_processes, patience) if holds else None
    prepared, optimizer = accelerator.prepare(model, optimizer)
    network = accelerator.unwrap_model(prepared)
    latent_of = latents(network)
    served = tuple((each, latent_of.get(each)) for _, _, each in quantizers(network))
    forward = compile_network(prepared) if recipe.compile is True else prepared
    limit = recipe.clip_gradient_norm
    clipping = Clipping(accelerator, network, limit, recipe.clip_gradient_at) if limit else None
    average = WeightAverage(network, recipe.ema_decay) if recipe.ema_decay else None
    if average is not None:
        accelerator.register_for_checkpointing(average)
    loss = training_loss(recipe)
    return Learner(
        accelerator,
        network,
        forward,
        optimizer,
        recipe,
        loss,
        clipping,
        served,
        average,
        teacher,
        weights,
    )
