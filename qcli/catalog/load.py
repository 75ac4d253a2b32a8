"""Find plugins and load each in isolation: one that breaks ends nothing but itself."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from qcli.catalog import hookspecs
from qcli.catalog.catalog import Catalog, Offer, PluginRecord
from qcli.catalog.entries import ArchitectureEntry, DatasetEntry, QuantizerEntry
from qcli.catalog.inspection import check_entry

GROUP = "qcli"
HOOKS = {
    "qcli_register_quantizers": QuantizerEntry,
    "qcli_register_architectures": ArchitectureEntry,
    "qcli_register_datasets": DatasetEntry,
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
    disabled = {name for name in os.environ.get("QCLI_DISABLE_PLUGINS", "").split(",") if name}
    offers: list[Offer] = []
    records: list[PluginRecord] = []
    for source in _sources(modules):
        if source.name in disabled:
            record = PluginRecord(source.name, source.distribution, source.version, "disabled")
        else:
            record = _load(source, offers)
        records.append(record)
    return Catalog(tuple(offers), tuple(records))


def _sources(modules: Sequence[str]) -> Iterator[_Source]:
    points = importlib.metadata.entry_points(group=GROUP)
    seen: set[tuple[str, str]] = set()
    for point in sorted(
        points, key=lambda point: (point.dist.name if point.dist else "", point.name)
    ):
        name, version = (point.dist.name, point.dist.version) if point.dist else ("?", "?")
        # A stale .egg-info beside a .dist-info lists one entry point twice.
        if (name, point.name) not in seen:
            seen.add((name, point.name))
            yield _Source(point.name, name, version, point.load)
    for module in modules:
        yield _Source(module, f"--plugin {module}", "", partial(_import, module))


def _load(source: _Source, offers: list[Offer]) -> PluginRecord:
    try:
        plugin = source.load()
        entries = list(_call_hooks(source.name, plugin))
    except (Exception, SystemExit) as error:
        problem = traceback.format_exception_only(error)[-1].strip()
        return PluginRecord(source.name, source.distribution, source.version, problem)
    offers += [Offer(entry, source.distribution, source.version) for entry in entries]
    return PluginRecord(source.name, source.distribution, source.version, None)


def _call_hooks(name: str, plugin: Any) -> Iterator[Any]:
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    manager.register(plugin, name)
    manager.check_pending()
    unknown = sorted(
        key for key in dir(plugin) if key.startswith("qcli_register_") and key not in HOOKS
    )
    if unknown:
        raise TypeError(f"unknown hook {unknown[0]}; this qcli knows {', '.join(HOOKS)}")
    for hook, kind in HOOKS.items():
        for entries in getattr(manager.hook, hook)():
            for entry in entries:
                check_entry(entry, kind, hook)
                yield entry


def _import(module: str) -> ModuleType:
    if not module.endswith(".py"):
        if str(Path.cwd()) not in sys.path:
            sys.path.insert(0, str(Path.cwd()))
        return importlib.import_module(module)
    path = Path(module).resolve()
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise FileNotFoundError(f"{path} is no Python file")
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = loaded
    spec.loader.exec_module(loaded)
    return loaded
