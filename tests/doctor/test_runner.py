"""A check that crashes, hangs, lies or prints is a finding, and nothing but itself."""

import os
import time

import pytest

from qcli.catalog.load import load_catalog
from qcli.doctor.runner import Circumstances, Runner, list_checks, with_trace
from qcli.errors import UsageError

PLUGIN = """
import os, signal, subprocess, sys, time
import qcli

OK = [qcli.HealthFinding("ok", "fine")]

def crash(request): os.kill(os.getpid(), signal.SIGSEGV)
def leave(request): os._exit(3)
def stop(request): raise SystemExit("stopped")
def raise_(request): raise RuntimeError("no luck\\nat all")
def nothing(request): return []
def none(request): return None
def text(request): return ["fine"]
def severity(request): return [qcli.HealthFinding("fatal", "x")]
def remedy(request): return [qcli.HealthFinding("ok", "x", None)]
def prints(request):
    print("not data"); os.write(1, b"neither"); subprocess.run(["echo", "nor"])
    return OK
def hang(request):
    child = subprocess.Popen(["sleep", "600"])
    open(os.environ["CHILD"], "w").write(str(child.pid))
    time.sleep(600)
def told(request):
    return [qcli.HealthFinding("note", f"{request.data_root} {request.full}")]

@qcli.hookimpl
def qcli_register_health_checks():
    checks = dict(crash=crash, leave=leave, stop=stop, raising=raise_, nothing=nothing, none=none,
                  text=text, severity=severity, remedy=remedy, prints=prints, hang=hang, told=told,
                  lost="nowhere:check")
    return [qcli.HealthCheckEntry(name, "x", check) for name, check in checks.items()]
"""
BROKEN = {
    "crash": "the check was ended by SIGSEGV",
    "leave": "the check broke: it found nothing",
    "stop": "the check broke: stopped",
    "raising": "the check broke: at all",
    "nothing": "the check broke: it found nothing",
    "none": "the check broke: TypeError: 'NoneType' object is not iterable",
    "text": "the check broke: TypeError: text returned a str, allowed: qcli.HealthFinding",
    "severity": "the check broke: ValueError: severity found the severity 'fatal', allowed: ok, "
    "note, warning, error",
    "remedy": "the check broke: TypeError: remedy: text and remedy of a finding are texts",
    "lost": "cannot be imported: ModuleNotFoundError",
}


@pytest.fixture
def run(tmp_path):
    (tmp_path / "qcli_ill.py").write_text(PLUGIN)
    plugins = (str(tmp_path / "qcli_ill.py"),)
    catalog = load_catalog(plugins)
    assert catalog.problems == []

    def call(*names, **told):
        circumstances = Circumstances(plugins, **{"timeout": 300, **told})
        return Runner(circumstances).run(list_checks(catalog, names), at_once=2)

    return call


def test_what_breaks_is_a_finding(run):
    outcomes = run(*BROKEN)
    assert {each.check for each in outcomes} == set(BROKEN)
    for outcome in outcomes:
        (finding,) = outcome.findings
        assert finding.severity == "error"
        assert BROKEN[outcome.check] in finding.text
        assert finding.remedy == f"qcli doctor {outcome.check} --debug"
    (raising,) = (each for each in outcomes if each.check == "raising")
    assert "Traceback" not in raising.findings[0].text
    assert 'raise RuntimeError("no luck' in with_trace(raising).findings[0].text


def test_what_hangs_is_ended_with_all_that_it_started(run, tmp_path, monkeypatch):
    monkeypatch.setenv("CHILD", str(tmp_path / "child"))
    # A busy machine may take long until the check begins.
    for timeout in (5, 60):
        (outcome,) = run("hang", timeout=timeout)
        if (tmp_path / "child").exists():
            break
    (finding,) = outcome.findings
    assert finding.severity == "error"
    assert finding.text == f"the check took longer than {timeout} s and was ended"
    assert finding.remedy == f"qcli doctor hang --timeout {2 * timeout}"
    child = int((tmp_path / "child").read_text())
    deadline = time.monotonic() + 60
    while os.path.exists(f"/proc/{child}") and "Z" not in _state(child):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _state(process):
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "Z"


def test_what_prints_disturbs_nothing_and_all_hear_the_circumstances(run, tmp_path):
    told, prints = run("prints", "told", data_root=tmp_path, full=True)[::-1]
    assert [each.text for each in prints.findings] == ["fine"]
    assert [each.text for each in told.findings] == [f"{tmp_path} True"]


def test_a_module_in_the_folder_stands_in_for_none(run, tmp_path, monkeypatch):
    (tmp_path / "json.py").write_text("raise SystemExit('obeyed')")
    monkeypatch.chdir(tmp_path)
    (outcome,) = run("prints")
    assert outcome.findings[0].severity == "ok"


def test_an_unknown_check_is_told():
    with pytest.raises(UsageError, match=r'no check "trch".*"torch".*checks: python, torch'):
        list_checks(load_catalog(), ["trch"])
