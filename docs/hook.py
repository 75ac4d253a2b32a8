"""What mkdocs calls: it adds the generated pages to the site."""

from __future__ import annotations

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from qcli_pages.site import generate, method_pages


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Let the menu list the page of every quantizer that is installed."""
    start = "methods/index.md"
    config.nav = [
        {"Methods": [start, *method_pages()]} if entry == {"Methods": start} else entry
        for entry in config.nav or []
    ]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add every generated page, as if it lay in docs/."""
    for address, content in generate():
        files.append(File.generated(config, address, content=content))
    return files
