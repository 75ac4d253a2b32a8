"""The names of a plugin's package, made from the name of what it offers."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import keyword
import re
from dataclasses import dataclass

from qcli.catalog.catalog import KINDS, Catalog
from qcli.errors import UsageError

LONGEST = 40
_NAME = re.compile(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*")


@dataclass(frozen=True)
class Names:
    """The names of a package.

    Args:
        entry: What recipes and the command line call it: `my-method`.
    """

    entry: str

    @property
    def identifier(self) -> str:
        """In names of functions: `my_method`."""
        return self.entry.replace("-", "_")

    @property
    def distribution(self) -> str:
        """What pip calls it: `qcli-my-method`."""
        return f"qcli-{self.entry.replace('_', '-')}"

    @property
    def module(self) -> str:
        """What Python imports: `qcli_my_method`."""
        return f"qcli_{self.identifier}"

    @property
    def class_name(self) -> str:
        """`MyMethod`."""
        return "".join(word.capitalize() for word in self.identifier.split("_"))


def make_names(entry: str) -> Names:
    """Return the names of a package for an entry.

    Raises:
        UsageError: It cannot be a name.
    """
    names = Names(entry)
    if not _NAME.fullmatch(entry) or len(entry) > LONGEST:
        raise UsageError(
            f"{json.dumps(entry)} cannot name a plugin; allowed: a lower-case letter, then "
            f"lower-case letters and digits, in words that one _ or - joins, at most {LONGEST} "
            "characters, as in my_method"
        )
    if keyword.iskeyword(names.class_name):
        raise UsageError(f'"{entry}" would be the class {names.class_name}, a word of Python')
    return names


def require_free_names(names: Names, kind: str, catalog: Catalog) -> None:
    """Refuse a name that is taken in this environment.

    Args:
        names: The names.
        kind: What is offered: quantizer, architecture, dataset or exporter.
        catalog: What is offered already.

    Raises:
        UsageError: An entry, a module or a distribution is called so.
    """
    for offer in catalog.offers:
        same = offer.entry.name.removesuffix(":") == names.entry
        if same and isinstance(offer.entry, KINDS[f"{kind}s"]):
            who = f"{offer.distribution} {offer.version}".strip()
            raise UsageError(f'{who} offers the {kind} "{names.entry}" already; take another name')
    if importlib.util.find_spec(names.module):
        raise UsageError(f"a module {names.module} is installed already; take another name")
    if any(True for _ in importlib.metadata.distributions(name=names.distribution)):
        raise UsageError(f"{names.distribution} is installed already; take another name")
