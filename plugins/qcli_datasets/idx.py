"""The reader of IDX files, the format of MNIST: big-endian lengths, then unsigned bytes.

Source: LeCun et al., The MNIST database, http://yann.lecun.com/exdb/mnist/
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from qcli import DataError
from qcli_datasets.file_set import RENEW

UNSIGNED_BYTES = 0x0800
# Five times the images of MNIST: a small compressed file could fill the memory.
LARGEST_BYTES = 1 << 28


def read_idx(path: Path, num_dimensions: int) -> Tensor:
    """Read an IDX file, compressed where its name ends in `.gz`.

    Returns:
        uint8, as many dimensions as asked for.

    Raises:
        DataError: The file is damaged, or holds something else.
    """
    content = _read(path)
    shape = _read_shape(path, content, num_dimensions)
    size_of_header = 4 + 4 * num_dimensions
    expected = size_of_header + math.prod(shape)
    if len(content) != expected:
        raise DataError(
            f"{path}: holds {len(content)} bytes, but its header asks for {expected}; {RENEW}"
        )
    values = np.frombuffer(content, np.uint8, offset=size_of_header)
    return torch.from_numpy(values.reshape(shape).copy())


def _read(path: Path) -> bytes:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read(LARGEST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read: {error}; {RENEW}") from error
    if len(content) > LARGEST_BYTES:
        raise DataError(f"{path}: holds more than {LARGEST_BYTES} bytes; {RENEW}")
    return content


def _read_shape(path: Path, content: bytes, num_dimensions: int) -> tuple[int, ...]:
    if len(content) < 4 + 4 * num_dimensions:
        raise DataError(
            f"{path}: holds {len(content)} bytes, fewer than the header of an IDX file; {RENEW}"
        )
    magic, *shape = struct.unpack_from(f">{1 + num_dimensions}I", content)
    expected = UNSIGNED_BYTES + num_dimensions
    if magic != expected:
        raise DataError(
            f"{path}: starts with the number {magic}; expected {expected}, the mark of an IDX "
            f"file of bytes with {num_dimensions} dimensions; {RENEW}"
        )
    return tuple(shape)
