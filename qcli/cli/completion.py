"""What the shell can complete after Tab: the values of arguments and options.

Verbs do not know of it. The name of a parameter tells which values it takes: verbs name them alike.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path

import click
from click.shell_completion import CompletionItem

Items = list[CompletionItem[str]]
Completer = Callable[[click.Context, str], Items]

# What is listed of a folder with a hundred thousand photographs.
MOST_NAMES = 2000


def complete_values(command: click.Command, verb: str) -> None:
    """Let the shell complete the values of a command's parameters, and of its commands'.

    Args:
        command: The command of a verb.
        verb: What is typed to reach it: `recipe show`.
    """
    for parameter in command.params:
        name = parameter.name or ""
        completer = _BY_VERB.get((verb, name)) or _BY_NAME.get(name)
        if completer is None and getattr(parameter.type, "func", None) is Path:
            completer = _FILE
        if completer and not isinstance(parameter.type, click.Choice):
            parameter.shell_complete = partial(_complete, completer)  # type: ignore[method-assign]
    if isinstance(command, click.Group):
        for name, each in command.commands.items():
            complete_values(each, f"{verb} {name}")


def _complete(completer: Completer, ctx: click.Context, incomplete: str) -> Items:
    return [item for item in completer(ctx, incomplete) if _is_plain(item.value)]


def _is_plain(value: str) -> bool:
    """Say whether a name can be told to a shell: one line, and nothing that commands a terminal."""
    return value.isprintable()


def _matching(names: Mapping[str, str] | Iterable[str], incomplete: str) -> Items:
    """Return names that begin so, with what is said of them."""
    told = names if isinstance(names, Mapping) else dict.fromkeys(names, "")
    return [
        CompletionItem(name, help=_one_line(told[name]) or None)
        for name in told
        if name.startswith(incomplete)
    ]


def _one_line(text: str) -> str:
    return "".join(each for each in " ".join(text.split()) if each.isprintable())


def _entries(kind: str) -> Completer:
    """Complete what plugins offer, those of --plugin included."""

    def complete(ctx: click.Context, incomplete: str) -> Items:
        return _matching(_summaries(ctx, kind), incomplete)

    return complete


def _summaries(ctx: click.Context, *kinds: str) -> dict[str, str]:
    from qcli.catalog.load import load_catalog

    catalog = load_catalog(ctx.params.get("plugins") or ())
    return {
        name: offer.entry.summary for kind in kinds for name, offer in catalog.of_kind(kind).items()
    }


def _recipes(*kinds: str) -> Completer:
    """Complete names of shipped recipes, and paths of JSON files."""

    def complete(ctx: click.Context, incomplete: str) -> Items:
        return _matching(_shipped(kinds), incomplete) + _files(ctx, incomplete, ".json")

    return complete


def _shipped(kinds: Iterable[str]) -> list[str]:
    from qcli.recipe.library import shipped_recipes

    return [name for kind in kinds for name in shipped_recipes(kind)]


def _experiments(ctx: click.Context, incomplete: str) -> Items:
    return _matching(_rows(), incomplete) + _files(ctx, incomplete, ".json")


def _rows() -> Iterator[str]:
    """Yield the ids of shipped experiments; a whole check of their tables would take too long."""
    from qcli.recipe.library import EXPERIMENT, library_folder

    for path in sorted(library_folder(EXPERIMENT + "s").glob("*.json")):
        for row in json.loads(path.read_text("utf-8"))["rows"]:
            yield row["id"]


def _everything(ctx: click.Context, incomplete: str) -> Items:
    """Complete whatever has a name."""
    from qcli.catalog.catalog import KINDS
    from qcli.recipe.library import KINDS as RECIPE_KINDS

    named = dict.fromkeys([*_shipped(RECIPE_KINDS), *_rows()], "")
    return _matching({**_summaries(ctx, *KINDS), **named}, incomplete)


def _runs(_: click.Context, incomplete: str) -> Items:
    """Complete folders that hold a run, and those on the way to them."""
    places = [incomplete] if incomplete else ["", "runs/"]
    return [
        CompletionItem(name if (path / "run.json").is_file() else f"{name}/")
        for place in places
        for name, path in _names(place)
        if path.is_dir()
    ]


def _things(ctx: click.Context, incomplete: str) -> Items:
    """Complete what can be cited: names, runs and files of recipes."""
    return _everything(ctx, incomplete) + _files(ctx, incomplete, ".json") + _runs(ctx, incomplete)


def _files(_: click.Context, incomplete: str, *suffixes: str) -> Items:
    """Complete files with these endings, and folders."""
    return [
        CompletionItem(f"{name}/" if path.is_dir() else name)
        for name, path in _names(incomplete)
        if path.is_dir() or path.suffix in suffixes
    ]


def _names(incomplete: str) -> Iterator[tuple[str, Path]]:
    """Yield what lies where an incomplete path points to: as it would be typed, and its path."""
    folder, slash, start = incomplete.rpartition("/")
    try:
        with os.scandir(Path(f"{folder}{slash}").expanduser()) as found:
            names = [each.name for each, _ in zip(found, range(MOST_NAMES), strict=False)]
    except (OSError, RuntimeError, ValueError):
        return
    for name in sorted(names):
        if name.startswith(start) and not (name.startswith(".") and not start):
            yield f"{folder}{slash}{name}", Path(f"{folder}{slash}").expanduser() / name


def _plugins(ctx: click.Context, incomplete: str) -> Items:
    return _files(ctx, incomplete, ".py")


def _by_shell(kind: str) -> Completer:
    """Leave it to the shell to complete files or folders."""

    def complete(_: click.Context, incomplete: str) -> Items:
        return [CompletionItem(incomplete, type=kind)]

    return complete


def _words(*words: str) -> Completer:
    def complete(_: click.Context, incomplete: str) -> Items:
        return _matching(words, incomplete)

    return complete


def _new_recipe(ctx: click.Context, incomplete: str) -> Items:
    """Complete what the start of a recipe is for."""
    given = ctx.params.get("names") or ()
    if ctx.params.get("kind") == "quantization":
        return _matching(_summaries(ctx, "quantizers"), incomplete) if not given else []
    kind = ("architectures", "datasets")[len(given)] if len(given) < 2 else None
    return _matching(_summaries(ctx, kind), incomplete) if kind else []


def _methods(ctx: click.Context, incomplete: str) -> Items:
    return _matching(["float", *_summaries(ctx, "quantizers")], incomplete)


_ARCHITECTURES, _DATASETS = _entries("architectures"), _entries("datasets")
_TRAINING, _QUANTIZATION = _recipes("training"), _recipes("quantization")
_BOTH, _FORMATS = _recipes("training", "quantization"), _entries("exporters")
_FILE, _FOLDER = _by_shell("file"), _by_shell("dir")

_BY_NAME: Mapping[str, Completer] = {
    **dict.fromkeys(("architecture", "network"), _ARCHITECTURES),
    **dict.fromkeys(("dataset",), _DATASETS),
    **dict.fromkeys(("train_json", "training"), _TRAINING),
    **dict.fromkeys(("quant_json", "quantizations"), _QUANTIZATION),
    **dict.fromkeys(("files", "parent"), _BOTH),
    **dict.fromkeys(("form", "forms"), _FORMATS),
    **dict.fromkeys(("run", "runs", "resume", "init_from", "teacher"), _runs),
    **dict.fromkeys(("first", "second", "path"), _runs),
    **dict.fromkeys(("data_dir", "work_dir", "folders"), _FOLDER),
    **dict.fromkeys(("output", "plot", "graph", "artifact", "artifacts", "images"), _FILE),
    **dict.fromkeys(("first_layer", "last_layer"), _words("float", "default", "8")),
    "wanted": _experiments,
    "method": _methods,
    "plugins": _plugins,
}
_BY_VERB: Mapping[tuple[str, str], Completer] = {
    ("show", "name"): _everything,
    ("cite", "names"): _things,
    ("data check", "name"): _DATASETS,
    ("data pack", "name"): _DATASETS,
    ("recipe new", "kind"): _words("quantization", "training"),
    ("recipe new", "names"): _new_recipe,
    ("recipe show", "name"): _BOTH,
    # How many, not which.
    ("verify", "images"): _words(),
}
