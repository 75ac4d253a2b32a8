"""What turns one image into what the network takes, by torchvision: in training and for tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torchvision.transforms import v2

from qcli.errors import RecipeError
from qcli.training.lighting import Lighting

Shape = tuple[int, ...]
Steps = Callable[[list[int], v2.InterpolationMode], list[v2.Transform]]

# What torchvision raises on an image that does not fit a transform's arguments.
FAULTS = (IndexError, RuntimeError, TypeError, ValueError)
# So often a pipeline is tried: what happens to every second image is missed once in a million.
TRIALS = 20

# Arguments that JSON has as a string.
_ENUMS: dict[str, Callable[[str], Any]] = {
    "interpolation": v2.InterpolationMode,
    "policy": v2.AutoAugmentPolicy,
}


def training_transform(
    augment: Sequence[str | Mapping[str, Any]],
    image_shape: Shape,
    interpolation: str = "bilinear",
    *,
    in_memory: bool = False,
) -> v2.Transform:
    """Return what turns one training image, PIL or uint8 [C, H, W], into uint8 [C, H, W].

    Args:
        augment: Augmentations of a recipe: names, and transforms of torchvision with arguments.
        image_shape: (C, H, W) that the network takes.
        interpolation: How images are resized: bilinear or bicubic.
        in_memory: Whether all images have that shape already; else they are photographs.

    Raises:
        RecipeError: A transform refuses its arguments, or the result has another shape.
    """
    size, mode = list(image_shape[1:]), v2.InterpolationMode(interpolation)
    steps = [step for place, item in enumerate(augment) for step in _make(place, item, size, mode)]
    transform = v2.Compose([v2.PILToTensor(), *steps, v2.ToDtype(torch.uint8, scale=True)])
    longer, shorter = 8 * max(size), 6 * max(size)
    photographs = [(3, longer, shorter), (3, shorter, longer)]
    for source in [image_shape] if in_memory else photographs:
        _check_result(transform, source, image_shape)
    return transform


def evaluation_transform(
    size: tuple[int, int],
    resize: int | None,
    crop: str = "resize_center",
    interpolation: str = "bilinear",
) -> v2.Transform:
    """Return what turns a decoded test image into uint8 [3, H, W]: resize, center crop.

    Args:
        size: (H, W) that the network takes.
        resize: The side before the crop; None: 8/7 of the longer side of `size`.
        crop: `resize_center` resizes the shorter side, `squash_center` both.
        interpolation: bilinear or bicubic.

    Raises:
        RecipeError: `resize` is so small that the crop would reach beyond the image.
    """
    side = resized_side(size, resize)
    if side < max(size):
        raise RecipeError(
            [
                f"/evaluation_resize: found {side}, smaller than the images that the network "
                f"takes, {max(size)}; remove it"
            ]
        )
    target = side if crop == "resize_center" else [side, side]
    resized = v2.Resize(target, v2.InterpolationMode(interpolation), antialias=True)
    return v2.Compose([v2.PILToTensor(), resized, v2.CenterCrop(list(size))])


def resized_side(size: tuple[int, int], resize: int | None) -> int:
    """Return the side that a test image gets before the crop; None: 8/7 of the longer side."""
    return resize or _before_crop(size)


def _before_crop(size: Sequence[int]) -> int:
    return round(max(size) * 8 / 7)


def _make(
    place: int, item: str | Mapping[str, Any], size: list[int], mode: v2.InterpolationMode
) -> list[v2.Transform]:
    if isinstance(item, str):
        return _named(item)(size, mode)
    given = {key: part for key, part in item.items() if key != "name"}
    arguments = {key: _ENUMS[key](part) if key in _ENUMS else part for key, part in given.items()}
    try:
        transform = getattr(v2, item["name"])(**arguments)
        _check_magnitude(transform)
    except (TypeError, ValueError) as error:
        raise RecipeError([f"/augment/{place}: {item['name']}: {error}"]) from error
    return [transform]


def _check_magnitude(transform: v2.Transform) -> None:
    if isinstance(transform, v2.RandAugment):
        magnitude, bins = transform.magnitude, transform.num_magnitude_bins
        if magnitude >= bins:
            raise ValueError(f"magnitude {magnitude} is not below num_magnitude_bins, {bins}")


def _named(name: str) -> Steps:
    if name in _STEPS:
        return _STEPS[name]
    reach = int(name.rpartition("_")[2])
    border = "constant" if name.startswith("pad_crop") else "edge"
    return lambda size, _: [v2.RandomCrop(size, reach, padding_mode=border)]


def _random_resized_crop(least: float) -> Steps:
    return lambda size, mode: [v2.RandomResizedCrop(size, (least, 1.0), interpolation=mode)]


def _resize_crop(size: list[int], mode: v2.InterpolationMode) -> list[v2.Transform]:
    return [v2.Resize(_before_crop(size), mode), v2.RandomCrop(size)]


def _squash_center(size: list[int], mode: v2.InterpolationMode) -> list[v2.Transform]:
    return [v2.Resize([_before_crop(size)] * 2, mode), v2.CenterCrop(size)]


def _fbresnet(size: list[int], _: v2.InterpolationMode) -> list[v2.Transform]:
    crop = v2.RandomResizedCrop(size, interpolation=v2.InterpolationMode.BICUBIC)
    return [crop, v2.ColorJitter(0.4, 0.4, 0.4), Lighting(0.1), v2.RandomHorizontalFlip()]


_STEPS: dict[str, Steps] = {
    "rrc": _random_resized_crop(0.08),
    "rrc_sat": _random_resized_crop(0.2),
    "resize_crop": _resize_crop,
    "squash_center": _squash_center,
    "fbresnet": _fbresnet,
    "flip": lambda size, mode: [v2.RandomHorizontalFlip()],
}


def _check_result(transform: v2.Transform, source: Shape, wanted: Shape) -> None:
    """Try the transform on a black image: faults are told before training starts."""
    with torch.random.fork_rng(devices=[]):
        for seed in range(TRIALS):
            # torch.manual_seed would seed GPUs too.
            torch.default_generator.manual_seed(seed)
            _require_shape(_try(transform, source), source, wanted)


def _try(transform: v2.Transform, source: Shape) -> Shape:
    try:
        return tuple(transform(torch.zeros(source, dtype=torch.uint8)).shape)
    except FAULTS as error:
        raise RecipeError([f"/augment: fails for an image of {_text(source)}: {error}"]) from error


def _require_shape(found: Shape, source: Shape, wanted: Shape) -> None:
    if found != wanted:
        hint = "; add rrc, resize_crop or fbresnet" if found[1:] != wanted[1:] else ""
        raise RecipeError(
            [
                f"/augment: makes {_text(found)} of an image of {_text(source)}, but the network "
                f"takes {_text(wanted)}{hint}"
            ]
        )


def _text(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
