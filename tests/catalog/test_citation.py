"""References: every source of ours names one, facts agree, and nothing is made up."""

import json
import re
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

import qcli
from qcli.catalog.citation import (
    distinct,
    escape,
    find_cited,
    make_note,
    parse_references,
    read_references,
)
from qcli.cli import cli
from qcli.recipe.experiment import load_tables
from qcli.recipe.library import KINDS, shipped_recipes

ROOT = Path(__file__).parents[2]
CATALOG = qcli.load_catalog()
KNOWN = read_references(CATALOG)
BY_ARXIV = {each.fields["eprint"]: each for each in KNOWN if "eprint" in each.fields}
FILES = [ROOT / "qcli/sources.bib", *sorted(ROOT.glob("plugins/*/sources.bib"))]
ENTRIES = {
    f"{kind[:-1]} {name}": offer.entry.source
    for kind in ("quantizers", "architectures", "datasets")
    for name, offer in CATALOG.of_kind(kind).items()
}
RECIPES = {
    f"recipe {name}": json.loads(path.read_text("utf-8")).get("source", "")
    for kind in KINDS
    for name, path in shipped_recipes(kind).items()
}
TABLES = {f"table {table.name}": table.source for table in load_tables()}
SOURCES = {**ENTRIES, **RECIPES, **TABLES}
# "Esser et al., Learned Step Size Quantization, ICLR 2020, arXiv:1902.08153"
CITED = re.compile(r"([A-Z]\w+)(?: et al\.| and \w+)?, ([^;:]*?)(\d{4}), arXiv:(\d{4}\.\d{5})")


