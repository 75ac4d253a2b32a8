"""What documents show: commands with what they print, and files."""

import os
import re
import subprocess
import sys
from pathlib import Path

NUMBER = re.compile(r"-?\d[\d.,]*(e[-+]\d+)?")


def fenced(text, language):
    """Return the blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def without_numbers(text):
    """Mask what differs between machines: numbers, and how long something took."""
    masked = NUMBER.sub("N", text)
    return re.sub(r"(N (h|min) )+N (s|min)\b", "N s", masked)


def lines_of(text):
    """Return the lines that say something, with single spaces and masked numbers."""
    lines = [" ".join(line.split()) for line in text.splitlines()]
    return [without_numbers(line) for line in lines if line]


def steps_of(text):
    """Yield the files and the commands of a document in their order.

    A step is ("write", name, content) or ("run", command, what is shown below it).
    """
    named = r"^`(?P<name>[\w.]+)`:\n\n```\w+\n(?P<content>.*?)^```$"
    console = r"^```console\n(?P<console>.*?)^```$"
    for found in re.finditer(f"{named}|{console}", text, re.MULTILINE | re.DOTALL):
        if found["name"]:
            yield "write", found["name"], found["content"]
            continue
        for part in re.split(r"^\$ ", found["console"], flags=re.MULTILINE)[1:]:
            command, _, shown = part.partition("\n")
            yield "run", command, shown


def run_in(folder, command):
    """Run a command as a reader would type it; return what it prints."""
    scripts = Path(sys.executable).parent
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env={
            **os.environ,
            "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
            "COLUMNS": "200",
            "NO_COLOR": "1",
            "PYTHONUNBUFFERED": "1",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, f"{command}: {done.stdout}"
    return done.stdout


def missing_lines(shown, printed):
    """Return the shown lines that were not printed, in this order."""
    left = iter(lines_of(printed))
    return [line for line in lines_of(shown) if line not in left]
