"""The entry of the networks that lie in ONNX files."""

from __future__ import annotations

from qcli import ArchitectureEntry

ONNX_ENTRIES = [
    ArchitectureEntry(
        name="onnx:",
        summary=(
            "The image classifier in an ONNX file, onnx:PATH: its layers have the names of the "
            "nodes, its weights are trained further, a softmax at its end is left out."
        ),
        source="https://onnx.ai, opsets 7 to 22; layers named as in CEA-LIST/N2D2",
        build="qcli_architectures.onnx.family:build_member",
        find_member="qcli_architectures.onnx.file:find_member",
        options={
            "pretrained": {
                "description": "Start from the weights in the file, not from random ones.",
                "type": "boolean",
                "default": True,
            },
            "new_head": {
                "description": (
                    "Replace the last layer by a new one with as many outputs as there are classes."
                ),
                "type": "boolean",
                "default": False,
            },
        },
    )
]
