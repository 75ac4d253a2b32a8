"""The laws of ARCHITECTURE.md that the source itself must obey: layers, plugins, exits, sizes."""

import ast
import sys
from pathlib import Path

import pytest

import qcli

ROOT = Path(__file__).parents[1]
CORE = sorted((ROOT / "qcli").rglob("*.py"))
PLUGINS = sorted((ROOT / "plugins").rglob("*.py"))
FILES = [*CORE, *PLUGINS]

# Of the core: the level, and what may be imported that is neither ours nor the standard library's.
# A module belongs to the longest of these that it begins with.
LEVELS = {
    "qcli.errors": (0, set()),
    "qcli.recipe.schedule": (0, set()),
    "qcli.recipe": (1, {"jsonschema"}),
    "qcli.catalog": (1, {"jsonschema", "pluggy"}),
    "qcli.authoring": (1, set()),
    "qcli.quantization": (2, {"torch"}),
    "qcli.training": (
        3,
        {"torch", "torchvision", "accelerate", "safetensors", "filelock", "PIL", "numpy"},
    ),
    "qcli.deployment": (3, {"torch", "numpy", "safetensors", "PIL"}),
    "qcli.campaign": (3, {"torch", "accelerate", "filelock", "submitit"}),
    "qcli.benchmark": (3, {"torch", "torchvision", "safetensors", "PIL", "brevitas"}),
    "qcli.doctor": (3, {"torch", "torchvision", "yaml"}),
    "qcli.testing": (3, {"torch", "jsonschema", "PIL", "numpy"}),
    # pytest finds it; nothing else imports it.
    "qcli.testing.test_plugins": (3, {"pytest"}),
    "qcli.reporting": (3, {"rich", "matplotlib", "jinja2", "markupsafe"}),
    "qcli.cli": (4, {"click", "torch"}),
    "qcli.__main__": (4, set()),
}
# Each of these stands alone among those of its level.
APART = {
    "qcli.training": {"qcli.benchmark", "qcli.campaign", "qcli.reporting", "qcli.testing"},
    "qcli.campaign": {"qcli.benchmark", "qcli.reporting", "qcli.testing"},
    "qcli.deployment": {"qcli.benchmark"},
    "qcli.testing": {"qcli.benchmark"},
    "qcli.benchmark": {"qcli.campaign", "qcli.deployment", "qcli.reporting", "qcli.testing"},
}
# What exporters are made of is public as a whole: the records, the reference, the boundaries,
# the trace of a network.
PUBLIC_MODULES = (
    "qcli.deployment.boundaries.",
    "qcli.deployment.execution.",
    "qcli.deployment.graph.",
    "qcli.deployment.lowering.trace.",
    "qcli.deployment.packed.",
)
MOST_LINES_OF_A_FILE = 300
MOST_LINES_OF_A_FUNCTION = 50
EXITS = {"exit", "quit", "sys.exit", "os._exit", "os.abort", "SystemExit"}
PRINTS = {
    "print",
    "click.echo",
    "click.secho",
    "sys.stdout",
    "sys.stderr",
    "traceback.print_exc",
    "traceback.print_exception",
}
# The first tells errors where nothing else can be relied on; the second turns what plugins print
# while they are imported away from stdout, which is for data.
# The third silences plugins while a shell asks for completions.
MAY_NAME_STREAMS = {"qcli.cli", "qcli.catalog.load", "qcli.cli.shells"}


