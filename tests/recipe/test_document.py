"""Recipe files: strict JSON, what they extend, and where every part comes from."""

import errno
import json
import os
from pathlib import Path

import pytest

from qcli.errors import RecipeError
from qcli.recipe.document import Document, json_type, parse_json, read_document


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Return a function that writes a recipe; messages name files relative to its folder."""
    monkeypatch.chdir(tmp_path)

    def put(path, content):
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        file.write_bytes(raw)
        return path

    return put


def fault_of(path, kind="training"):
    with pytest.raises(RecipeError) as caught:
        read_document(path, kind)
    (fault,) = caught.value.faults
    return fault


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b'{"a": NaN}', "not JSON: NaN is not a JSON number"),
        (b'{"a": [Infinity]}', "not JSON: Infinity is not a JSON number"),
        (b'{"a": 1e400}', "not JSON: 1e400 is too large for a number"),
        (b'{"a": ' + b"1" * 400 + b"}", "not JSON: 1111111111... (400 digits) is too large"),
        (b'{"a": {"b": 1, "b": 1}}', 'not JSON: the key "b" stands twice in one object'),
        ('{"a": "\u00fc"}'.encode("latin-1"), "byte 7 is not UTF-8; save the file as UTF-8"),
        (b'{"a": "\n"}', "line 1, column 8: not JSON: Invalid control character at"),
        (b'{\n"a" 1}', "line 2, column 5: not JSON: Expecting ':' delimiter"),
        (b" \n", "the file is empty, allowed: a JSON object"),
        (b"[" * 100000, "nested more than 50 deep, which no recipe needs"),
        (b'{"a":' * 51 + b"1" + b"}" * 51, "nested more than 50 deep, which no recipe needs"),
        (b'{"a": "' + b"x" * (1 << 20) + b'"}', "more than 1 MiB, which no recipe needs"),
        (b"true", "a training recipe is a JSON object, found a boolean"),
        (b"[1]", "a training recipe is a JSON object, found a list"),
    ],
)
def test_refused_json(write, raw, message):
    assert fault_of(write("bad.json", raw)).startswith(f"bad.json: {message}")


def test_byte_order_mark_and_unicode_are_accepted(write):
    raw = b"\xef\xbb\xbf" + '{"note": "\u00fc"}'.encode()
    assert read_document(write("a.json", raw), "training").value == {"note": "\u00fc"}


def test_a_depth_of_fifty_is_accepted(write):
    read_document(write("a.json", b'{"a":' * 49 + b"{}" + b"}" * 49), "training")


def test_missing_and_folder(write, tmp_path):
    assert fault_of("none.json") == "none.json: cannot be read: No such file or directory"
    assert fault_of("./none.json") == "none.json: cannot be read: No such file or directory"
    (tmp_path / "folder.json").mkdir()
    assert fault_of("folder.json") == "folder.json: cannot be read: Is a directory"


def test_unreadable(write, monkeypatch):
    path = write("a.json", {})

    def refuse(*arguments, **options):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    # By hand: no mode keeps root from reading, as whom CI may run.
    monkeypatch.setattr(Path, "open", refuse)
    assert fault_of(path) == "a.json: cannot be read: Permission denied"


def test_names(write):
    assert read_document("lsq-w4a4", "quantization").value["name"] == "lsq-w4a4"
    write("mine", {"name": "mine"})
    assert read_document("./mine", "training").value == {"name": "mine"}
    assert fault_of("mine") == (
        'unknown training recipe "mine"; a path has a /: write ./mine; run `qcli list recipes`'
    )
    assert fault_of("lsq-w4a5", "quantization") == (
        'unknown quantization recipe "lsq-w4a5" (did you mean "lsq-w4a4"?); run `qcli list recipes`'
    )
    assert fault_of("lsq-w4a4") == (
        '"lsq-w4a4" is a quantization recipe, allowed: a training recipe; run `qcli list recipes`'
    )


def test_bare_list_is_a_search_over_it(write):
    document = read_document(write("mine.json", [-1, 0, 1]), "quantization")
    slot = {"quantizer": "categorical", "value_space": [-1, 0, 1]}
    assert document.value == {"name": "mine", "default": {"weight": slot}}


@pytest.mark.parametrize(
    ("file", "name"), [("-1 to 1.json", "1-to-1"), ("\u00fc.json", "value-space")]
)
def test_a_bare_list_has_a_name_that_recipes_may_have(write, file, name):
    assert read_document(write(file, [0, 1]), "quantization").value["name"] == name


def test_extends_merges_objects_and_replaces_the_rest(write):
    write(
        "parent.json",
        {
            "name": "parent",
            "epochs": 5,
            "augment": ["flip", "pad_crop_4"],
            "lr": {"kind": "cosine", "start": 0.1, "end": 0.01},
            "optimizer": {"name": "sgd", "momentum": 0.8, "groups": {"latent": {"lr_factor": 2}}},
            "weight": {"quantizer": "lsq", "bits": 4},
        },
    )
    child = write(
        "child.json",
        {
            "extends": "./parent.json",
            "name": "child",
            "augment": ["flip"],
            "lr": {"kind": "step", "start": 0.2},
            "optimizer": {"momentum": 0.9, "groups": {"latent": {"weight_decay": 0}}},
            "weight": {"quantizer": "dorefa"},
        },
    )
    assert read_document(child, "training").value == {
        "name": "child",
        "epochs": 5,
        "augment": ["flip"],
        "lr": {"kind": "step", "start": 0.2},
        "optimizer": {
            "name": "sgd",
            "momentum": 0.9,
            "groups": {"latent": {"lr_factor": 2, "weight_decay": 0}},
        },
        "weight": {"quantizer": "dorefa"},
    }


def test_null_replaces_a_slot_and_a_number_a_schedule(write):
    write("parent.json", {"lr": {"kind": "cosine"}, "input": {"quantizer": "lsq"}})
    child = write("child.json", {"extends": "parent.json", "lr": 0.1, "input": None})
    assert read_document(child, "training").value == {"lr": 0.1, "input": None}


def test_extends_looks_beside_the_child_and_by_name(write):
    write("deep/down/parent.json", {"epochs": 3})
    write("deep/child.json", {"extends": "down/parent.json", "seed": 1})
    write("top.json", {"extends": "deep/child.json"})
    assert read_document("top.json", "training").value == {"epochs": 3, "seed": 1}
    by_name = read_document(write("by_name.json", {"extends": "search-1b"}), "quantization")
    assert by_name.value["default"]["weight"]["value_space"] == [-1, 1]
    absolute = os.path.abspath("deep/down/parent.json")
    write("absolute.json", {"extends": absolute})
    assert read_document("absolute.json", "training").value == {"epochs": 3}


def test_extends_a_bare_list(write):
    write("space.json", [0, 1])
    child = write("child.json", {"extends": "space.json", "name": "child"})
    assert read_document(child, "quantization").value["default"]["weight"]["value_space"] == [0, 1]


def test_circles_end(write):
    write("a.json", {"extends": "sub/../b.json"})
    write("sub/c.json", {})
    write("b.json", {"extends": "./a.json"})
    assert fault_of("a.json").startswith("b.json: /extends: goes in a circle: a.json -> b.json -> ")
    assert fault_of(write("self.json", {"extends": "self.json"})) == (
        "self.json: /extends: goes in a circle: self.json -> self.json"
    )


def test_diamonds_are_no_circles(write):
    write("base.json", {"epochs": 1})
    write("left.json", {"extends": "base.json"})
    write("top.json", {"extends": "left.json"})
    assert read_document("top.json", "training").value == {"epochs": 1}


def test_a_missing_parent_names_the_child(write):
    assert fault_of(write("child.json", {"extends": "none.json"})) == (
        "none.json: cannot be read: No such file or directory; child.json extends it"
    )
    assert fault_of(write("child.json", {"extends": "lenet5-digits"})) == (
        'child.json: /extends: unknown training recipe "lenet5-digits" '
        '(did you mean "lenet5-digits-20ep"?); run `qcli list recipes`'
    )
    assert fault_of(write("child.json", {"extends": 5})) == (
        "child.json: /extends: found a number, allowed: a recipe's name"
    )


def test_origins_blame_the_file_that_said_it(write):
    write("base.json", {"seed": 1, "epochs": 1, "optimizer": {"name": "sgd", "momentum": 1}})
    write("middle.json", {"extends": "base.json", "epochs": 2, "optimizer": {"nesterov": True}})
    write("top.json", {"extends": "middle.json", "lr": {"kind": "cosine"}})
    document = read_document("top.json", "training")
    blamed = {
        ("seed",): "base.json",
        ("optimizer", "momentum"): "base.json",
        ("epochs",): "middle.json",
        ("optimizer", "nesterov"): "middle.json",
        ("lr", "start"): "top.json",
        (): "top.json",
        ("absent",): "top.json",
    }
    assert {pointer: document.where(pointer) for pointer in blamed} == blamed


def test_what_replaces_a_part_is_blamed_for_all_of_it(write):
    write("base.json", {"optimizer": {"name": "sgd"}})
    child = write("child.json", {"extends": "base.json", "optimizer": {"momentum": 0.9}})
    document = read_document(child, "training")
    document = document.with_value(("optimizer",), {"name": "adam", "momentum": 2}, "--set")
    assert document.where(("optimizer", "momentum")) == "--set"


def test_with_value_leaves_the_original_alone():
    old = Document("x", {"a": {"b": [1, 2]}})
    new = old.with_value(("a", "b", "1"), 3, "--set a.b.1")
    assert (old.value, new.value) == ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3]}})
    assert (new.where(("a", "b", "1")), new.where(("a", "b", "0"))) == ("--set a.b.1", "x")
    rules = Document("x", {"layers": [{"match": "a"}]}).with_value(("layers", "0", "type"), 1, "y")
    assert rules.where(("layers", "0", "type")) == "y"
    assert rules.where(("layers", "0", "match")) == rules.where(("layers", "0")) == "x"
    assert Document("x", {}).with_value(("a", "b"), 1, "y").where(("a",)) == "y"
    assert Document("x", {}).with_value(("a", "b"), 1, "y").value == {"a": {"b": 1}}
    assert Document("x", {"a": None}).with_value(("a", "b"), 1, "y").value == {"a": {"b": 1}}


@pytest.mark.parametrize(
    ("pointer", "message"),
    [
        (("list", "2"), '--set: "2" is no index of a list of 2'),
        (("list", "-1"), '--set: "-1" is no index of a list of 2'),
        (("list", "x"), '--set: "x" is no index of a list of 2'),
        (("number", "x"), '--set: "x" lies below 5, which has no parts'),
        (("text", "x"), '--set: "x" lies below "t", which has no parts'),
    ],
)
def test_with_value_needs_a_place(pointer, message):
    document = Document("x", {"list": [1, 2], "number": 5, "text": "t"})
    with pytest.raises(RecipeError) as caught:
        document.with_value(pointer, 1, "--set")
    assert str(caught.value) == message


@pytest.mark.parametrize("text", ["1", "-0.5", '"a"', "null", '{"a": [true]}'])
def test_parse_json_agrees_with_json(text):
    assert parse_json(text) == json.loads(text)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (True, "a boolean"),
        (1, "a number"),
        (0.5, "a number"),
        ("", "a string"),
        ([], "a list"),
        ({}, "an object"),
        (None, "null"),
    ],
)
def test_json_type(value, name):
    assert json_type(value) == name
