"""What a machine may miss is told, in the order of the case."""

import sys

import pytest
from torch import nn

from qcli.benchmark.case import Case
from qcli.benchmark.cases import BREVITAS, COMPILER, CUDA
from qcli.benchmark.peers.brevitas_network import quantize_by_brevitas
from qcli.benchmark.requirement import PRESENT, has_compiler, missing
from qcli.errors import MissingTool


@pytest.mark.parametrize(
    ("present", "found"),
    [(set(), CUDA), ({CUDA}, BREVITAS), ({BREVITAS}, CUDA), ({CUDA, BREVITAS}, None)],
)
def test_the_first_missing_need_is_told(monkeypatch, present, found):
    for need in (CUDA, BREVITAS):
        monkeypatch.setitem(PRESENT, need, lambda need=need: need in present)
    assert missing(Case("x", "y", "z:z", (), needs=(CUDA, BREVITAS))) == found


def test_a_case_without_needs_runs_anywhere():
    assert missing(Case("x", "y", "z:z", ())) is None


def test_the_compiler_is_the_one_that_torch_calls(monkeypatch, tmp_path):
    program = tmp_path / "mine++"
    program.write_text("")
    program.chmod(0o755)
    monkeypatch.setenv("CXX", str(program))
    assert has_compiler()
    monkeypatch.setenv("CXX", str(tmp_path / "other++"))
    assert not has_compiler()
    assert PRESENT[COMPILER] is has_compiler


def test_brevitas_is_named_with_what_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "brevitas.inject.enum", None)
    monkeypatch.setitem(sys.modules, "brevitas", None)
    with pytest.raises(MissingTool, match=r"pip install 'qcli\[bench\]'"):
        quantize_by_brevitas(nn.Sequential(), 4)
