"""Plugins are found, and each is loaded in isolation."""

from __future__ import annotations

import importlib.metadata
import os
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import qcli
from qcli.catalog.catalog import Catalog, resolve_build
from qcli.catalog.hookspecs import PROJECT
from qcli.catalog.load import GROUP, HOOKS
from qcli.errors import PluginError

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))

QUANTIZER = """
import qcli

@qcli.hookimpl
def qcli_register_quantizers():
    return [qcli.QuantizerEntry(
        name={name!r}, summary="One.", source="here", build=lambda info: None)]
"""
HOOK = """
import qcli

@qcli.hookimpl
def qcli_register_{kind}():
    return {result}
"""

Install = Callable[..., str]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Return a function that puts a distribution on the path, as pip would leave it."""
    modules = []

    def put(distribution: str, code: str, *, point: str | None = None) -> str:
        module = distribution.replace("-", "_")
        folder = tmp_path / distribution
        info = folder / f"{module}-1.5.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.4\nName: {distribution}\nVersion: 1.5\n", "utf-8"
        )
        (info / "entry_points.txt").write_text(f"[{GROUP}]\n{point or module} = {module}\n")
        (folder / f"{module}.py").write_text(code, "utf-8")
        monkeypatch.syspath_prepend(folder)
        modules.append(module)
        return module

    yield put
    for module in modules:
        sys.modules.pop(module, None)


@pytest.fixture(autouse=True)
def enable_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QCLI_DISABLE_PLUGINS", raising=False)


def problem_of(catalog: Catalog, name: str) -> str | None:
    return next(record.problem for record in catalog.plugins if record.name == name)


def bundled_still_load(catalog: Catalog) -> bool:
    return "categorical" in catalog.of_kind("quantizers")


def test_pyproject_names_every_package_of_plugins() -> None:
    packages = {path.parent.name for path in (ROOT / "plugins").glob("*/__init__.py")}
    wheel = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert set(PYPROJECT["project"]["entry-points"][GROUP].values()) == packages
    assert set(wheel) == {"qcli", *(f"plugins/{package}" for package in packages)}


def test_installed_entry_points_are_those_of_pyproject() -> None:
    installed = {
        point.name: point.value
        for point in importlib.metadata.entry_points(group=GROUP)
        if point.dist and point.dist.name == PROJECT
    }
    wanted = PYPROJECT["project"]["entry-points"][GROUP]
    assert installed == wanted, "the installation is old; run `pip install --editable .` again"


def test_every_bundled_plugin_loads_with_its_distribution() -> None:
    catalog = qcli.load_catalog()
    bundled = [record for record in catalog.plugins if record.distribution == PROJECT]
    assert {record.name for record in bundled} == set(PYPROJECT["project"]["entry-points"][GROUP])
    assert [record for record in bundled if record.problem] == []
    version = importlib.metadata.version(PROJECT)
    assert {record.version for record in bundled} == {version}


def test_installed_plugin_is_offered_with_its_distribution(install: Install) -> None:
    install("third-party", QUANTIZER.format(name="third"))
    offer = qcli.load_catalog().of_kind("quantizers")["third"]
    assert (offer.distribution, offer.version) == ("third-party", "1.5")


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("def (", "SyntaxError: invalid syntax"),
        ("raise SystemExit(7)", "SystemExit: 7"),
        ("raise ValueError('two\\nlines')", "ValueError: two lines"),
        ("", "implements no hook; this qcli knows qcli_register_quantizers, "),
        (
            QUANTIZER.format(name="x").replace("quantizers", "quantisers"),
            'unknown hook qcli_register_quantisers (did you mean "qcli_register_quantizers"?)',
        ),
        (
            QUANTIZER.format(name="x").replace("@qcli.hookimpl", ""),
            "qcli_register_quantizers has no @qcli.hookimpl above it",
        ),
        (
            QUANTIZER.format(name="x").replace("qcli_register_", "offer_"),
            "unknown hook 'offer_quantizers'",
        ),
        (
            QUANTIZER.format(name="x").replace("s()", "s(catalog)"),
            "Argument(s) {'catalog'} are declared in the hookimpl",
        ),
        (HOOK.format(kind="quantizers", result="1 / 0"), "ZeroDivisionError: division by zero"),
        (
            HOOK.format(kind="datasets", result="None"),
            "qcli_register_datasets returned None, allowed: an iterable of DatasetEntry",
        ),
    ],
)
def test_broken_plugin_ends_nothing_but_itself(install: Install, code: str, problem: str) -> None:
    name = install("broken-plugin", code)
    catalog = qcli.load_catalog()
    assert problem in (problem_of(catalog, name) or "")
    assert [line for line in catalog.problems if "broken-plugin 1.5 is broken" in line]
    assert bundled_still_load(catalog)


def test_interrupting_the_user_is_not_a_broken_plugin(install: Install) -> None:
    install("slow-plugin", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        qcli.load_catalog()


def test_entry_points_without_metadata_end_nothing(install: Install, tmp_path: Path) -> None:
    name = install("leftover", "import no_such_module")
    (tmp_path / "leftover" / "leftover-1.5.dist-info" / "METADATA").unlink()
    catalog = qcli.load_catalog()
    assert "no_such_module" in (problem_of(catalog, name) or "")
    assert bundled_still_load(catalog)


ARCHITECTURE = 'qcli.ArchitectureEntry("x", "One.", "here", len, {})'
DATASET = 'qcli.DatasetEntry("x", "One.", "here", len, {})'


def quantizer(name: str = '"x"', build: str = "len", summary: str = '"One."', **fields: str) -> str:
    given = "".join(f", {key}={value}" for key, value in fields.items())
    return f'qcli.QuantizerEntry({name}, {summary}, "here", {build}{given})'


def option(schema: str, name: str = "level") -> str:
    return quantizer(options=f"{{{name!r}: {schema}}}")


@pytest.mark.parametrize(
    ("kind", "entry", "problem"),
    [
        ("quantizers", "{}", "returned dict, allowed: QuantizerEntry"),
        ("quantizers", DATASET.format(""), "returned DatasetEntry, allowed: QuantizerEntry"),
        ("quantizers", quantizer('"Big"'), "the name 'Big' is not lower-case"),
        ("quantizers", quantizer('"a b"'), "the name 'a b' is not lower-case"),
        ("quantizers", quantizer('""'), "the name '' is not lower-case"),
        ("quantizers", quantizer("None"), "the name None is not lower-case"),
        ("quantizers", quantizer('"family:"'), "the name 'family:' is not lower-case"),
        ("quantizers", quantizer(summary="None"), "x: summary is no string"),
        ("quantizers", quantizer(build='"package.Class"'), 'build is neither "module:name" nor'),
        ("quantizers", quantizer(build="7"), 'build is neither "module:name" nor'),
        ("quantizers", quantizer(quantizes='{"weights"}'), "quantizes is no set of weight, input"),
        ("quantizers", quantizer(quantizes='"weight"'), "quantizes is no set of weight, input"),
        ("quantizers", quantizer(quantizes="set()"), "quantizes is no set of weight, input"),
        ("quantizers", option('{"default": 1}'), "option level has no description"),
        ("quantizers", option('{"description": "d"}'), "option level has no default"),
        ("quantizers", option("{}"), "option level has no description and no default"),
        ("quantizers", option('"integer"'), "option level is no JSON Schema"),
        (
            "quantizers",
            option('{"description": "d", "default": 1, "type": "int"}'),
            "option level is no JSON Schema: 'int' is not valid",
        ),
        (
            "quantizers",
            option('{"description": "d", "default": {1}}'),
            "option level is not JSON: Object of type set",
        ),
        ("quantizers", option('{"description": "d", "default": 1}', "info"), "'info' is taken"),
        (
            "quantizers",
            option('{"description": "d", "default": 1}', "a-b"),
            "'a-b' is taken, or no",
        ),
        ("architectures", ARCHITECTURE.format("default_image_shape=[1, 8, 8]"), "is not (C, H, W)"),
        ("architectures", ARCHITECTURE.format("default_image_shape=None"), "is not (C, H, W)"),
        ("architectures", ARCHITECTURE.format("find_member=3"), "find_member is neither"),
        ("datasets", DATASET.format("image_shape=(8, 8)"), "the image shape (8, 8) is not (C, H"),
        (
            "datasets",
            DATASET.format("checksums={'a/b': 'abc'}"),
            "checksum of a/b is no MD5 in hex",
        ),
    ],
)
def test_malformed_entry_is_refused(install: Install, kind: str, entry: str, problem: str) -> None:
    good = QUANTIZER.format(name="good") if kind != "quantizers" else ""
    name = install("malformed", good + HOOK.format(kind=kind, result=f"[{entry}]"))
    catalog = qcli.load_catalog()
    assert problem in (problem_of(catalog, name) or "")
    assert "good" not in catalog.of_kind("quantizers"), "a broken plugin offers nothing at all"
    assert bundled_still_load(catalog)


def test_name_of_two_plugins_is_an_error_that_names_both(install: Install) -> None:
    install("one-plugin", QUANTIZER.format(name="shared"))
    install("other-plugin", QUANTIZER.format(name="shared"))
    catalog = qcli.load_catalog()
    assert "shared" not in catalog.of_kind("quantizers")
    with pytest.raises(PluginError, match=r'"shared": one-plugin 1.5 and other-plugin 1.5'):
        catalog.quantizer("shared")
    assert len(catalog.problems) == 1
    assert bundled_still_load(catalog)


def test_name_that_a_plugin_offers_twice(install: Install) -> None:
    code = HOOK.format(kind="quantizers", result=f"[{quantizer()}, {quantizer()}]")
    install("stutter", code)
    with pytest.raises(PluginError, match=r'stutter 1.5 offers the quantizer "x" twice'):
        qcli.load_catalog().quantizer("x")


def test_unknown_name_suggests_and_tells_of_broken_plugins(install: Install) -> None:
    install("broken-plugin", "import no_such_module")
    with pytest.raises(PluginError) as caught:
        qcli.load_catalog().quantizer("categorial")
    message = str(caught.value)
    assert 'unknown quantizer "categorial" (did you mean "categorical"?)' in message
    assert "broken-plugin 1.5 is broken: ModuleNotFoundError" in message
    assert "run `qcli list quantizers`" in message
    assert caught.value.exit_code == 3


def test_disabled_plugins_are_left_out_and_listed(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("one-plugin", QUANTIZER.format(name="shared"), point="one")
    install("other-plugin", QUANTIZER.format(name="shared"), point="other")
    install("broken-plugin", "import no_such_module", point="broken")
    monkeypatch.setenv("QCLI_DISABLE_PLUGINS", "other, broken")
    catalog = qcli.load_catalog()
    assert catalog.of_kind("quantizers")["shared"].distribution == "one-plugin"
    assert [problem_of(catalog, name) for name in ("other", "broken")] == ["disabled", "disabled"]
    assert catalog.problems == []


def test_family_takes_what_stands_behind_its_colon(install: Install) -> None:
    entry = ARCHITECTURE.replace('"x"', '"zoo:"').format("")
    install("zoo-plugin", HOOK.format(kind="architectures", result=f"[{entry}]"))
    catalog = qcli.load_catalog()
    found, member = catalog.architecture("zoo:lion")
    assert (found.name, member) == ("zoo:", "lion")
    assert catalog.architecture("lenet5")[1] is None
    with pytest.raises(PluginError, match='unknown architecture "zoo"'):
        catalog.architecture("zoo")


def test_plugin_module_of_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_own_plugin.py").write_text(QUANTIZER.format(name="mine"), "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    offer = qcli.load_catalog(["my_own_plugin"]).of_kind("quantizers")["mine"]
    sys.modules.pop("my_own_plugin")
    assert (offer.distribution, offer.version) == ("--plugin my_own_plugin", "")


def test_plugin_file_hides_no_module_of_its_name(tmp_path: Path) -> None:
    import json

    file = tmp_path / "json.py"
    file.write_text(QUANTIZER.format(name="mine"), "utf-8")
    assert "mine" in qcli.load_catalog([str(file)]).of_kind("quantizers")
    assert sys.modules["json"] is json


def test_plugin_file_runs_once(tmp_path: Path) -> None:
    file = tmp_path / "counting_plugin.py"
    file.write_text(QUANTIZER.format(name="mine"), "utf-8")
    first, second = (qcli.load_catalog([str(file)]).quantizer("mine") for _ in range(2))
    assert first.build.__globals__ is second.build.__globals__


def test_plugin_file_named_twice_is_one_plugin(tmp_path: Path) -> None:
    file = tmp_path / "repeated_plugin.py"
    file.write_text(QUANTIZER.format(name="mine"), "utf-8")
    catalog = qcli.load_catalog([str(file), os.path.relpath(file)])
    assert catalog.quantizer("mine").name == "mine"


@pytest.mark.parametrize(
    ("module", "problem"),
    [
        ("no_such_plugin", "--plugin no_such_plugin is broken: ModuleNotFoundError"),
        ("no_such_plugin.py", "--plugin no_such_plugin.py is broken: FileNotFoundError"),
    ],
)
def test_missing_plugin_module_is_told(
    module: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert [line for line in qcli.load_catalog([module]).problems if line.startswith(problem)]


def test_plugin_file_that_raises_is_not_kept(tmp_path: Path) -> None:
    file = tmp_path / "mended_plugin.py"
    file.write_text("import no_such_module", "utf-8")
    assert problem_of(qcli.load_catalog([str(file)]), str(file))
    # Another length, so that the compiled file cannot be taken for this one.
    file.write_text(QUANTIZER.format(name="mended"), "utf-8")
    assert "mended" in qcli.load_catalog([str(file)]).of_kind("quantizers")


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        ("no_such_module:Class", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("json:NoSuchClass", "AttributeError: module 'json' has no attribute 'NoSuchClass'"),
        ("exiting_build:Class", "SystemExit: 2"),
    ],
)
def test_build_that_cannot_be_imported(
    build: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "exiting_build.py").write_text("raise SystemExit(2)", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(PluginError) as caught:
        resolve_build(build, "mine")
    assert str(caught.value) == f'"mine" names {build}, which cannot be imported: {reason}'
    assert caught.value.exit_code == 3


def test_build_may_be_the_callable_itself() -> None:
    assert resolve_build(len, "mine") is len


def test_every_hook_has_a_spec_and_a_bundled_plugin() -> None:
    from qcli.catalog import hookspecs

    assert [name for name in dir(hookspecs) if name.startswith("qcli_")] == sorted(HOOKS)
    catalog = qcli.load_catalog()
    kinds = [kind for kind in HOOKS.values() if kind is not qcli.HealthCheckEntry]
    assert [kind for kind in kinds if not catalog.of_kind(_noun(kind))] == []
    assert {each.plugin for each in catalog.health_checks} == {"datasets", "exporters"}


def _noun(kind: type) -> str:
    return kind.__name__.removesuffix("Entry").lower() + "s"
