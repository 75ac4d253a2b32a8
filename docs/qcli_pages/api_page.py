"""The public names of `qcli`, from their docstrings."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import qcli
from qcli_pages import docstring, markdown


def make_page() -> str:
    """Return the page of every name in `qcli.__all__`."""
    lines = [
        "# Python API\n",
        "What `import qcli` offers to programs and plugins; anything else may change.\n",
    ]
    for name in qcli.__all__:
        lines += _section(name, getattr(qcli, name))
    return "\n".join(lines)


def _section(name: str, value: Any) -> Iterator[str]:
    yield f"## {name} {{ #{name} }}\n"
    if not (inspect.isclass(value) or inspect.isroutine(value)):
        about = docstring.summary(value) if type(value).__module__ == "pluggy" else ""
        yield f"{about or f'A {type(value).__name__}.'}\n"
        return
    yield markdown.block(f"qcli.{name}{_signature(value)}", "python")
    yield docstring.google(value) + "\n"
    if inspect.isclass(value):
        for method, function in vars(value).items():
            function = getattr(function, "__func__", function)
            if inspect.isfunction(function) and not method.startswith("_"):
                yield f"### {name}.{method} {{ #{name}.{method} }}\n"
                yield markdown.block(f"{method}{_signature(function)}", "python")
                yield docstring.google(function) + "\n"


def _signature(value: Any) -> str:
    """Return the parameters, without defaults that are written at an address in memory."""
    try:
        signature = str(inspect.signature(value))
    except (TypeError, ValueError):
        return "(...)"
    return signature.replace("'", "") if " at 0x" not in signature else "(...)"
