"""Names and texts from files that command a terminal, or are no text: 70 cases."""

import io
import json
import os

import pytest
from invocation import COMMANDS, invoke
from rich.table import Table
from rich.text import Text

from qcli.reporting.console import make_console, print_data, say
from qcli.reporting.visible import LONGEST_LINE, make_visible, shorten

HOSTILE = {
    "color": "\x1b[31mred\x1b[0m",
    "title": "\x1b]0;owned\x07",
    "eight_bit": "a\x9b2Jb\x85c",
    "return": "good\rbad",
    "backspace": "bad\x08\x08\x08good",
    "nul": "a\0b",
    "override": "gpj\u202eexe",
    "isolate": "a\u2066b",
    "surrogate": "caf\udce9",
    "form": "a\x0bb\x0cc\u2028d",
}
names = pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)


def is_harmless(text):
    return not COMMANDS.search(text) and text.encode()


@names
def test_visible_text_commands_nothing(name, tally):
    tally.cases += 1
    shown = make_visible(name)
    assert is_harmless(shown)
    assert "\\" in shown
    assert make_visible(shown) == shown


def test_visible_text_keeps_what_people_write():
    text = "caf\u00e9 \u65e5\u672c \U0001f600 [bold]x[/bold]\tend\nnext \\x1b"
    assert make_visible(text) == text


@names
def test_consoles_obey_nothing(name, capsys, tally):
    tally.cases += 1
    table = Table(title=f"t{name}")
    table.add_column(f"c{name}")
    table.add_row(f"1{name}")
    table.add_row(Text(f"2{name}"))
    say(f"said {name}")
    print_data(f"data {name}")
    make_console().print(table)
    make_console(stderr=False).print(f"printed {name}", markup=False)
    shown = capsys.readouterr()
    for text in shown:
        assert is_harmless(text)
    # rich itself leaves some characters of a Text out; of strings nothing is lost.
    assert shown.err.count(make_visible(name)) >= 4
    assert shown.out.count(make_visible(name)) == 2


def test_markup_is_text(capsys):
    say("a [bold]b[/bold] [/never] [link=x]")
    assert "a [bold]b[/bold] [/never] [link=x]" in capsys.readouterr().err


@names
@pytest.mark.parametrize("place", ["name", "key", "quantizer", "extends"])
def test_messages_obey_nothing(place, name, tmp_path, tally):
    tally.cases += 1
    recipe = {"name": "x", "default": {"weight": {"quantizer": "lsq", "bits": 2}}}
    match place:
        case "name" | "extends":
            recipe[place] = name
        case "key":
            recipe[name] = 1
        case "quantizer":
            recipe["default"]["weight"]["quantizer"] = name
    file = tmp_path / "recipe.json"
    file.write_text(json.dumps(recipe), "utf-8")
    outcome = invoke("check", file, "--kind", "quantization")
    tally.tracebacks += not outcome.is_clean
    assert outcome.is_clean, outcome
    assert outcome.code in (2, 3)


@names
def test_file_names_obey_nothing(name, tmp_path, tally):
    tally.cases += 1
    if "\0" in name:
        pytest.skip("no file can have it")
    good, bad = tmp_path / f"good{name}.json", tmp_path / f"bad{name}.json"
    good.write_text('{"name": "x", "default": {"weight": {"quantizer": "lsq", "bits": 2}}}')
    bad.write_text("{")
    outcome = invoke("check", good, bad)
    tally.tracebacks += not outcome.is_clean
    assert outcome.is_clean, outcome
    assert "valid quantization recipe" in outcome.stdout
    assert "line 1" in outcome.stderr


def test_a_message_fills_a_screen_at_most(tmp_path, tally):
    tally.cases += 1
    file = tmp_path / "long.json"
    file.write_text(json.dumps({"name": "x", "default": {"weight": {"quantizer": "q" * 900_000}}}))
    outcome = invoke("check", file)
    assert outcome.is_clean
    assert len(outcome.stderr) < 2 * LONGEST_LINE
    assert "characters" in shorten("x" * 10**6)


def test_a_recipe_waits_for_no_pipe(tmp_path, tally):
    tally.cases += 1
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "child.json").write_text('{"extends": "pipe.json"}')
    outcome = invoke("check", tmp_path / "child.json")
    assert outcome.code == 2
    assert "is no file" in outcome.stderr


def test_a_strict_stream_takes_what_is_shown():
    stream = io.TextIOWrapper(io.BytesIO(), "utf-8", "strict")
    for name in HOSTILE.values():
        stream.write(make_visible(name))
