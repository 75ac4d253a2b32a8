"""Find plugins and load each in isolation: one that breaks ends nothing but itself."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from qcli.catalog import hookspecs
from qcli.catalog.catalog import Catalog, HealthCheckOffer, Offer, PluginRecord
from qcli.catalog.entries import (
    ArchitectureEntry,
    DatasetEntry,
    ExporterEntry,
    HealthCheckEntry,
    QuantizerEntry,
)
from qcli.catalog.inspection import check_entry
from qcli.errors import suggest

GROUP = "qcli"
HOOKS = {
    "qcli_register_quantizers": QuantizerEntry,
    "qcli_register_architectures": ArchitectureEntry,
    "qcli_register_datasets": DatasetEntry,
    "qcli_register_exporters": ExporterEntry,
    "qcli_register_health_checks": HealthCheckEntry,
}


@dataclass(frozen=True)
class _Source:
    name: str
    distribution: str
    version: str
    load: Callable[[], Any]


def load_catalog(modules: Sequence[str] = ()) -> Catalog:
    """Load every installed plugin.

    Args:
        modules: Modules or .py files of the user's own, loaded as plugins too.

    `QCLI_DISABLE_PLUGINS=a,b` leaves plugins out by the name of their entry point.
    """
    names = os.environ.get("QCLI_DISABLE_PLUGINS", "").split(",")
    disabled = {name.strip() for name in names} - {""}
    offers: list[Offer | HealthCheckOffer] = []
    records: list[PluginRecord] = []
    for source in _sources(modules):
        if source.name in disabled:
            record = PluginRecord(source.name, source.distribution, source.version, "disabled")
        else:
            record = _load(source, offers)
        records.append(record)
    unknown = disabled - {record.name for record in records}
    for name in sorted(unknown):
        records.append(PluginRecord(name, "QCLI_DISABLE_PLUGINS", "", "names no plugin"))
    entries = tuple(each for each in offers if isinstance(each, Offer))
    checks = tuple(each for each in offers if isinstance(each, HealthCheckOffer))
    return Catalog(entries, tuple(records), checks)


def _sources(modules: Sequence[str]) -> Iterator[_Source]:
    points = importlib.metadata.entry_points(group=GROUP)
    found = [_Source(point.name, *_distribution(point), point.load) for point in points]
    yield from sorted(found, key=lambda source: (source.distribution, source.name))
    # The user may name a module twice, in two spellings.
    own = {_module_key(module): module for module in modules}
    for module in own.values():
        yield _Source(module, f"--plugin {module}", "", partial(_import, module))


def _distribution(point: importlib.metadata.EntryPoint) -> tuple[str, str]:
    """Return the name and version of what brought an entry point.

    An interrupted uninstall leaves entry points without metadata: "?".
    """
    try:
        return (point.dist and point.dist.name) or "?", (point.dist and point.dist.version) or "?"
    except Exception:
        return "?", "?"


def _module_key(module: str) -> str:
    return str(Path(module).resolve()) if module.endswith(".py") else module


def _load(source: _Source, offers: list[Offer | HealthCheckOffer]) -> PluginRecord:
    try:
        # What a plugin prints is no data.
        with redirect_stdout(sys.stderr):
            plugin = source.load()
            entries = list(_call_hooks(source.name, plugin))
    except (Exception, SystemExit) as error:
        problem = " ".join(traceback.format_exception_only(error)[-1].split())
        return PluginRecord(source.name, source.distribution, source.version, problem)
    for entry in entries:
        kind = HealthCheckOffer if isinstance(entry, HealthCheckEntry) else Offer
        offers.append(kind(entry, source.distribution, source.version, source.name))
    return PluginRecord(source.name, source.distribution, source.version, None)


def _call_hooks(name: str, plugin: Any) -> Iterator[Any]:
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    _check_hooks(manager, plugin)
    manager.register(plugin, name)
    manager.check_pending()
    if not manager.get_hookcallers(plugin):
        raise TypeError(f"implements no hook; this qcli knows {', '.join(HOOKS)}")
    for hook, kind in HOOKS.items():
        caller = getattr(manager.hook, hook)
        results = caller()
        # pluggy drops a None among the results.
        if len(results) < len(caller.get_hookimpls()):
            raise TypeError(f"{hook} returned None, allowed: an iterable of {kind.__name__}")
        for entries in results:
            for entry in entries:
                check_entry(entry, kind, hook)
                yield entry


def _check_hooks(manager: pluggy.PluginManager, plugin: Any) -> None:
    """Refuse what pluggy would not see: unknown hooks, and hooks without the marker."""
    for key in dir(plugin):
        if not key.startswith("qcli_register_"):
            continue
        if key not in HOOKS:
            raise TypeError(
                f"unknown hook {key}{suggest(key, HOOKS)}; this qcli knows {', '.join(HOOKS)}"
            )
        if manager.parse_hookimpl_opts(plugin, key) is None:
            raise TypeError(f"{key} has no @qcli.hookimpl above it")


def _import(module: str) -> ModuleType:
    if module.endswith(".py"):
        return _import_file(Path(module).resolve())
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    return importlib.import_module(module)


def _import_file(path: Path) -> ModuleType:
    """Import a file once, under a name that hides no other module."""
    name = f"qcli_plugin_{path.stem}"
    loaded = sys.modules.get(name)
    if loaded is not None and loaded.__file__ == str(path):
        return loaded
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise FileNotFoundError(f"{path} is no Python file")
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[name] = loaded
    try:
        spec.loader.exec_module(loaded)
    except BaseException:
        del sys.modules[name]
        raise
    return loaded
