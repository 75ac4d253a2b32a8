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
        np.ascontiguousarray(images).tofile(pixels)
        compile_network(compiler, path, manifest.name, program)
        with told.open("wb") as stream:
            _call([str(program), str(pixels)], path, stream)
        tensors = _read_told(told, manifest.observed)
        compile_network(compiler, path, manifest.name, program, observing=False)
        with told.open("wb") as stream:
            _call([str(program), "-v", str(pixels)], path, stream)
        return {**tensors, "logits": _read_scores(told, path)}


def find_compiler() -> list[str]:
    """Return the command of a C compiler: that of the variable CC, else cc, gcc or clang.

    Raises:
        MissingTool: There is none.
    """
    try:
        wanted = shlex.split(os.environ.get("CC", ""))
    except ValueError as error:
        raise MissingTool(f"CC={os.environ['CC']}: {error}; unset CC") from None
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
    compiler: Sequence[str],
    path: Path,
    name: str,
    program: Path,
    flags: Sequence[str] = FLAGS,
    *,
    observing: bool = True,
) -> None:
    """Compile a folder into its program.

    Args:
        compiler: A command.
        path: The folder.
        name: Of the network in C.
        program: The file to write.
        flags: For the compiler.
        observing: Whether it writes what it observes to its standard output, in place of classes.

    Raises:
        ArtifactError: It does not compile.
    """
    sources = [str(path / "main.c"), str(path / f"{name}.c")]
    defined = [f"-D{name.upper()}_OBSERVE"] if observing else []
    _call([*compiler, *flags, *defined, "-o", str(program), *sources], path)


def _call(command: Sequence[str], path: Path, output: BinaryIO | None = None) -> None:
    done = subprocess.run(command, stdout=output, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        said = done.stderr.strip().splitlines()[:3] or [f"exit status {done.returncode}"]
        raise ArtifactError(f"{path}: {Path(command[0]).name}: {' | '.join(said)}; export again")


def _read_scores(file: Path, path: Path) -> NDArray[np.int64]:
    """Return the scores [N, classes] of the program as it is deployed: a class, then its scores.

    Raises:
        ArtifactError: The class is not that of the greatest score, the first of equal ones.
    """
    lines = [[int(word) for word in line.split()] for line in file.read_text().splitlines()]
    scores = np.array([line[1:] for line in lines], np.int64)
    classes = np.array([line[0] for line in lines])
    if (classes != scores.argmax(1)).any():
        raise ArtifactError(f"{path}: main.c prints another class than its scores name")
    return scores


def _read_told(file: Path, observed: Sequence[Observed]) -> dict[str, NDArray[Any]]:
    """Return what the program wrote, image by image, as tensors with the channels first."""
    records = np.dtype([(each.name, each.dtype, each.lying) for each in observed])
    told = np.fromfile(file, records)
    tensors = {}
    for each in observed:
        channels_first = np.moveaxis(told[each.name], -1, 1)
        tensors[each.name] = channels_first.reshape(len(told), *each.shape)
    return tensors