def cite(*arguments):
    done = CliRunner().invoke(cli, ["cite", *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def keys(text):
    return [each.key for each in parse_references(text)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name)
def test_files_are_whole(path):
    text = path.read_text("utf-8")
    assert text.isascii()
    entries = list(parse_references(text))
    assert len(entries) == text.count("\n@") + text.startswith("@") > 0
    assert "\n\n".join(each.bibtex for each in entries) + "\n" == text
    for entry in entries:
        assert entry.bibtex.count("{") == entry.bibtex.count("}")
        assert {"author", "title"} <= entry.fields.keys()
        assert "year" in entry.fields or {"url", "version"} & entry.fields.keys()
        assert entry.bibtex.count(" = ") == len(entry.fields)
        assert re.fullmatch(r"\d{4}\.\d{4,5}", entry.fields.get("eprint", "1234.5678"))


def test_no_reference_is_known_twice_and_none_for_nothing():
    texts = [path.read_text("utf-8") for path in FILES]
    assert sorted(keys("\n".join(texts))) == sorted(each.key for each in KNOWN)
    exporters = [offer.entry.source for offer in CATALOG.of_kind("exporters").values()]
    cited = {
        each.key for source in [*SOURCES.values(), *exporters] for each in find_cited(source, KNOWN)
    }
    assert cited == {each.key for each in KNOWN}


@pytest.mark.parametrize("name", ENTRIES)
def test_every_entry_names_a_reference(name):
    assert find_cited(ENTRIES[name], KNOWN), ENTRIES[name]


def test_every_number_is_known_with_its_first_author_and_year():
    told = 0
    for name, source in SOURCES.items():
        for number in re.findall(r"arXiv:(\d{4}\.\d{4,5})", source):
            assert number in BY_ARXIV, f"{name}: {number}"
        for author, _, year, number in CITED.findall(source):
            fields = BY_ARXIV[number].fields
            assert author in fields["author"].split(" and ")[0], (name, fields["author"])
            # Printed a year after it was put on arXiv, or dated by it.
            assert fields["year"] == year, name
            told += 1
    assert told > 100


def test_what_is_printed():
    assert keys(cite("lsq")) == ["esser2020learned"]
    assert keys(cite("sat", "lsq", "sat")) == ["jin2019towards", "n2d2", "esser2020learned"]
    assert keys(cite("vgg7")) == ["courbariaux2016binarized", "li2016ternary"]
    assert keys(cite("torchvision:resnet18")) == ["torchvision2016"]
    assert keys(cite("lsq-w4a4")) == ["esser2020learned"]
    assert keys(cite("mnist", "cifar10")) == ["lecun1998gradient", "krizhevsky2009learning"]
    plain = cite("lenet5_classic", "--format", "plain").strip()
    assert plain.startswith(
        "Yann LeCun, L\u00e9on Bottou, Yoshua Bengio and Patrick Haffner. Gradient-"
    )
    assert plain.endswith("Proceedings of the IEEE, 1998, doi:10.1109/5.726791.")
    (told,) = json.loads(cite("lsq", "--json"))["references"]
    assert (told["key"], told["year"], told["eprint"]) == ("esser2020learned", "2020", "1902.08153")


def test_experiments_and_runs_cite_all_that_they_use(tmp_path):
    found = keys(cite("slb-resnet20-cifar10-w1a32"))
    assert {"yang2020searching", "he2016deep", "krizhevsky2009learning"} <= set(found)
    run = tmp_path / "run"
    run.mkdir()
    training = {"name": "t", "architecture": {"name": "lenet5"}, "dataset": {"name": "mnist"}}
    slots = {"weight": {"quantizer": "lsq"}, "input": {"quantizer": "pact"}}
    quantization = {"name": "q", "source": "My notes", "default": slots}
    files = {"run": {}, "training": training, "quantization": quantization}
    for name, value in files.items():
        (run / f"{name}.json").write_text(json.dumps(value))
    expected = ["li2016ternary", "lecun1998gradient", "q", "esser2020learned", "choi2018pact"]
    assert keys(cite(str(run))) == [*expected, "qcli"]
    assert keys(cite(str(run / "quantization.json"))) == expected[2:]


def test_an_unknown_entry_of_a_recipe_is_said(tmp_path):
    path = tmp_path / "q.json"
    path.write_text('{"name": "q", "default": {"weight": {"quantizer": "elsewhere"}}}')
    done = CliRunner().invoke(cli, ["cite", str(path)])
    assert "nothing is known of elsewhere" in done.stderr
    assert "nothing is called" in str(CliRunner().invoke(cli, ["cite", "lqs"]).exception)


def test_qcli_is_cited_as_its_files_say():
    (own,) = parse_references(cite())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    cff = dict(re.findall(r"^([\w-]+): (.+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE))
    assert own.fields["title"] == cff["title"] == project["name"] == "qcli"
    assert own.fields["version"] == cff["version"] == project["version"]
    assert own.fields["note"] == cff["abstract"] == project["description"]
    assert cff["license"] == project["license"]
    assert f"- name: {own.fields['author']}\n" in (ROOT / "CITATION.cff").read_text()


def test_a_third_party_brings_its_references(tmp_path, monkeypatch):
    package = tmp_path / "qcli_theirs"
    package.mkdir()
    (package / "__init__.py").write_text(
        "import qcli\n"
        "@qcli.hookimpl\n"
        "def qcli_register_quantizers():\n"
        "    return [qcli.QuantizerEntry(name=name, summary='', source=source,"
        " build='qcli_theirs.m:M') for name, source in [\n"
        "        ('one', 'Doe, A Very Good Method, 2031'), ('two', 'a blog, 2030'),\n"
        "        ('three', 'Roe et al., arXiv:3001.12345'), ('lot', 'see arXiv:1902.08153')]]\n"
    )
    (package / "sources.bib").write_text(
        '@article{doe2031,\n  Title = "A Very Good Method",\n  author = {Jane Doe}\n}\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    plugin = ["--plugin", "qcli_theirs"]
    assert keys(cite("one", "lot", *plugin)) == ["doe2031", "esser2020learned"]
    assert cite("two", *plugin) == "@misc{two,\n  title = {two},\n  note = {a blog, 2030},\n}\n"
    assert "eprint = {3001.12345}" in cite("three", *plugin)


@pytest.mark.parametrize(
    ("source", "printed"),
    [
        ("50 % of {all} & $more$ a_b #1", r"50 \% of \{all\} \& \$more\$ a\_b \#1"),
        ("a\\input{x}", r"a\textbackslash{}input\{x\}"),
        ("two\n}\n@misc{evil,\n lines", r"two \} @misc\{evil, lines"),
        ("\x1b[2Jclear\x00", "[2Jclear"),
        ("~^", r"\textasciitilde{}\textasciicircum{}"),
    ],
)
def test_what_a_source_says_stays_words(source, printed):
    assert escape(source) == printed
    note = make_note("la}bel", source)
    assert keys(note.bibtex) == ["la-bel"]
    assert printed in note.bibtex


def test_titles_and_numbers_are_found_whole():
    (own,) = (each for each in KNOWN if each.key == "qcli")
    assert own.place_in("qcli") == 0
    assert own.place_in("qcli-mine") is None
    lsq = BY_ARXIV["1902.08153"]
    assert lsq.place_in("arXiv:1902.081534") is None
    assert lsq.place_in("in Learned Step Size Quantization, 2020") == 3
    assert [each.key for each in distinct([own, lsq, own])] == ["qcli", "esser2020learned"]
