"""Where recipes lie: those that qcli ships, by name, and those of the user, by path."""

from __future__ import annotations

from pathlib import Path

from qcli.errors import RecipeError, suggest

KINDS = ("training", "quantization")


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


def find_recipe(name_or_path: str, kind: str, beside: Path | None = None) -> Path:
    """Return the file that a recipe argument means.

    Args:
        name_or_path: A path where it has a `/` or ends with `.json`, else a shipped recipe's name.
        kind: "training" or "quantization".
        beside: A relative path is taken from the folder of this file, else from the current one.

    Raises:
        RecipeError: There is no such file or no such name.
    """
    if "/" in name_or_path or name_or_path.endswith(".json"):
        path = Path(name_or_path)
        return beside.parent / path if beside else path
    shipped = shipped_recipes(kind)
    if name_or_path not in shipped:
        near = suggest(name_or_path, shipped)
        raise RecipeError(
            [f'unknown {kind} recipe "{name_or_path}"{near}; run `qcli list recipes`']
        )
    return shipped[name_or_path]
