"""How far `qcli data pack` is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from rich.progress import Progress

from qcli.reporting.console import SECONDS_BETWEEN_LINES, format_bytes, make_console

if TYPE_CHECKING:
    from qcli.training.pack import Manifest


class PackingReport:
    """Tells people how packing goes.

    Args:
        target: The folder that is made.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        self.console = make_console()
        self.bar = Progress(
            console=self.console, transient=True, disable=not self.console.is_terminal
        )
        self.task = self.bar.add_task("packing")
        self.told_at = time.monotonic()

    def __enter__(self) -> PackingReport:
        self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.bar.stop()

    def progress(self, done: int, total: int) -> None:
        """Move the bar, or print a line every ten seconds."""
        self.bar.update(self.task, completed=done, total=total)
        if self.bar.disable and time.monotonic() - self.told_at > SECONDS_BETWEEN_LINES:
            self.told_at = time.monotonic()
            self.console.print(f"packed {done:,} of {total:,} images", markup=False)

    def end(self, manifest: Manifest) -> None:
        """Say what was made, and how it is used."""
        self.bar.stop()
        records = [record for part in manifest.shards.values() for record in part]
        images = sum(record.images for record in records)
        size = format_bytes(sum(record.bytes for record in records))
        self.console.print(
            f"packed {images:,} images into {len(records)} files, {size}: {self.target}; "
            f"use it with -d {manifest.source.dataset} -p {self.target}",
            markup=False,
        )
