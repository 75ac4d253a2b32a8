"""Docstrings as Markdown: a quantizer's six parts, and what Google's sections say."""

from __future__ import annotations

import inspect
import re

from qcli_pages import markdown

PARTS = ("Forward", "Backward", "Learned", "Starts at", "Source", "Differs")


def summary(documented: object) -> str:
    """Return the first line of a docstring."""
    return (inspect.getdoc(documented) or "").partition("\n")[0]


def six_parts(documented: object) -> dict[str, str]:
    """Return the parts of a quantizer's docstring by name, with their line breaks."""
    names = "|".join(PARTS)
    found: dict[str, str] = {}
    current = ""
    for line in (inspect.getdoc(documented) or "").splitlines():
        start = re.match(rf"({names}):\s+", line)
        if start:
            current = start[1]
            found[current] = line[start.end() :]
        elif current and (not line or line.startswith(" ")):
            found[current] += "\n" + line.removeprefix(" " * 11)
        else:
            current = ""
    return {name: body.rstrip() for name, body in found.items()}


def google(documented: object) -> str:
    """Return a docstring in Google's style: prose, and its sections as lists."""
    lines = (inspect.getdoc(documented) or "").splitlines()
    made: list[str] = []
    section = False
    for line in lines:
        if re.fullmatch(r"(Args|Raises|Returns|Yields):", line):
            made += ["", f"**{line}**", ""]
            section = True
        elif section and (entry := re.match(r"    (\w[\w.]*): (.*)", line)):
            made.append(f"- {markdown.code(entry[1])}: {markdown.text(entry[2])}")
        elif section and line.startswith("    "):
            made.append("    " + markdown.text(line.strip()))
        else:
            section = section and not line
            made.append(markdown.text(line))
    return "\n".join(made)
