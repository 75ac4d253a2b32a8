"""The verbs that answer at once: list, show, check, schema, help and version."""

import json
import os
import re
import subprocess
import sys
from importlib.metadata import version

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator

from qcli.cli import VERBS, cli, main
from qcli.cli.list_verb import ENTRY_KINDS, KINDS
from qcli.errors import PluginError, RecipeError
from qcli.recipe.library import KINDS as RECIPE_KINDS
from qcli.recipe.library import shipped_recipes

ROW = ["name", "summary", "source", "distribution", "version"]
EXPERIMENT = [*ROW, "network", "dataset", "method", "top1"]
PLUGIN = """
import qcli

@qcli.hookimpl
def qcli_register_quantizers():
    return [qcli.QuantizerEntry(
        name="mine", summary="Mine.", source="here", build="mine:Mine",
        quantizes=frozenset({"input"}),
        options={"sharpness": {
            "description": "How sharp.", "type": "integer", "minimum": 3, "default": 4}})]
"""


def invoke(*arguments):
    """Run a verb that succeeds; return its stdout."""
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


def run(monkeypatch, capsys, *arguments):
    """Run `qcli` as its script does; return the exit code, stdout and stderr."""
    monkeypatch.setattr(sys, "argv", ["qcli", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    return caught.value.code, *capsys.readouterr()


@pytest.fixture
def plugin(tmp_path):
    """A plugin file of the user's own."""
    path = tmp_path / "my_plugin.py"
    path.write_text(PLUGIN, "utf-8")
    yield str(path)
    sys.modules.pop("my_plugin", None)


def test_help_names_every_verb():
    text = invoke("--help")
    assert invoke("-h") == text
    assert re.findall(r"^  (\w+)", text.partition("Commands:")[2], re.MULTILINE) == list(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_verbs(verb):
    text = invoke(verb, "--help")
    assert text.startswith(f"Usage: cli {verb} ")
    assert "--debug" in text


def test_version():
    assert invoke("--version").split()[-1] == version("qcli")


@pytest.mark.parametrize("kind", KINDS)
def test_list(kind):
    document = json.loads(invoke("list", kind, "--json"))
    assert list(document) == ["schema_version", kind]
    assert document["schema_version"] == 1
    own = {"plugins": ["name", "distribution", "version", "problem"], "experiments": EXPERIMENT}
    assert document[kind]
    assert {tuple(row) for row in document[kind]} == {tuple(own.get(kind, ROW))}
    text = invoke("list", kind)
    assert all(row["name"] in text for row in document[kind])


def test_list_of_everything():
    document = json.loads(invoke("list", "--json"))
    assert list(document) == ["schema_version", *KINDS]
    names = {kind: [row["name"] for row in document[kind]] for kind in KINDS}
    assert {"lsq", "dorefa", "uniform", "categorical"} <= set(names["quantizers"])
    assert names["recipes"] == [name for kind in RECIPE_KINDS for name in shipped_recipes(kind)]
    assert all(row["source"] for kind in ENTRY_KINDS for row in document[kind])
    assert all(row["problem"] is None for row in document["plugins"])
    text = invoke("list")
    assert all(name in text for kind in KINDS for name in names[kind])


@pytest.mark.parametrize(
    ("filters", "fits"),
    [
        (("--network", "vgg_small"), lambda row: row["network"] == "vgg_small"),
        (("--dataset", "mnist"), lambda row: row["dataset"] == "mnist"),
        (("--method", "dorefa"), lambda row: row["method"].startswith("dorefa-")),
        (("--method", "dorefa-w1a2"), lambda row: row["method"] == "dorefa-w1a2"),
        (("--method", "float"), lambda row: row["method"] == "float"),
        (("--source", "Seed 001"), lambda row: "seed 001" in row["source"].lower()),
        (
            ("--network", "lenet5", "--method", "qnn"),
            lambda row: row["network"] == "lenet5" and row["method"].startswith("qnn-"),
        ),
    ],
)
def test_experiments_are_filtered(filters, fits):
    everything = json.loads(invoke("list", "experiments", "--json"))["experiments"]
    found = json.loads(invoke("list", "experiments", *filters, "--json"))["experiments"]
    assert found == [row for row in everything if fits(row)]
    assert 0 < len(found) < len(everything)


def test_filters_are_for_experiments(monkeypatch, capsys):
    code, _, errors = run(monkeypatch, capsys, "list", "quantizers", "--method", "lsq")
    assert (code, errors) == (2, "error: --method filters experiments: qcli list experiments\n")


def test_an_experiment_is_shown_whole():
    found = json.loads(invoke("show", "seed000-resnet20-cifar10-w1a2", "--json"))["experiment"]
    assert found["reported"] == {"top1": 0.5648}
    assert found["effective_training"]["freeze"] == ["norm_affine"]
    assert found["effective_quantization"]["name"] == "quantization_networks-w1a2"
    stages = [re.search(r" -o (\S+)$", each)[1] for each in found["commands"]]
    assert stages == [f"seed000-resnet20-cifar10-{each}" for each in ("fp32", "w1a32", "w1a2")]
    assert f"--init-from {stages[1]} " in found["commands"][2]
    text = invoke("show", "seed000-resnet20-cifar10-w1a2")
    assert all(command in text for command in found["commands"])


def test_tables_of_experiments_are_checked(monkeypatch, capsys, tmp_path):
    assert invoke("check", "seed002-resnet20-cifar10").endswith(": a valid table of experiments\n")
    assert '"rows"' in invoke("schema", "experiment")
    path = tmp_path / "mine.json"
    defaults = {"architecture": "lenet5", "training": "lenet5-digits-20ep"}
    row = {"id": "mine-a", "quantization": "lsq-w5a5", "set": {"epochs": 0}}
    table = {"name": "mine", "summary": "x", "source": "x", "defaults": defaults, "rows": [row]}
    path.write_text(json.dumps(table), "utf-8")
    code, _, errors = run(monkeypatch, capsys, "check", str(path))
    assert code == 2
    assert f'{path}: mine-a: unknown quantization recipe "lsq-w5a5"' in errors


def test_list_says_what_is_broken(monkeypatch, capsys, tmp_path):
    path = tmp_path / "broken.py"
    path.write_text("raise RuntimeError('no luck')", "utf-8")
    code, out, err = run(monkeypatch, capsys, "list", "plugins", "--json", "--plugin", str(path))
    assert code == 0
    assert json.loads(out)["plugins"][-1]["problem"] == "RuntimeError: no luck"
    assert err == f"warning: --plugin {path} is broken: RuntimeError: no luck\n"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("lsq", {"kind": "quantizer", "quantizes": ["input", "output", "weight"]}),
        ("categorical", {"kind": "quantizer", "quantizes": ["weight"]}),
        ("resnet20", {"kind": "architecture", "default_image_shape": [3, 32, 32]}),
        ("cifar10", {"kind": "dataset", "num_classes": 10, "image_shape": [3, 32, 32]}),
        ("imagenet", {"kind": "dataset", "num_classes": None}),
    ],
)
def test_show_an_entry(name, expected):
    document = json.loads(invoke("show", name, "--json"))
    assert document["schema_version"] == 1
    assert {key: document[key] for key in expected} == expected
    assert list(document)[2:7] == ["name", "summary", "source", "distribution", "version"]
    text = invoke("show", name)
    assert document["summary"] in text
    for option, schema in document["options"].items():
        (line,) = [line for line in text.splitlines() if line.startswith(f"{option} ")]
        assert schema["description"] in line
        assert json.dumps(schema["default"]) in line


def test_show_says_what_options_allow():
    text = invoke("show", "lsq")
    assert "an integer from 1 to 8" in text
    assert "tensor, channel" in text
    assert "a number or a schedule" in invoke("show", "categorical")


@pytest.mark.parametrize("kind", RECIPE_KINDS)
def test_show_a_recipe(kind):
    name, path = next(iter(shipped_recipes(kind).items()))
    recipe = json.loads(path.read_text("utf-8"))
    assert json.loads(invoke("show", name)) == recipe
    document = json.loads(invoke("show", name, "--json"))
    assert document == {"schema_version": 1, "kind": f"{kind} recipe", "recipe": recipe}


def test_show_a_member_of_a_family():
    assert json.loads(invoke("show", "torchvision:resnet18", "--json"))["name"] == "torchvision:"


def test_show_an_unknown_name(monkeypatch, capsys):
    code, out, err = run(monkeypatch, capsys, "show", "lsqq")
    assert (code, out) == (3, "")
    assert err == 'error: nothing is called "lsqq" (did you mean "lsq"?); run `qcli list`\n'


def test_check_by_name_and_by_path(tmp_path):
    path = tmp_path / "space.json"
    path.write_text("[-1, 1]", "utf-8")
    assert invoke("check", "lsq-w4a4", "lenet5-digits-20ep", str(path)).splitlines() == [
        "lsq-w4a4: a valid quantization recipe",
        "lenet5-digits-20ep: a valid training recipe",
        f"{path}: a valid quantization recipe",
    ]


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ({"extends": "lsq-w4a4", "name": "x"}, "quantization"),
        ({"extends": "lenet5-digits-20ep", "name": "x"}, "training"),
        ({"extends": "parent.json", "name": "x"}, "training"),
        ({"extends": "space.json", "name": "x"}, "quantization"),
        ({"extends": "lsq-w4a4", "default": {}}, "quantization"),
    ],
)
def test_check_knows_the_kind(tmp_path, monkeypatch, value, kind):
    monkeypatch.chdir(tmp_path)
    for name, content in (
        ("mine.json", value),
        ("parent.json", {"extends": "lenet5-digits-20ep", "name": "p"}),
        ("space.json", [0, 1]),
    ):
        (tmp_path / name).write_text(json.dumps(content), "utf-8")
    assert invoke("check", "mine.json") == f"mine.json: a valid {kind} recipe\n"


