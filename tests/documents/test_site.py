"""The site is built strictly, and asks no server for anything."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from qcli.catalog.load import load_catalog

ROOT = Path(__file__).parents[2]
LOADED = re.compile(
    r"<(?:script|link|img|iframe|source|object|video|audio|embed)\b[^>]*?"
    r"\b(?:src|href|data|srcset)=[\"']?((?:https?:)?//[^\"'\s>]*)"
)
FOREIGN_IN_STYLE = re.compile(r"(?:url\(|@import\s*)[\"']?((?:https?:)?//[^\"')]*)")


@pytest.mark.slow
def test_site_is_built_strictly_and_asks_no_server(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    pages = list(tmp_path.rglob("*.html"))
    found = {url for page in pages for url in LOADED.findall(page.read_text("utf-8"))}
    styles = [path.read_text("utf-8") for path in tmp_path.rglob("*.css")]
    found |= {url for style in styles for url in FOREIGN_IN_STYLE.findall(style)}
    assert found == set()
    for name in load_catalog().of_kind("quantizers"):
        page = (tmp_path / "methods" / f"{name}.html").read_text("utf-8")
        assert page.count('<svg class="qcli-plot"') >= 1, name
    verbs = (tmp_path / "reference" / "verbs.html").read_text("utf-8")
    assert "--teacher RUN|FILE" in verbs
    assert "temperature" in (tmp_path / "search" / "search_index.js").read_text("utf-8")


def test_what_is_loaded_from_elsewhere_would_be_found():
    assert LOADED.findall('<script defer src="//cdn.example/x.js"></script>') == [
        "//cdn.example/x.js"
    ]
    assert LOADED.findall('<a href="https://example.org">') == []
    assert FOREIGN_IN_STYLE.findall("a{background:url(https://x.example/y)}") == [
        "https://x.example/y"
    ]
