"""Every shipped recipe is valid, says where it comes from, and fits a network."""

import json
from pathlib import Path

import pytest

from qcli.catalog.load import load_catalog
from qcli.cli.plan_verb import plan_without_weights
from qcli.recipe.checking import load_schema
from qcli.recipe.checks import check_recipe
from qcli.recipe.document import read_document
from qcli.recipe.library import KINDS, library_folder, shipped_recipes
from qcli.recipe.setting import Request, resolve_setting

RECIPES = [(kind, name) for kind in KINDS for name in shipped_recipes(kind)]
QUANTIZATION = list(shipped_recipes("quantization"))
SCHEMAS = sorted((Path(__file__).parents[2] / "qcli" / "recipe" / "schema").glob("*.json"))
# No published table has a row for these, or it stands in the quantization recipes alone.
WITHOUT_TABLE = {
    "cg_pact-w2a2",
    "cg_pact-w4a4",
    "dorefa-w1a2-integer",
    "dorefa-w2a2-integer",
    "lenet5-digits-20ep",
    "lq_nets-w2a2-integer",
    "lsq-w2a2-integer",
    "lsq-w4a4-integer",
    "lsq-w8a8-integer",
    "pact-w4a4-integer",
    "qnn-w1a1-integer",
    "quantization_networks-w2a2-integer",
    "resnet18-imagenet-120ep",
    "resnet18-imagenet-120ep-lqnets",
    "resnet20-cifar10-200ep-lqnets",
    "resnet20-cifar10-200ep-seed001",
    "sat-w4a4-integer",
    "search-1b-a4-integer",
    "search-int-2b",
    "search-int-3b",
    "search-int-4b",
    "search-po2-4b",
    "ttq-w2a4-integer",
    "twn-w2a4-integer",
    "uniform-w8a8",
    "wrpn-w1a1",
    "wrpn-w2a2",
    "wrpn-w2a4",
    "wrpn-w4a4",
    "wrpn-w4a8",
    "xnor-w1a1-integer",
}


@pytest.fixture(scope="module")
def catalog():
    return load_catalog()


@pytest.mark.parametrize(("kind", "name"), RECIPES)
def test_valid_and_documented(kind, name, catalog):
    document = read_document(name, kind)
    findings = check_recipe(document, kind, catalog)
    assert (findings.faults, findings.missing) == ([], [])
    assert document.value["name"] == name
    assert document.value["source"].strip()
    assert bool(document.value.get("reported")) != (name in WITHOUT_TABLE)


def test_folders_hold_recipes_alone():
    assert len(RECIPES) >= 25
    assert {name for _, name in RECIPES} >= WITHOUT_TABLE
    for kind in KINDS:
        assert {path.suffix for path in library_folder(kind).iterdir()} == {".json"}


@pytest.mark.parametrize("name", QUANTIZATION)
def test_plans_on_a_small_network(name, catalog):
    setting = resolve_setting(Request(architecture="resnet20", quant_json=name), catalog)
    plan = plan_without_weights(setting, catalog)
    rows = {row.layer: row.slots for row in plan.layers if row.weights}
    assert len(rows) == 20
    inner = [slots for layer, slots in rows.items() if layer not in ("conv1", "fc")]
    default = setting.quantization.default
    for slot in ("weight", "input"):
        wanted = default[slot]["quantizer"] if default.get(slot) else None
        assert {each[slot].entry.name if each[slot] else None for each in inner} == {wanted}
    ends_are_float = setting.quantization.first_layer.get("weight", default) is None
    assert (rows["conv1"]["weight"] is None) is ends_are_float


@pytest.mark.parametrize("name", shipped_recipes("training"))
def test_trains_what_it_is_named_after(name, catalog):
    setting = resolve_setting(Request(train_json=name, quant_json="search-1b"), catalog)
    assert name.startswith(f"{setting.architecture_name}-{setting.dataset.name}-")
    assert f"-{setting.training.epochs}ep" in name


def walk(schema, place=""):
    """Yield every field of a schema, with its place and what stands in its properties."""
    if isinstance(schema, list):
        for index, part in enumerate(schema):
            yield from walk(part, f"{place}/{index}")
    elif isinstance(schema, dict):
        for name, field in schema.get("properties", {}).items():
            yield f"{place}/{name}", name, field
        for key, part in schema.items():
            # A condition says which field it looks at, not what the field is.
            if key not in ("if", "default", "enum", "const"):
                yield from walk(part, f"{place}/{key}")


@pytest.mark.parametrize("path", SCHEMAS, ids=lambda path: path.stem)
def test_every_field_is_described(path):
    schema = json.loads(path.read_text("utf-8"))
    assert schema["description"]
    fields = list(walk(schema))
    assert fields
    undescribed = [place for place, _, field in fields if not is_described(field, schema)]
    assert undescribed == []


def is_described(field, schema):
    while "description" not in field and "$ref" in field:
        own = schema.get("$defs", {}).keys()
        target = schema if field["$ref"].split("/")[2] in own else load_schema("training")
        for key in field["$ref"].removeprefix("#/").split("/"):
            target = target[key]
        field = target
    # A field that only repeats its object's choice of kind was described where it was declared.
    return bool(field.get("description")) or field.keys() <= {"const", "enum"}


def test_there_are_no_other_schemas():
    names = [path.stem for path in SCHEMAS]
    expected = ["experiment", "quantization", "schedule", "training", "transform", "value_space"]
    assert names == expected
