"""Learning from a teacher: the loss by hand, which teachers fit, and runs as a user types them."""

import json
import math
import shutil
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional

from qcli.errors import RunError, UsageError
from qcli.recipe.schedule import Progress
from qcli.recipe.setting import Request, resolve_setting
from qcli.recipe.training import DistillationRecipe
from qcli.training.batches import MicroBatch
from qcli.training.distillation import Teacher
from qcli.training.evaluation import Tally
from qcli.training.revival import Revival
from qcli.training.splits import Splits
from qcli.training.teacher import find_teacher, load_teacher, require_teacher

RECIPE = {
    "name": "taught",
    "architecture": {"name": "lenet5"},
    "dataset": {"name": "digits"},
    "epochs": 2,
    "batch_size": 64,
    "lr": 0.003,
    "optimizer": {"name": "adam"},
}
DISTILL = {"weight": 0.5, "temperature": 4}
HELD_OUT = {"validation_fraction": 0.1, "select_on": "validation"}
TAUGHT = [[2.0, 0.0, -1.0], [0.5, 0.25, 0.0]]
SCORES = [[1.0, 1.5, 0.0], [-1.0, 0.0, 2.0]]


class Fixed(nn.Module):
    """Gives the same scores whatever it sees."""

    def forward(self, images):
        return torch.tensor(TAUGHT)


def softmax(row, temperature):
    powers = [math.exp(value / temperature) for value in row]
    return [power / sum(powers) for power in powers]


def blend(loss, weight, temperature, scores):
    teacher = Teacher(Fixed(), DistillationRecipe(weight, temperature))
    return teacher.blend(torch.tensor(loss), scores, torch.zeros(2, 1, 1, 1))


@pytest.mark.parametrize("temperature", [1.0, 3.0])
@pytest.mark.parametrize("weight", [0.25, 1.0])
def test_the_loss_by_hand(weight, temperature):
    divergence = 0
    for taught, found in zip(TAUGHT, SCORES, strict=True):
        p, q = softmax(taught, temperature), softmax(found, temperature)
        divergence += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True)) / 2
    expected = (1 - weight) * 1.75 + weight * temperature**2 * divergence
    assert float(blend(1.75, weight, temperature, torch.tensor(SCORES))) == pytest.approx(expected)


def test_the_gradient_is_that_of_the_paper():
    """Hinton et al., eq. 2: (q - p) / T, times T^2, over a mean of two images."""
    scores = torch.tensor(SCORES, requires_grad=True)
    blend(0.0, 1.0, 4.0, scores).backward()
    pairs = zip(TAUGHT, SCORES, strict=True)
    expected = [
        [2 * (b - a) for a, b in zip(softmax(p, 4), softmax(q, 4), strict=True)] for p, q in pairs
    ]
    torch.testing.assert_close(scores.grad, torch.tensor(expected))


def test_who_says_the_same_as_the_teacher_has_the_plain_loss():
    assert float(blend(2.0, 0.5, 4.0, torch.tensor(TAUGHT))) == pytest.approx(1.0, abs=1e-6)


def test_a_step_blends_what_the_teacher_says_of_the_same_batch(make_network, make_recipe, learn):
    torch.manual_seed(0)
    student, network = make_network(), make_network().eval()
    recipe = make_recipe(distill={"weight": 0.25, "temperature": 2})
    learner = learn(student, recipe, Teacher(network, recipe.distill))
    images, labels = torch.randn(4, 3, 6, 6), torch.arange(4)
    with torch.no_grad():
        scores, wanted = student(images), network(images)
        terms = [(each / 2).softmax(1) for each in (wanted, scores)]
        divergence = (terms[0] * (terms[0] / terms[1]).log()).sum(1).mean()
        expected = 0.75 * functional.cross_entropy(scores, labels) + 0.25 * 4 * divergence
    tally, before = Tally(torch.device("cpu")), [each.clone() for each in network.parameters()]
    learner.step([MicroBatch(images, labels)], Progress(0, 1, 0, 1), tally)
    assert tally.read().loss == pytest.approx(float(expected), rel=1e-5)
    assert all(map(torch.equal, before, network.parameters()))
    assert all(each.grad is None for each in network.parameters())


def test_a_teacher_and_a_recipe_that_distills_need_each_other(make_recipe, tmp_path):
    with pytest.raises(UsageError, match=r"give --teacher RUN, .*--set distill=null$"):
        require_teacher(make_recipe(distill=DISTILL), None)
    with pytest.raises(UsageError, match=r"^--teacher .*: x does not distill; say how: --set "):
        require_teacher(make_recipe(), tmp_path)


def test_a_teacher_is_a_run_or_weights_in_one(tmp_path):
    with pytest.raises(UsageError, match=r"allowed: a run directory of qcli train"):
        find_teacher(tmp_path / "best.safetensors")
    (tmp_path / "run.json").write_text("{}")
    assert find_teacher(tmp_path) == (tmp_path, "best")
    assert find_teacher(tmp_path / "last.safetensors") == (tmp_path, "last")
    with pytest.raises(UsageError, match=r"best\.safetensors or last\.safetensors$"):
        find_teacher(tmp_path / "other.safetensors")


class Silent(nn.Module):
    """A teacher whose training went wrong."""

    def forward(self, images):
        return torch.full((len(images), 4), math.nan)