def module_of(path):
    parts = path.relative_to(ROOT / "plugins" if path in PLUGINS else ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def longest_prefix(name, prefixes):
    fits = [prefix for prefix in prefixes if f"{name}.".startswith(f"{prefix}.")]
    return max(fits, key=len, default=None)


def find_imports(tree, lazy=False, typing=False):
    """Yield (imported name, whether inside a function, whether for type checkers alone)."""
    for name in imported_by(tree):
        yield name, lazy, typing
    checked = tree.body if is_for_type_checkers(tree) else []
    inside = lazy or isinstance(tree, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    for child in ast.iter_child_nodes(tree):
        yield from find_imports(child, inside, typing or child in checked)


def imported_by(node):
    """Return what one statement or call imports."""
    match node:
        case ast.Import(names=names):
            return [alias.name for alias in names]
        case ast.ImportFrom(module=module, names=names, level=level):
            assert level == 0, f"line {node.lineno}: a relative import"
            return [f"{module}.{alias.name}" for alias in names]
        case ast.Call(func=func, args=[ast.Constant(value=name), *_]):
            return [name] if name_of(func).endswith("import_module") else []
    return []


def is_for_type_checkers(node):
    return isinstance(node, ast.If) and name_of(node.test).endswith("TYPE_CHECKING")


def name_of(node):
    """Return the dotted name that an expression spells, or ''."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        owner = name_of(node.value)
        return f"{owner}.{node.attr}" if owner else ""
    return ""


def core_faults(module, tree):
    """Return what a module of the core imports against the law."""
    place = longest_prefix(module, LEVELS)
    if place is None:
        return [] if module == "qcli" else [f"{module} is on no level"]
    level, allowed = LEVELS[place]
    faults = []
    for name, lazy, typing in find_imports(tree):
        top = name.partition(".")[0]
        if top != "qcli":
            known = top in sys.stdlib_module_names or top in allowed
            heavy = place == "qcli.cli" and top == "torch" and not lazy
            if not known or heavy:
                faults.append(f"imports {name}")
            continue
        target = longest_prefix(name, LEVELS)
        too_high = target is None or LEVELS[target][0] > level
        apart = target in APART.get(place, ())
        early = place == "qcli.cli" and target and LEVELS[target][0] in (2, 3)
        if too_high or apart or (early and not lazy and not typing):
            faults.append(f"imports {name}")
    return faults


def plugin_faults(module, tree):
    """Return what a module of a plugin imports of ours beside public names and itself."""
    package = module.partition(".")[0]
    faults = []
    for name, _, _ in find_imports(tree):
        top, _, rest = name.partition(".")
        public = top == "qcli" and (not rest or rest in qcli.__all__)
        public |= name.startswith(PUBLIC_MODULES)
        ours = top == "qcli" or top.startswith("qcli_")
        if ours and not public and top != package:
            faults.append(f"imports {name}")
    return faults


def used_names(tree):
    """Yield the dotted names that code uses; annotations and `except` clauses are no use."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and node.exc is not None:
            called = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            yield name_of(called)
        elif isinstance(node, ast.Call):
            yield name_of(node.func)
        elif isinstance(node, ast.Attribute):
            yield name_of(node)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def conduct_faults(module, tree):
    """Return where a module exits or prints although that is not its task."""
    package = ".".join(module.split(".")[:2])
    used = set(used_names(tree))
    faults = [f"uses {name}" for name in sorted(used & EXITS) if package != "qcli.cli"]
    if package != "qcli.reporting" and module not in MAY_NAME_STREAMS:
        faults += [f"uses {name}" for name in sorted(used & PRINTS)]
    return faults


def size_faults(text, tree):
    """Return what is too long to be read in one sitting."""
    lines = len(text.splitlines())
    faults = [f"has {lines} lines"] if lines > MOST_LINES_OF_A_FILE else []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = node.end_lineno - node.lineno + 1
            if lines > MOST_LINES_OF_A_FUNCTION:
                faults.append(f"{node.name} has {lines} lines")
    return faults


def find_faults(module, text):
    tree = ast.parse(text)
    faults = core_faults if module.partition(".")[0] == "qcli" else plugin_faults
    return [*faults(module, tree), *conduct_faults(module, tree), *size_faults(text, tree)]


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_law(path):
    assert find_faults(module_of(path), path.read_text("utf-8")) == []


def test_the_walk_sees_the_code():
    modules = {module_of(path) for path in FILES}
    assert {"qcli", "qcli.cli", "qcli.recipe.schedule", "qcli_uniform.lsq"} <= modules
    for prefix in LEVELS:
        assert any(longest_prefix(module, LEVELS) == prefix for module in modules), prefix
    assert {module.partition(".")[0] for module in modules if "_" in module.partition(".")[0]} >= {
        "qcli_architectures",
        "qcli_categorical",
        "qcli_datasets",
        "qcli_uniform",
    }


def test_the_public_names_come_lazily():
    """The package itself imports the standard library alone, except for type checkers."""
    tree = ast.parse((ROOT / "qcli" / "__init__.py").read_text("utf-8"))
    imports = list(find_imports(tree))
    eager = {name.partition(".")[0] for name, _, typing in imports if not typing}
    assert eager <= sys.stdlib_module_names
    typed = {name.rpartition(".")[2] for name, _, typing in imports if typing}
    assert typed == set(qcli.__all__)


@pytest.mark.parametrize(
    ("module", "code", "fault"),
    [
        ("qcli.errors", "import torch", "imports torch"),
        ("qcli.errors", "from qcli.recipe.document import Document", "imports qcli.recipe."),
        ("qcli.recipe.schedule", "import jsonschema", "imports jsonschema"),
        (
            "qcli.recipe.schedule",
            "from qcli.recipe import document",
            "imports qcli.recipe.document",
        ),
        ("qcli.recipe.setting", "import torch", "imports torch"),
        ("qcli.recipe.setting", "def f():\n    import torch", "imports torch"),
        ("qcli.recipe.setting", "from qcli.quantization.plan import Plan", "imports qcli.quant"),
        ("qcli.recipe.setting", "from qcli import Quantizer", "imports qcli.Quantizer"),
        (
            "qcli.recipe.setting",
            "import importlib\nimportlib.import_module('torch')",
            "imports torch",
        ),
        ("qcli.catalog.load", "import qcli_uniform", "imports qcli_uniform"),
        ("qcli.catalog.load", "from qcli_uniform.lsq import LSQ", "imports qcli_uniform.lsq.LSQ"),
        ("qcli.quantization.plan", "import accelerate", "imports accelerate"),
        ("qcli.quantization.plan", "from qcli.training import loop", "imports qcli.training.loop"),
        (
            "qcli.quantization.plan",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from qcli.cli import main",
            "imports qcli.cli.main",
        ),
        ("qcli.training.loop", "from qcli.cli.options import F", "imports qcli.cli.options.F"),
        ("qcli.training.loop", "from qcli.reporting.console import say", "imports qcli.reporting"),
        ("qcli.training.loop", "import rich", "imports rich"),
        ("qcli.reporting.tables", "from qcli.cli import cli", "imports qcli.cli.cli"),
        ("qcli.cli.plan_verb", "import torch", "imports torch"),
        ("qcli.cli.plan_verb", "from qcli.training.loop import train", "imports qcli.training"),
        ("qcli.unheard_of", "", "qcli.unheard_of is on no level"),
        ("qcli_uniform.lsq", "from qcli.quantization.grid import Grid", "imports qcli.quantiz"),
        ("qcli_uniform.lsq", "import qcli.errors", "imports qcli.errors"),
        ("qcli_uniform.lsq", "from qcli import _HOME", "imports qcli._HOME"),
        ("qcli_uniform.lsq", "import qcli_categorical", "imports qcli_categorical"),
        ("qcli_uniform.lsq", "from qcli_categorical.search import S", "imports qcli_categorical"),
        ("qcli.training.loop", "import sys\nsys.exit(1)", "uses sys.exit"),
        ("qcli.training.loop", "from sys import exit", "uses sys.exit"),
        ("qcli.training.loop", "raise SystemExit", "uses SystemExit"),
        ("qcli.reporting.tables", "exit()", "uses exit"),
        ("qcli_uniform.lsq", "raise SystemExit(2)", "uses SystemExit"),
        ("qcli.training.loop", "print(1)", "uses print"),
        ("qcli.training.loop", "import sys\nsys.stderr.write('')", "uses sys.stderr"),
        ("qcli.cli.plan_verb", "import click\nclick.echo(1)", "uses click.echo"),
        ("qcli_uniform.lsq", "print(1)", "uses print"),
        ("qcli.errors", "x = 1\n" * 301, "has 301 lines"),
        ("qcli.errors", "def f():\n" + "    x = 1\n" * 50, "f has 51 lines"),
    ],
)
def test_what_is_against_the_law_is_found(module, code, fault):
    faults = find_faults(module, code)
    assert faults[:1] == [each for each in faults if each.startswith(fault)][:1] != []


@pytest.mark.parametrize(
    ("module", "code"),
    [
        ("qcli.recipe.setting", "from qcli.recipe.schedule import Schedule\nimport jsonschema"),
        ("qcli.cli.plan_verb", "def f():\n    import torch\n    from qcli.training import loop"),
        ("qcli.cli", "import sys\nsys.exit(1)\nsys.stderr.write('')"),
        ("qcli.reporting.console", "print(1)"),
        ("qcli_uniform.lsq", "import qcli\nfrom qcli import Grid\nimport qcli_uniform.x, torch"),
        ("qcli.catalog.load", "try:\n    f()\nexcept SystemExit:\n    pass"),
        ("qcli.errors", "def f():\n" + "    x = 1\n" * 49),
    ],
)
def test_what_is_lawful_is_left_alone(module, code):
    assert find_faults(module, code) == []
