"""When the health of quantizers is measured: once per epoch, and what is kept for that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from accelerate.utils import broadcast_object_list
from torch import Tensor, nn

from qcli.errors import RunError
from qcli.quantization.finding import Finding
from qcli.quantization.health import (
    Health,
    count_met,
    describe,
    list_levels,
    measure_weight,
    narrow_codes,
    own_numbers,
    sum_counts,
)
from qcli.quantization.quantizer import Quantizer
from qcli.quantization.surgery import latents, quantizers
from qcli.quantization.verdict import judge
from qcli.training.learner import Learner

# So many images, of all processes together, tell where inputs and outputs pile up.
IMAGES = 64


class Watch:
    """Watches every quantizer of a network while it trains, and changes none.

    Codes of weights are kept from one epoch to the next, and in checkpoints: a run that goes on
    inside an epoch compares with the codes that the epoch began with.

    Args:
        network: As it is before training.
        total_epochs: Of the run.
        num_processes: That train it together.

    Attributes:
        new: What is sick since the last epoch and never was before: each kind once for each slot.
    """

    def __init__(self, network: nn.Module, total_epochs: int, num_processes: int = 1) -> None:
        self.total_epochs = total_epochs
        self.num_processes = num_processes
        latent_of = latents(network)
        named = {f"{layer}.{slot}": each for layer, slot, each in quantizers(network)}
        self.weights: dict[str, tuple[Quantizer, nn.Parameter]] = {
            place: (each, latent_of[each]) for place, each in named.items() if each in latent_of
        }
        self.others = {place: each for place, each in named.items() if each not in latent_of}
        self.counts: dict[Quantizer, Tensor] = {}
        self.rows: list[Health] = []
        self.new: list[Finding] = []
        self.known: set[tuple[str, str, str]] = set()
        self.codes = self._read_codes()

    def go_on(self, rows: Sequence[Health], codes: Mapping[str, Tensor]) -> None:
        """Take up the health of the epochs so far, and the codes of a checkpoint."""
        for row in rows:
            self._add(row)
        self.codes = {
            place: each.to(self.weights[place][1].device) for place, each in codes.items()
        }

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count inputs and outputs in the first batch that the network is evaluated on."""
        images = max(1, IMAGES // self.num_processes)
        with count_met([each for each in self.others.values() if each.quantizes], images) as counts:
            yield
        self.counts = counts

    def measure(self) -> Health:
        """Return the health at the end of an epoch, the main process's in all of them."""
        watched = {place: each for place, each in self.others.items() if each.quantizes}
        sums = sum_counts(list(watched.values()), self.counts)
        before, self.codes = self.codes, self._read_codes()
        health = {
            place: measure_weight(*self.weights[place], codes, before.get(place))
            for place, codes in self.codes.items()
        } | {
            place: describe(sums[each], each.info.role) | own_numbers(each, None)
            for place, each in watched.items()
        }
        wire = [health]
        if self.num_processes > 1:
            broadcast_object_list(wire)
        self._add(wire[0])
        return wire[0]

    def levels(self) -> dict[str, list[float]]:
        """Return the levels of every quantizer, in ascending order, as `list_levels` does."""
        named = {place: each for place, (each, _) in self.weights.items()} | self.others
        return {place: list_levels(each) for place, each in named.items() if each.quantizes}

    def findings(self) -> list[Finding]:
        """Return what is sick after the last epoch."""
        return judge(self.rows, self.total_epochs) if self.rows else []

    def stop_if_sick(self, run: Path) -> None:
        """Raise RunError for a new finding; everything is saved."""
        if self.new:
            others = len(self.new) - 1
            raise RunError(
                f"stopped by the health watch: {self.new[0].text}"
                f"{f' (and {others} more)' if others else ''}; everything is saved; to go on all "
                f"the same: qcli train --resume {run}"
            )

    def _add(self, row: Health) -> None:
        self.rows.append(row)
        self.new = [finding for finding in self.findings() if finding.key not in self.known]
        self.known |= {finding.key for finding in self.new}

    def _read_codes(self) -> dict[str, Tensor]:
        found = {place: narrow_codes(*pair) for place, pair in self.weights.items()}
        return {place: codes for place, codes in found.items() if codes is not None}


def make_watch(learner: Learner) -> Watch | None:
    """Return the watch that the recipe asks for; None where there is nothing to watch."""
    recipe, processes = learner.recipe, learner.accelerator.num_processes
    if recipe.health == "off" or not learner.served:
        return None
    return Watch(learner.network, recipe.epochs, processes)
