"""Run the ONNX file in onnxruntime, as it is and with every observed tensor as an output."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import qcli
from qcli_exporters.onnx_integer.artifact import OBSERVED

BATCH_SIZE = 100

Arrays = dict[str, NDArray[Any]]


def run_onnx(path: Path, images: NDArray[np.uint8]) -> Arrays:
    """Run an exported file with onnxruntime's default options.

    Args:
        path: The file.
        images: uint8 [N, C, H, W].

    Returns:
        Integers [N, ...] by name of each observed tensor, in the narrowest type. The logits are
        those of the file as it lies there: outputs that are added for observation keep
        onnxruntime from some rewriting.

    Raises:
        ArtifactError: The file is damaged, or of another origin.
        DataError: The images are of another shape.
        MissingTool: onnx or onnxruntime is not installed.
    """
    onnx, runtime = _import("onnx"), _import("onnxruntime")
    model = _load(onnx, path)
    types = _observed_types(model, path)
    deployed = _start(runtime, model, path)
    _check_shape(deployed, images, path)
    (logits,) = (output.name for output in model.graph.output)
    kept = {each.name: each for each in model.graph.value_info}
    model.graph.output.extend(kept[name] for name in types if name != logits)
    observer = _start(runtime, model, path)
    found = {**_run(observer, images), **_run(deployed, images)}
    return {name: _as_integers(found[name], dtype) for name, dtype in types.items()}


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise qcli.MissingTool(f"{name} is not installed: pip install 'qcli[onnx]'") from None


def _load(onnx: Any, path: Path) -> Any:
    try:
        return onnx.load_model_from_string(path.read_bytes())
    except OSError as error:
        raise qcli.ArtifactError(f"{path}: {error.strerror}") from None
    except Exception:
        raise qcli.ArtifactError(
            f"{path}: no ONNX file, or a damaged one; export it again"
        ) from None


def _observed_types(model: Any, path: Path) -> dict[str, str]:
    notes = {each.key: each.value for each in model.metadata_props}
    kept = {each.name for each in [*model.graph.value_info, *model.graph.output]}
    try:
        types = {str(name): str(dtype) for name, dtype in json.loads(notes[OBSERVED]).items()}
    except (KeyError, ValueError, AttributeError):
        types = {}
    if not types or not kept.issuperset(types) or len(model.graph.output) != 1:
        raise qcli.ArtifactError(
            f"{path}: does not tell its observed tensors: damaged, or not written by onnx-integer"
        )
    return types


def _start(runtime: Any, model: Any, path: Path) -> Any:
    try:
        return runtime.InferenceSession(
            model.SerializeToString(), providers=["CPUExecutionProvider"]
        )
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise qcli.ArtifactError(f"{path}: onnxruntime refuses it: {reason}") from None


def _check_shape(session: Any, images: NDArray[np.uint8], path: Path) -> None:
    shape = tuple(session.get_inputs()[0].shape[1:])
    if images.shape[1:] != shape:
        raise qcli.DataError(
            f"{path}: takes images of shape {list(shape)}, not {list(images.shape[1:])}"
        )


def _run(session: Any, images: NDArray[np.uint8]) -> Arrays:
    """Run in batches; the names are those of the outputs."""
    (source,) = (each.name for each in session.get_inputs())
    starts = range(0, max(len(images), 1), BATCH_SIZE)
    batches = [session.run(None, {source: images[at : at + BATCH_SIZE]}) for at in starts]
    names = [each.name for each in session.get_outputs()]
    parts = zip(*batches, strict=True)
    return {name: np.concatenate(part) for name, part in zip(names, parts, strict=True)}


def _as_integers(values: NDArray[Any], dtype: str) -> NDArray[Any]:
    """Return whole numbers in their type; what is none stays as it is, for all to see."""
    integers = values.astype(dtype)
    return integers if np.array_equal(integers, values) else values
