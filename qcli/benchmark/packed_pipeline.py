"""Photographs on their way to a network: packs, and torchvision's ImageFolder with a DataLoader."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder
from torchvision.transforms.v2.functional import to_pil_image

from qcli.benchmark.case import Arm, Scope
from qcli.catalog.load import load_catalog
from qcli.training.batches import Normalizer, Process
from qcli.training.data import build_splits
from qcli.training.division import Division
from qcli.training.pack import Source, read_pack
from qcli.training.packed_batches import PackedTraining
from qcli.training.packed_images import PackedImages
from qcli.training.packing import pack_splits
from qcli.training.splits import Normalization

IMAGES, CLASSES = 256, 2
# The median photograph of ImageNet has 500x375 pixels.
HEIGHT, WIDTH = 375, 500
BATCH, BATCHES = 64, 4
SIZE = 224
# Of ImageNet, per channel.
NORMALIZATION = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CPU = torch.device("cpu")


def measure_packed_pipeline(scope: Scope, size: int = 256) -> dict[str, Arm]:
    """Return random-resized crops at 224 pixels, flipped and normalized, from files and packs.

    All in this process alone: workers would go on reading while another arm has its turn.

    Args:
        scope: With photographs in train/CLASS/ of its data root; else some are made up.
        size: What the packs are made at.
    """
    root = scope.data_root
    if root is None or not (root / "train").is_dir():
        root = scope.folder / "photographs"
        write_photographs(root)
    loader = endless_batches(root)
    arms = {"torchvision": Arm(_read(loader), BATCH * BATCHES)}
    for name, quality in (("packed JPEG", 90), ("packed pixels", None)):
        batches = open_pack(root, scope.folder / name, size, quality)
        arms[name] = Arm(_read(batches), BATCH * BATCHES)
    return arms


def write_photographs(root: Path) -> None:
    """Write made-up photographs: noise of all sizes, so that coding them takes as long."""
    generator = torch.Generator().manual_seed(0)
    for part, images in (("train", IMAGES), ("val", 2 * CLASSES)):
        for number in range(images):
            path = root / part / f"class{number % CLASSES}" / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            _draw_photograph(generator).save(path, quality=95)


def _draw_photograph(generator: torch.Generator) -> Image.Image:
    """Add noise whose strength falls with its frequency, as in photographs."""
    pixels = torch.full((1, 3, HEIGHT, WIDTH), 128.0)
    for cell in (128, 64, 32, 16, 8, 4, 2):
        noise = torch.randn(1, 3, HEIGHT // cell, WIDTH // cell, generator=generator)
        pixels += 2 * cell**0.6 * interpolate(noise, (HEIGHT, WIDTH), mode="bilinear")
    image: Image.Image = to_pil_image(pixels[0].clamp(0, 255).byte())
    return image


def endless_batches(root: Path) -> Iterator[Any]:
    """Yield batches (images, labels) as the ImageNet example of PyTorch reads them."""
    transform = transforms.Compose(
        [
            transforms.RandomResizedCrop(SIZE),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(NORMALIZATION.mean, NORMALIZATION.std),
        ]
    )
    images = ImageFolder(str(root / "train"), transform)
    loader: DataLoader[tuple[Tensor, int]] = DataLoader(
        images, batch_size=BATCH, shuffle=True, drop_last=True
    )
    while True:
        yield from loader


def open_pack(root: Path, target: Path, size: int, quality: int | None) -> Iterator[Any]:
    """Pack the photographs and yield steps of them, epoch after epoch."""
    entry = load_catalog().dataset("imagenet")
    splits = build_splits(entry, root, (3, SIZE, SIZE), {})
    source = Source("imagenet", {}, str(root), size, quality)
    pack_splits(splits, source, target, 0, lambda done, total: None)
    train = read_pack(target, "imagenet", {}, 3).train
    assert isinstance(train, PackedImages)
    training = PackedTraining(
        train,
        Division(len(train), BATCH, drop_last=True),
        ("rrc", "flip"),
        (SIZE, SIZE),
        "bilinear",
        Normalizer(NORMALIZATION, False, CPU),
        0,
        0,
        Process(0, 1, CPU),
    )
    for epoch in count():
        yield from training.epoch(epoch, 0)


def _read(batches: Iterator[Any]) -> Callable[[], None]:
    def read() -> None:
        for _ in islice(batches, BATCHES):
            pass

    return read
