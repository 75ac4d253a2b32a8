"""Image files as the pixels that a graph takes: by Pillow and NumPy alone.

`facts["image"]` of the graph says how test images were made: {"resize": [height, width], the
length of the shorter side, or null; "crop": [height, width] of the middle, or null;
"interpolation": "bilinear" or "bicubic"; "channels": 1 or 3, those of the files}. Without it,
images must have the network's size. Pillow and torchvision round differently where they resize: a
pixel may differ by one.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from qcli.deployment.graph import Graph
from qcli.errors import DataError

Pixels = NDArray[np.uint8]

_MODES = {1: "L", 3: "RGB"}


def read_images(paths: Sequence[Path], graph: Graph) -> tuple[list[str], Pixels]:
    """Read image files, and .npy files of pixels.

    Args:
        paths: Files of any format that Pillow reads, or arrays uint8 [C, H, W] or [N, C, H, W].
        graph: What is to take them.

    Returns:
        The names of N images, and their pixels, uint8 [N, C, H, W].

    Raises:
        DataError: Files are missing, damaged, or do not fit; all of them, one line each.
    """
    names: list[str] = []
    found: list[Pixels] = []
    faults: list[str] = []
    for path in paths:
        try:
            pixels = _read(path, graph)
        except DataError as error:
            faults.append(str(error))
            continue
        several = pixels.ndim == 4
        found.append(pixels if several else pixels[None])
        names += [f"{path}[{place}]" for place in range(len(pixels))] if several else [str(path)]
    if faults:
        raise DataError("\n".join(faults))
    return names, np.concatenate(found)


def _read(path: Path, graph: Graph) -> Pixels:
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise DataError(f"{path}: is a pipe or a device; give a file")
    pixels = _read_array(path) if path.suffix == ".npy" else _read_image(path, graph)
    if pixels.shape[-3:] != graph.image.shape:
        raise DataError(
            f"{path}: has {_text(pixels.shape[-3:])} pixels, the network takes "
            f"{_text(graph.image.shape)} (channels x height x width); resize the image"
        )
    return pixels


def _text(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _read_array(path: Path) -> Pixels:
    try:
        with path.open("rb") as file:
            pixels = np.lib.format.read_array(file, allow_pickle=False)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or 'cannot be read'}") from None
    except Exception as error:  # NumPy's parser raises anything on damaged files
        raise DataError(f"{path}: is no .npy file, or a damaged one: {error}") from None
    if pixels.dtype != np.uint8 or pixels.ndim not in (3, 4):
        raise DataError(
            f"{path}: found {pixels.dtype} {list(pixels.shape)}, allowed: uint8 [C, H, W] or "
            "[N, C, H, W]"
        )
    return np.asarray(pixels)


def _read_image(path: Path, graph: Graph) -> Pixels:
    rule = graph.facts.get("image") or {}
    channels = graph.image.shape[0]
    if channels not in _MODES:
        raise DataError(f"{path}: the network takes {channels} channels; give it a .npy file")
    told = _MODES[rule.get("channels", channels)]
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path) as image:
            fitted = _fit(_scale_down(image).convert(told), rule).convert(_MODES[channels])
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    except OSError as error:
        reason = error.strerror or "cannot be decoded as an image"
        raise DataError(f"{path}: {reason}") from None
    except Exception as error:  # Pillow's decoders raise anything on damaged files
        raise DataError(f"{path}: cannot be decoded as an image: {error}") from None
    pixels = np.asarray(fitted)
    return pixels[None] if channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _scale_down(image: Image.Image) -> Image.Image:
    """Return 16-bit gray levels as 8-bit ones, which Pillow would cut off at 255."""
    if not image.mode.startswith("I"):
        return image
    levels = np.asarray(image).astype(np.int64) // 256
    return Image.fromarray(levels.clip(0, 255).astype(np.uint8))


def _fit(image: Image.Image, rule: Mapping[str, Any]) -> Image.Image:
    """Resize and crop as the test images of the data set were."""
    if rule.get("resize"):
        size = _target(image, rule["resize"])
        method = rule.get("interpolation", "bilinear").upper()
        image = image.resize(size, Image.Resampling[method])
    if rule.get("crop"):
        height, width = rule["crop"]
        if image.width < width or image.height < height:
            raise DataError(
                f"is {image.height} x {image.width} after resizing, smaller than the "
                f"{height} x {width} that are cut out of it; give it a larger image"
            )
        left, top = round((image.width - width) / 2), round((image.height - height) / 2)
        image = image.crop((left, top, left + width, top + height))
    return image


def _target(image: Image.Image, resize: int | Sequence[int]) -> tuple[int, int]:
    """Return the width and height to resize to; one number is that of the shorter side."""
    if not isinstance(resize, int):
        return resize[1], resize[0]
    shorter = min(image.size)
    width, height = (int(resize * side / shorter) for side in image.size)
    return width, height
