"""The reader of CIFAR's pickle files, which never runs anything that a file asks for.

A pickle names the functions that rebuild its objects. Here every name stands for a record of this
file, or is refused: not even numpy's own functions see what is in a file before it is checked.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcli import DataError
from qcli_datasets.file_set import RENEW


class PickledType:
    """What a file says about the type of an array's values; stands for numpy.dtype.

    Args:
        code: `u1` for unsigned bytes.
        flags: Of no use here.
    """

    __slots__ = ("code",)

    def __init__(self, code: str | bytes, *flags: object) -> None:
        self.code = code.decode() if isinstance(code, bytes) else code

    def __setstate__(self, state: object) -> None:
        """Ignore the byte order: bytes have none."""


class PickledArray:
    """What a file says about an array; stands for numpy.ndarray.

    Args:
        placeholder: The empty array that pickle starts from, of no use here.
    """

    __slots__ = ("state",)

    def __init__(self, *placeholder: object) -> None:
        self.state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state

    def to_numpy(self) -> NDArray[np.uint8]:
        """Return the array.

        Raises:
            ValueError: It is no well-formed array of unsigned bytes.
        """
        _version, shape, kind, is_fortran, content = self.state
        if kind.code not in ("u1", "|u1"):
            raise ValueError(f"its images are of type {kind.code}, expected u1")
        if is_fortran:
            raise ValueError("its images are stored by columns, expected rows")
        lengths = tuple(int(length) for length in shape)
        return np.frombuffer(content, np.uint8).reshape(lengths)


class PickledBytes:
    """Makes the bytes that Python 3 writes as text in old pickles; stands for _codecs.encode.

    A class, not a function: a pickle can set attributes of a function, and they would outlive it.
    """

    def __new__(cls, text: str, encoding: str) -> bytes:  # type: ignore[misc]
        """Return the bytes."""
        return text.encode("latin1")

    def __setstate__(self, state: object) -> None:
        """Keep pickle from giving the class a state: without `self` this cannot be called."""


_STAND_INS = {
    ("numpy.core.multiarray", "_reconstruct"): PickledArray,
    ("numpy._core.multiarray", "_reconstruct"): PickledArray,
    ("numpy", "ndarray"): PickledArray,
    ("numpy", "dtype"): PickledType,
    ("_codecs", "encode"): PickledBytes,
}


class _Unpickler(pickle._Unpickler):
    """In Python: that in C makes as much room as a damaged number asks for."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _STAND_INS:
            raise pickle.UnpicklingError(
                f"it asks for {module}.{name}, which was refused: such a file could run any program"
            )
        return _STAND_INS[module, name]


def read_pickle(path: Path) -> dict[str, Any]:
    """Read a dictionary from a pickle file of Python 2 or 3.

    Returns:
        The dictionary; each array is a `PickledArray`.

    Raises:
        DataError: The file is damaged, holds something else, or asks for a function.
    """
    try:
        with path.open("rb") as file:
            content = _Unpickler(file, encoding="bytes").load()
    except EOFError as error:
        raise DataError(f"{path}: cannot be read: it ends too early; {RENEW}") from error
    except Exception as error:  # a damaged pickle can raise anything
        raise DataError(f"{path}: cannot be read: {error}; {RENEW}") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: holds a {type(content).__name__}, expected a dictionary; {RENEW}")
    try:
        return {decode(key): value for key, value in content.items()}
    except ValueError as error:
        raise DataError(f"{path}: a key {error}; {RENEW}") from None


def decode(text: object) -> str:
    """Return a text of Python 2, which is read as bytes, or of Python 3.

    Raises:
        ValueError: It is no text.
    """
    if isinstance(text, bytes):
        return text.decode("latin1")
    if isinstance(text, str):
        return text
    raise ValueError(f"is of type {type(text).__name__}, expected text")
