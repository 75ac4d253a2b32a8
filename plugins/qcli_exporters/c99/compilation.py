"""Compile the generated C with the machine's compiler and run it on images."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from qcli import ArtifactError, MissingTool
from qcli_exporters.c99.manifest import Observed, read_manifest

COMPILERS = ("cc", "gcc", "clang")
FLAGS = ("-std=c99", "-O2", "-Wall", "-Wextra", "-Werror", "-pedantic")


def run_c99(path: Path, images: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    """Compile what `write_c99` wrote, and run it.

    Args:
        path: The folder.
        images: [N, C, H, W].

    Returns:
        Integers [N, ...] by name, of all that quantizers make, and the logits as int64.

    Raises:
        MissingTool: There is no C compiler.
        ArtifactError: The folder is damaged, or the images are not of its shape.
    """
    path = Path(path)
    manifest = read_manifest(path)
    if list(images.shape[1:]) != manifest.image:
        raise ArtifactError(f"{path}: images {list(images.shape[1:])}; it reads {manifest.image}")
    compiler = find_compiler()
    with tempfile.TemporaryDirectory() as folder:
        program, pixels, told = (Path(folder, name) for name in ("network", "images", "told"))
        compile_network(compiler, path, manifest.name, program)
        np.ascontiguousarray(images).tofile(pixels)
        with told.open("wb") as stream:
            _call([str(program), str(pixels)], path, stream)
        return _read_told(told, manifest.observed)


def find_compiler() -> list[str]:
    """Return the command of a C compiler: that of the variable CC, else cc, gcc or clang.

    Raises:
        MissingTool: There is none.
    """
    wanted = shlex.split(os.environ.get("CC", ""))
    if wanted:
        if shutil.which(wanted[0]) is None:
            raise MissingTool(f"CC={os.environ['CC']}: there is no such C compiler; unset CC")
        return wanted
    found = next((name for name in COMPILERS if shutil.which(name)), None)
    if found is None:
        raise MissingTool(
            "no C compiler is installed (cc, gcc or clang): install gcc, or name one in CC"
        )
    return [found]


def compile_network(
    compiler: Sequence[str], path: Path, name: str, program: Path, flags: Sequence[str] = FLAGS
) -> None:
    """Compile a folder into a program that writes what it observes to its standard output.

    Args:
        compiler: A command.
        path: The folder.
        name: Of the network in C.
        program: The file to write.
        flags: For the compiler.

    Raises:
        ArtifactError: It does not compile.
    """
    sources = [str(path / "main.c"), str(path / f"{name}.c")]
    observe = f"-D{name.upper()}_OBSERVE"
    _call([*compiler, *flags, observe, "-o", str(program), *sources], path)


def _call(command: Sequence[str], path: Path, output: BinaryIO | None = None) -> None:
    done = subprocess.run(command, stdout=output, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        said = done.stderr.strip().splitlines()[:3] or [f"exit status {done.returncode}"]
        raise ArtifactError(f"{path}: {Path(command[0]).name}: {' | '.join(said)}; export again")


def _read_told(file: Path, observed: Sequence[Observed]) -> dict[str, NDArray[Any]]:
    """Return what the program wrote, image by image, as tensors with the channels first."""
    records = np.dtype([(each.name, each.dtype, each.lying) for each in observed])
    told = np.fromfile(file, records)
    tensors = {}
    for each in observed:
        channels_first = np.moveaxis(told[each.name], -1, 1)
        tensors[each.name] = channels_first.reshape(len(told), *each.shape)
    return tensors
