"""Where recipes lie: those that qcli ships, by name, and those of the user, by path."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from qcli.errors import RecipeError, suggest

KINDS = ("training", "quantization")
# A table of experiments names recipes of both kinds, and is none itself.
EXPERIMENT = "experiment"


def is_path(name_or_path: str) -> bool:
    """Say whether an argument means a file, rather than something that qcli ships."""
    return "/" in name_or_path or name_or_path.endswith(".json")


def exists(path: Path) -> bool:
    """Say whether there is such a file; a name that no disk can hold has none."""
    try:
        return path.exists()
    except OSError:
        return False


def library_folder(kind: str) -> Path:
    """Return the folder of the shipped recipes of one kind.

    A wheel holds them inside the package; an editable install finds them in the checkout.
    """
    package = Path(__file__).resolve().parents[1]
    inside = package / "recipes" / kind
    return inside if inside.is_dir() else package.parent / "recipes" / kind


def shipped_recipes(kind: str) -> dict[str, Path]:
    """Return the shipped recipes of one kind, by name, in alphabetical order."""
    return {path.stem: path for path in sorted(library_folder(kind).glob("*.json"))}


def kinds_of(name: str) -> list[str]:
    """Return the kinds that have a shipped recipe of this name."""
    return [kind for kind in KINDS if name in shipped_recipes(kind)]


def find_recipe(name_or_path: str, kind: str | None, beside: Path | None = None) -> Path:
    """Return the file that a recipe argument means.

    Args:
        name_or_path: A path where it has a `/` or ends with `.json`, else a shipped recipe's name.
        kind: "training" or "quantization"; None: whichever has the name.
        beside: A relative path is taken from the folder of this file, else from the current one.

    Raises:
        RecipeError: There is no such file or no such name.
    """
    if "\0" in name_or_path:
        raise RecipeError([f"{json.dumps(name_or_path)} is no path: it holds a NUL character"])
    if is_path(name_or_path):
        path = Path(name_or_path)
        return beside.parent / path if beside else path
    shipped = {
        name: path
        for each in KINDS
        if kind in (each, None)
        for name, path in shipped_recipes(each).items()
    }
    if name_or_path not in shipped:
        raise RecipeError([_unknown(name_or_path, kind, shipped)])
    return shipped[name_or_path]


def _unknown(name: str, kind: str | None, shipped: Iterable[str]) -> str:
    others = kinds_of(name)
    if others:
        return (
            f'"{name}" is a {others[0]} recipe, allowed: a {kind} recipe; run `qcli list recipes`'
        )
    which = f"{kind} recipe" if kind else "recipe"
    here = f"; a path has a /: write ./{name}" if exists(Path(name)) else ""
    return f'unknown {which} "{name}"{suggest(name, shipped)}{here}; run `qcli list recipes`'
