"""The test images of a run, as its integers and as its float32 network take them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qcli.deployment.preparation import Prepared, read_splits
from qcli.training.batches import Process
from qcli.training.data import make_batches, make_normalizer


class RunImages:
    """The test set of a run, as pixels and as its network takes them.

    Args:
        prepared: The run.
        data_dir: Where data sets lie; None: where they lay.
        most: How many images; None: all.
    """

    def __init__(self, prepared: Prepared, data_dir: Path | None, most: int | None) -> None:
        setting = prepared.revival.setting
        assert setting.training is not None
        splits, shape = read_splits(prepared.revival, data_dir), setting.image_shape
        process = Process(0, 1, torch.device("cpu"))
        self.normalize = make_normalizer(splits, setting.training, shape[0], process)
        self.whole = make_batches(splits.test, setting.training, shape, lambda x: x, process)
        self.available = self.whole.num_images
        self.count = self.available if most is None else min(most, self.available)

    def batches(self, size: int) -> Iterator[tuple[NDArray[np.uint8], Tensor, NDArray[np.int64]]]:
        """Yield pixels uint8 [N, C, H, W], what the float32 network takes, and labels."""
        left = self.count
        for batch in self.whole:
            pixels, labels = batch.images[:left], batch.labels[:left].numpy()
            left -= len(labels)
            for start in range(0, len(labels), size):
                part = pixels[start : start + size]
                images = np.ascontiguousarray(part.permute(0, 3, 1, 2).numpy())
                yield images, self.normalize(part), labels[start : start + size]
            if not left:
                return
