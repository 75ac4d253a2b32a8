"""What the runs of a row came to, beside what was published of it."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qcli.campaign.job import Job
from qcli.recipe.experiment import Row

MET = "met"
MISSED = "missed"
NO_TARGET = "nothing published"
SHORTENED = "shortened: not judged"
UNFINISHED = "not finished"


@dataclass(frozen=True)
class Scores:
    """Top-1 accuracies of the same run with different seeds, as fractions.

    Args:
        best: Of the best epoch; on the test set where that is held apart.
        last: Of the last epoch.
    """

    best: tuple[float, ...]
    last: tuple[float, ...]

    def of(self, epoch: str) -> tuple[float, ...]:
        """Return those of the "best" or the "last" epoch."""
        return self.best if epoch == "best" else self.last


@dataclass(frozen=True)
class Outcome:
    """A row of the table that a campaign ends with.

    Args:
        row: What was trained.
        scores: What came of it.
        num_seeds: How many runs were asked for.
        verdict: Whether the published number was met.
    """

    row: Row
    scores: Scores
    num_seeds: int
    verdict: str

    @property
    def compared(self) -> tuple[float, ...]:
        """Our numbers that stand against the published one."""
        return self.scores.of(self.row.compare)

    @property
    def mean(self) -> float | None:
        """Their mean."""
        return statistics.fmean(self.compared) if self.compared else None

    @property
    def spread(self) -> float | None:
        """Their sample standard deviation; None for fewer than two."""
        return statistics.stdev(self.compared) if len(self.compared) > 1 else None

    @property
    def difference(self) -> float | None:
        """Ours less the published."""
        published = self.row.reported.get("top1")
        return None if self.mean is None or published is None else self.mean - published


def judge(jobs: Sequence[Job], tolerance: float, *, shortened: bool) -> Outcome:
    """Compare the jobs of one row with what was published.

    Args:
        jobs: One for each seed.
        tolerance: How far below the published number the mean may lie, as a fraction.
        shortened: Whether the runs are shorter than the published ones, and so not judged.
    """
    results = [result for job in jobs if (result := job.result()) is not None]
    scores = Scores(
        tuple(best_top1(result) for result in results),
        tuple(result["last"]["top1"] for result in results),
    )
    bare = Outcome(jobs[0].row, scores, len(jobs), NO_TARGET)
    verdict = _verdict(bare, tolerance, shortened=shortened)
    return Outcome(bare.row, scores, len(jobs), verdict)


def best_top1(result: Mapping[str, Any]) -> float:
    """Return the top-1 of the best epoch: on the test set where held-out images chose it."""
    top1: float = result.get("test", result["best"])["top1"]
    return top1


def _verdict(outcome: Outcome, tolerance: float, *, shortened: bool) -> str:
    if len(outcome.compared) < outcome.num_seeds:
        return UNFINISHED
    if outcome.difference is None:
        return NO_TARGET
    if shortened:
        return SHORTENED
    # A rounded published number must be met by one that rounds to it.
    return MET if round(outcome.difference + tolerance, 6) >= 0 else MISSED
