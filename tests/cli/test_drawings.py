"""Verbs that draw write a new file, and nothing else."""

import pytest
from click.testing import CliRunner

from qcli.cli import cli


def plan(*arguments):
    return CliRunner().invoke(cli, ["plan", "-a", "lenet5", *map(str, arguments)])


def test_it_draws_beside_the_plan(tmp_path):
    path = tmp_path / "net.svg"
    done = plan("--quant-json", "lsq-w4a4", "--graph", path)
    assert (done.exit_code, done.stderr) == (0, f"graph: {path}\n")
    assert "4 of 4 layers have quantized weights" in done.stdout
    assert path.read_text("utf-8").startswith("<svg ")
    assert "weights: 4 bits, LSQ" in path.read_text("utf-8")
    assert [file.name for file in tmp_path.iterdir()] == ["net.svg"]


DRAWERS = {
    "plan": ("plan", "-a", "lenet5", "--quant-json", "no-such-recipe", "--graph"),
    "show": ("show", "lsq", "--plot"),
    "compare": ("compare", "no-run", "no-other", "--plot"),
}


@pytest.mark.parametrize("verb", DRAWERS)
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("old.svg", "old.svg exists; name a new file, or remove it"),
        ("link.svg", "link.svg exists; name a new file, or remove it"),
        ("net.gif", 'net.gif", allowed: a file that ends in'),
        ("nowhere/net.svg", "nowhere does not exist"),
    ],
)
def test_a_file_that_cannot_be_is_refused_before_any_work(tmp_path, verb, name, text):
    (tmp_path / "old.svg").write_text("mine")
    (tmp_path / "link.svg").symlink_to(tmp_path / "gone")
    done = CliRunner().invoke(cli, [*DRAWERS[verb], str(tmp_path / name)])
    assert text in str(done.exception)
    assert done.stdout == ""
    assert (tmp_path / "old.svg").read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 2
