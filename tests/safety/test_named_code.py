"""Data names no code: not the plugins of a given run, and nothing in a recipe."""

import json

import pytest
import torch
from invocation import invoke

import qcli
from qcli.errors import PluginError

EVIL = """
import os
os.mkdir({mark!r})
import qcli
@qcli.hookimpl
def qcli_register_quantizers():
    return []
"""


@pytest.fixture
def evil(given, mark, monkeypatch):
    """A module inside a given run, which stands in the folder where commands are typed."""
    (given / "evil.py").write_text(EVIL.format(mark=str(mark)))
    monkeypatch.chdir(given)
    return given / "evil.py"


def name_plugins(run, plugins):
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**record, "plugins": plugins}))


def finish(run):
    name_plugins(run, json.loads((run / "run.json").read_text())["plugins"])
    row = {"top1": 1.0}
    (run / "result.json").write_text(json.dumps({"best": row, "last": row}))


VERBS = {
    "eval": ("eval", "RUN"),
    "export": ("export", "RUN", "--format", "weights"),
    "verify": ("verify", "RUN"),
    "resume": ("train", "--resume", "RUN"),
    "teacher": (
        *("train", "--cpu", "--set", 'distill={"weight": 0.5}', "--epochs", "1"),
        *("--teacher", "RUN", "-o", "student"),
    ),
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("plugin", ["evil.py", "evil", "PATH", "./evil.py"])
def test_the_plugins_of_a_run_are_not_started(given, evil, mark, verb, plugin):
    plugin = str(evil) if plugin == "PATH" else plugin
    name_plugins(given, [plugin])
    outcome = invoke(*(word.replace("RUN", str(given)) for word in VERBS[verb]))
    assert (outcome.code, mark.exists()) == (3, False), outcome.stderr
    assert f"--plugin {plugin}" in outcome.stderr
    with pytest.raises(PluginError):
        qcli.load_run(given)
    assert not mark.exists()


@pytest.mark.parametrize("verb", ["eval", "resume"])
def test_they_are_started_where_the_user_names_them(given, evil, mark, verb):
    name_plugins(given, [f"/elsewhere/{evil.name}"])
    words = [word.replace("RUN", str(given)) for word in VERBS[verb]]
    outcome = invoke(*words, "--plugin", evil)
    assert (outcome.code, mark.exists()) == (0, True), outcome.stderr


def test_python_names_them_too(given, evil, mark):
    name_plugins(given, [str(evil)])
    with pytest.raises(PluginError, match="--plugin"):
        qcli.load_run(given)
    assert isinstance(qcli.load_run(given, plugins=[str(evil)]), torch.nn.Module)


@pytest.mark.parametrize("plugins", ["evil", {"evil": 1}, [["evil"]], None, [1]])
def test_malformed_plugins_are_damage(given, evil, mark, plugins):
    name_plugins(given, plugins)
    outcome = invoke("eval", given)
    assert (outcome.code, mark.exists()) == (1, False)
    assert "run.json is damaged" in outcome.stderr


# Places of recipes where a name could be looked up in too large a space.
RECIPES = {
    "quantizer": ("quantization", {"default": {"weight": {"quantizer": "NAME"}}}),
    "type": ("quantization", {"default": {}, "layers": [{"type": "NAME", "weight": None}]}),
    "extends": ("quantization", {"extends": "NAME"}),
    "build": ("quantization", {"default": {"weight": {"quantizer": "lsq", "build": "NAME"}}}),
    "plugins": ("quantization", {"default": {}, "plugins": ["NAME"]}),
    "architecture": ("training", {"architecture": {"name": "NAME"}}),
    "family": ("training", {"architecture": {"name": "torchvision:NAME"}}),
    "dataset": ("training", {"dataset": {"name": "NAME"}}),
    "augment": ("training", {"augment": [{"name": "NAME"}]}),
    "lambda": ("training", {"augment": [{"name": "Lambda", "lambd": "NAME"}]}),
    "optimizer": ("training", {"optimizer": {"name": "NAME"}}),
    "initialization": ("training", {"initialization": "NAME"}),
    "loss": ("training", {"loss": "NAME"}),
    "schema": ("training", {"$schema": "NAME", "lr": {"$ref": "NAME"}}),
}
NAMES = ["evil", "evil:run", "./evil.py", "os.system", "__import__('evil')", "!!python/name:evil"]


@pytest.mark.parametrize("place", RECIPES)
@pytest.mark.parametrize("name", NAMES)
def test_recipes_name_no_code(given, evil, mark, place, name):
    kind, fields = RECIPES[place]
    value = json.loads(json.dumps(fields).replace("NAME", name.replace('"', "")))
    base = {"training": {"extends": "lenet5-digits-20ep"}, "quantization": {}}[kind]
    (given / "recipe.json").write_text(json.dumps({"name": "x", **base, **value}))
    option = {"training": "--train-json", "quantization": "--quant-json"}[kind]
    other = () if kind == "training" else ("-a", "lenet5", "-d", "digits")
    outcome = invoke("plan", option, "./recipe.json", *other)
    assert outcome.is_clean, outcome.stderr
    assert (outcome.code in (2, 3), mark.exists()) == (True, False), outcome


@pytest.mark.parametrize("value", ["__import__('os').mkdir('OBEYED')", "$(mkdir OBEYED)"])
def test_values_of_the_command_line_are_no_code(given, evil, mark, monkeypatch, value):
    monkeypatch.chdir(mark.parent)
    for key in ("lr", "dataset.split", "architecture.name"):
        outcome = invoke("plan", "--train-json", "lenet5-digits-20ep", "--set", f"{key}={value}")
        assert (outcome.code in (2, 3), mark.exists()) == (True, False), outcome


COMMENT = '*/ int main(void) { return 0; } /* "; system("mkdir OBEYED"); //'


def test_names_do_not_leave_their_place_in_generated_c(trained, mark, tmp_path, monkeypatch):
    """Class and layer names of a given run go into no program that `verify` compiles."""
    import dataclasses

    from qcli.deployment.preparation import prepare_run
    from qcli_exporters.c99.export import write_c99

    deployment = prepare_run(trained).deployment
    graph = deployment.integers
    names = {each.name: f"{each.name}{COMMENT}" for each in graph.tensors.values()}
    facts = {**graph.facts, "classes": [COMMENT] * 10, "architecture": COMMENT, "dataset": COMMENT}

    def rename(tensor):
        return dataclasses.replace(tensor, name=names[tensor.name])

    nodes = tuple(
        dataclasses.replace(
            node,
            inputs=tuple(names[each] for each in node.inputs),
            output=rename(node.output),
        )
        for node in graph.nodes
    )
    hostile = dataclasses.replace(graph, image=rename(graph.image), nodes=nodes, facts=facts)
    write_c99(dataclasses.replace(deployment, graph=hostile), tmp_path / "c")
    written = "".join(file.read_text() for file in (tmp_path / "c").glob("*.[ch]"))
    assert "system" in written  # it is there, in a comment
    assert '"; ' not in written
    assert "*/ int" not in written
