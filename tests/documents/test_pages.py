"""Nothing that a user can name is without its place in the documentation."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

import qcli
from qcli import errors
from qcli.catalog.load import load_catalog
from qcli.cli import VERBS, cli
from qcli_pages import catalog_page, method_page, site

ROOT = Path(__file__).parents[2]
SCHEMAS = ROOT / "qcli" / "recipe" / "schema"
PARTS = ("Forward", "Backward", "Learned", "Starts at", "Source")
PLUGIN = '''
import torch
import qcli

class Signs(qcli.Quantizer):
    """Signs.

    Forward:   q = sgn(x)
    Backward:  1
    """

    def codebook(self):
        return torch.tensor([-1.0, 1.0])

    def codes(self, latent):
        return (latent >= 0).int()

    def forward(self, latent):
        return qcli.straight_through(latent, self.decode(self.codes(latent)).to(latent.dtype))

@qcli.hookimpl
def qcli_register_quantizers():
    return [qcli.QuantizerEntry(
        name="mine", summary="Mine.", source="here", build=Signs, quantizes=frozenset({"weight"}))]
'''


@pytest.fixture(scope="module")
def pages():
    """Every generated page by its address; curves and counts are tested apart: they take long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(method_page, "portray", lambda entry: [])
        patch.setattr(catalog_page, "count_parameters", lambda entry: None)
        return dict(site.generate())


@pytest.mark.parametrize("name", list(load_catalog().of_kind("quantizers")))
def test_every_quantizer_has_a_page(name, pages):
    page = pages[f"methods/{name}.md"]
    entry = load_catalog().quantizer(name)
    assert f"methods/{name}.md" in site.method_pages()
    assert f"[{name}]({name}.md)" in pages["methods/index.md"]
    assert [part for part in PARTS if f"**{part}**" not in page] == []
    assert [each for each in entry.options if f"{{ #option-{each} }}" not in page] == []
    slot = pages["reference/quantization.md"]
    assert [each for each in entry.options if f"{{ #slot-{name}.{each} }}" not in slot] == []


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_its_section_with_every_option(verb, pages):
    sections = pages["reference/verbs.md"].split("\n## ")
    section = next(each for each in sections if each.startswith(f"qcli {verb} {{ #qcli-{verb} }}"))
    told = CliRunner().invoke(cli, [verb, "--help"]).output
    flags = set(re.findall(r"^  (?:-\w, )?(--[\w-]+)", told, re.MULTILINE)) - {"--help"}
    assert [flag for flag in flags if flag not in section] == []
    # What keeps the lines of an example apart is itself not shown.
    assert "\\b" not in section
    assert "\b" not in section


def property_names(schema):
    """Yield the name of every property at any depth."""
    if isinstance(schema, dict):
        yield from (name for name in schema.get("properties", {}) if name != "$schema")
        for part in schema.values():
            yield from property_names(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from property_names(part)


@pytest.mark.parametrize("path", sorted(SCHEMAS.glob("*.json")), ids=lambda path: path.stem)
def test_every_field_of_a_schema_has_its_anchor(path, pages):
    page = pages[f"reference/{path.stem}.md"]
    anchored = set(re.findall(r"\(#([^)]+)\)\{ #\1 \}", page))
    last = {anchor.rpartition(".")[2] for anchor in anchored} | anchored
    wanted = set(property_names(json.loads(path.read_text("utf-8"))))
    assert sorted(wanted - last) == []


def test_every_public_name_is_told(pages):
    assert [
        name for name in qcli.__all__ if f"## {name} {{ #{name} }}" not in pages["reference/api.md"]
    ] == []


def test_every_error_has_its_exit_code(pages):
    page = pages["reference/exit-codes.md"]
    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.QcliError)
    ]
    for kind in kinds:
        code = str(getattr(kind, "exit_code", "")) if kind is not errors.Interrupted else "130/143"
        assert f"| {code} | `{kind.__name__}` |" in page


@pytest.mark.parametrize("kind", ["architectures", "datasets", "exporters"])
def test_every_entry_has_its_section(kind, pages):
    for name, offer in load_catalog().of_kind(kind).items():
        anchor = name.rstrip(":")
        assert f"## {name} {{ #{anchor} }}" in pages[f"reference/{kind}.md"]
        for option in offer.entry.options:
            assert f"{{ #{anchor}-{option} }}" in pages[f"reference/{kind}.md"]


def test_parameters_are_counted():
    entry, _ = load_catalog().architecture("lenet5")
    assert catalog_page.count_parameters(entry) == 583146
    assert catalog_page.count_parameters(load_catalog().architecture("timm:x")[0]) is None


def test_a_plugin_of_another_gets_its_page(tmp_path):
    path = tmp_path / "qcli_mine.py"
    path.write_text(PLUGIN, "utf-8")
    page = method_page.make_page(load_catalog([str(path)]).of_kind("quantizers")["mine"])
    assert "q = sgn(x)" in page
    assert page.count('<svg class="qcli-plot"') == 1
    assert "weights, 2 levels" in page


def test_a_page_is_always_the_same_and_draws_once_for_each_curve():
    offer = load_catalog().of_kind("quantizers")["twn"]
    page = method_page.make_page(offer)
    assert page == method_page.make_page(offer)
    assert page.count('<svg class="qcli-plot"') == len(method_page.portray(offer.entry)) > 0


def test_readme_leads_to_the_documentation():
    assert "`make docs`" in (ROOT / "README.md").read_text("utf-8")
