"""ONNX of integers: written in a strict or a fast form, and run in onnxruntime."""

from qcli_exporters.onnx_integer.artifact import write_onnx_integer
from qcli_exporters.onnx_integer.session import run_onnx

__all__ = ["run_onnx", "write_onnx_integer"]
