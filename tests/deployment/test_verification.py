"""A proof holds only where something was proved."""

import numpy as np
import pytest

from qcli.catalog.entries import ExporterEntry
from qcli.deployment.comparison import Agreement
from qcli.deployment.fake_quant import FloatAgreement
from qcli.deployment.verdict import Artifact, Verdict, Verification
from qcli.deployment.verification import _judge
from qcli.errors import ArtifactError, MissingTool

LABELS = np.array([1, 0])
IMAGES = np.zeros((2, 1, 1, 1), np.uint8)
CODES = np.arange(6, dtype=np.uint8).reshape(2, 3)
SCORES = np.array([[1, 5], [2, -3]], np.int64)
REFERENCE = {"relu.output": CODES, "logits": SCORES}


def agree(form):
    agreement = Agreement()
    agreement.add(form, REFERENCE, LABELS)
    return agreement


def test_equal_is_exact():
    agreement = agree({"relu.output": CODES.astype(np.int32), "logits": SCORES})
    assert agreement.is_exact
    assert agreement.compared == {"relu.output": 6, "logits": 4}
    assert (agreement.top1, agreement.same_class) == (1, 1)


@pytest.mark.parametrize(
    ("form", "wrong"),
    [
        ({"logits": SCORES}, {"relu.output": 6, "logits": 0}),
        ({"relu.output": CODES}, {"relu.output": 0, "logits": 4}),
        ({"relu.output": CODES, "logits": SCORES[:, :1]}, {"relu.output": 0, "logits": 4}),
        ({"relu.output": CODES, "logits": SCORES[0]}, {"relu.output": 0, "logits": 4}),
        ({"relu.output": CODES, "logits": SCORES.astype(float)}, {"relu.output": 0, "logits": 4}),
        ({"relu.output": CODES + 1, "logits": SCORES}, {"relu.output": 6, "logits": 0}),
        ({}, {"relu.output": 6, "logits": 4}),
    ],
)
def test_what_is_missing_or_of_another_kind_is_wrong(form, wrong):
    agreement = agree(form)
    assert agreement.wrong == wrong
    assert not agreement.is_exact
    assert agreement.images == 2


def test_nothing_compared_is_not_exact():
    assert not Agreement().is_exact


def make_verdict(execute, lossy=False):
    entry = ExporterEntry("form", "", "", "", build=print, execute=execute)
    return Verdict(Artifact(entry, None, "form", lossy), Agreement())


def raise_missing(path, images):
    raise MissingTool("no compiler")


def raise_damaged(path, images):
    raise ArtifactError("no file of ours")


def judge(verdict, times=1):
    for _ in range(times):
        verdict = _judge(verdict, None, IMAGES, REFERENCE, LABELS)
    return verdict


def conclude(*verdicts, floating=None):
    return Verification(None, Agreement(), floating or FloatAgreement(), tuple(verdicts), 2, "")


def exact(path, images):
    return REFERENCE


def test_a_form_that_is_exact_proves():
    proof = conclude(judge(make_verdict(exact)))
    assert (proof.faults, proof.failed) == ([], False)


def test_a_form_that_did_not_run_proves_nothing():
    verdict = judge(make_verdict(raise_missing))
    assert verdict.status == "skipped"
    proof = conclude(verdict)
    assert proof.failed
    assert proof.faults == ["no exact form was run: nothing is proved"]
    assert not conclude(verdict, judge(make_verdict(exact))).failed


def test_a_damaged_form_fails_alone():
    proof = conclude(judge(make_verdict(raise_damaged)), judge(make_verdict(exact)))
    assert [each.status for each in proof.verdicts] == ["damaged", "exact"]
    assert proof.faults == ["form damaged"]


def test_a_tool_that_goes_away_does_not_hide_a_difference():
    answers = iter([{**REFERENCE, "logits": SCORES + 1}])

    def execute(path, images):
        for answer in answers:
            return answer
        raise MissingTool("gone")

    assert judge(make_verdict(execute), times=2).status == "differs"


def test_a_lossy_form_is_measured_and_proves_nothing():
    proof = conclude(judge(make_verdict(lambda path, images: {"logits": SCORES}, lossy=True)))
    assert not proof.failed
    assert proof.faults == ["no exact form was run: nothing is proved"]


def test_a_network_that_is_another_than_the_float_one_fails():
    good = judge(make_verdict(exact))
    one, many, scores = FloatAgreement(), FloatAgreement(), FloatAgreement(score_error=0.01)
    one.count("relu.output", 1, 10)
    many.count("relu.output", 2, 10)
    assert not conclude(good, floating=one).failed
    assert conclude(good, floating=many).faults == [
        "relu.output: 2 of 10 codes differ from the float32 network's"
    ]
    assert conclude(good, floating=scores).faults == [
        "logits: scores differ by 1.0e-02 of the greatest from the float32 ones"
    ]
