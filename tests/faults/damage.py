"""What can happen to a file on disk: lost, cut, flipped, replaced, or changed in a key."""

import json
import os
import random
import shutil
from pathlib import Path

from mutation import part_at, places

WRONG = (None, 3, -1, "x", "a\0b", "../../x", [], {}, [None], True, 0.5, 10**30, "\x1b[31m")


def remove(path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _cut(share):
    def cut(path):
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * share)])

    return cut


def _flip(share):
    def flip(path):
        content = bytearray(path.read_bytes())
        if content:
            content[int((len(content) - 1) * share)] ^= 0x10
        path.write_bytes(content)

    return flip


def _write(content):
    return lambda path: path.write_bytes(content)


def _instead(make):
    """Put something else in the place of a file."""

    def replace(path):
        remove(path)
        make(path)

    return replace


def _link_to_other(path):
    other = path.with_name("other.bin")
    other.write_bytes(b"what a link leads to\n" * 50)
    path.symlink_to(other.name)


FILE_DAMAGES = {
    "missing": remove,
    "empty": _write(b""),
    "one_byte": _write(b"{"),
    "zeros": _write(b"\0" * 500),
    "no_text": _write(bytes(range(255, 0, -1))),
    "cut_half": _cut(0.5),
    "cut_most": _cut(0.02),
    "cut_last": _cut(0.995),
    "flip_first": _flip(0),
    "flip_early": _flip(0.01),
    "flip_middle": _flip(0.5),
    "flip_late": _flip(0.9),
    "flip_last": _flip(1),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"\0garbage"),
    "deep": _write(b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    "list": _write(b"[1, 2]\n"),
    "number": _write(b"1e999\n"),
    "long_number": _write(b'{"epoch": ' + b"9" * 5_000 + b"}\n"),
    "no_keys": _write(b"{}\n"),
    "folder": _instead(Path.mkdir),
    "pipe": _instead(os.mkfifo),
    "device": _instead(lambda path: path.symlink_to("/dev/zero")),
    "link_nowhere": _instead(lambda path: path.symlink_to("nowhere")),
    "link_to_itself": _instead(lambda path: path.symlink_to(path.name)),
    "link_to_other": _instead(_link_to_other),
}


def key_damages(content, seed, most):
    """Return changed forms of a JSON object, each with what was changed: some of all."""
    rng = random.Random(seed)
    tree = json.loads(content)
    changes = [(place, value) for place in places(tree) for value in (..., *WRONG)]
    for place, value in rng.sample(changes, min(most, len(changes))):
        changed = json.loads(content)
        *above, key = place
        parent = part_at(changed, above)
        if value is ...:
            del parent[key]
        else:
            parent[key] = value
        yield f"/{'/'.join(map(str, place))}={value!r}", json.dumps(changed).encode("ascii")
