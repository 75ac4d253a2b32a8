"""The text of the generated files, and how much memory they need."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from qcli.deployment.graph import Graph
from qcli_exporters.c99.function import Function
from qcli_exporters.c99.memory import Buffer, MemoryPlan, plan_memory
from qcli_exporters.c99.program import Program, Step, make_program
from qcli_exporters.c99.step_function import write_step
from qcli_exporters.c99.template import fill


@dataclass(frozen=True)
class Source:
    """A network in C.

    Args:
        files: Text by file name.
        program: What they compute.
        ram_bytes: What static variables take.
        flash_bytes: What constant tables take.
    """

    files: Mapping[str, str]
    program: Program
    ram_bytes: int
    flash_bytes: int


def write_source(graph: Graph, name: str) -> Source:
    """Write the files of a network.

    Args:
        graph: The network.
        name: Begins the names of functions and, in upper case, of macros.
    """
    program = make_program(graph)
    functions = [write_step(step, number, program) for number, step in enumerate(program.steps)]
    plan = plan_memory(_list_buffers(graph, program, functions))
    flash_bytes = sum(table.size_bytes for each in functions for table in each.tables)
    channels, height, width = graph.image.shape
    fields = {
        "name": name,
        "macro": name.upper(),
        "channels": channels,
        "height": height,
        "width": width,
        "image_bytes": channels * height * width,
        "classes": program.stored[graph.logits.name].count,
        "shift": graph.logits.shift,
        "ram_bytes": plan.size_bytes,
        "flash_bytes": flash_bytes,
        "functions": "\n".join(_define(program, functions)),
        "calls": "\n    ".join(_call(graph, program, plan, functions)),
        "logits": _place(graph.logits.name, program, plan),
    }
    templates = {f"{name}.c": "network.c", f"{name}.h": "network.h"}
    templates |= {each: each for each in ("main.c", "Makefile")}
    files = {path: fill(template, **fields) for path, template in templates.items()}
    return Source(files, program, plan.size_bytes, flash_bytes)


def _list_buffers(graph: Graph, program: Program, functions: Sequence[Function]) -> list[Buffer]:
    """Return what needs memory: each tensor but the image, and each filter that is unpacked."""
    last = {
        program.home(name): number
        for number, step in enumerate(program.steps)
        for name in step.parameters.values()
    }
    buffers = []
    for number, (step, function) in enumerate(zip(program.steps, functions, strict=True)):
        name = step.node.name
        size = program.stored[name].size_bytes
        buffers.append(Buffer(name, size, number, last.get(name, number)))
        if function.filter_bytes:
            buffers.append(Buffer(_filter_of(step), function.filter_bytes, number, number))
    return buffers


def _filter_of(step: Step) -> str:
    return f"{step.node.name}, one filter"


def _define(program: Program, functions: Sequence[Function]) -> Iterator[str]:
    """Yield the tables and functions in an order in which they can be read."""
    for bits, dtype in sorted({each.unpacking for each in functions if each.unpacking}):
        per_byte = 8 // bits
        yield fill("unpack.c", bits=bits, type=dtype, per_byte=per_byte, mask=(1 << bits) - 1)
    for step, function in zip(program.steps, functions, strict=True):
        yield _describe(step)
        yield from (table.declare() for table in function.tables)
        yield function.text


def _describe(step: Step) -> str:
    """Return a comment that says what a step computes."""
    parts = [step.node] if step.product is None else [step.product, step.node]
    words = ", ".join(f"{type(node).__name__} {node.name}" for node in parts)
    shape = " x ".join(map(str, step.node.output.shape))
    return f"/* {re.sub(r'[^A-Za-z0-9_., ()-]', '_', words)}: {shape} */"


def _call(
    graph: Graph, program: Program, plan: MemoryPlan, functions: Sequence[Function]
) -> Iterator[str]:
    """Yield the statements that run the network."""
    last = graph.logits.name
    for number, (step, function) in enumerate(zip(program.steps, functions, strict=True)):
        name = step.node.name
        inputs = [
            "image" if program.home(each) == graph.image.name else _place(each, program, plan)
            for each in step.parameters.values()
        ]
        output = "logits" if name == last else _place(name, program, plan)
        unpacked = []
        if function.unpacking:
            unpacked = [_point(plan.offsets[_filter_of(step)], function.unpacking[1])]
        yield f"step_{number}({', '.join([*inputs, output, *unpacked])});"
        for index, told in enumerate(graph.observed):
            # What lies in the memory of this output is told now, whatever its name.
            if program.home(told) == name:
                yield f"OBSERVE({index}, {output}, {program.stored[told].count});"


def _place(name: str, program: Program, plan: MemoryPlan) -> str:
    """Return the C expression of where a tensor begins."""
    return _point(plan.offsets[program.home(name)], program.stored[name].tensor.dtype)


def _point(offset: int, dtype: str) -> str:
    place = offset // np.dtype(dtype).itemsize
    return f"memory.{dtype} + {place}" if place else f"memory.{dtype}"
