"""Tables of experiments are read strictly, and their rows are what the command line would say."""

import json

import pytest

from qcli.catalog.load import load_catalog
from qcli.errors import RecipeError, UsageError
from qcli.recipe.experiment import (
    Row,
    load_tables,
    read_table,
    require_distinct,
    select_rows,
    with_parents,
)
from qcli.recipe.setting import resolve_setting

ROWS = [{"id": "t-a"}, {"id": "t-b", "init_from": "t-a"}, {"id": "t-c", "teacher": "t-b"}]
TABLE = {
    "name": "t",
    "summary": "A table.",
    "source": "here",
    "guessed": ["the batch size"],
    "defaults": {
        "architecture": "lenet5",
        "training": "lenet5-digits-20ep",
        "set": {"epochs": 3, "batch_size": 32},
    },
    "rows": ROWS,
}


def write(folder, **changes):
    path = folder / "t.json"
    path.write_text(json.dumps(TABLE | changes))
    return path


def test_rows_inherit_and_merge(tmp_path):
    rows = [{"id": "t-a", "set": {"epochs": 5}, "guessed": ["the widths"], "compare": "last"}]
    row = read_table(write(tmp_path, rows=rows)).rows[0]
    assert row.set == {"epochs": 5, "batch_size": 32}
    assert row.guessed == ("the batch size", "the widths")
    assert (row.architecture, row.compare, row.source) == ("lenet5", "last", "here")
    assert (row.quantization, row.reported, row.dataset_name) == (None, {}, "digits")


def test_the_request_is_what_the_arguments_say(tmp_path):
    row = Row(
        "x",
        "lenet5",
        "lenet5-digits-20ep",
        quantization="dorefa-w2a2",
        first_layer="8",
        set={"epochs": 5, "optimizer": {"name": "sgd"}, "default.input": None},
    )
    assert row.arguments() == [
        *("-a", "lenet5", "--train-json", "lenet5-digits-20ep", "--quant-json", "dorefa-w2a2"),
        *("--first-layer", "8", "--set", "epochs=5", "--set", 'optimizer={"name": "sgd"}'),
        *("--set", "default.input=null"),
    ]
    setting = resolve_setting(row.request(seed=7), load_catalog())
    assert (setting.training.epochs, setting.training.seed) == (5, 7)
    assert setting.training.optimizer.name == "sgd"
    assert setting.quantization.default["input"] is None
    assert setting.quantization.first_layer["weight"]["bits"] == 8


def test_recipes_lie_beside_the_table(tmp_path):
    rows = [{"id": "t-a", "training": "./mine.json", "quantization": "qnn-w1a1"}]
    row = read_table(write(tmp_path, rows=rows)).rows[0]
    assert row.training == str(tmp_path / "mine.json")
    assert row.training.startswith("/")
    assert row.quantization == "qnn-w1a1"


@pytest.mark.parametrize(
    ("changes", "faults"),
    [
        ({"rows": [{"id": "u-a"}]}, ['/rows/0/id: found "u-a", allowed: the table\'s name']),
        ({"rows": [{"id": "t"}]}, ['/rows/0/id: found "t", allowed: the table\'s name, a hyphen']),
        ({"rows": [{"id": "t-a"}] * 2}, ['/rows/1/id: "t-a" stands twice']),
        ({"defaults": {}}, ['/rows/0: "architecture" is missing', '"training" is missing']),
        ({"rows": [{"id": "t-a", "reported": {"top1": 99.1}}]}, ["/rows/0/reported/top1: "]),
        ({"rows": [{"id": "t-a", "lr": 1}], "sauce": 1}, ["/rows/0/lr", "/sauce"]),
    ],
)
def test_faults_are_told_with_their_places(tmp_path, changes, faults):
    with pytest.raises(RecipeError) as caught:
        read_table(write(tmp_path, **changes))
    for fault in faults:
        assert any(fault in each for each in caught.value.faults), caught.value.faults
    assert all("t.json" in each for each in caught.value.faults)


def test_rows_are_selected_by_id_glob_and_table(tmp_path):
    tables = [read_table(write(tmp_path))]
    assert [row.id for row in select_rows(["t-b"], tables)] == ["t-b"]
    assert [row.id for row in select_rows(["t-c", "t-*"], tables)] == ["t-c", "t-a", "t-b"]
    assert [row.id for row in select_rows(["t"], tables)] == ["t-a", "t-b", "t-c"]
    with pytest.raises(UsageError, match=r'no experiment "t-d" \(did you mean "t-.'):
        select_rows(["t-d"], tables)


def test_a_table_without_rows_tells_why(tmp_path):
    left_out = [{"rows": ["a"], "reason": "no such network"}]
    tables = [read_table(write(tmp_path, rows=[], left_out=left_out))]
    with pytest.raises(UsageError, match="t: all rows are left out: no such network"):
        select_rows(["t"], tables)


def test_tables_that_hide_each_other_are_refused(tmp_path):
    table = read_table(write(tmp_path))
    with pytest.raises(UsageError, match='two tables hold the table "t"; rename one'):
        require_distinct([table, table])


def test_parents_come_first_and_once(tmp_path):
    tables = [read_table(write(tmp_path))]
    wanted = select_rows(["t-c", "t-b"], tables)
    assert [row.id for row in with_parents(wanted, tables)] == ["t-a", "t-b", "t-c"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"id": "t-a", "init_from": "t-x"}], 't-a starts from "t-x", which is unknown'),
        (
            [{"id": "t-a", "init_from": "t-b"}, {"id": "t-b", "init_from": "t-a"}],
            "rows start from each other: t-a -> t-b -> t-a",
        ),
    ],
)
def test_impossible_parents_are_refused(tmp_path, rows, message):
    tables = [read_table(write(tmp_path, rows=rows))]
    with pytest.raises(UsageError, match=message):
        with_parents(tables[0].rows[:1], tables)


def test_all_shipped_tables_can_be_ordered():
    tables = load_tables()
    rows = [row for table in tables for row in table.rows]
    ordered = [row.id for row in with_parents(rows, tables)]
    assert sorted(ordered) == sorted(row.id for row in rows)
    place = {each: index for index, each in enumerate(ordered)}
    assert all(place[parent] < place[row.id] for row in rows for parent in row.parents)