def test_a_teacher_that_is_not_finite_is_blamed_itself(make_network, make_recipe, learn):
    recipe = make_recipe(distill=DISTILL)
    learner = learn(make_network(), recipe, Teacher(Silent(), recipe.distill))
    batch = MicroBatch(torch.randn(4, 3, 6, 6), torch.arange(4))
    with pytest.raises(RunError, match=r"^the loss is nan: the scores of the teacher are not fini"):
        learner.step([batch], Progress(0, 1, 0, 1), Tally(torch.device("cpu")))


def resolve(folder, name, catalog, **fields):
    path = folder / f"{name}.json"
    path.write_text(json.dumps(RECIPE | fields))
    return resolve_setting(Request(train_json=str(path)), catalog)


@pytest.mark.parametrize(
    ("teacher", "student", "told"),
    [
        ({}, {}, []),
        ({"seed": 1}, {"seed": 2}, []),
        (
            {"dataset": {"name": "digits", "split": "writer"}},
            {},
            ["dataset options {'split': 'writer'}, it sees {'split': 'random'} here"],
        ),
        (
            HELD_OUT | {"seed": 1},
            HELD_OUT | {"seed": 2},
            ["validation_fraction 0.1 by seed 1, it sees 0.1 by seed 2 here"],
        ),
        (
            {"seed": 1},
            HELD_OUT | {"seed": 1},
            ["validation_fraction 0, it sees 0.1 by seed 1 here"],
        ),
    ],
    ids=str,
)
def test_what_the_two_see_differently_is_told(
    teacher, student, told, tmp_path, catalog, monkeypatch
):
    theirs = resolve(tmp_path, "teacher", catalog, **teacher)
    ours = resolve(tmp_path, "student", catalog, **student, distill=DISTILL)
    revival = Revival(theirs, nn.Linear(1, 1), None, {"num_classes": 10})
    monkeypatch.setattr("qcli.training.teacher.revive_run", lambda *_: revival)
    (tmp_path / "run.json").write_text("{}")
    found = []
    splits = Splits(None, None, 10)
    load_teacher(tmp_path, ours, splits, torch.device("cpu"), found.append)
    assert found == [f"the teacher was trained with {text}" for text in told]


def train(folder, *arguments, check=True):
    command = [sys.executable, "-m", "qcli", "train", "--cpu", "--threads", "1", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    assert not check or done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """A folder with a float run, a run that learns from it, and what the second printed."""
    folder = tmp_path_factory.mktemp("taught")
    (folder / "plain.json").write_text(json.dumps(RECIPE))
    (folder / "distill.json").write_text(json.dumps(RECIPE | {"distill": DISTILL}))
    train(folder, "--train-json", "./plain.json", "-o", "parent")
    student = ("--train-json", "./distill.json", "--quant-json", "lsq-w4a4")
    done = train(folder, *student, "--teacher", "parent", "-o", "student")
    return folder, done


@pytest.mark.slow
def test_a_run_remembers_its_teacher(taught):
    folder, done = taught
    record = json.loads((folder / "student" / "run.json").read_text())
    assert record["teacher"] == str((folder / "parent").resolve())
    assert len(record["teacher_sha256"]) == 64
    assert "the teacher was trained with" not in done.stderr


def copy_unfinished(folder, tmp_path):
    copy = tmp_path / "student"
    shutil.copytree(folder / "student", copy)
    (copy / "result.json").unlink()
    return copy


@pytest.mark.slow
def test_a_run_goes_on_with_its_teacher_and_not_with_another(taught, tmp_path):
    folder, _ = taught
    copy = copy_unfinished(folder, tmp_path)
    train(folder, "--resume", str(copy))
    assert (copy / "result.json").exists()
    (copy / "result.json").unlink()
    record = json.loads((copy / "run.json").read_text())
    (copy / "run.json").write_text(json.dumps(record | {"teacher_sha256": "0" * 64}))
    done = train(folder, "--resume", str(copy), check=False)
    assert done.returncode == 1
    assert "was taught by other weights than those of" in done.stderr


@pytest.mark.slow
def test_a_teacher_may_move(taught, tmp_path):
    folder, _ = taught
    copy = copy_unfinished(folder, tmp_path)
    shutil.copytree(folder / "parent", tmp_path / "moved")
    record = json.loads((copy / "run.json").read_text())
    gone = {"teacher": str(tmp_path / "gone")}
    (copy / "run.json").write_text(json.dumps(record | gone))
    done = train(folder, "--resume", str(copy), check=False)
    assert done.returncode == 2
    assert f"--teacher {tmp_path / 'gone'}: allowed: a run directory" in done.stderr
    train(folder, "--resume", str(copy), "--teacher", str(tmp_path / "moved"))
    assert (copy / "result.json").exists()


@pytest.mark.slow
def test_a_teacher_must_fit(taught):
    folder, _ = taught
    recipe = ("--train-json", "./distill.json", "--teacher", "parent")
    other = '{"name": "synthetic", "num_classes": 4}'
    done = train(folder, *recipe, "--set", f"dataset={other}", check=False)
    assert done.returncode == 2
    assert "--teacher parent: it tells 10 classes apart, the data set has 4" in done.stderr
    done = train(folder, *recipe, "--set", "normalize=none", "--epochs", "1", "-o", "unlike")
    assert "the teacher was trained with normalize dataset, it sees none here" in done.stderr
    done = train(folder, *recipe[:2], check=False)
    assert done.returncode == 2
    assert "needs a trained network: give --teacher RUN" in done.stderr
