"""The training loop: epochs of steps, each epoch measured, written down and checkpointed."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

import torch

from qcli.errors import Interrupted, RunError
from qcli.quantization.finding import Finding
from qcli.quantization.ops import all_reduce_max, all_reduce_sum
from qcli.recipe.schedule import Progress
from qcli.training.background import BackgroundWriter
from qcli.training.batches import EvaluationBatches
from qcli.training.checkpoint import save_checkpoint
from qcli.training.class_scores import CLASS_SCORES, selectable_scores
from qcli.training.data import Data
from qcli.training.evaluation import Metrics, Tally, evaluate
from qcli.training.heartbeat import Heartbeat
from qcli.training.interruption import Interruption
from qcli.training.learner import Learner
from qcli.training.loss import evaluation_loss
from qcli.training.position import Position
from qcli.training.recalibration import recalibrated, share_buffers
from qcli.training.run_directory import RunDirectory
from qcli.training.snapshot import WeightsSnapshot
from qcli.training.tracking import Tracking
from qcli.training.watch import make_watch

# Processes agree on signals and on the clock so often: each time costs an exchange.
STEPS_BETWEEN_AGREEMENTS = 16


class Report(Protocol):
    """Where the loop says what happens."""

    def begin_epoch(self, epoch: int, total_epochs: int, num_steps: int, first_step: int) -> None:
        """Hear that an epoch begins."""

    def wants_metrics(self) -> bool:
        """Say whether a person watches, for whom numbers are worth a read from the device."""

    def step(self, step: int, metrics: Metrics | None, images_per_second: float) -> None:
        """Hear of a step; metrics now and then."""

    def end_epoch(self, row: Mapping[str, Any], is_best: bool) -> None:
        """Hear what an epoch came to."""

    def warn(self, finding: Finding) -> None:
        """Hear what is sick in the network."""


@dataclass
class Loop:
    """A run under way: the learner, its data, and who hears of it."""

    learner: Learner
    data: Data
    run: RunDirectory
    report: Report
    interruption: Interruption
    writer: BackgroundWriter
    tracking: Tracking
    rows: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.recipe = self.learner.recipe
        self.accelerator = self.learner.accelerator
        self.device = self.accelerator.device
        self.num_steps = self.data.training.division.num_steps
        self.saved_at = time.monotonic()
        self.watch = make_watch(self.learner)
        is_main = self.accelerator.is_main_process
        self.heartbeat = Heartbeat(self.run.path, self.writer, self.num_steps, is_main)

    def train(self, position: Position) -> Position:
        """Train from a position to the end; return the last position.

        Raises:
            Interrupted: A signal came; the checkpoint is saved.
            RunError: The loss is not finite, the disk is full, or a layer is sick.
        """
        while position.epoch < self.recipe.epochs:
            position = self._epoch(position)
            self.save(position)
            self._stop_if_sick()
            if position.epoch < self.recipe.epochs:
                self._stop_if_signalled(self._signal())
        self.writer.join()
        return position

    def _epoch(self, position: Position) -> Position:
        metrics, position = self._train_epoch(position)
        self._require_finite(metrics)
        # Nothing is written while the evaluation's workers are forked.
        self.writer.join()
        started = time.monotonic()
        with self._averaged(), self._hard_norms():
            with self.watch.counting() if self.watch else nullcontext():
                selected = self.measure(self.data.selection)
            row = self._row(position, metrics, selected, time.monotonic() - started)
            is_best = self._is_better(row, position.best)
            self._keep_weights(is_best)
        self.rows.append(row)
        if self.accelerator.is_main_process:
            self.writer.submit(partial(self.run.write_rows, list(self.rows)))
        self.report.end_epoch(row, is_best)
        self.tracking.tell(row)
        for finding in self.watch.new if self.watch else ():
            self.report.warn(finding)
        best = row if is_best else position.best
        return Position(position.epoch + 1, best=best, rows=len(self.rows))

    def _train_epoch(self, position: Position) -> tuple[Metrics, Position]:
        tally = Tally(self.device)
        if self.accelerator.is_main_process:
            tally.sums += torch.tensor(position.sums, dtype=tally.sums.dtype, device=self.device)
        self.learner.network.train()
        self.report.begin_epoch(position.epoch, self.recipe.epochs, self.num_steps, position.step)
        begun = time.monotonic() - position.seconds
        first = position.step
        for batches in self.data.training.epoch(position.epoch, first):
            self.learner.step(batches, self._progress(position), tally)
            seconds = time.monotonic() - begun
            position = replace(position, step=position.step + 1, seconds=seconds)
            self._say(position, tally)
            self.heartbeat.beat(position)
            self._save_if_due(position, tally)
        # Reading waits for the device, so that the seconds are those of the work.
        metrics = tally.read()
        return metrics, replace(position, seconds=time.monotonic() - begun)

    def _progress(self, position: Position) -> Progress:
        return Progress(
            step=position.epoch * self.num_steps + position.step,
            total_steps=self.recipe.epochs * self.num_steps,
            epoch=position.epoch,
            total_epochs=self.recipe.epochs,
            seed=self.recipe.seed,
        )

    def _say(self, position: Position, tally: Tally) -> None:
        """Tell a watching person; with several processes no numbers: they need an exchange."""
        metrics = None
        if self.accelerator.num_processes == 1 and self.report.wants_metrics():
            metrics = tally.read()
            self._require_finite(metrics)
        done = position.step * self.recipe.batch_size
        self.report.step(position.step, metrics, done / max(position.seconds, 1e-9))

    def _save_if_due(self, position: Position, tally: Tally) -> None:
        self.writer.check()
        several = self.accelerator.num_processes > 1
        if several and self._progress(position).step % STEPS_BETWEEN_AGREEMENTS:
            return
        signal_number = self._signal()
        if (signal_number or self._is_due(several)) and position.step < self.num_steps:
            self._require_finite(tally.read())
            self.writer.join()
            self.save(replace(position, sums=tuple(all_reduce_sum(tally.sums).tolist())))
            self._stop_if_signalled(signal_number)

    def _signal(self) -> int:
        """Return the signal that any process received, 0 for none."""
        return self.interruption.agreed(self.device, self.accelerator.num_processes)

    def _stop_if_signalled(self, signal_number: int) -> None:
        """Raise Interrupted for a signal; the checkpoint has just been saved."""
        if signal_number:
            self.writer.join()
            raise Interrupted(
                f"stopped by signal {signal_number}; everything is saved; go on with: "
                f"qcli train --resume {self.run.path}",
                signal_number,
            )

    def _is_due(self, several: bool) -> bool:
        minutes = (time.monotonic() - self.saved_at) / 60
        due = minutes >= self.recipe.checkpoint_every_minutes
        if not several:
            return due
        return bool(all_reduce_max(torch.tensor(int(due), device=self.device)))

    def save(self, position: Position) -> None:
        """Save a checkpoint, beside the training; the writer tells where the disk refuses it."""
        if self.run.lock:
            self.run.lock.require_held()
        codes = self.watch.codes if self.watch else {}
        save_checkpoint(self.accelerator, self.run.path, position, codes, self.writer)
        self.saved_at = time.monotonic()

    def _stop_if_sick(self) -> None:
        """Raise RunError for what is newly sick, where the recipe says so."""
        if self.watch and self.recipe.health == "stop" and self.watch.new:
            self.writer.join()
            self.watch.stop_if_sick(self.run.path)

    def _averaged(self) -> AbstractContextManager[None]:
        """Evaluate and save the average of what is trained, where the recipe asks for one."""
        average = self.learner.average
        return average.applied() if average else nullcontext()

    @contextmanager
    def _hard_norms(self) -> Iterator[None]:
        """Share what norms gathered, and re-estimate it with hard weights where asked."""
        share_buffers(self.learner.network)
        count = self.recipe.batch_norm_recalibration_batches
        images = self.data.training.calibration(count)
        with recalibrated(self.learner.network, images) if count else nullcontext():
            yield

    def measure(self, batches: EvaluationBatches) -> Metrics:
        """Measure the network on a set, with what the recipe selects by."""
        loss = evaluation_loss(self.recipe)
        by_class = self.recipe.select_by in CLASS_SCORES
        num_classes = self.data.num_classes if by_class else None
        return evaluate(self.learner.network, batches, self.device, loss, num_classes)

    def _row(
        self, position: Position, train: Metrics, val: Metrics, val_seconds: float
    ) -> dict[str, Any]:
        last = self._progress(replace(position, step=self.num_steps - 1))
        row: dict[str, Any] = {"epoch": position.epoch + 1, "lr": self.recipe.lr.at(last)}
        row["temperature"] = self._temperature()
        for name, metrics in (("train", train), ("val", val)):
            row |= {
                f"{name}_loss": metrics.loss,
                f"{name}_top1": metrics.top1,
                f"{name}_top5": metrics.top5,
            }
        row |= {f"val_{name}": score for name, score in selectable_scores(val.confusion).items()}
        row["train_seconds"] = round(position.seconds, 3)
        row["val_seconds"] = round(val_seconds, 3)
        images = self.data.training.division.images_per_epoch
        row["images_per_second"] = round(images / max(position.seconds, 1e-9), 1)
        if self.watch:
            row |= {"health": self.watch.measure(), "levels": self.watch.levels()}
        return row

    def _temperature(self) -> float | None:
        """Return the temperature that annealed quantizers have; None where there is none."""
        for quantizer, _ in self.learner.served:
            temperature = dict(quantizer.named_buffers()).get("temperature")
            if temperature is not None:
                return float(temperature)
        return None

    def _is_better(self, row: Mapping[str, Any], best: Mapping[str, Any] | None) -> bool:
        """Say whether an epoch is better than the best so far; NaN is worse than anything."""
        if best is None:
            return True
        column = f"val_{self.recipe.select_by}"
        if column == "val_loss":
            return bool(row[column] < best[column]) or math.isnan(best[column])
        return bool(row[column] > best[column])

    def _keep_weights(self, is_best: bool) -> None:
        if self.accelerator.is_main_process:
            write = WeightsSnapshot(self.learner.network).write
            for name in ["best", "last"] if is_best else ["last"]:
                self.writer.submit(partial(self.run.write_file, f"{name}.safetensors", write))

    def _require_finite(self, metrics: Metrics) -> None:
        loss = torch.tensor(metrics.loss)
        if not bool(torch.isfinite(loss)):
            batch = next(iter(self.data.training.epoch(0, 0)))[0]
            self.learner.stop_if_not_finite(loss, batch)
            raise RunError(f"the loss is {metrics.loss}")
