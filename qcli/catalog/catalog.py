"""All entries found, with who offered them."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from qcli.catalog.entries import (
    ArchitectureEntry,
    Build,
    DatasetEntry,
    ExporterEntry,
    HealthCheckEntry,
    QuantizerEntry,
)
from qcli.errors import PluginError, suggest

Entry = QuantizerEntry | ArchitectureEntry | DatasetEntry | ExporterEntry
E = TypeVar("E", QuantizerEntry, ArchitectureEntry, DatasetEntry, ExporterEntry)

KINDS: Mapping[str, type] = {
    "quantizers": QuantizerEntry,
    "architectures": ArchitectureEntry,
    "datasets": DatasetEntry,
    "exporters": ExporterEntry,
}


@dataclass(frozen=True)
class Offer:
    """An entry and who offers it.

    Args:
        entry: The entry.
        distribution: What pip installed, or the --plugin that names a module.
        version: Of the distribution.
        plugin: The entry point, or the module.
    """

    entry: Entry
    distribution: str
    version: str
    plugin: str = ""


@dataclass(frozen=True)
class HealthCheckOffer:
    """A health check and the plugin that offers it."""

    entry: HealthCheckEntry
    distribution: str
    version: str
    plugin: str


@dataclass(frozen=True)
class PluginRecord:
    """A plugin that was found; `problem` says why it is not used, None where it is."""

    name: str
    distribution: str
    version: str
    problem: str | None


@dataclass(frozen=True)
class Catalog:
    """Everything that plugins offer.

    Args:
        offers: Every entry, in the order of distributions and entry points.
        plugins: Every plugin found, with what is wrong with it.
        health_checks: What `qcli doctor` asks plugins; no recipe names these.
    """

    offers: tuple[Offer, ...]
    plugins: tuple[PluginRecord, ...]
    health_checks: tuple[HealthCheckOffer, ...] = ()

    def of_kind(self, kind: str) -> dict[str, Offer]:
        """Return the usable offers of a kind of `KINDS`, by name."""
        return {name: offers[0] for name, offers in self._by_name[kind].items() if len(offers) == 1}

    def quantizer(self, name: str) -> QuantizerEntry:
        """Return the quantizer called `name`.

        Raises:
            PluginError: No plugin offers it, or two do.
        """
        return self._get("quantizers", name, QuantizerEntry)

    def dataset(self, name: str) -> DatasetEntry:
        """Return the data set called `name`; raises PluginError as `quantizer` does."""
        return self._get("datasets", name, DatasetEntry)

    def exporter(self, name: str) -> ExporterEntry:
        """Return the exporter called `name`; raises PluginError as `quantizer` does."""
        return self._get("exporters", name, ExporterEntry)

    def architecture(self, name: str) -> tuple[ArchitectureEntry, str | None]:
        """Return the architecture called `name` and, for `family:member`, the member.

        Raises:
            PluginError: No plugin offers it, or two do.
        """
        family, colon, member = name.partition(":")
        if colon and family + colon in self._by_name["architectures"]:
            return self._get("architectures", family + colon, ArchitectureEntry), member
        return self._get("architectures", name, ArchitectureEntry), None

    @property
    def problems(self) -> list[str]:
        """One line for each broken plugin and each name that two plugins offer."""
        broken = [
            f"{_origin(record)} is broken: {record.problem}"
            for record in self.plugins
            if record.problem not in (None, "disabled")
        ]
        doubled = [
            _doubled(kind, name, offers)
            for kind, by_name in self._by_name.items()
            for name, offers in by_name.items()
            if len(offers) > 1
        ]
        return broken + doubled

    @cached_property
    def _by_name(self) -> dict[str, dict[str, list[Offer]]]:
        found: dict[str, dict[str, list[Offer]]] = {kind: {} for kind in KINDS}
        for kind, record in KINDS.items():
            for offer in self.offers:
                if isinstance(offer.entry, record):
                    found[kind].setdefault(offer.entry.name, []).append(offer)
        return {kind: dict(sorted(by_name.items())) for kind, by_name in found.items()}

    def _get(self, kind: str, name: str, record: type[E]) -> E:
        offers = self._by_name[kind].get(name, [])
        if len(offers) > 1:
            raise PluginError(_doubled(kind, name, offers))
        if not offers:
            raise PluginError(self._unknown(kind, name))
        entry = offers[0].entry
        assert isinstance(entry, record)
        return entry

    def _unknown(self, kind: str, name: str) -> str:
        text = f'unknown {kind[:-1]} "{name}"{suggest(name, self._by_name[kind])}'
        off = [record.name for record in self.plugins if record.problem == "disabled"]
        disabled = [f"disabled by QCLI_DISABLE_PLUGINS: {', '.join(off)}"] if off else []
        return "; ".join([text, *disabled, *self.problems, f"run `qcli list {kind}`"])


def _origin(record: PluginRecord) -> str:
    """Name a plugin by its distribution; a module given with --plugin has no version."""
    if not record.version:
        return record.distribution
    return f"plugin {record.name} of {record.distribution} {record.version}"


def _doubled(kind: str, name: str, offers: list[Offer]) -> str:
    who = list(dict.fromkeys(f"{offer.distribution} {offer.version}".strip() for offer in offers))
    if len(who) == 1:
        return f'{who[0]} offers the {kind[:-1]} "{name}" twice'
    return (
        f'two plugins offer the {kind[:-1]} "{name}": {" and ".join(who)}; '
        "uninstall one or set QCLI_DISABLE_PLUGINS"
    )


def resolve_build(build: Build, owner: str) -> Callable[..., Any]:
    """Return the callable that an entry's `build` names.

    Args:
        build: "package.module:name", or the callable itself.
        owner: The entry's name, for messages.

    Raises:
        PluginError: It cannot be imported.
    """
    if callable(build):
        return build
    module, _, name = build.partition(":")
    try:
        found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    except (Exception, SystemExit) as error:
        raise PluginError(
            f'"{owner}" names {build}, which cannot be imported: {type(error).__name__}: {error}'
        ) from error
    return found