@pytest.mark.parametrize(
    ("value", "error", "line"),
    [
        ({"name": "x"}, RecipeError, 'mine.json: "dataset" is missing'),
        ({"name": "x", "defaults": {}}, RecipeError, "mine.json: /defaults: unknown key"),
        ({"extends": "mine.json"}, RecipeError, "mine.json: /extends: goes in a circle"),
        ({"extends": "none"}, RecipeError, "mine.json: /extends: unknown training recipe"),
        (
            {"name": "x", "default": {"weight": {"quantizer": "lqs"}}},
            PluginError,
            'mine.json: /default/weight/quantizer: unknown quantizer "lqs"',
        ),
    ],
)
def test_check_tells_faults(tmp_path, monkeypatch, value, error, line):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.json").write_text(json.dumps(value), "utf-8")
    result = CliRunner().invoke(cli, ["check", "mine.json"])
    assert type(result.exception) is error
    assert any(each.startswith(line) for each in str(result.exception).splitlines())


def test_check_tells_good_and_bad_apart(monkeypatch, capsys, tmp_path):
    bad = tmp_path / "bad.json"
    bad.write_text('{"name": "x", "default": {"weight": {"quantizer": "lsq", "bits": 9}}}', "utf-8")
    code, out, err = run(monkeypatch, capsys, "check", str(bad), "lsq-w4a4", "none")
    assert (code, out) == (2, "lsq-w4a4: a valid quantization recipe\n")
    assert err.splitlines() == [
        f"error: {bad}: /default/weight/bits: 9 is more than the maximum 8",
        'error: unknown recipe "none"; run `qcli list recipes`',
    ]


