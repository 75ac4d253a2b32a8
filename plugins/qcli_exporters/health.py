"""What the forms need beside Python: onnx with onnxruntime, and a C compiler."""

from __future__ import annotations

import importlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from qcli import HealthFinding, HealthRequest, MissingTool
from qcli_exporters.c99.compilation import FLAGS, find_compiler

INSTALL = 'pip install --upgrade "qcli[onnx]"'
PROGRAM = """#include <stdint.h>
#include <stdio.h>
int main(void) { printf("%d", (int)(int64_t)42); return 0; }
"""
COMPILER = (
    "xcode-select --install" if sys.platform == "darwin" else "sudo apt install gcc libc6-dev"
)


def check_onnx(request: HealthRequest) -> Iterator[HealthFinding]:
    """Write a network of the opset and IR that are exported, and run it in onnxruntime."""
    found = {name: _version(name) for name in ("onnx", "onnxruntime")}
    if missing := [name for name, version in found.items() if version is None]:
        told = f"{' and '.join(missing)} not installed: the ONNX forms are neither written nor run"
        yield HealthFinding("note", told, INSTALL)
        return
    told = f"onnx {found['onnx']} with onnxruntime {found['onnxruntime']}"
    try:
        yield _try_onnx(told)
    except Exception as error:
        # onnxruntime begins with the place in its own source.
        reason = " ".join(str(error).split())[-200:]
        yield HealthFinding("error", f"{told}: {type(error).__name__}: {reason}", INSTALL)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _try_onnx(told: str) -> HealthFinding:
    onnx = importlib.import_module("onnx")
    onnxruntime = importlib.import_module("onnxruntime")
    from qcli_exporters.onnx_integer.artifact import IR_VERSION, OPSET

    session = onnxruntime.InferenceSession(
        _make_product(onnx, IR_VERSION, OPSET).SerializeToString(),
        providers=["CPUExecutionProvider"],
    )
    pixels = np.array([[3, 250]], np.uint8)
    (sums,) = session.run(None, {"x": pixels})
    formats = f"opset {OPSET}, IR {IR_VERSION}"
    if sums.tolist() != [[3 * 2 - 250]]:
        return HealthFinding("error", f"{told}: multiplies integers wrongly, {formats}", INSTALL)
    newest = f"onnx itself knows opset {onnx.defs.onnx_opset_version()}, IR {onnx.IR_VERSION}"
    return HealthFinding("ok", f"{told}: {formats} runs; {newest}")


def _make_product(onnx: Any, ir_version: int, opset: int) -> Any:
    """Return a network that multiplies integers: x [1, 2] by (2, -1)."""
    helper, kinds = onnx.helper, onnx.TensorProto
    weight = helper.make_tensor("w", kinds.INT8, [2, 1], [2, -1])
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["x", "w"], ["y"])],
        "product",
        [helper.make_tensor_value_info("x", kinds.UINT8, [1, 2])],
        [helper.make_tensor_value_info("y", kinds.INT32, [1, 1])],
        [weight],
    )
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=ir_version)


def check_compiler(request: HealthRequest) -> Iterator[HealthFinding]:
    """Compile a program with the flags that generated C is compiled with, and run it."""
    try:
        compiler = find_compiler()
    except MissingTool as error:
        yield HealthFinding("note", f"{error}; `qcli verify` cannot run c99", COMPILER)
        return
    with tempfile.TemporaryDirectory() as folder:
        source, program = Path(folder, "program.c"), Path(folder, "program")
        source.write_text(PROGRAM, "ascii")
        command = [*compiler, *FLAGS, "-o", str(program), str(source)]
        name = " ".join(compiler)
        try:
            built = subprocess.run(command, capture_output=True, text=True, errors="replace")
            if built.returncode:
                reason = " ".join(built.stderr.split())[:300]
                yield HealthFinding("warning", f"{name} does not compile: {reason}", COMPILER)
                return
            said = subprocess.run([str(program)], capture_output=True, text=True).stdout
        except OSError as error:
            yield HealthFinding("warning", f"{name} cannot be run: {error.strerror}", COMPILER)
            return
    if said == "42":
        yield HealthFinding("ok", f"{name} compiles C99")
    else:
        yield HealthFinding("warning", f"what {name} compiles does not work", COMPILER)
