"""CIFAR-10 as most programs read it: PIL images, torchvision transforms, a DataLoader.

Source: the transforms of He et al., Deep Residual Learning, arXiv:1512.03385, section 4.2, as the
    ResNet programs for CIFAR-10 on GitHub write them
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from qcli.training.splits import ArraySplit, Normalization


class ImageList(Dataset[tuple[Any, int]]):
    """What torchvision.datasets.CIFAR10 is once its files are read.

    Args:
        split: The images.
        transform: What each image passes.
    """

    def __init__(self, split: ArraySplit, transform: Any) -> None:
        self.images = split.images.permute(0, 2, 3, 1).contiguous().numpy()
        self.labels = split.labels.tolist()
        self.transform = transform

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        """Return one transformed image and its label."""
        return self.transform(Image.fromarray(self.images[index])), self.labels[index]


def endless_batches(
    split: ArraySplit, normalization: Normalization, batch_size: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield augmented batches (images, labels), epoch after epoch, in this process.

    Worker processes share the cores with the training: on two cores they make both slower.
    """
    transform = transforms.Compose(
        [
            transforms.RandomCrop(32, padding=4),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(normalization.mean, normalization.std),
        ]
    )
    loader = DataLoader(
        ImageList(split, transform), batch_size=batch_size, shuffle=True, drop_last=True
    )
    while True:
        yield from loader
