"""From what a run left on disk to a network ready for export."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qcli.deployment.deployment import Deployment
from qcli.deployment.hashing import hash_path
from qcli.deployment.lowering.walk import Pixels, lower
from qcli.deployment.scaling import EXACT, coarsen
from qcli.errors import ExportError, RunError
from qcli.recipe.setting import Setting
from qcli.training.data import load_splits
from qcli.training.normalization import find_affine
from qcli.training.pixels import describe_pixels
from qcli.training.revival import Revival, revive_run
from qcli.training.run_directory import RunDirectory
from qcli.training.splits import Normalization, Splits

MEAN_OF_EACH_PIXEL = (
    "the image: its normalization, lq_nets, has a mean for each pixel; train with another"
)


@dataclass(frozen=True)
class Prepared:
    """A run's network in the forms that export and proof need.

    Args:
        revival: The run.
        deployment: Its network, and its integers.
    """

    revival: Revival
    deployment: Deployment


def prepare_run(
    path: Path,
    *,
    weights: str = "best",
    scaling: str = EXACT,
    integers: bool = True,
    data_dir: Path | None = None,
    plugins: Sequence[str] = (),
) -> Prepared:
    """Read a finished run and lower its network.

    Args:
        path: The run directory.
        weights: "best" or "last".
        scaling: "exact", or a name of `qcli.deployment.scaling.SCALINGS`.
        integers: Whether to lower it.
        data_dir: Where data sets lie; needed of runs that did not write down how they normalize.
        plugins: Modules to load, among them those that the run was made with.

    Raises:
        RunError: The run is damaged or not finished.
        ExportError: The network does not lower, by layer.
    """
    _require_finished(path)
    revival = revive_run(path, weights, plugins)
    pixels = _read_pixels(revival, data_dir)
    channels, height, width = revival.setting.image_shape
    shape = (channels, height, width)
    model = revival.model.eval()
    graph = None
    if integers:
        facts = _facts(revival, pixels, path / f"{weights}.safetensors")
        graph = coarsen(lower(model, shape, make_pixels(pixels), facts), scaling)
    return Prepared(revival, Deployment(_name(revival), model, shape, graph, pixels))


def _require_finished(path: Path) -> None:
    run = RunDirectory(path)
    status = run.record()["status"]
    if status != "finished":
        raise RunError(
            f"{path} is {status}, not finished: what is exported must be what was trained; "
            f"go on with `qcli train --resume {path}`"
        )


def _read_pixels(revival: Revival, data_dir: Path | None) -> Mapping[str, Any]:
    if "pixels" in revival.record:
        pixels: Mapping[str, Any] = revival.record["pixels"]
        _check_pixels(pixels, revival)
        return pixels
    return describe(revival.setting, read_splits(revival, data_dir))


def _check_pixels(pixels: Any, revival: Revival) -> None:
    """Refuse what a run cannot have written."""
    try:
        known = pixels["mean"] is None or (
            len(pixels["mean"]) == len(pixels["std"])
            and all(math.isfinite(number) for number in pixels["mean"])
            and all(number > 0 and math.isfinite(number) for number in pixels["std"])
        )
        named = len(pixels["classes"]) in (0, revival.record["num_classes"])
        whole = known and named and {"channels", "resize", "crop"} <= pixels["image"].keys()
    except (KeyError, TypeError, AttributeError):
        whole = False
    if not whole:
        raise RunError("run.json: /pixels is damaged; `qcli export` and `verify` need what it was")


def read_splits(revival: Revival, data_dir: Path | None) -> Splits:
    """Read the data set of a run from where it lies, or lay when the run was made."""
    recorded = revival.record["data_root"]
    return load_splits(revival.setting, data_dir or (Path(recorded) if recorded else None))


def describe(setting: Setting, splits: Splits) -> Mapping[str, Any]:
    """Return how an image becomes the network's input."""
    assert setting.training is not None
    return describe_pixels(splits, setting.training, setting.image_shape)


def make_pixels(pixels: Mapping[str, Any]) -> Pixels:
    """Return the normalization as a factor and an offset, in the float32 numbers of training.

    Raises:
        ExportError: Each pixel has a mean of its own.
    """
    if pixels["mean"] is None:
        raise ExportError([MEAN_OF_EACH_PIXEL])
    factor, offset = find_affine(Normalization(pixels["mean"], pixels["std"]))
    return Pixels(factor.double().numpy(), offset.double().numpy())


def _name(revival: Revival) -> str:
    recipe = revival.setting.quantization
    words = (revival.setting.architecture_name, recipe.name if recipe else "float")
    return re.sub("[^A-Za-z0-9]+", "_", "_".join(words)).strip("_").lower()


def _facts(revival: Revival, pixels: Mapping[str, Any], weights: Path) -> Mapping[str, Any]:
    dataset = revival.setting.dataset
    return {
        "architecture": revival.setting.architecture_name,
        "dataset": dataset.name if dataset else None,
        "recipes_sha256": revival.record["recipes_sha256"],
        "weights": weights.name,
        "weights_sha256": hash_path(weights),
        "scaling": EXACT,
        "image": pixels["image"],
        "classes": pixels["classes"],
    }
