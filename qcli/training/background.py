"""Writing beside the training."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

Work = Callable[[], None]


class BackgroundWriter:
    """Does what it is given in a thread of its own, one after the other, in that order.

    Once something has failed nothing more is done: what follows rests on what came before.
    As a context it ends with everything done.
    """

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1)
        self._last: Future[None] | None = None

    def submit(self, work: Work) -> None:
        """Do a piece of work after all that came before, and return at once."""
        self._last = self._executor.submit(_do_after, self._last, work)

    def check(self) -> None:
        """Raise an error that was met since the last join; wait for nothing."""
        if self._last is not None and self._last.done():
            self.join()

    def join(self) -> None:
        """Wait until everything is done; raise the first error that was met since the last join."""
        last, self._last = self._last, None
        if last is not None:
            last.result()

    def __enter__(self) -> BackgroundWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._executor.shutdown(wait=True)
        # What ended the run must not be hidden by what failed after it.
        if error is None:
            self.join()


def _do_after(before: Future[None] | None, work: Work) -> None:
    if before is not None:
        before.result()
    work()
