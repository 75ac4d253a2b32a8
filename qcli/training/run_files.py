"""What the JSON files of a run must hold, whoever wrote or changed them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qcli.errors import RunError
from qcli.recipe.checking import find_faults
from qcli.recipe.document import Document, refuse_depth

Schema = Mapping[str, Any]

LARGEST_COUNT = 1 << 53
_TEXT: Schema = {"type": "string"}
_NAME: Schema = {"type": ["string", "null"]}
# What no path can hold makes one of another place, or none.
_PATH: Schema = {"type": ["string", "null"], "pattern": "^[^\0]+$"}
_COUNT: Schema = {"type": "integer", "minimum": 0, "maximum": LARGEST_COUNT}
_POSITIVE: Schema = {"type": "integer", "minimum": 1, "maximum": LARGEST_COUNT}
_NUMBER: Schema = {"type": "number"}
_BITS: Schema = {"type": "integer", "minimum": 1, "maximum": 32}
_OBJECT: Schema = {"type": "object"}


def _object(required: Mapping[str, Schema], **optional: Schema) -> Schema:
    properties = {**required, **optional}
    return {"type": "object", "required": list(required), "properties": properties}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


_RECORD = _object(
    {
        "status": _TEXT,
        "num_classes": {"type": "integer", "minimum": 1, "maximum": 1_000_000},
        "data_root": _PATH,
        "plugins": _list({"type": "string", "pattern": "^[^\0]+$"}),
        "threads": {"type": "integer", "minimum": 1, "maximum": 1024},
        "cpu": {"type": "boolean"},
        "num_processes": _POSITIVE,
        "versions": {"type": "object", "additionalProperties": _TEXT},
        "recipes_sha256": _TEXT,
    },
    started=_TEXT,
    ended=_NAME,
    error=_NAME,
    argv=_list(_TEXT),
    architecture=_TEXT,
    dataset=_NAME,
    init_from=_PATH,
    teacher=_PATH,
    teacher_sha256=_NAME,
    device=_TEXT,
    compiled={"type": "boolean"},
    git_commit=_NAME,
)
_SCORES = _object({"top1": _NUMBER}, epoch=_POSITIVE, top5=_NUMBER, loss=_NUMBER)
_RESULT = _object(
    {"best": _SCORES, "last": _SCORES},
    test=_SCORES,
    epochs=_POSITIVE,
    parameters=_COUNT,
    weight_bytes=_COUNT,
    float_weight_bytes=_COUNT,
    train_seconds=_NUMBER,
    val_seconds=_NUMBER,
    images_per_second=_NUMBER,
    health={"type": "array"},
)
_SLOT: Schema = {
    "type": ["object", "null"],
    "required": ["quantizer", "bits"],
    "properties": {"quantizer": _TEXT, "bits": _BITS},
}
_TOTALS = _object(
    {name: _COUNT for name in ("parameters", "weights", "macs", "bit_operations", "weight_bytes")},
    weight_megabytes=_NUMBER,
    float_weight_bytes=_COUNT,
)
_LAYER = _object(
    {"layer": _TEXT, "type": _TEXT, "weight": _SLOT, "input": _SLOT, "output": _SLOT},
    because=_TEXT,
    parameters=_COUNT,
    weights=_COUNT,
    macs=_COUNT,
    weight_bits=_BITS,
    input_bits=_BITS,
)
_PLAN = _object({"layers": _list(_LAYER), "totals": _TOTALS})
_RATES = ("lr", "train_loss", "train_top1", "val_loss", "val_top1", "val_top5")
_TIMES = ("train_seconds", "val_seconds", "images_per_second")
ROW = _object(
    {"epoch": _POSITIVE, **dict.fromkeys((*_RATES, *_TIMES), _NUMBER)},
    train_top5=_NUMBER,
    temperature={"type": ["number", "null"]},
    health=_OBJECT,
    levels=_OBJECT,
)
_POSITION = _object(
    {
        **{"epoch": _COUNT, "step": _COUNT, "rows": _COUNT},
        **{"sums": _list(_NUMBER), "seconds": _NUMBER, "sha256": _TEXT},
        "best": {**ROW, "type": ["object", "null"]},
        "files": {"type": "object", "additionalProperties": _TEXT},
    },
)
_SCHEMAS = {
    "run.json": _RECORD,
    "result.json": _RESULT,
    "plan.json": _PLAN,
    "position.json": _POSITION,
}


def read_object(file: Path) -> dict[str, Any]:
    """Read a JSON object that a run wrote.

    Raises:
        RunError: It is damaged: its name and the place of the first fault are said.
        OSError: It cannot be read.
    """
    return parse_object(read_content(file), f"{file} is damaged", _SCHEMAS.get(file.name, _OBJECT))


def read_content(file: Path) -> bytes:
    """Return the content of a file; nothing waits for a pipe, or reads a device without end.

    Raises:
        RunError: It is there, but is no file.
        OSError: It cannot be read.
    """
    if file.exists() and not file.is_file():
        raise RunError(f"{file} is damaged: it is no file")
    return file.read_bytes()


def parse_object(content: bytes, label: str, schema: Schema) -> dict[str, Any]:
    """Return the JSON object that some bytes spell.

    Args:
        content: The bytes.
        label: What a message begins with.
        schema: What the object must hold.

    Raises:
        RunError: They spell none.
    """
    try:
        value = json.loads(content.decode("utf-8"), parse_int=_whole)
        refuse_depth(value)
    except RecursionError:
        raise RunError(f"{label}: it is nested too deep") from None
    except ValueError as error:
        raise RunError(f"{label}: {error}") from None
    if not isinstance(value, dict):
        raise RunError(f"{label}: it holds no JSON object")
    faults = find_faults(Document(label, value), schema)
    if faults:
        raise RunError(faults[0])
    return value


def _whole(text: str) -> int:
    """Return an integer that a float can stand for: later arithmetic mixes both."""
    if not math.isfinite(float(text)):
        raise ValueError(f"a number of {len(text)} digits is too large")
    return int(text)
