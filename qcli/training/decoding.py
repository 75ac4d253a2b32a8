"""Threads that decode packed images and cut them to the size that the network takes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2.functional import resize_image

from qcli.training.cuts import Cut
from qcli.training.packed_images import PackedImages
from qcli.training.streaming import count_workers

BATCHES_AHEAD = 4
# Handing a task to a thread costs as much as a tenth of an image.
IMAGES_OF_A_TASK = 8


@dataclass(frozen=True)
class Request:
    """The images of one batch.

    Args:
        indices: int64 [B].
        cuts: int32 [B, 8], a `Cut` for each.
    """

    indices: Tensor
    cuts: Tensor


class Decoder:
    """Decodes batches ahead of their use.

    Args:
        split: The images.
        size: (H, W) of the windows that are cut.
        interpolation: How boxes are resized.
        workers: Threads; None: a share of the cores; 0: the calling thread.
        num_processes: That share the cores.
        device: Where batches are put.
    """

    def __init__(
        self,
        split: PackedImages,
        size: tuple[int, int],
        interpolation: v2.InterpolationMode,
        workers: int | None,
        num_processes: int,
        device: torch.device,
    ) -> None:
        self.split = split
        self.size = size
        self.interpolation = interpolation
        self.device = device
        count = count_workers(workers, num_processes)
        self.threads = ThreadPoolExecutor(count, "decode") if count else None

    def decode(self, requests: Iterable[Request]) -> Iterator[Tensor]:
        """Yield uint8 [B, H, W, 3] on the device for each request, in order.

        Raises:
            DataError: An image is damaged.
        """
        ahead: deque[tuple[Tensor, list[Future[None]]]] = deque()
        try:
            for request in requests:
                ahead.append(self._begin(request))
                if self.threads is None or len(ahead) > BATCHES_AHEAD:
                    yield self._finish(*ahead.popleft())
            while ahead:
                yield self._finish(*ahead.popleft())
        finally:
            for _, tasks in ahead:
                for task in tasks:
                    task.cancel()

    def _begin(self, request: Request) -> tuple[Tensor, list[Future[None]]]:
        pinned = self.device.type == "cuda"
        batch = torch.empty(
            len(request.indices), *self.size, 3, dtype=torch.uint8, pin_memory=pinned
        )
        rows = list(zip(request.indices.tolist(), request.cuts.tolist(), strict=True))
        windows = batch.numpy()
        if self.threads is None:
            self._fill(windows, rows)
            return batch, []
        starts = range(0, len(rows), IMAGES_OF_A_TASK)
        parts = [slice(start, start + IMAGES_OF_A_TASK) for start in starts]
        return batch, [self.threads.submit(self._fill, windows[part], rows[part]) for part in parts]

    def _finish(self, batch: Tensor, tasks: list[Future[None]]) -> Tensor:
        for task in tasks:
            task.result()
        return batch.to(self.device, non_blocking=True)

    def _fill(self, windows: Any, rows: list[tuple[int, list[int]]]) -> None:
        for window, (index, cut) in zip(windows, rows, strict=True):
            # NumPy copies: copies of torch would start threads of their own in each of these.
            window[:] = self._window(self.split.pixels(index), Cut(*cut))

    def _window(self, pixels: Tensor, cut: Cut) -> Any:
        """Return the window as an array [H, W, 3]."""
        rows = slice(cut.top, cut.top + cut.height)
        columns = slice(cut.left, cut.left + cut.width)
        box = pixels.permute(1, 2, 0).numpy()[rows, columns]
        if (cut.resized_height, cut.resized_width) != (cut.height, cut.width):
            # Contiguous: torch is twice as fast then, as it needs not rearrange the channels.
            image = torch.from_numpy(box.copy()).permute(2, 0, 1)
            size = [cut.resized_height, cut.resized_width]
            box = resize_image(image, size, self.interpolation).permute(1, 2, 0).numpy()
        return box[cut.y : cut.y + self.size[0], cut.x : cut.x + self.size[1]]
