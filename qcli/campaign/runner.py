"""Run the jobs of a campaign: parents before children, the rest of them whatever one does."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol

from qcli.campaign.executor import Executor, Task
from qcli.campaign.job import Job

SECONDS_BETWEEN_LOOKS = 0.2


class CampaignReport(Protocol):
    """Where a campaign says what happens."""

    def reuse(self, job: Job) -> None:
        """Hear that a job was finished before."""

    def begin(self, job: Job, *, resumed: bool) -> None:
        """Hear that a job is handed to the executor."""

    def end(self, job: Job, seconds: float) -> None:
        """Hear that a job is finished."""

    def fail(self, job: Job, reason: str) -> None:
        """Hear that a job failed, or cannot be run."""


class Runner:
    """Hands jobs to an executor as their parents finish.

    Args:
        jobs: In an order in which parents come before children.
        executor: Who runs them.
        report: Who hears of it.
    """

    def __init__(self, jobs: Sequence[Job], executor: Executor, report: CampaignReport) -> None:
        self.waiting = list(jobs)
        self.executor = executor
        self.report = report
        self.running: dict[Job, tuple[Task, float]] = {}
        self.failed: set[tuple[str, int]] = set()

    def run(self) -> int:
        """Run all jobs to their end; return how many failed or could not be run."""
        try:
            while self.waiting or self.running:
                self._collect()
                self._start()
                time.sleep(SECONDS_BETWEEN_LOOKS)
        except BaseException:
            self.executor.stop()
            raise
        return len(self.failed)

    def _start(self) -> None:
        for job in list(self.waiting):
            if job.result() is not None:
                self.waiting.remove(job)
                self.report.reuse(job)
            elif lost := [id for id in job.row.parents if (id, job.seed) in self.failed]:
                self.waiting.remove(job)
                self._fail(job, f"{lost[0]} failed, which it starts from")
            elif self._has_room() and self._has_parents(job) and not job.is_busy():
                self.waiting.remove(job)
                self._submit(job)

    def _has_room(self) -> bool:
        return self.executor.room is None or len(self.running) < self.executor.room

    def _has_parents(self, job: Job) -> bool:
        parents = {(id, job.seed) for id in job.row.parents}
        unfinished = {(each.row.id, each.seed) for each in (*self.waiting, *self.running)}
        return not parents & unfinished

    def _submit(self, job: Job) -> None:
        job.clear_stub()
        resumed = (job.path / "run.json").exists()
        self.running[job] = self.executor.submit(job.command(), job.log), time.monotonic()
        self.report.begin(job, resumed=resumed)

    def _collect(self) -> None:
        for job, (task, began) in list(self.running.items()):
            if not task.done():
                continue
            del self.running[job]
            code = task.result()
            if job.result() is None:
                self._fail(job, f"exit code {code}; {_last_words(job)}")
            else:
                self.report.end(job, time.monotonic() - began)

    def _fail(self, job: Job, reason: str) -> None:
        self.failed.add((job.row.id, job.seed))
        self.report.fail(job, reason)


def _last_words(job: Job) -> str:
    lines = job.log.read_text("utf-8", "replace").splitlines() if job.log.exists() else []
    errors = [line for line in lines if line.startswith("error: ")] or lines[-1:]
    return f"{errors[-1].removeprefix('error: ')}; all of it: {job.log}" if errors else "no output"
