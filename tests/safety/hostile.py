"""Pickles that run something when they are loaded, and the files that carry them.

What they run makes an empty folder: the mark. Each is armed: a test loads it plainly first.
"""

import io
import pickle
import zipfile

import numpy as np
import torch


def _text(value: str) -> bytes:
    return f"S{value!r}\n".encode()


def _call(module, name, *arguments):
    """Return a pickle of protocol 0 that calls a function with texts."""
    return f"c{module}\n{name}\n(".encode() + b"".join(map(_text, arguments)) + b"tR."


def _code(mark):
    return f"__import__('os').mkdir({mark!r})"


class _Reduce:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        import os

        return os.mkdir, (self.mark,)


def _mapped(mark):
    """Return a pickle that calls through `map`, as one that avoids REDUCE on the function would."""
    head = b"cbuiltins\nlist\n(cbuiltins\nmap\n(cos\nmkdir\n(lp0\n"
    return head + _text(mark) + b"atRtR."


PICKLES = {
    "reduce_0": lambda mark: pickle.dumps(_Reduce(mark), 0),
    "reduce_2": lambda mark: pickle.dumps(_Reduce(mark), 2),
    "stack_global": lambda mark: pickle.dumps(_Reduce(mark), 5),
    "in_dictionary": lambda mark: pickle.dumps({b"data": _Reduce(mark), b"labels": []}, 2),
    "inst": lambda mark: b"(" + _text(mark) + b"ios\nmkdir\n.",
    "obj": lambda mark: b"(cos\nmkdir\n" + _text(mark) + b"o.",
    "posix": lambda mark: _call("posix", "mkdir", mark),
    "python_2_name": lambda mark: _call("__builtin__", "eval", _code(mark)),
    "eval": lambda mark: _call("builtins", "eval", _code(mark)),
    "exec": lambda mark: _call("builtins", "exec", _code(mark)),
    "system": lambda mark: _call("os", "system", f"mkdir {mark}"),
    "map": _mapped,
    "numpy": lambda mark: b"cnumpy.testing\nrunstring\n(" + _text(_code(mark)) + b"}tR.",
    "inner_pickle": lambda mark: (
        b"\x80\x03cpickle\nloads\nC"
        + bytes([len(inner := pickle.dumps(_Reduce(mark), 0))])
        + inner
        + b"\x85R."
    ),
}


def plain(data: bytes) -> bytes:
    """Return a bare pickle."""
    return data


def zipped(data: bytes) -> bytes:
    """Return a file of `torch.save` whose pickle is `data`."""
    content, shell = io.BytesIO(), io.BytesIO()
    torch.save({}, shell)
    with zipfile.ZipFile(shell) as old, zipfile.ZipFile(content, "w") as new:
        for name in old.namelist():
            new.writestr(name, data if name.endswith("data.pkl") else old.read(name))
    return content.getvalue()


def legacy(data: bytes) -> bytes:
    """Return a file as torch wrote it before 1.6: a row of pickles."""
    shell = io.BytesIO()
    torch.save({}, shell, _use_new_zipfile_serialization=False)
    head = shell.getvalue()
    # Magic number, protocol version and system come before what was saved.
    stream = io.BytesIO(head)
    for _ in range(3):
        pickle.load(stream)
    return head[: stream.tell()] + data + pickle.dumps([])


def npy(data: bytes) -> bytes:
    """Return a .npy file of objects whose pickle is `data`."""
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        content, {"descr": "|O", "fortran_order": False, "shape": (1,)}
    )
    return content.getvalue() + data


def npz(data: bytes) -> bytes:
    """Return an .npz file whose arrays are hostile."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for name in ("stamp", "names", "offsets", "sizes"):
            file.writestr(f"{name}.npy", npy(data))
    return content.getvalue()


def _load_torch(data):
    torch.load(io.BytesIO(data), weights_only=False)


def _load_npz(data):
    dict(np.load(io.BytesIO(data), allow_pickle=True))


# How each carrier is loaded by who is careless.
CARRIERS = {
    "plain": (plain, pickle.loads),
    "zipped": (zipped, _load_torch),
    "legacy": (legacy, _load_torch),
    "npy": (npy, lambda data: np.load(io.BytesIO(data), allow_pickle=True)),
    "npz": (npz, _load_npz),
}
