"""Every command on the pages of the site works as it stands, and prints what is shown."""

import re
from pathlib import Path

import pytest
from console_blocks import fenced, lines_of, missing_lines, run_in, steps_of

DOCS = Path(__file__).parents[2] / "docs"
# The others go on from the runs of the first.
PAGES = sorted(DOCS.rglob("*.md"), key=lambda path: (path.name != "tutorial.md", path))


def follow(page, folder):
    """Do what a page says; return what did not come out as shown."""
    wrong = []
    for kind, name, content in steps_of(page.read_text("utf-8")):
        if kind == "write":
            (folder / name).write_text(content, "utf-8")
        else:
            printed = run_in(folder, name)
            wrong += [f"{page.name}: {name}: {line}" for line in missing_lines(content, printed)]
    return wrong


@pytest.mark.slow
def test_pages_do_what_they_show(tmp_path):
    wrong = [line for page in PAGES for line in follow(page, tmp_path)]
    assert wrong == []
    text = (DOCS / "howto" / "integers.md").read_text("utf-8")
    (program,) = fenced(text, "python")
    (tmp_path / "program.py").write_text(program)
    shown = re.search(r"prints `(.*?)`", text)[1]
    assert run_in(tmp_path, "python program.py").splitlines()[0] == shown
    drawn = (tmp_path / "cost.svg").read_text("utf-8")
    assert "mine" in drawn


def test_shown_lines_are_found_in_their_order():
    printed = "a 1\nb -2.5 %\n\nc   1 min 02 s"
    assert missing_lines("a 7\nc 3 s", printed) == []
    assert missing_lines("c 3 s\na 7", printed) == ["a N"]
    assert missing_lines("d", printed) == ["d"]
    assert lines_of("x  1,000 KiB") == ["x N KiB"]


def test_every_block_of_a_page_is_taken():
    """No fence is written so that the test above would miss it."""
    for page in PAGES:
        text = page.read_text("utf-8")
        commands = [name for kind, name, _ in steps_of(text) if kind == "run"]
        assert len(commands) == len(re.findall(r"^\$ ", text, re.MULTILINE)), page
        assert text.count("```") == 2 * len(re.findall(r"^```\w+\n", text, re.MULTILINE)), page