def test_check_takes_the_kind_that_it_is_told():
    result = CliRunner().invoke(cli, ["check", "lsq-w4a4", "--kind", "training"])
    assert str(result.exception) == (
        '"lsq-w4a4" is a quantization recipe, allowed: a training recipe; run `qcli list recipes`'
    )


@pytest.mark.parametrize("kind", RECIPE_KINDS)
def test_schema(kind):
    schema = json.loads(invoke("schema", kind))
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    for name, path in shipped_recipes(kind).items():
        assert not list(validator.iter_errors(json.loads(path.read_text("utf-8")))), name


LSQ = {"quantizer": "lsq", "bits": 4}


@pytest.mark.parametrize(
    ("weight", "valid"),
    [
        (LSQ, True),
        (None, True),
        (LSQ | {"bits": 33}, False),
        (LSQ | {"sined": False}, False),
        (LSQ | {"quantizer": "lqs"}, False),
        ({"quantizer": "dorefa", "gradient_through_max": False}, True),
        (LSQ | {"gradient_through_max": False}, False),
        ({"bits": 4}, False),
        ({"quantizer": "categorical", "value_space": {"integers": [0, 3]}}, True),
        ({"quantizer": "categorical", "value_space": {"range": [0, 3]}}, False),
        ({"quantizer": "categorical", "temperature": {"kind": "linear", "start": 1}}, True),
        ({"quantizer": "categorical", "temperature": {"kind": "linear", "begin": 1}}, False),
    ],
)
def test_schema_knows_the_options_of_quantizers(weight, valid):
    validator = Draft202012Validator(json.loads(invoke("schema", "quantization")))
    for recipe in (
        {"name": "x", "default": {"weight": weight}},
        {"name": "x", "default": {}, "layers": [{"match": "*", "weight": weight}]},
    ):
        assert validator.is_valid(recipe) is valid


