"""The size that a JPEG file says it has, read before anything is made as large as that."""

from __future__ import annotations

_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_ALONE = {0x01, *range(0xD0, 0xD9)}


def read_jpeg_size(content: bytes) -> tuple[int, int] | None:
    """Return height and width; None where the content does not tell.

    Args:
        content: The beginning of a JPEG file.
    """
    place = 2
    while place + 9 <= len(content) and content[place] == 0xFF:
        marker = content[place + 1]
        if marker in _FRAMES:
            height = int.from_bytes(content[place + 5 : place + 7], "big")
            return height, int.from_bytes(content[place + 7 : place + 9], "big")
        if marker == 0xFF:
            place += 1
        elif marker in _ALONE:
            place += 2
        else:
            place += 2 + int.from_bytes(content[place + 2 : place + 4], "big")
    return None
