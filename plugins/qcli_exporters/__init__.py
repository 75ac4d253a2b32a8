"""The forms that `qcli export` writes."""

from __future__ import annotations

from collections.abc import Iterable

from qcli import ExporterEntry, HealthCheckEntry, hookimpl


def _packed() -> ExporterEntry:
    return ExporterEntry(
        name="packed",
        summary="Bit-packed weights, thresholds and the integer graph, in one safetensors file.",
        source="docs/packed.md",
        suffix=".qcli",
        build="qcli_exporters.packed:write_packed",
        execute="qcli_exporters.packed:run_packed",
        read="qcli_exporters.packed:read_packed",
    )


def _weights() -> ExporterEntry:
    return ExporterEntry(
        name="weights",
        summary="A folder: baked float weights for the plain network; codes and codebooks as .npz.",
        source="PLUGINS.md, the contract of quantizers",
        suffix="",
        build="qcli_exporters.weights:write_weights",
        needs_integers=False,
    )


def _onnx_integer() -> ExporterEntry:
    return ExporterEntry(
        name="onnx-integer",
        summary="ONNX of integers (strict), or of whole numbers in float32, proved equal (fast).",
        source="ONNX opset 21, IR 10",
        suffix=".onnx",
        build="qcli_exporters.onnx_integer:write_onnx_integer",
        options={
            "form": {
                "description": "strict: ConvInteger and integer comparisons; fast: float32 that "
                "carries whole numbers, where it is proved equal.",
                "enum": ["strict", "fast"],
                "default": "strict",
            }
        },
        execute="qcli_exporters.onnx_integer:run_onnx",
    )


def _onnx_qdq() -> ExporterEntry:
    return ExporterEntry(
        name="onnx-qdq",
        summary="ONNX with QuantizeLinear and DequantizeLinear around float32 operations.",
        source="ONNX opset 21 (INT4), opset 25 (INT2)",
        suffix=".onnx",
        build="qcli_exporters.onnx_qdq:write_onnx_qdq",
        options={
            "int2": {
                "description": "Store integers of 2 bits as such, which needs opset 25; else as "
                "INT4.",
                "type": "boolean",
                "default": False,
            }
        },
        needs_integers=False,
    )


def _qonnx() -> ExporterEntry:
    return ExporterEntry(
        name="qonnx",
        summary="QONNX: arbitrary bit-widths, for FINN and hls4ml.",
        source="Pappalardo et al., QONNX, 2022, arXiv:2206.07527",
        suffix=".onnx",
        build="qcli_exporters.qonnx:write_qonnx",
        needs_integers=False,
    )


def _c99() -> ExporterEntry:
    return ExporterEntry(
        name="c99",
        summary="One .c and one .h file without dependencies, allocation or floating point.",
        source="ISO/IEC 9899:1999",
        suffix="",
        build="qcli_exporters.c99:write_c99",
        options={
            "name": {
                "description": "What files, functions and macros begin with, so that several "
                "networks fit one program; empty: architecture and recipe.",
                "type": "string",
                "pattern": "^([A-Za-z][A-Za-z0-9_]{0,40})?$",
                "default": "",
            }
        },
        execute="qcli_exporters.c99:run_c99",
    )


@hookimpl
def qcli_register_exporters() -> Iterable[ExporterEntry]:
    """Offer the bundled forms."""
    return [_packed(), _weights(), _onnx_integer(), _onnx_qdq(), _qonnx(), _c99()]


@hookimpl
def qcli_register_health_checks() -> Iterable[HealthCheckEntry]:
    """Offer to try what the forms are written and run with."""
    runtime = "Whether onnxruntime runs what is exported."
    compiler = "Whether a C compiler compiles what is exported."
    return [
        HealthCheckEntry("onnx", runtime, "qcli_exporters.health:check_onnx"),
        HealthCheckEntry("c-compiler", compiler, "qcli_exporters.health:check_compiler"),
    ]
