"""Faults in words, for keywords that a plugin's options may use and no core schema does."""

import pytest

from qcli.recipe.checking import find_faults, options_schema
from qcli.recipe.document import Document
from qcli.recipe.wording import allowed_values


def find(value, schema, **options):
    document = Document("x.json", {"a": value})
    return find_faults(document, options_schema({"a": schema, **options}))


@pytest.mark.parametrize(
    ("value", "schema", "text"),
    [
        (
            "x",
            {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}]},
            'found "x", allowed: an integer from 1 or null',
        ),
        (
            "x",
            {"oneOf": [{"const": "all"}, {"enum": [1, 2.5, None]}]},
            'found "x", allowed: "all" or 1, 2.5, null',
        ),
        (3, {"const": 4}, "found 3, allowed: 4"),
        (3, {"multipleOf": 2}, "3 is not a multiple of 2"),
        ("abc", {"pattern": "^[0-9]+$"}, 'found "abc", allowed: what fits ^[0-9]+$'),
        ("abcd", {"maxLength": 3}, "found 4 characters, allowed: 3 at most"),
        (1, {"not": {"type": "integer"}}, "1 should not be valid under {'type': 'integer'}"),
        ("x" * 100, {"type": "integer"}, "found a string, allowed: an integer"),
        ("null", {"type": ["integer", "null"]}, None),
        (True, {"type": "integer"}, "found true, allowed: an integer"),
        (4.0, {"type": "integer"}, "found 4.0, allowed: an integer; write 4"),
        ("4.5", {"type": "integer"}, 'found "4.5", allowed: an integer'),
        ([1, 2, 3], {"maxItems": 2}, "found 3 items, allowed: 0 to 2"),
    ],
)
def test_words(value, schema, text):
    if text is None:
        text = 'found "null", allowed: an integer or null; write null without quotes'
    assert find(value, schema) == [f"x.json: /a: {text}"]


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "integer", "minimum": 1, "maximum": 8}, "an integer from 1 to 8"),
        ({"type": "number", "minimum": 0, "exclusiveMaximum": 1}, "a number from 0 to below 1"),
        ({"type": "number", "exclusiveMaximum": 1}, "a number below 1"),
        ({"type": ["boolean", "null"]}, "true, false or null"),
        ({"type": ["number", "string", "null"]}, "a number, a string or null"),
        ({"enum": ["a", "b"], "type": "string"}, "a, b"),
        ({"$ref": "#/$defs/schedule"}, "a number or a schedule"),
        ({"$ref": "#/$defs/schedule", "minimum": 0}, "a number from 0 or a schedule"),
        ({"$ref": "#/$defs/value_space"}, "a value space"),
        ({}, "what `qcli schema` says"),
    ],
)
def test_allowed_values(schema, words):
    assert allowed_values(schema) == words


def test_a_key_is_spelled_as_json_pointer_on_one_line():
    assert find_faults(Document("x", {"a/b~\n": 1}), options_schema({"a": {}})) == [
        "x: /a~1b~0\\n: unknown key; allowed: a"
    ]


def test_many_allowed_keys_are_left_out_beside_a_near_one():
    many = {f"option_{number}": {} for number in range(10)}
    document = Document("x", {"option": 1, "optin_3": 1, "zzz": 1})
    faults = find_faults(document, options_schema({"a": {}, **many}))
    assert faults[1] == 'x: /optin_3: unknown key (did you mean "option_3"?)'
    assert faults[2].startswith("x: /zzz: unknown key; allowed: a, option_0, option_1")
    assert len(faults) == 3


def test_faults_come_in_the_order_of_the_document():
    value = {"z": "x", "a": ["x"] * 11, "m": "x"}
    numbers = {"type": "array", "items": {"type": "integer"}}
    schema = options_schema({"a": numbers, "m": {"type": "integer"}, "z": {"type": "integer"}})
    places = [line.split(": ")[1] for line in find_faults(Document("x", value), schema)]
    assert places == ["/z", *[f"/a/{index}" for index in range(11)], "/m"]
