"""The C text of a kernel with its placeholders filled."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from string import Template
from typing import Any


def fill(kernel: str, /, **fields: Any) -> str:
    """Return a file of kernels/ with each `$word` replaced, without lines that become empty."""
    filled = ((line, Template(line).substitute(fields)) for line in _read(kernel))
    return "".join(f"{text}\n" for line, text in filled if text.strip() or not line)


@cache
def _read(name: str) -> list[str]:
    folder = files("qcli_exporters.c99") / "kernels"
    return (folder / name).read_text("utf-8").splitlines()
