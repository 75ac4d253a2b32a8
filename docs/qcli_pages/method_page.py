"""The page of one quantizer: its equations, its curves, its options, its recipes and results."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from qcli.catalog.catalog import Offer, resolve_build
from qcli.catalog.entries import QuantizerEntry
from qcli.quantization.portrait import portray
from qcli.quantization.transfer import Transfer
from qcli.recipe.experiment import Row
from qcli.recipe.usage import rows_of, uses_of
from qcli.reporting.transfer_plot import draw_svg
from qcli_pages import docstring, markdown
from qcli_pages.schema_table import options_table

SLOTS = {"weight": "weights", "input": "inputs of layers", "output": "outputs of activations"}


def make_page(offer: Offer) -> str:
    """Return the page of any plugin's quantizer."""
    entry = offer.entry
    assert isinstance(entry, QuantizerEntry)
    slots = ", ".join(words for slot, words in SLOTS.items() if slot in entry.quantizes)
    return "\n".join(
        [
            f"# {entry.name}\n",
            f"{markdown.text(entry.summary)}\n",
            f"Quantizes {slots}. Comes with {offer.distribution} {offer.version}.".rstrip() + "\n",
            f"Source: {markdown.text(entry.source)}\n",
            *_equations(entry),
            *_curves(portray(entry)),
            "## Options\n",
            options_table(entry.options, "option"),
            *_recipes(entry.name),
            *_rows(rows_of(entry.name)),
        ]
    )


def _equations(entry: QuantizerEntry) -> Iterable[str]:
    parts = docstring.six_parts(resolve_build(entry.build, entry.name))
    if not parts:
        return
    yield "## Equations\n"
    yield "As the source file states them; `rne` rounds to the nearest, ties to even.\n"
    for name, body in parts.items():
        yield f"**{name}**\n"
        is_prose = name in ("Source", "Differs")
        words = " ".join(body.split())
        yield markdown.text(words) + "\n" if is_prose else markdown.block(body, "text")


def _curves(curves: Sequence[Transfer]) -> Iterable[str]:
    yield "## Curves\n"
    yield (
        "The quantizer itself, run over numbers: what evaluation makes of them, the levels "
        "(triangles), the boundaries between codes (dotted), and below the gradient that training "
        "lets through. Weights are normal, of standard deviation 0.5; activations are what a ReLU "
        "leaves of normal numbers where there is no negative level. Where training computes "
        "something else than evaluation, it is drawn at some moments of a run of 200 epochs.\n"
    )
    for noun, is_weight in (("Weights", True), ("Activations", False)):
        figures = [_figure(each) for each in curves if (each.slot == "weight") == is_weight]
        if figures:
            yield f"### {noun}\n"
            yield f'<div class="curves" data-search-exclude>{"".join(figures)}</div>\n'


def _figure(curve: Transfer) -> str:
    drawing = draw_svg([curve]).partition("<svg ")[2]
    options = json.dumps(curve.options) if curve.options else "the defaults"
    caption = f"<figcaption><code>{options}</code></figcaption>"
    return f"<figure><svg {' '.join(drawing.split())}{caption}</figure>"


def _recipes(name: str) -> Iterable[str]:
    places: dict[str, list[str]] = {}
    for use in uses_of(name):
        options = _options(use.options)
        places.setdefault(use.recipe, []).append(f"{use.slot}{options}")
    if places:
        yield "## Recipes\n"
        yield "What `--quant-json` takes; `qcli show NAME` prints each of them.\n"
        rows = [
            [markdown.code(recipe), "; ".join(dict.fromkeys(told))]
            for recipe, told in places.items()
        ]
        yield markdown.table(("recipe", "gives"), rows)


def _options(options: Mapping[str, Any]) -> str:
    return f" {markdown.code(json.dumps(options))}" if options else ""


def _rows(rows: Iterable[Row]) -> Iterable[str]:
    cells = [
        [
            markdown.code(row.id),
            markdown.code(str(row.quantization)),
            markdown.text(row.architecture),
            markdown.text(row.dataset_name),
            f"{100 * row.reported['top1']:.2f} %" if "top1" in row.reported else "",
        ]
        for row in rows
    ]
    if cells:
        yield "## Published rows\n"
        yield "`qcli reproduce ID` trains one and compares; see "
        yield "[the guide](../howto/reproduce.md).\n"
        yield markdown.table(("row", "recipe", "network", "data set", "top-1 reported"), cells)


def make_index(offers: Mapping[str, Offer]) -> str:
    """Return the list of all quantizers."""
    rows = [
        [
            f"[{name}]({name}.md)",
            ", ".join(sorted(offer.entry.quantizes)),
            markdown.text(offer.entry.summary),
        ]
        for name, offer in offers.items()
        if isinstance(offer.entry, QuantizerEntry)
    ]
    words = (
        "# Methods\n\nEach quantizer is one file that reads like the paper's section. These "
        "pages are made from it: its equations, its curves as it computes them, its options, "
        "recipes and published rows. A plugin's quantizer gets such a page where the site is "
        "built with the plugin installed, and `qcli show NAME --plot FILE.svg` draws its curves "
        "anywhere.\n"
    )
    return f"{words}\n{markdown.table(('quantizer', 'quantizes', 'what it is'), rows)}"
