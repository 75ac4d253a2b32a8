"""Ctrl-C and SIGTERM end a run between two steps, with its checkpoint saved."""

from __future__ import annotations

import math
import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any

import torch

from qcli.quantization.ops import all_reduce_max

SIGNALS = (signal.SIGINT, signal.SIGTERM)


# A terminal sends Ctrl-C to every process, and a launcher sends it on to those that it started.
SECONDS_OF_ONE_STOP = 5.0


class Interruption:
    """Remembers the first signal; a second one acts as if this class were not there.

    Args:
        num_processes: Of the run. With several, signals that follow at once count as one.
    """

    def __init__(self, num_processes: int = 1) -> None:
        self.signal_number = 0
        self.num_processes = num_processes
        self._received_at = -math.inf
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        # Python lets the main thread alone handle signals.
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                self._previous[number] = signal.signal(number, self._remember)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._give_back()

    def _remember(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if not self.signal_number:
            self.signal_number, self._received_at = number, now
            if self.num_processes == 1:
                self._give_back()
        elif now - self._received_at > SECONDS_OF_ONE_STOP:
            self._give_back()
            signal.raise_signal(number)

    def _give_back(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def agreed(self, device: torch.device, processes: int) -> int:
        """Return the signal that any process received, 0 for none; the same in every process."""
        if processes == 1:
            return self.signal_number
        received = torch.tensor(self.signal_number, device=device)
        return int(all_reduce_max(received))
