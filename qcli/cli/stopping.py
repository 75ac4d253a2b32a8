"""End a verb by a signal as an error does: what it began is cleaned up."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from qcli.errors import Interrupted


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Turn SIGTERM, and SIGHUP where there is one, into `Interrupted`."""
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    previous = {number: signal.signal(number, _stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _stop(number: int, frame: FrameType | None) -> None:
    raise Interrupted("interrupted; nothing is left behind", number)
