"""What an exported form is known by."""

from __future__ import annotations

import hashlib
from pathlib import Path


def hash_path(path: Path) -> str:
    """Return the SHA-256 of a file, or of the names, sizes and contents of a folder's files."""
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    digest = hashlib.sha256()
    for file in sorted(each for each in path.rglob("*") if each.is_file()):
        content = file.read_bytes()
        digest.update(f"{file.relative_to(path)}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()
