"""Ctrl-C and SIGTERM end a run between two steps, with its checkpoint saved."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

import torch

from qcli.quantization.ops import all_reduce_max

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Remembers the first signal; a second one acts as if this class were not there."""

    def __init__(self) -> None:
        self.signal_number = 0
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
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.signal_number = number
        for each, handler in self._previous.items():
            signal.signal(each, handler)

    def agreed(self, device: torch.device, processes: int) -> int:
        """Return the signal that any process received, 0 for none; the same in every process."""
        if processes == 1:
            return self.signal_number
        received = torch.tensor(self.signal_number, device=device)
        return int(all_reduce_max(received))
