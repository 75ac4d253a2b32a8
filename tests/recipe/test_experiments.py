"""The published tables: complete, consistent, and every row can be trained."""

import json
from functools import cache

import pytest

from qcli.catalog.load import load_catalog
from qcli.cli.plan_verb import plan_without_weights
from qcli.recipe.checking import find_faults, load_schema
from qcli.recipe.document import Document, read_document
from qcli.recipe.library import library_folder, shipped_recipes
from qcli.recipe.setting import Request, resolve_setting

PATHS = sorted(library_folder("experiments").glob("*.json"))
TABLES = {path.stem: json.loads(path.read_text("utf-8")) for path in PATHS}
# By source: published rows that are here, sums of their top-1 and top-5 accuracies, published rows
# that are left out, and rows that were not published: stages between, and forms for integers.
PUBLISHED = {
    "seed000": (19, 14.8639, 3.8816, 0, 0),
    "seed001": (137, 103.5989, 34.4235, 30, 0),
    "seed002": (12, 6.4928, 0, 0, 0),
    "seed004": (42, 26.4619, 0, 13, 10),
    "bireal": (1, 0.564, 0.795, 0, 0),
    "dorefa": (9, 4.786, 0, 3, 0),
    "hwgq": (0, 0, 0, 2, 0),
    "lq_nets": (39, 30.416, 20.194, 1, 0),
    "lsq": (11, 7.958, 9.975, 0, 2),
    "quantization_networks": (22, 14.602, 19.04, 0, 0),
    "sat": (4, 2.875, 0, 0, 2),
    "slb": (33, 28.069, 0, 0, 0),
    "ttq": (10, 8.5486, 1.6, 1, 0),
    "twn": (6, 5.114, 1.7096, 2, 0),
    "xnor": (6, 3.389, 4.742, 2, 0),
}
# What stands in the published table without an accuracy, but with its setting.
WITHOUT_ACCURACY = {
    "seed002-resnet20-cifar10-3b",
    "seed002-resnet18-imagenet-fp32",
    "seed002-resnet18-imagenet-1b",
    "seed002-resnet18-imagenet-2b",
    "seed002-resnet18-imagenet-3b",
    "seed004-resnet18-imagenet-sat-clamp",
}
# Whose reported value is not of a table: torchvision's own ResNet-18.
WITHOUT_ROW = {"resnet18-imagenet-90ep"}


def settle(table, row):
    """Return a row with its table's defaults."""
    defaults = table.get("defaults", {})
    return {**defaults, **row, "set": {**defaults.get("set", {}), **row.get("set", {})}}


ROWS = {row["id"]: settle(table, row) for table in TABLES.values() for row in table["rows"]}


@cache
def catalog():
    return load_catalog()


@cache
def resolve(name):
    row = ROWS[name]
    request = Request(
        architecture=row["architecture"],
        dataset=row.get("dataset"),
        train_json=row["training"],
        quant_json=row.get("quantization"),
        overrides=[f"{key}={json.dumps(value)}" for key, value in row["set"].items()],
        first_layer=row.get("first_layer"),
        last_layer=row.get("last_layer"),
    )
    return resolve_setting(request, catalog())


@pytest.mark.parametrize("name", TABLES)
def test_table(name):
    table = TABLES[name]
    assert find_faults(Document(name, table), load_schema("experiment")) == []
    assert table["name"] == name
    assert all(row["id"].startswith(f"{name}-") for row in table["rows"])
    assert table["rows"] or table["left_out"]


def test_ids_are_unique():
    assert len(ROWS) == sum(len(table["rows"]) for table in TABLES.values())


@pytest.mark.parametrize("source", PUBLISHED)
def test_holds_what_was_published(source):
    tables = [table for name, table in TABLES.items() if name.split("-")[0] == source]
    rows = [row for table in tables for row in table["rows"]]
    here = [row for row in rows if row["reported"] or row["id"] in WITHOUT_ACCURACY]
    left_out = sum(len(part["rows"]) for table in tables for part in table.get("left_out", []))
    top1, top5 = (sum(row["reported"].get(key, 0) for row in rows) for key in ("top1", "top5"))
    count, *sums, absent, between = PUBLISHED[source]
    assert (len(here), left_out, len(rows) - len(here)) == (count, absent, between)
    assert [top1, top5] == pytest.approx(sums)


def test_every_table_is_of_a_source():
    assert {name.split("-")[0] for name in TABLES} == set(PUBLISHED)
    assert not any(ROWS[name]["reported"] for name in WITHOUT_ACCURACY)


@pytest.mark.parametrize("name", TABLES)
def test_rows_resolve(name):
    for row in TABLES[name]["rows"]:
        setting = resolve(row["id"])
        given = ROWS[row["id"]]
        assert setting.architecture_name == given["architecture"]
        assert setting.training.epochs == given["set"].get("epochs", setting.training.epochs)
        assert f"-{setting.dataset.name}-" in row["id"]
        assert setting.quantization is None or given["quantization"]


@pytest.mark.parametrize("name", TABLES)
def test_set_reaches_the_run(name):
    for row in TABLES[name]["rows"]:
        setting = resolve(row["id"])
        for key, value in ROWS[row["id"]]["set"].items():
            quantizes = key.startswith(("default", "layers", "last_layer"))
            found = (setting.quantization if quantizes else setting.training).document
            for part in key.split("."):
                found = found[part]
            assert contains(found, value), (row["id"], key)


def contains(found, wanted):
    """Say whether a filled value holds what was asked for, beside defaults."""
    if isinstance(wanted, dict):
        return all(key in found and contains(found[key], wanted[key]) for key in wanted)
    if isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(contains, found, wanted))
    return found == wanted


@pytest.mark.parametrize("name", [id for id, row in ROWS.items() if row.get("init_from")])
def test_starts_from_a_row_like_itself(name):
    line, parent = [name], ROWS[name]["init_from"]
    while parent:
        assert parent in ROWS
        assert parent not in line
        line.append(parent)
        parent = ROWS[parent].get("init_from")
    own, start = resolve(name), resolve(line[1])
    for part in ("architecture_name", "architecture_options", "dataset", "image_shape"):
        assert getattr(own, part) == getattr(start, part)
    assert own.training.normalize == start.training.normalize


@pytest.mark.parametrize("name", shipped_recipes("training"))
def test_recipes_report_what_a_row_reports(name):
    reported = read_document(name, "training").value.get("reported", {}).values()
    rows = [row["reported"].get("top1") for row in ROWS.values() if row["training"] == name]
    if name not in WITHOUT_ROW:
        assert set(reported) <= set(rows)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, table in TABLES.items() if table["rows"]])
def test_rows_plan(name):
    for row in TABLES[name]["rows"]:
        setting = resolve(row["id"])
        plan = plan_without_weights(setting, catalog())
        quantized = [slots for layer in plan.layers for slots in layer.slots.values() if slots]
        assert bool(quantized) == (setting.quantization is not None)
