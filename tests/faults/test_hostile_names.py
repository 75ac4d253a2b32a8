"""Names of layers that would leave a comment of exported C: 6 cases."""

import shutil
import subprocess

import pytest
from graphs import GraphMaker

from qcli_exporters.c99.source import write_source

HOSTILE = (
    "*/ int obeyed[-1]; /*",
    "a\nint obeyed[-1];\n",
    '"; int obeyed[-1];',
    "back\\\nint obeyed[-1];",
    "*??/\n/ int obeyed[-1]; /*",
    "\x1b[31m\u202e",
)


@pytest.mark.parametrize("name", HOSTILE)
def test_names_stay_inside_the_comments_of_c(name, tmp_path, tally):
    tally.cases += 1
    make = GraphMaker((1, 6, 6))
    x = make.convolution("image", name, 2, [-1, 0, 1])
    x = make.quantize(x, f"{name}.output", [0, 1, 2, 3])
    x = make.add_reshape(x, f"{name} flat", (32,))
    make.logits(make.linear(x, f"{name} last", 3, [-1, 1]))
    for file, text in write_source(make.graph(), "net").files.items():
        assert text.isascii()
        (tmp_path / file).write_text(text, "ascii")
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    assert compiler, "a C compiler is needed"
    command = [compiler, "-std=c99", "-trigraphs", "-fsyntax-only", "net.c", "main.c"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
