"""A window that slides over an image that lies channels last, as the kernels of C need it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from qcli.deployment.graph import Pads

Pair = tuple[int, int]


@dataclass(frozen=True)
class Window:
    """A window and the image below it.

    Args:
        image: (C, H, W).
        extent: Height and width of the result.
        kernel: Height and width; `run` numbers lie behind one another at each place of it.
        stride: Down and across.
        pads: As in `Convolution`.
        dilation: Down and across.
        run: Numbers that are read at each place.
    """

    image: tuple[int, int, int]
    extent: Pair
    kernel: Pair
    stride: Pair
    pads: Pads
    dilation: Pair
    run: int

    def leaves(self, axis: int) -> bool:
        """Whether some place of some window lies outside of the image."""
        first = -self.pads[axis][0]
        reach = (self.kernel[axis] - 1) * self.dilation[axis]
        last = first + (self.extent[axis] - 1) * self.stride[axis] + reach
        return first < 0 or last >= self.image[1 + axis]

    def merged(self) -> Window:
        """Return the same window with its rows as one run, or all of it, where they lie so."""
        channels, _, width = self.image
        down, across = self.kernel
        if self.run != channels or self.dilation[1] != 1 or self.leaves(1):
            return self
        rows = replace(self, kernel=(down, 1), run=across * channels)
        if across != width or self.dilation[0] != 1 or self.leaves(0):
            return rows
        return replace(rows, kernel=(1, 1), run=down * across * channels)

    def fields(self) -> dict[str, Any]:
        """Return what the templates of kernels call these numbers."""
        return {
            "channels": self.image[0],
            "width": self.image[2],
            "out_height": self.extent[0],
            "out_width": self.extent[1],
            "kernel_height": self.kernel[0],
            "kernel_width": self.kernel[1],
            "row": self._place("y", "ky", 0),
            "column": self._place("x", "kx", 1),
            "skip_row": self._skip("row", 0),
            "skip_column": self._skip("column", 1),
            "run": self.run,
        }

    def _place(self, out: str, tap: str, axis: int) -> str:
        """Return the C expression of the row or column of the image."""
        terms = [_scaled(out, self.stride[axis]), _scaled(tap, self.dilation[axis])]
        before = self.pads[axis][0]
        offset = f" - {before}" if before > 0 else f" + {-before}" if before < 0 else ""
        return " + ".join(terms) + offset

    def _skip(self, place: str, axis: int) -> str:
        """Return the C statement that passes over the border."""
        if not self.leaves(axis):
            return ""
        return f"if ({place} < 0 || {place} >= {self.image[1 + axis]}) {{ continue; }}"


def _scaled(variable: str, factor: int) -> str:
    return variable if factor == 1 else f"{variable} * {factor}"
