"""Write a small pip package that offers one entry, complete with tests that pass."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template

from qcli.authoring.names import Names
from qcli.errors import UsageError

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Kind:
    """What a package of one kind is made of.

    Args:
        summary: The sentence that tells what the generated entry is.
        files: By template, the path of the file that it becomes.
    """

    summary: str
    files: Mapping[str, str]


_SHARED = {
    "README.md": "README.md",
    "hooks.py": "src/$module/__init__.py",
    "test.py": "tests/test_$identifier.py",
}
KINDS = {
    "quantizer": Kind(
        "Whole multiples of a power of two.",
        {**_SHARED, "code.py": "src/$module/quantizer.py", "recipe.json": "$name-w4a4.json"},
    ),
    "architecture": Kind(
        "A small residual network for images of any shape.",
        {**_SHARED, "code.py": "src/$module/network.py"},
    ),
    "dataset": Kind(
        "Images of two classes in NumPy files.",
        {**_SHARED, "code.py": "src/$module/images.py", "draw.py": "draw_images.py"},
    ),
    "exporter": Kind(
        "The integer graph in one compressed file.",
        {**_SHARED, "code.py": "src/$module/form.py"},
    ),
}


def write_package(kind: str, names: Names, folder: Path) -> list[Path]:
    """Write a package into a new folder.

    Args:
        kind: One of `KINDS`.
        names: What it is called.
        folder: The folder to make.

    Returns:
        The files.

    Raises:
        UsageError: The folder exists.
        OSError: The disk is full or not writable; nothing is left behind.
    """
    if folder.exists() or folder.is_symlink():
        raise UsageError(f"{folder} exists; name a new folder with -o, or remove it")
    files = fill_templates(kind, names)
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f".{folder.name}.partial-{os.getpid()}")
    try:
        for name, text in files.items():
            path = partial / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8", newline="\n")
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return [folder / name for name in files]


def fill_templates(kind: str, names: Names) -> dict[str, str]:
    """Return the content of every file of a package by its path."""
    words = {
        "name": names.entry,
        "identifier": names.identifier,
        "distribution": names.distribution,
        "module": names.module,
        "class_name": names.class_name,
        "summary": KINDS[kind].summary,
        "version": importlib.metadata.version("qcli"),
    }
    sources = {f"{kind}/{source}": path for source, path in KINDS[kind].files.items()}
    files = {}
    for source, path in {"shared/pyproject.toml": "pyproject.toml", **sources}.items():
        text = (TEMPLATES / f"{source}.template").read_text("utf-8")
        files[Template(path).substitute(words)] = Template(text).substitute(words)
    files[f"src/{names.module}/py.typed"] = ""
    return files
