"""References: the BibTeX entries that plugins bring along, found by what a source says.

A package may hold a file sources.bib. A `source`, of an entry, a recipe or a table, names those of
its entries whose arXiv number, DOI, address or title stands in it: no key is written twice.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qcli.catalog.catalog import Catalog

FILE = "sources.bib"
OWN = "qcli"

_ENTRY = re.compile(r"^@(\w+)\s*\{\s*([^\s,{}]+)\s*,(.*?)^\}", re.MULTILINE | re.DOTALL)
_FIELD = re.compile(r'^\s*(\w+)\s*=\s*(?:\{(.*)\}|"(.*)")\s*,?\s*$', re.MULTILINE)
_ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")
# What TeX would take for a command.
_SPECIAL = re.compile(r"[\\{}$&#%_^~]")
_NAMED = {"\\": r"\textbackslash{}", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}"}


@dataclass(frozen=True)
class Reference:
    """A BibTeX entry.

    Args:
        key: What a paper cites it by.
        bibtex: The entry as it stands in its file.
        fields: Its fields by lower-case name, without braces.
    """

    key: str
    bibtex: str
    fields: Mapping[str, str]

    def place_in(self, source: str) -> int | None:
        """Return where a source names it; None: it does not."""
        places = [found.start() for each in self._marks() if (found := re.search(each, source))]
        return min(places, default=None)

    def _marks(self) -> Iterator[str]:
        """Yield patterns of what names it."""
        for field, pattern in (
            ("eprint", r"arXiv:{}(?!\d)"),
            ("doi", r"{}(?![\w/])"),
            ("url", r"{}(?![\w-])"),
            ("title", r"(?<![\w-]){}(?![\w-])"),
        ):
            if field in self.fields:
                yield pattern.format(re.escape(self.fields[field]))

    def plain(self) -> str:
        """Return it as one sentence of a list of references."""
        fields = dict(self.fields)
        names = re.split(r"\s+and\s+", fields.get("author", ""))
        authors = " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
        venues = ("booktitle", "journal", "institution", "howpublished", "note")
        version = f"version {fields['version']}" if "version" in fields else None
        where = [fields.get(name) for name in venues] + [version, fields.get("year")]
        links = [
            f"arXiv:{fields['eprint']}" if "eprint" in fields else None,
            f"doi:{fields['doi']}" if "doi" in fields else None,
            fields.get("url"),
        ]
        published = ", ".join(each for each in [*where, *links] if each)
        return ". ".join(each for each in (authors, fields.get("title"), published) if each) + "."


def read_references(catalog: Catalog) -> list[Reference]:
    """Return the references of qcli and of every plugin's package, each key once."""
    packages = dict.fromkeys([OWN, *(_package(offer.entry.build) for offer in catalog.offers)])
    found: dict[str, Reference] = {}
    for package in packages:
        for reference in _read(package):
            found.setdefault(reference.key, reference)
    return list(found.values())


def _package(build: Any) -> str:
    """Return the outermost package of what builds an entry."""
    module = build if isinstance(build, str) else getattr(build, "__module__", "")
    return str(module).partition(":")[0].partition(".")[0]


def _read(package: str) -> Iterator[Reference]:
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return
    for folder in (spec and spec.submodule_search_locations) or ():
        path = Path(folder) / FILE
        if path.is_file():
            yield from parse_references(path.read_text("utf-8", errors="replace"))


def parse_references(text: str) -> Iterator[Reference]:
    """Yield the entries of a BibTeX file whose fields stand on lines of their own."""
    for found in _ENTRY.finditer(text):
        fields = {
            name.lower(): _without_braces(braced or quoted)
            for name, braced, quoted in _FIELD.findall(found[3])
        }
        yield Reference(found[2], found[0], fields)


def _without_braces(text: str) -> str:
    """Return what a field says: without braces, and with accented letters."""
    text = re.sub(r"\{\\'e\}", "\u00e9", text).replace("--", "-")
    return text.replace("{", "").replace("}", "")


def find_cited(source: str, references: Sequence[Reference]) -> list[Reference]:
    """Return the references that a source names, in its order; [] where it names none."""
    places = [(each.place_in(source), each) for each in references]
    named = [(place, each) for place, each in places if place is not None]
    return [each for _, each in sorted(named, key=lambda found: found[0])]


def make_note(label: str, source: str) -> Reference:
    """Return an entry that says of a thing what its source says, and nothing else.

    Args:
        label: What it is called.
        source: Its source, in words.
    """
    key = re.sub(r"[^A-Za-z0-9]+", "-", label).strip("-").lower() or "source"
    fields = {"title": label, "note": source}
    arxiv = _ARXIV.findall(source)
    if len(arxiv) == 1:
        fields |= {"eprint": arxiv[0], "archiveprefix": "arXiv"}
    lines = [f"  {name} = {{{escape(value)}}}," for name, value in fields.items()]
    return Reference(key, "\n".join([f"@misc{{{key},", *lines, "}"]), fields)


def escape(text: str) -> str:
    """Return a text that TeX prints as it is, on one line."""
    line = "".join(each for each in " ".join(text.split()) if each.isprintable())
    return _SPECIAL.sub(lambda found: _NAMED.get(found[0], f"\\{found[0]}"), line)


def distinct(references: Iterable[Reference]) -> list[Reference]:
    """Return each reference once, by its key."""
    return list({each.key: each for each in references}.values())
