"""What is said to be typed next: every command is understood, and each works."""

import io
import shlex
from pathlib import Path

import pytest
from click import Group
from click.testing import CliRunner
from rich.console import Console

from qcli.cli import cli
from qcli.recipe.setting import Request
from qcli.reporting import next_steps
from qcli.reporting.next_steps import (
    DEMO,
    after_campaign,
    after_check,
    after_comparison,
    after_doctor,
    after_evaluation,
    after_export,
    after_listing,
    after_packing,
    after_plan,
    after_plugin,
    after_proof,
    after_recipe,
    after_report,
    after_training,
    say_next,
)

RUN = Path("a run")
ASKED = Request("lenet5", "digits", None, "lsq-w4a4", overrides=("lr=0.1",), first_layer="8")
EXPORTED = {"run": RUN, "weights": "last", "is_run_here": True, "is_exact": True}
STEPS = {
    "demo": DEMO,
    "float": after_training(RUN, None, ()),
    "quantized": after_training(RUN, "lsq-w4a4", ("my plugin.py",)),
    "integer": after_training(RUN, "lsq-w4a4-integer", ()),
    "eval": [*after_evaluation(RUN, by_class=False), *after_evaluation(RUN, by_class=True)],
    "plan": after_plan(ASKED, ("my plugin.py",), ["lenet5-digits-20ep"]),
    "plan of what no recipe is for": after_plan(Request("vgg7"), (), []),
    "check": after_check("my recipe.json", "training"),
    "packed": after_export("packed", Path("a run.qcli"), **EXPORTED),
    "c99": after_export("c99", Path("a run_c"), **EXPORTED),
    "verify": [*after_proof(RUN, "best"), *after_proof(RUN, "last")],
    "runs": [*after_listing([RUN], []), *after_listing([], [RUN])],
    "reproduce": after_campaign(RUN),
    "compare": after_comparison([RUN, Path("b"), Path("c")]),
    "data pack": after_packing("imagenet", Path("a pack")),
    "report": after_report(RUN / "report.html"),
    "recipe": [*after_recipe("training", RUN), *after_recipe("quantization", RUN)],
    "plugin": after_plugin("mine", Path("a folder")),
    "doctor": after_doctor(),
}
PROGRAMS = ("qcli", "cc", "pip", "pytest", "python", "python3")


def parse(command, words):
    """Let click read the words of a verb, and of the verbs in it; nothing is run."""
    context = command.make_context("qcli", list(words))
    if isinstance(command, Group):
        _, inner, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        parse(inner, rest)


@pytest.mark.parametrize("verb", STEPS)
def test_every_command_is_understood(verb, tmp_path, monkeypatch):
    assert STEPS[verb]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my plugin.py").touch()
    for command in STEPS[verb]:
        program, *words = shlex.split(command)
        assert program in PROGRAMS
        if program == "qcli":
            parse(cli, words)


def test_a_wrong_command_would_be_found():
    for words in (["train", "--nothing"], ["recipe", "shout"], ["evaluate", "run"]):
        with pytest.raises(Exception, match=r"[Nn]o such|no verb"):
            parse(cli, words)


def test_nothing_follows_where_nothing_is_proved():
    assert after_export("weights", RUN, RUN, "best", is_run_here=False, is_exact=True) == []
    assert after_comparison([RUN]) == []
    assert after_check("table.json", "experiment") == []


@pytest.fixture
def terminal(monkeypatch):
    """A terminal on stderr; its text so far."""
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, color_system=None, soft_wrap=True)
    monkeypatch.setattr(next_steps, "make_console", lambda: console)
    monkeypatch.setattr(next_steps, "say", lambda text: console.print(text, markup=False))
    return file


def test_only_a_terminal_hears_of_it(capsys, terminal):
    say_next(["qcli list"])
    assert terminal.getvalue() == "\nnext: qcli list\n"
    say_next([])
    assert terminal.getvalue().count("next") == 1


def test_a_pipe_hears_nothing(capsys):
    say_next(["qcli list"])
    assert capsys.readouterr() == ("", "")


def follow(terminal, *words):
    """Run a verb as at a terminal; return what it says to type next."""
    terminal.seek(0)
    terminal.truncate()
    done = CliRunner().invoke(cli, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    return [line.removeprefix("next:").strip() for line in terminal.getvalue().splitlines() if line]


@pytest.mark.slow
def test_a_user_can_follow_from_a_recipe_to_integers(terminal, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    quantization = "lsq-w4a4-integer"
    asked = ("-a", "lenet5", "-d", "digits", "--quant-json", quantization)
    (smoke,) = follow(terminal, "plan", *asked)
    follow(terminal, *shlex.split(smoke)[1:])
    recipes = ("--train-json", "lenet5-digits-20ep", "--quant-json", quantization)
    steps = follow(terminal, "train", *recipes, "--epochs", 1, "--cpu", "-o", "run")
    assert [step.split()[1] for step in steps] == ["eval", "report", "verify"]
    told = {step.split()[1]: follow(terminal, *shlex.split(step)[1:]) for step in steps}
    assert told["eval"] == ["qcli eval run --by-class"]
    for step in told["verify"]:
        artifact = follow(terminal, *shlex.split(step)[1:])
        follow(terminal, *shlex.split(artifact[0])[1:])
    terminal.seek(0)
    terminal.truncate()
    done = CliRunner().invoke(cli, ["eval", "run", "--json"])
    assert (done.exit_code, terminal.getvalue()) == (0, "")


def test_recipes_are_followed(terminal, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    new = ("recipe", "new", "quantization", "lsq", "-o", "mine.json")
    steps = follow(terminal, *new)
    assert len(steps) == 2
    (show,) = follow(terminal, *shlex.split(steps[0])[1:])
    follow(terminal, *shlex.split(show)[1:])
    follow(terminal, *shlex.split(steps[1])[1:])
