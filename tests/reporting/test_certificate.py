"""A report says of a proof what it proves, and for which weights."""

import pytest

from qcli.deployment.hashing import hash_path
from qcli.reporting.report.certificate import tell_certificate
from qcli.training.run_account import RunAccount

HOLDS = {"holds": True, "faults": [], "images": 5, "images_available": 360, "forms": []}


@pytest.fixture
def tell(tmp_path):
    """Return a function from verify.json to what is told of it, for weights that lie there."""
    (tmp_path / "best.safetensors").write_bytes(b"weights")

    def tell(certificate, quantization=None):
        account = RunAccount(tmp_path, {}, quantization=quantization or {}, certificate=certificate)
        return tell_certificate(account)

    return tell


def test_a_proof_of_these_weights_holds(tell, tmp_path):
    digest = hash_path(tmp_path / "best.safetensors")
    graph = {"weights": "best.safetensors", "weights_sha256": digest}
    found = tell({**HOLDS, "graph": graph, "graph_sha256": "abc"})
    assert found.holds
    assert "every exact form computed the same integers on 5 of 360 test images" in found.verdict
    assert dict(found.hashes) == {"graph": "abc", "weights": digest}


def test_a_proof_of_other_weights_is_none(tell):
    found = tell({**HOLDS, "graph": {"weights": "best.safetensors", "weights_sha256": "0" * 64}})
    assert found.holds is False
    assert "other weights" in found.verdict
    assert "qcli verify" in found.verdict


@pytest.mark.parametrize(
    "changed", [{"holds": False}, {"holds": 1}, {"faults": ["c99 differs"]}, {"holds": None}]
)
def test_what_does_not_hold_is_said(tell, changed):
    found = tell({**HOLDS, **changed})
    assert found.holds is False
    assert "does not hold" in found.verdict
    assert all(fault in found.verdict for fault in changed.get("faults", ()))


def test_without_a_proof_it_says_what_to_type(tell):
    assert tell({}).holds is None
    assert "float" in tell({}).verdict
    assert "qcli verify" in tell({}, {"name": "x"}).verdict


@pytest.mark.parametrize("value", [3, "x", [], {"a": 1}, None, 1e999])
def test_a_damaged_proof_is_told_without_a_fault(tell, value):
    for key in ("faults", "forms", "graph", "float", "reference", "images", "images_available"):
        assert tell({**HOLDS, key: value}).verdict
    forms = [{"form": value, "status": value, "top1": value}, value]
    assert tell({**HOLDS, "forms": forms}).forms is not None
