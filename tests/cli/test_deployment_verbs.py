"""`qcli export`, `qcli verify` and `qcli plan --target integer`, on a network that was trained."""

import hashlib
import json
import os
import shutil
import signal
from dataclasses import replace
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from click.testing import CliRunner

import qcli
from qcli.cli import cli
from qcli.cli.stopping import stopped_by_signals
from qcli.deployment.graph import Convolution, Graph, Quantize
from qcli.deployment.packed import read_graph, write_graph
from qcli.errors import ExportError, Interrupted, PluginError, RunError, TargetError, UsageError

RECIPE = "lsq-w4a4-integer"
IMAGES = 60


def run(*arguments):
    """Run a verb that succeeds; return its stdout."""
    result = CliRunner().invoke(cli, [str(each) for each in arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def refuse(error, *arguments):
    """Run a verb that fails with this error; return its text."""
    with pytest.raises(error) as caught:
        CliRunner().invoke(cli, [str(each) for each in arguments], catch_exceptions=False)
    return str(caught.value)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    path = tmp_path_factory.mktemp("deployment") / "run"
    recipes = ("--train-json", "lenet5-digits-20ep", "--quant-json", RECIPE)
    run("train", *recipes, "--epochs", 2, "--cpu", "--threads", 1, "-o", path)
    return path


@pytest.fixture
def certificate(trained):
    def read():
        return json.loads((trained / "verify.json").read_text())

    return read


def test_a_packed_file_is_far_smaller_than_float(trained, tmp_path):
    path = tmp_path / "lenet.qcli"
    told = run("export", trained, "--format", "packed", "-o", path)
    sizes = json.loads(
        run("export", trained, "--format", "packed", "-o", tmp_path / "b.qcli", "--json")
    )
    by_layer = {row["layer"]: row for row in sizes["layers"]}
    assert list(by_layer) == ["image", "conv1", "conv2", "fc1", "fc2"]
    weights = {"conv1": 800, "conv2": 51_200, "fc2": 5_120}
    assert {name: by_layer[name]["weights"] for name in weights} == weights
    # 4 bits for each, and the 16 values that they stand for.
    assert 25_600 <= by_layer["conv2"]["packed_bytes"] <= 25_600 + 64
    assert sizes["bytes"] == path.stat().st_size
    assert "conv2  51,200   200.0 KiB  25.0 KiB" in told
    assert f"wrote {path}, " in told


FORMS = ("packed", "weights", "onnx-integer", "onnx-qdq", "qonnx", "c99")


def test_every_format_is_written_as_it_stands(trained, tmp_path):
    assert set(FORMS) <= set(qcli.load_catalog().of_kind("exporters"))
    for form in FORMS:
        path = tmp_path / form
        run("export", trained, "--format", form, "-o", path)
        assert path.is_dir() == (form in ("weights", "c99"))
    names = {path.name for path in tmp_path.iterdir()}
    assert names == set(FORMS), "nothing else is left behind"


def test_every_form_agrees_and_the_certificate_says_what_was_proved(trained, certificate):
    told = run("verify", trained, "--images", IMAGES)
    assert "reference" in told
    proof = certificate()
    assert proof["holds"] is True
    assert proof["images"] == IMAGES
    forms = {row["form"]: row for row in proof["forms"]}
    assert set(forms) == {"c99", "onnx-integer strict", "onnx-integer fast", "packed"}
    for row in forms.values():
        assert row["status"] == "exact"
        assert row["top1"] == proof["reference"]["top1"]
        assert row["argmax_agreement"] == 1
        # The image, two convolutions, a linear layer, and the scores.
        assert row["compared"]["relu3.output"] == IMAGES * 512
        told = {"facts", "shapes and ranges", "scales"}
        assert len(row["compared"].keys() - told) == 5
        assert (told <= row["compared"].keys()) == (row["format"] == "packed")
        assert len(row["sha256"]) == 64
    assert max(proof["float"]["local_mismatch"].values()) < 1e-4
    assert proof["float"]["score_error"] < 1e-5
    weights = (trained / "best.safetensors").read_bytes()
    assert proof["graph"]["weights_sha256"] == hashlib.sha256(weights).hexdigest()
    assert (proof["images_available"], proof["faults"]) == (360, [])


def change(graph, name, **fields):
    """Return a copy whose node of this name is another."""
    nodes = [replace(node, **fields) if node.name == name else node for node in graph.nodes]
    return Graph(graph.image, tuple(nodes), graph.facts)


def flip_weight(graph):
    """Of the second convolution the weight that meets the most."""
    node = next(each for each in graph.nodes if each.name == "conv2")
    weight = node.weight.copy()
    weight.flat[np.abs(weight).argmax()] ^= 1
    return change(graph, "conv2", weight=weight)


def move_threshold(graph):
    node = next(each for each in graph.nodes if each.name == "relu2.output")
    boundaries = node.boundaries.copy()
    # One whole accumulator further, for every channel: between two sums nothing would change.
    boundaries[:, 0] += np.abs(node.multipliers[0])
    return change(graph, "relu2.output", boundaries=boundaries)


def shift_pad(graph):
    node = next(each for each in graph.nodes if each.name == "conv2")
    return change(graph, "conv2", pads=((1, -1), (0, 0)), stride=node.stride)


@pytest.mark.parametrize("damage", [flip_weight, move_threshold, shift_pad])
def test_a_broken_copy_is_caught_with_its_layer(trained, tmp_path, certificate, damage):
    good, bad = tmp_path / "good.qcli", tmp_path / "bad.qcli"
    run("export", trained, "--format", "packed", "-o", good)
    write_graph(damage(read_graph(good)), bad)
    given = ("--artifact", f"packed={good}", "--artifact", f"packed={bad}")
    text = refuse(TargetError, "verify", trained, "--images", IMAGES, *given)
    assert text == f"{bad} differs"
    first, second = certificate()["forms"]
    assert (first["status"], second["status"]) == ("exact", "differs")
    assert second["first_divergence"] == {"tensor": "relu2.output", "layers": ["conv2"]}
    assert certificate()["holds"] is False


def rename_classes(graph):
    return Graph(graph.image, graph.nodes, {**graph.facts, "classes": [*"9876543210"]})


def shift_scores(graph):
    return change(graph, "logits", shift=graph.logits.shift + 5)


@pytest.mark.parametrize(("damage", "told"), [(rename_classes, "facts"), (shift_scores, "scales")])
def test_what_no_integer_shows_is_compared(trained, tmp_path, certificate, damage, told):
    good, bad = tmp_path / "good.qcli", tmp_path / "bad.qcli"
    run("export", trained, "--format", "packed", "-o", good)
    write_graph(damage(read_graph(good)), bad)
    refuse(TargetError, "verify", trained, "--images", 1, "--artifact", f"packed={bad}")
    assert certificate()["forms"][0]["first_divergence"] == {"tensor": told, "layers": []}


def test_a_main_program_that_names_another_class_is_caught(trained, tmp_path, certificate):
    folder = tmp_path / "c"
    run("export", trained, "--format", "c99", "--option", "name=digits", "-o", folder)
    assert (folder / "digits.h").exists()
    source = folder / "main.c"
    source.write_text(source.read_text().replace("digits_classify(image)", "9 - 9"))
    refuse(TargetError, "verify", trained, "--images", IMAGES, "--artifact", f"c99={folder}")
    (row,) = certificate()["forms"]
    assert row["status"] == "damaged"
    assert row["reason"].endswith("main.c prints another class than its scores name")


def test_a_broken_copy_in_c_is_caught(trained, tmp_path, certificate):
    folder = tmp_path / "c"
    run("export", trained, "--format", "c99", "-o", folder)
    (source,) = (path for path in folder.glob("*.c") if path.name != "main.c")
    text = source.read_text()
    place = text.index("{", text.index("static const"))
    number = next(i for i in range(place, len(text)) if text[i].isdigit())
    source.write_text(f"{text[:number]}{(int(text[number]) + 1) % 10}{text[number + 1 :]}")
    given = ("--artifact", f"c99={folder}", "--images", IMAGES)
    refuse(TargetError, "verify", trained, *given)
    assert certificate()["forms"][0]["status"] == "differs"


def test_a_missing_compiler_is_skipped_and_never_passed(trained, certificate, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("CC", raising=False)
    only = ("verify", trained, "--images", IMAGES, "--format", "c99")
    assert refuse(TargetError, *only) == "no exact form was run: nothing is proved"
    assert certificate()["holds"] is False
    told = run(*only, "--format", "packed")
    assert "skipped: " in told
    assert certificate()["holds"] is True
    row = certificate()["forms"][0]
    assert row["status"] == "skipped"
    assert "compiler" in row["reason"]
    assert "top1" not in row


def test_a_coarse_scaling_is_measured_and_called_lossy(trained, certificate):
    told = run(
        *("verify", trained, "--images", IMAGES, "--format", "packed"),
        *("--scaling", "single-shift"),
    )
    assert "packed, single-shift (lossy)" in told
    (row,) = certificate()["forms"]
    assert (row["status"], row["lossy"]) == ("differs", True)
    assert row["first_divergence"]["layers"] == ["conv1"]
    assert certificate()["holds"] is False
    assert refuse(
        *(UsageError, "verify", trained, "--scaling", "fixed16"),
        *("--artifact", f"packed={trained / 'best.safetensors'}"),
    ).startswith("--scaling fixed16 has no effect")


def test_a_lossy_file_is_judged_as_it_is(trained, tmp_path, certificate):
    path = tmp_path / "lossy.qcli"
    run("export", trained, "--format", "packed", "--scaling", "single-shift", "-o", path)
    refuse(TargetError, "verify", trained, "--images", IMAGES, "--artifact", f"packed={path}")
    assert certificate()["holds"] is False


def test_what_was_interrupted_is_not_exported(trained, tmp_path):
    half = shutil.copytree(trained, tmp_path / "half")
    record = json.loads((half / "run.json").read_text())
    (half / "run.json").write_text(json.dumps({**record, "status": "interrupted"}))
    text = refuse(RunError, "export", half, "--format", "packed", "-o", tmp_path / "x")
    assert text == (
        f"{half} is interrupted, not finished: what is exported must be what was trained; "
        f"go on with `qcli train --resume {half}`"
    )
    assert not (tmp_path / "x").exists()


def test_nothing_is_overwritten(trained, tmp_path):
    taken = tmp_path / "taken.qcli"
    taken.write_text("mine")
    text = refuse(UsageError, "export", trained, "--format", "packed", "-o", taken)
    assert text == f"{taken} exists; name a new path with -o, or remove it"
    assert taken.read_text() == "mine"


def test_faults_of_the_command_line(trained, tmp_path):
    export = ("export", trained, "-o", tmp_path / "x", "--format")
    assert 'did you mean "packed"?' in refuse(PluginError, *export, "paked")
    assert refuse(UsageError, *export, "onnx-integer", "--option", "from=fast") == (
        "--option from=fast: onnx-integer has no option 'from' (did you mean \"form\"?); "
        "it has: form"
    )
    assert "is not one of ['strict', 'fast']" in refuse(
        UsageError, *export, "onnx-integer", "--option", "form=quick"
    )
    assert refuse(UsageError, *export, "weights", "--scaling", "fixed16") == (
        "--scaling fixed16 has no effect: weights is no form of integers"
    )
    assert refuse(UsageError, "verify", trained, "--artifact", "packed") == (
        "--artifact packed: write FORMAT=PATH, such as packed=lenet.qcli"
    )
    assert "does not exist" in refuse(UsageError, "verify", trained, "--artifact", "packed=no")
    assert "is not run here" in refuse(UsageError, "verify", trained, "--format", "weights")
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_artifact_is_named_and_the_others_are_judged(trained, tmp_path, certificate):
    path = tmp_path / "damaged.qcli"
    path.write_bytes(b"no artifact")
    given = ("--artifact", f"packed={path}", "--format", "packed")
    text = refuse(TargetError, "verify", trained, "--images", IMAGES, *given)
    assert text == f"{path} damaged"
    damaged, good = certificate()["forms"]
    assert (damaged["status"], good["status"]) == ("damaged", "exact")
    assert str(path) in damaged["reason"]


@pytest.mark.parametrize(
    "pixels",
    [
        {},
        {"mean": "x"},
        {"std": [0.0]},
        {"mean": [float("nan")]},
        {"classes": ["one"]},
        {"image": None},
        None,
    ],
)
def test_a_damaged_record_is_told(trained, tmp_path, pixels):
    broken = shutil.copytree(trained, tmp_path / "broken")
    record = json.loads((broken / "run.json").read_text())
    record["pixels"] = pixels and {**record["pixels"], **pixels}
    (broken / "run.json").write_text(json.dumps(record))
    text = refuse(RunError, "export", broken, "--format", "packed", "-o", tmp_path / "x")
    assert text.startswith("run.json: /pixels is damaged")


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_cleans_up_as_an_error_does(tmp_path, name):
    number = getattr(signal, name)
    before = signal.getsignal(number)
    with (
        pytest.raises(Interrupted) as caught,
        stopped_by_signals(),
        TemporaryDirectory(dir=tmp_path),
    ):
        os.kill(os.getpid(), number)
    assert caught.value.exit_code == 128 + number
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(number) is before


PLAN = ("plan", "-a", "resnet20", "--target", "integer", "--quant-json")


def test_plan_says_before_training_what_export_will_say(tmp_path):
    text = refuse(ExportError, *PLAN, "lsq-w4a4")
    assert text.splitlines()[:2] == [
        "layer conv1: its input has an offset and its border is 0, which is no integer; "
        "quantize the input",
        "call layer1.0.add: adds an activation that is not quantized (a float shortcut); "
        "quantize its output",
    ]
    assert text.splitlines()[-1].startswith("recipes whose names end with -integer")
    recipes = ("--train-json", "lenet5-digits-20ep", "--quant-json", "search-1b")
    run(
        *("train", *recipes, "--epochs", 1, "--cpu", "--threads", 1),
        *("-o", tmp_path / "run"),
    )
    refused = refuse(
        ExportError, "export", tmp_path / "run", "--format", "packed", "-o", tmp_path / "x"
    )
    planned = refuse(ExportError, "plan", *recipes, "--target", "integer")
    assert refused == planned
    assert "layer conv1: its weight is float; give it a weight quantizer" in refused


def test_plan_of_an_integer_recipe_says_yes():
    result = CliRunner().invoke(cli, [*PLAN, RECIPE], catch_exceptions=False)
    assert (result.exit_code, result.stderr) == (0, "the network can be exported as integers\n")


def test_plan_knows_what_only_training_changes(tmp_path):
    """A mean for each pixel; and norms, which get a shift of each channel."""
    recipe = tmp_path / "centered.json"
    recipe.write_text(json.dumps({"extends": "lenet5-digits-20ep", "normalize": "lq_nets"}))
    rehearse = ("plan", "--target", "integer", "--quant-json", RECIPE)
    assert refuse(ExportError, *rehearse, "--train-json", recipe) == (
        "the image: its normalization, lq_nets, has a mean for each pixel; train with another"
    )


def test_the_reference_has_what_was_trained(trained, tmp_path):
    """Codes of the graph are codes of the quantizers."""
    path = tmp_path / "x.qcli"
    run("export", trained, "--format", "packed", "-o", path)
    graph, baked = read_graph(path), qcli.bake(qcli.load_run(trained))
    node = next(each for each in graph.nodes if isinstance(each, Convolution))
    weight = baked[f"{node.layer}.weight"].double().numpy()
    ratio = weight[node.weight != 0] / node.weight[node.weight != 0]
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-7)
    assert (weight[node.weight == 0] == 0).all()
    quantize = next(each for each in graph.nodes if isinstance(each, Quantize))
    assert quantize.levels.tolist() == list(range(16))
