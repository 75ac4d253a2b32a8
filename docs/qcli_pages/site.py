"""Every page that is generated, by its address in the site."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import qcli
from qcli.catalog.catalog import Catalog
from qcli_pages import api_page, catalog_page, method_page, schema_page, verb_page

ROOT = Path(__file__).resolve().parents[2]
# What stands in the repository for its readers, and belongs into the site as well.
SHOWN = {"PLUGINS.md": "plugins.md", "SECURITY.md": "security.md"}


def method_pages(catalog: Catalog | None = None) -> list[str]:
    """Return the address of every quantizer's page."""
    catalog = catalog or qcli.load_catalog()
    return [f"methods/{name}.md" for name in catalog.of_kind("quantizers")]


def generate(catalog: Catalog | None = None) -> Iterator[tuple[str, str]]:
    """Yield the address and the Markdown of every generated page."""
    catalog = catalog or qcli.load_catalog()
    quantizers = catalog.of_kind("quantizers")
    yield "methods/index.md", method_page.make_index(quantizers)
    for name, offer in quantizers.items():
        yield f"methods/{name}.md", method_page.make_page(offer)
    for page in schema_page.PAGES:
        yield f"reference/{page}.md", schema_page.make_page(page, catalog)
    yield "reference/verbs.md", verb_page.make_page()
    yield "reference/exit-codes.md", verb_page.make_exit_codes()
    architectures = catalog.of_kind("architectures")
    yield "reference/architectures.md", catalog_page.make_architectures(architectures)
    yield "reference/datasets.md", catalog_page.make_datasets(catalog.of_kind("datasets"))
    yield "reference/exporters.md", catalog_page.make_exporters(catalog.of_kind("exporters"))
    yield "reference/api.md", api_page.make_page()
    for file, address in SHOWN.items():
        yield address, _linked((ROOT / file).read_text("utf-8"))


def _linked(text: str) -> str:
    """Let links between such files lead to their pages."""
    for file, address in SHOWN.items():
        text = text.replace(f"]({file}", f"]({address}")
    return text
