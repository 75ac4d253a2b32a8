"""Text that cannot command a terminal: what files and names say is shown, never obeyed."""

from __future__ import annotations

import re

# Control characters but for tab and newline, those of the second half of Latin-1, what turns the
# direction of writing or makes lines, and halves of characters, which no stream can encode.
_COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
LONGEST_LINE = 20_000


def make_visible(text: str) -> str:
    r"""Return a text with every character that commands a terminal spelled out, as \x1b.

    Tabs and newlines stay. It is idempotent.
    """
    return _COMMANDS.sub(_spell, text)


def _spell(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def shorten(line: str) -> str:
    """Return a line that fills a screen at most: a hostile name can have a million characters."""
    if len(line) <= LONGEST_LINE:
        return line
    half = LONGEST_LINE // 2
    return f"{line[:half]} ... ({len(line):,} characters) ... {line[-half:]}"
