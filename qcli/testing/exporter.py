"""The laws of exporters."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import chdir
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcli.catalog.catalog import resolve_build
from qcli.catalog.entries import Build, ExporterEntry
from qcli.deployment.deployment import Deployment
from qcli.deployment.execution import run_graph
from qcli.deployment.graph import Graph
from qcli.deployment.hashing import hash_path
from qcli.deployment.packed import pack_graph
from qcli.errors import ArtifactError, ExportError, MissingTool
from qcli.testing.entry_laws import describes_options, matches_build
from qcli.testing.law import Law, LawBroken, check_laws
from qcli.testing.trial_network import draw_images, make_deployments


@dataclass(frozen=True)
class _Written:
    path: Path
    told: Any


@dataclass(frozen=True)
class _Form:
    """A form of one network.

    Args:
        entry: Who writes it.
        options: All that `build` is given.
        deployment: The network.
        folder: Where folders for it can be made.
    """

    entry: ExporterEntry
    options: Mapping[str, Any]
    deployment: Deployment
    folder: Path

    @cached_property
    def written(self) -> _Written:
        """The form that most laws look at."""
        return self.write("form")

    def write(self, name: str) -> _Written:
        """Write the form into a new folder, which is the current one meanwhile."""
        folder = self.folder / name
        folder.mkdir()
        path = folder / f"network{self.entry.suffix}"
        # An exporter of floats must do without integers.
        asks = self.entry.needs_integers
        given = self.deployment if asks else replace(self.deployment, graph=None)
        with chdir(folder):
            return _Written(path, self.call(self.entry.build, given, path, **self.options))

    def call(self, build: Build, *arguments: Any, **options: Any) -> Any:
        """Call `build`, `execute` or `read` of the entry."""
        return resolve_build(build, self.entry.name)(*arguments, **options)


def writes_its_path_alone(form: _Form) -> Iterator[str]:
    """build() writes its path and nothing else: a file, or a folder where the suffix is empty."""
    path = form.written.path
    found = sorted(each.name for each in path.parent.iterdir())
    if found != [path.name]:
        yield f"{', '.join(found) or 'nothing'} where {path.name} was asked for"
    if path.is_dir() != (form.entry.suffix == ""):
        kind = "a folder" if path.is_dir() else "a file"
        yield f"{kind}, and the suffix is {form.entry.suffix!r}"


def tells_json(form: _Form) -> Iterator[str]:
    """build() returns None, or JSON values by name."""
    told = form.written.told
    if told is not None and json.loads(json.dumps(told)) != told:
        yield f"it returned {told!r}"


def leaves_the_network_alone(form: _Form) -> Iterator[str]:
    """build() changes neither the float network nor its integers."""
    model, graph = form.deployment.model, form.deployment.integers
    before = {name: value.clone() for name, value in model.state_dict().items()}
    packed = pack_graph(graph)
    form.write("once more")
    after = model.state_dict()
    if model.training or before.keys() != after.keys():
        yield "the network is in train mode, or has other tensors"
    yield from (f"it changes {name}" for name in before if not before[name].equal(after[name]))
    if pack_graph(graph) != packed:
        yield "it changes the integer graph"


def writes_alike(form: _Form) -> Iterator[str]:
    """The same network gives the same bytes, wherever they are written."""
    if hash_path(form.written.path) != hash_path(form.write("elsewhere").path):
        yield "writing it twice gives two forms that differ"


def computes_the_integers(form: _Form) -> Iterator[str]:
    """execute() gives the integers of the reference, each observed tensor, on every image."""
    if form.entry.execute is None:
        return
    images = draw_images()
    for count in (len(images), 1):
        expected = run_graph(form.deployment.integers, images[:count])
        results = form.call(form.entry.execute, form.written.path, images[:count])
        yield from _differences(results, expected)


def _differences(results: Mapping[str, Any], expected: Mapping[str, NDArray[Any]]) -> Iterator[str]:
    for name, wanted in expected.items():
        if name not in results:
            yield f"{name} is missing; it returned {', '.join(results) or 'nothing'}"
            continue
        got = np.asarray(results[name])
        if got.dtype.kind not in "iu" or got.shape != wanted.shape:
            yield f"{name} is {got.dtype} {list(got.shape)}, allowed: integers {list(wanted.shape)}"
        elif (got != wanted).any():
            place = tuple(int(each[0]) for each in np.nonzero(got != wanted))
            yield f"{name}{list(place)} is {got[place]}, the reference has {wanted[place]}"


def gives_the_graph_back(form: _Form) -> Iterator[str]:
    """read() gives the graph that was written: operations, scales and facts."""
    if form.entry.read is None:
        return
    found = form.call(form.entry.read, form.written.path)
    if not isinstance(found, Graph):
        yield f"read returned {type(found).__name__}, allowed: Graph"
    elif pack_graph(found) != pack_graph(form.deployment.integers):
        yield "the graph that read returns is another one"


def refuses_damage(form: _Form) -> Iterator[str]:
    """execute() and read() raise ArtifactError where half of a file is missing."""
    path = form.written.path
    if path.is_dir():
        return
    cut = path.with_name(f"cut{form.entry.suffix}")
    content = path.read_bytes()
    cut.write_bytes(content[: len(content) // 2])
    calls = {"execute": (cut, draw_images()[:1]), "read": (cut,)}
    for name, arguments in calls.items():
        build = getattr(form.entry, name)
        if build is None:
            continue
        try:
            form.call(build, *arguments)
        except ArtifactError:
            continue
        yield f"{name} takes it"


_ENTRY_LAWS: tuple[Law[ExporterEntry], ...] = (describes_options, matches_build)
_LAWS: tuple[Law[_Form], ...] = (
    writes_its_path_alone,
    tells_json,
    leaves_the_network_alone,
    writes_alike,
    gives_the_graph_back,
    computes_the_integers,
    refuses_damage,
)


def check_exporter(entry: ExporterEntry, options: Mapping[str, Any] | None = None) -> None:
    """Check an exporter's entry, and what it writes of two small networks.

    One is a chain, the other has branches, groups and an average. A form that cannot hold one of
    them may refuse it, by layer; one of them it must hold.

    Args:
        entry: What the plugin hands over.
        options: Options in place of the defaults.

    Raises:
        LawBroken: An AssertionError that names the entry, the network, the law and what was found.
        MissingTool: A program or package is missing that the exporter needs.
    """
    check_laws(_ENTRY_LAWS, entry, entry.name, "options")
    chosen = {name: schema["default"] for name, schema in entry.options.items()}
    chosen |= options or {}
    deployments = make_deployments()
    refusals = [found for each in deployments if (found := _check_network(entry, chosen, each))]
    if len(refusals) == len(deployments):
        law = "A form holds a chain of layers, or branches."
        raise LawBroken(entry.name, "every network", law, refusals[0])


def _check_network(entry: ExporterEntry, options: Mapping[str, Any], deployment: Deployment) -> str:
    """Check the form of one network; return why it is refused, "" where it is not."""
    place = ", ".join(
        [f"network {deployment.name}", *(f"{name} {value}" for name, value in options.items())]
    )
    with tempfile.TemporaryDirectory() as folder:
        form = _Form(entry, options, deployment, Path(folder).resolve())
        try:
            form.write("first")
        except ExportError as error:
            return str(error)
        except MissingTool:
            raise
        except Exception as error:
            raise LawBroken(entry.name, place, "build writes the form.", _told(error)) from error
        check_laws(_LAWS, form, entry.name, place)
    return ""


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