@pytest.mark.parametrize(("space", "valid"), [([-1, 1], True), ([1], False), (["a", "b"], False)])
def test_schema_knows_bare_value_spaces(space, valid):
    schema = json.loads(invoke("schema", "quantization"))
    assert Draft202012Validator(schema).is_valid(space) is valid


@pytest.mark.parametrize(
    ("fields", "valid"),
    [
        ({}, True),
        ({"dataset": {"name": "synthetic", "noise": 0}}, True),
        ({"dataset": {"name": "digits", "noise": 0}}, False),
        ({"dataset": {"name": "cifar11"}}, False),
        ({"architecture": {"name": "resnet18", "stem": "cifar"}}, True),
        ({"architecture": {"name": "resnet18", "stem": "mnist"}}, False),
        ({"architecture": {"name": "torchvision:alexnet"}}, True),
        ({"architecture": {"name": "torch:alexnet"}}, False),
        ({"architecture": None}, True),
        ({"lr": -1}, False),
        ({"lr": {"start": 1}}, False),
        ({"optimizer": {"name": "adam", "momentum": 0.9}}, False),
        ({"dataset": {"name": "mnist", "image_size": 32, "channels": 3}}, True),
        ({"dataset": {"name": "mnist", "image_size": 0}}, False),
        ({"augment": ["flip", {"name": "RandomRotation", "degrees": 10}]}, True),
        ({"augment": [{"name": "RandomRotation"}]}, False),
        ({"augment": [{"name": "Normalize", "mean": [0], "std": [1]}]}, False),
    ],
)
def test_schema_of_training(fields, valid):
    validator = Draft202012Validator(json.loads(invoke("schema", "training")))
    recipe = {"name": "x", "dataset": {"name": "digits"}, "epochs": 1, "batch_size": 1, "lr": 0.1}
    assert validator.is_valid(recipe | fields) is valid


