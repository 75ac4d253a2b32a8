"""The names of modules, after those of ONNX nodes. No torch in here."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence


def name_nodes(given: Sequence[str], ops: Sequence[str], reserved: Collection[str]) -> list[str]:
    """Return a name for each node, all different: letters, digits and underscores.

    `/layer1/layer1.0/conv1/Conv` becomes `layer1_layer1_0_conv1_Conv`; the third Relu, where it has
    no name, `Relu_2`; `7` becomes `Relu_7`. A name that is taken already gets a number.

    Args:
        given: Their names in the file, which may be empty.
        ops: Their operations.
        reserved: Names that none may have.
    """
    taken, counts, names = set(reserved), Counter[str](), []
    for name, op in zip(given, ops, strict=True):
        stem = re.sub(r"\W", "_", name or f"{op}_{counts[op]}", flags=re.ASCII).strip("_") or op
        counts[op] += 1
        names.append(_distinguish(f"{op}_{stem}" if stem[0].isdigit() else stem, taken))
        taken.add(names[-1])
    return names


def _distinguish(stem: str, taken: Collection[str]) -> str:
    name, number = stem, 2
    while name in taken:
        name, number = f"{stem}_{number}", number + 1
    return name
