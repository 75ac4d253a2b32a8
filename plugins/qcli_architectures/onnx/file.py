"""ONNX files: read and checked, and their members known before torch is loaded."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import qcli

# What is an onnx.ModelProto stays Any: the package is an extra, imported where a file is read.
Model = Any
Shape = tuple[int, ...]

OPSETS = range(7, 23)
_DEFAULT_IMAGE_SHAPE = (3, 224, 224)
# A batch that is none of the ones in shapes: what keeps it keeps the images apart.
_FREE_BATCH = 2


def find_member(member: str) -> qcli.Member:
    """Return the absolute path of an ONNX file, its number of classes and its image shape.

    Raises:
        UsageError: It is missing, damaged, or no image classifier.
    """
    path = Path(member).expanduser().resolve()
    model = read_model(path)
    declared = declared_image_shape(model, f"onnx:{path}")
    channels, height, width = (
        found or default for found, default in zip(declared, _DEFAULT_IMAGE_SHAPE, strict=True)
    )
    shapes = infer_shapes(model, (channels, height, width), f"onnx:{path}")
    scores = shapes.get(model.graph.output[0].name, ())
    num_classes = scores[1] if len(scores) > 1 else 1000
    return qcli.Member(str(path), num_classes, (channels, height, width))


def read_model(path: Path) -> Model:
    """Read an ONNX file.

    Raises:
        UsageError: It is missing, damaged, of another opset, or no image classifier.
    """
    label = f"onnx:{path}"
    onnx = import_onnx(label)
    if not path.is_file():
        raise qcli.UsageError(
            f"{label}: there is no such file; give the path of an ONNX file. "
            "A run needs the file that it was made from"
        )
    try:
        model = onnx.load(path, format="protobuf")
        onnx.checker.check_model(model)
    except Exception as error:
        # The errors of protobuf, of onnx and of the disk have no class in common.
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise qcli.UsageError(f"{label} is damaged or no ONNX file: {reason[0]}") from error
    _check_opset(model, label)
    _check_ends(model, label)
    return model


def import_onnx(label: str) -> Any:
    """Return the package onnx.

    Raises:
        UsageError: It is not installed.
    """
    try:
        importlib.import_module("onnx.shape_inference")
        return importlib.import_module("onnx")
    except ImportError as error:
        raise qcli.UsageError(
            f"{label}: ONNX files need the package onnx; type: pip install qcli[onnx]"
        ) from error


def _check_opset(model: Model, label: str) -> None:
    versions = {each.domain: each.version for each in model.opset_import}
    opset = versions.get("", versions.get("ai.onnx", 0))
    if opset not in OPSETS:
        raise qcli.UsageError(
            f"{label}: is of opset {opset}, allowed: {OPSETS[0]} to {OPSETS[-1]}; "
            "export the network again with one of them"
        )


def _check_ends(model: Model, label: str) -> None:
    """An image classifier takes one batch of images and returns one batch of scores."""
    inputs = [each.name for each in _free_inputs(model)]
    outputs = [each.name for each in model.graph.output]
    for what, names in (("inputs", inputs), ("outputs", outputs)):
        if len(names) != 1:
            raise qcli.UsageError(
                f"{label}: has {len(names)} {what} ({', '.join(names)}), allowed: 1; "
                "export the network without the others"
            )


def _free_inputs(model: Model) -> Iterator[Any]:
    """Yield the inputs without a value: early files list their weights among the inputs."""
    known = {each.name for each in model.graph.initializer}
    yield from (each for each in model.graph.input if each.name not in known)


def image_input(model: Model) -> Any:
    """Return the input that takes the images."""
    return next(_free_inputs(model))


def declared_image_shape(model: Model, label: str) -> tuple[int | None, ...]:
    """Return (C, H, W) as the file declares it, None where it leaves a length free.

    Raises:
        UsageError: The input has no images [B, C, H, W].
    """
    dims = image_input(model).type.tensor_type.shape.dim
    if len(dims) != 4:
        raise qcli.UsageError(
            f"{label}: its input {image_input(model).name} has {len(dims)} dimensions, "
            "allowed: 4, as of images [B, C, H, W]"
        )
    return tuple(dim.dim_value or None for dim in dims[1:])


def infer_shapes(model: Model, image_shape: Shape, label: str) -> dict[str, Shape]:
    """Return the shapes of values by name, for images [C, H, W]; unknown ones are left out.

    The batch is the file's where that is fixed.
    """
    onnx = import_onnx(label)
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    batch = image_input(copy).type.tensor_type.shape.dim[0].dim_value or _FREE_BATCH
    # Shapes declared for other images would contradict.
    del graph.value_info[:]
    graph.output[0].type.tensor_type.ClearField("shape")
    for dim, length in zip(
        image_input(copy).type.tensor_type.shape.dim, (batch, *image_shape), strict=True
    ):
        dim.dim_value = length
    try:
        inferred = onnx.shape_inference.infer_shapes(copy, data_prop=True).graph
    except Exception as error:
        raise qcli.UsageError(f"{label}: its shapes cannot be inferred: {error}") from error
    values = [*inferred.input, *inferred.value_info, *inferred.output]
    shapes = {each.name: _lengths(each) for each in values}
    return {name: shape for name, shape in shapes.items() if shape is not None}


def _lengths(value: Any) -> Shape | None:
    tensor = value.type.tensor_type
    dims = [dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim]
    known = tuple(length for length in dims if length is not None)
    return known if tensor.HasField("shape") and len(known) == len(dims) else None
