"""How a campaign goes, and what it will cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qcli.campaign.outcome import best_top1
from qcli.reporting.console import format_bytes, format_seconds, percent, say
from qcli.reporting.tables import print_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qcli.campaign.estimate import Estimate
    from qcli.campaign.job import Job


class CampaignReport:
    """Prints a line whenever a run begins or ends.

    Args:
        total: How many runs there are.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.ended = 0

    def reuse(self, job: Job) -> None:
        """Say that a run was finished before."""
        self._end(f"{job.name}: finished before, {_scores(job)}")

    def wait(self, job: Job) -> None:
        """Say that a run waits for another process."""
        say(f"{job.name}: another process trains it in {job.path}; waiting for its end")

    def begin(self, job: Job, *, resumed: bool) -> None:
        """Say that a run begins or goes on."""
        say(f"{job.name}: {'goes on' if resumed else 'begins'} in {job.path}")

    def end(self, job: Job, seconds: float) -> None:
        """Say what a run came to."""
        self._end(f"{job.name}: {_scores(job)}, {format_seconds(seconds)}")

    def fail(self, job: Job, reason: str) -> None:
        """Say why a run failed."""
        self._end(f"{job.name}: failed: {reason}")

    def sum_up(self, images: int, seconds: float) -> None:
        """Say how fast the device was, shared by the runs."""
        say(
            f"{images:,} images trained on in {format_seconds(seconds)}: "
            f"{images / seconds:,.0f} images/s over all runs"
        )

    def _end(self, text: str) -> None:
        self.ended += 1
        say(f"[{self.ended}/{self.total}] {text}")


def _scores(job: Job) -> str:
    result = job.result()
    assert result is not None
    published = job.row.reported.get("top1")
    beside = f" (published {percent(published)})" if published is not None else ""
    if job.row.compare == "last":
        return f"last {percent(result['last']['top1'])}{beside}, best {percent(best_top1(result))}"
    return f"best {percent(best_top1(result))}{beside}, last {percent(result['last']['top1'])}"


def print_estimates(estimates: Sequence[Estimate]) -> None:
    """Print what the runs of a campaign will cost, and all together."""
    columns = ("run", "state", "million images", "10^12 MACs", "hours", "memory", "disk")
    print_table(columns, [_cells(estimate) for estimate in estimates])
    new = [estimate for estimate in estimates if estimate.state != "finished"]
    say(
        f"{len(new)} runs to do: {sum(each.seconds or 0 for each in new) / 3600:.1f} hours one "
        f"after another, {format_bytes(sum(each.disk_bytes for each in new))} of disk"
    )
    for problem in dict.fromkeys(each.problem for each in estimates if each.problem):
        say(f"?: {problem}")
    say(
        "hours: a step and an evaluation of each network, measured here on random images; MACs: "
        "three for each of a training image; memory: parameters, gradients, optimizer, kept "
        "activations and data"
    )


def _cells(estimate: Estimate) -> list[str]:
    unknown = estimate.images is None
    return [
        estimate.job.name,
        estimate.state,
        "?" if unknown else f"{(estimate.images or 0) / 1e6:.2f}",
        "?" if unknown else f"{(estimate.macs or 0) / 1e12:,.1f}",
        "?" if unknown else f"{(estimate.seconds or 0) / 3600:.2f}",
        format_bytes(estimate.memory_bytes),
        format_bytes(estimate.disk_bytes),
    ]
