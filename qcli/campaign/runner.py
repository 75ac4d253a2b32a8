"""Run the jobs of a campaign: parents before children, the rest of them whatever one does."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from qcli.campaign.executor import Executor, Task
from qcli.campaign.job import Job
from qcli.errors import QcliError

SECONDS_BETWEEN_LOOKS = 0.2


class CampaignReport(Protocol):
    """Where a campaign says what happens."""

    def reuse(self, job: Job) -> None:
        """Hear that a job was finished before."""

    def wait(self, job: Job) -> None:
        """Hear, once, that a job waits for another process that trains it."""

    def begin(self, job: Job, *, resumed: bool) -> None:
        """Hear that a job is handed to the executor."""

    def end(self, job: Job, seconds: float) -> None:
        """Hear that a job is finished."""

    def fail(self, job: Job, reason: str) -> None:
        """Hear that a job failed, or cannot be run."""

    def sum_up(self, images: int, seconds: float) -> None:
        """Hear how many images all jobs together trained on, and how long that took."""


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
        self.running: dict[Job, _Running] = {}
        self.busy: set[Job] = set()
        self.failed: set[tuple[str, int]] = set()
        self.images = 0

    def run(self) -> int:
        """Run all jobs to their end; return how many failed or could not be run."""
        began = time.monotonic()
        try:
            while self.waiting or self.running:
                self._collect()
                self._start()
                time.sleep(SECONDS_BETWEEN_LOOKS)
        except BaseException:
            self.executor.stop()
            raise
        if self.images:
            self.report.sum_up(self.images, time.monotonic() - began)
        return len(self.failed)

    def _start(self) -> None:
        for job in list(self.waiting):
            try:
                if self._settles(job):
                    self.waiting.remove(job)
            except (QcliError, OSError) as error:
                self.waiting.remove(job)
                self._fail(job, str(error))

    def _settles(self, job: Job) -> bool:
        """Start a job, or see that it is not to be started; False: it goes on waiting."""
        if job.result() is not None:
            self.report.reuse(job)
        elif lost := [id for id in job.row.parents if (id, job.seed) in self.failed]:
            self._fail(job, f"{lost[0]} failed, which it starts from")
        elif not (self._has_room() and self._has_parents(job)) or self._is_busy(job):
            return False
        else:
            self._submit(job)
        return True

    def _is_busy(self, job: Job) -> bool:
        if not job.is_busy():
            return False
        if job not in self.busy:
            self.busy.add(job)
            self.report.wait(job)
        return True

    def _has_room(self) -> bool:
        return self.executor.room is None or len(self.running) < self.executor.room

    def _has_parents(self, job: Job) -> bool:
        parents = {(id, job.seed) for id in job.row.parents}
        unfinished = {(each.row.id, each.seed) for each in (*self.waiting, *self.running)}
        return not parents & unfinished

    def _submit(self, job: Job) -> None:
        resumed = job.is_begun()
        said = job.log.stat().st_size if job.log.exists() else 0
        trained = job.images_trained()
        task = self.executor.submit(job.command(), job.log)
        self.running[job] = _Running(task, time.monotonic(), said, trained)
        self.report.begin(job, resumed=resumed)

    def _collect(self) -> None:
        for job, running in list(self.running.items()):
            if running.task.done():
                del self.running[job]
                self._end(job, running)

    def _end(self, job: Job, running: _Running) -> None:
        try:
            code = running.task.result()
            finished = job.result() is not None
        except Exception as error:
            # An engine has its own exceptions for jobs that it lost; the others go on.
            self._fail(job, str(error))
            return
        if finished:
            self.images += job.images_trained() - running.images
            self.report.end(job, time.monotonic() - running.began)
        elif job.is_busy():
            # Another campaign began it in the same moment.
            self.waiting.append(job)
        else:
            self._fail(job, f"exit code {code}; {_last_words(job, running.said)}")

    def _fail(self, job: Job, reason: str) -> None:
        self.failed.add((job.row.id, job.seed))
        self.report.fail(job, reason)


@dataclass(frozen=True)
class _Running:
    """A job on its way: since when, how long its log was before, and what it had trained on."""

    task: Task
    began: float
    said: int
    images: int


def _last_words(job: Job, said: int) -> str:
    """Return the last error that a job printed since its log had `said` bytes."""
    raw = job.log.read_bytes()[said:] if job.log.exists() else b""
    lines = raw.decode("utf-8", "replace").splitlines()
    errors = [line for line in lines if line.startswith("error: ")] or lines[-1:]
    return f"{errors[-1].removeprefix('error: ')}; all of it: {job.log}" if errors else "no output"
