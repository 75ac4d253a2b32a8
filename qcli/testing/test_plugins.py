"""`pytest --pyargs qcli.testing`: the laws over every entry of the plugins that are installed.

QCLI_TEST_PLUGINS=NAME,NAME chooses plugins by their entry points, those of qcli included, or names
modules and .py files of one's own; without it, all plugins but those of qcli are meant.
QCLI_TEST_DATA=DIR says where the files of data sets lie.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from qcli.catalog.catalog import Catalog, Offer
from qcli.catalog.entries import ArchitectureEntry, DatasetEntry, ExporterEntry, QuantizerEntry
from qcli.catalog.load import load_catalog
from qcli.errors import DataError, MissingTool
from qcli.testing.architecture import check_architecture
from qcli.testing.dataset import check_dataset
from qcli.testing.exporter import check_exporter
from qcli.testing.quantizer import check_quantizer

OWN = "qcli"


def chosen_plugins() -> list[str]:
    """Return the plugins that QCLI_TEST_PLUGINS names."""
    names = os.environ.get("QCLI_TEST_PLUGINS", "").split(",")
    return [name.strip() for name in names if name.strip()]


@cache
def find_plugins() -> Catalog:
    """Return the catalog, with those modules in it that are named and are no entry points."""
    installed = load_catalog()
    known = {record.name for record in installed.plugins}
    modules = [name for name in chosen_plugins() if name not in known]
    return load_catalog(modules) if modules else installed


def is_meant(plugin: str, distribution: str) -> bool:
    """Say whether a plugin is to be checked."""
    chosen = chosen_plugins()
    return plugin in chosen if chosen else distribution != OWN


def find_offers() -> Iterator[Offer]:
    """Yield what the plugins offer that are to be checked."""
    for offer in find_plugins().offers:
        if is_meant(offer.plugin, offer.distribution):
            yield offer


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make a test of every entry."""
    if "offer" in metafunc.fixturenames:
        offers = list(find_offers())
        names = [f"{Path(offer.plugin).stem}-{offer.entry.name}" for offer in offers]
        metafunc.parametrize("offer", offers, ids=names)


def test_plugins_load() -> None:
    """Every plugin that is meant loads, and there is one that offers something."""
    broken = [
        f"{record.name} of {record.distribution}: {record.problem}"
        for record in find_plugins().plugins
        if is_meant(record.name, record.distribution) and record.problem
    ]
    assert broken == []
    missing = "no plugin is installed beside those of qcli; QCLI_TEST_PLUGINS=NAME chooses others"
    assert list(find_offers()), missing


def test_laws(offer: Offer) -> None:
    """An entry obeys the laws of its kind."""
    entry = offer.entry
    try:
        match entry:
            case QuantizerEntry():
                check_quantizer(entry, compiled=True)
            case ArchitectureEntry():
                check_network(entry)
            case DatasetEntry():
                root = os.environ.get("QCLI_TEST_DATA")
                check_dataset(entry, Path(root) if root else None)
            case ExporterEntry():
                check_exporter(entry)
    except DataError as error:
        pytest.skip(f"QCLI_TEST_DATA=DIR says where its files lie: {error}")
    except MissingTool as error:
        pytest.skip(str(error))


def check_network(entry: ArchitectureEntry) -> None:
    """Check an architecture; of a family no member is known."""
    if entry.name.endswith(":"):
        pytest.skip("a family: check a member, check_architecture(entry, {'member': ...})")
    check_architecture(entry)