def test_a_plugin_of_the_users_own_is_in_all_of_them(plugin, tmp_path):
    listed = json.loads(invoke("list", "quantizers", "--json", "--plugin", plugin))
    (row,) = [row for row in listed["quantizers"] if row["name"] == "mine"]
    assert row["distribution"] == f"--plugin {plugin}"
    assert "an integer from 3" in invoke("show", "mine", "--plugin", plugin)
    validator = Draft202012Validator(
        json.loads(invoke("schema", "quantization", "--plugin", plugin))
    )
    recipe = tmp_path / "mine.json"
    for sharpness, valid in ((3, True), (2, False)):
        value = {"name": "x", "default": {"input": {"quantizer": "mine", "sharpness": sharpness}}}
        assert validator.is_valid(value) is valid
        recipe.write_text(json.dumps(value), "utf-8")
        result = CliRunner().invoke(cli, ["check", str(recipe), "--plugin", plugin])
        assert (result.exception is None) is valid


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["lst"], 2, 'error: no verb "lst" (did you mean "list"?); verbs: train, eval, plan, '),
        (["--nonsense"], 2, "error: No such option"),
        (["list", "quantisers"], 2, "error: Invalid value for"),
        (["show"], 2, "error: Missing argument 'NAME'"),
        (["check"], 2, "error: Missing argument 'FILES...'"),
        (["check", "none.json"], 2, "error: none.json: cannot be read: No such file"),
        (["schema", "both"], 2, "error: Invalid value for"),
        (["plan", "--first-layer", "8.5"], 2, "error: Invalid value for '--first-layer'"),
        (["plan", "-q", "-a", "lenet5"], 2, "error: -q needs --quant-json: what to quantize with"),
        (["show", "nothing at all"], 3, 'error: nothing is called "nothing at all"'),
        (["plan", "-a", "resnet21"], 3, 'error: unknown architecture "resnet21" (did you mean '),
    ],
)
def test_exit_codes_and_streams(monkeypatch, capsys, arguments, code, text):
    found, out, err = run(monkeypatch, capsys, *arguments)
    assert (found, out) == (code, "")
    assert err.startswith(text)
    assert "Traceback" not in err


def test_success_exits_with_zero(monkeypatch, capsys):
    code, out, err = run(monkeypatch, capsys, "show", "lsq")
    assert (code, err) == (0, "")
    assert out


def test_debug_shows_where(monkeypatch, capsys):
    code, _, err = run(monkeypatch, capsys, "show", "lsqq", "--debug")
    assert code == 3
    assert err.startswith("Traceback (most recent call last):")


def test_other_processes_of_a_run_say_who_they_are(monkeypatch, capsys):
    monkeypatch.setenv("RANK", "3")
    assert run(monkeypatch, capsys, "show", "x y")[2].startswith("error in process 3: nothing is")


LIGHT = """
import contextlib, io, sys
from qcli.cli import cli
for arguments in {commands}:
    with contextlib.redirect_stdout(io.StringIO()):
        cli.main(arguments, standalone_mode=False)
    heavy = {heavy} & set(sys.modules)
    assert not heavy, (arguments, heavy)
"""


def test_light_verbs_import_nothing_heavy():
    commands = [
        ["--help"],
        *[[verb, "--help"] for verb in VERBS],
        ["list"],
        ["show", "categorical"],
        ["show", "lsq-w4a4"],
        ["schema", "quantization"],
        ["schema", "training"],
        ["check", "lsq-w4a4", "lenet5-digits-20ep", "search-po2-4b"],
        ["recipe", "show", "lenet5-digits-20ep", "--resolved", "--sources"],
        ["completion", "bash"],
        ["cite", "lsq-w4a4", "resnet20"],
    ]
    heavy = {"torch", "torchvision", "accelerate", "sklearn", "numpy", "safetensors"}
    code = LIGHT.format(commands=commands, heavy=heavy)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_help_loads_no_plugin():
    code = (
        "import sys; from qcli.cli import cli\n"
        "cli.main(['--help'], standalone_mode=False)\n"
        "print(sorted(name for name in sys.modules if name.startswith('qcli_')), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"


@pytest.mark.parametrize("words", ["schema quantization", "list recipes"])
def test_a_closed_pipe_is_no_fault(words):
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "qcli", *words.split()],
            stdout=write_end,
            stderr=subprocess.PIPE,
            check=False,
        )
    finally:
        os.close(write_end)
    assert (done.returncode, done.stderr) == (0, b"")


def test_schema_blames_no_entry_where_none_is_named():
    validator = Draft202012Validator(json.loads(invoke("schema", "training")))
    recipe = {"name": "x", "dataset": {"noise": 0}, "epochs": 1, "batch_size": 1, "lr": 0.1}
    (error,) = validator.iter_errors(recipe)
    assert error.message == "'name' is a required property"


def test_a_plugin_file_that_is_not_there_is_said_also_where_nothing_of_it_is_named():
    done = CliRunner().invoke(cli, ["plan", "-a", "lenet5", "--plugin", "nope.py"])
    assert done.exit_code == 2
    assert "found nope.py, which is no file" in done.output
