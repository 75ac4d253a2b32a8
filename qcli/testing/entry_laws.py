"""Laws of an entry's options, which every kind of entry obeys."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from typing import Any

from jsonschema import Draft202012Validator

from qcli.catalog.catalog import Entry, resolve_build
from qcli.catalog.entries import QuantizerEntry
from qcli.recipe.checking import options_schema
from qcli.testing.case import make_cases

# What `build` is given before the options.
_GIVEN = {"QuantizerEntry": 1, "ArchitectureEntry": 2, "DatasetEntry": 2, "ExporterEntry": 2}


def describes_options(entry: Entry) -> Iterator[str]:
    """Every option has a description and a default, which its own schema allows."""
    for option, schema in entry.options.items():
        for key in ("description", "default"):
            if key not in schema:
                yield f"{option} has no {key}"
    defaults = {option: _plain(schema["default"]) for option, schema in entry.options.items()}
    validator = Draft202012Validator(options_schema(entry.options))
    for error in validator.iter_errors(defaults):
        yield f"the defaults are refused: {error.message}"


def matches_build(entry: Entry) -> Iterator[str]:
    """The options are the keyword parameters of build, with the same defaults."""
    parameters = _keyword_parameters(entry)
    if set(parameters) != set(entry.options):
        yield f"options {sorted(entry.options)}, keyword parameters {sorted(parameters)}"
    for option, parameter in parameters.items():
        default = entry.options[option]["default"]
        if parameter.default is parameter.empty:
            yield f"{option} has no default in build"
        elif _plain(parameter.default) != _plain(default):
            yield f"{option} is {default!r} in the options and {parameter.default!r} in build"


def _keyword_parameters(entry: Entry) -> dict[str, inspect.Parameter]:
    build = resolve_build(entry.build, entry.name)
    parameters = list(inspect.signature(build).parameters.values())[_GIVEN[type(entry).__name__] :]
    return {
        parameter.name: parameter
        for parameter in parameters
        if parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        # The member of a family is what the user types behind the colon, no option.
        and not (entry.name.endswith(":") and parameter.name == "member")
    }


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: tuples are lists."""
    return json.loads(json.dumps(value))


def refuses_unknown_option(entry: QuantizerEntry) -> Iterator[str]:
    """An option that is not its own makes build raise TypeError."""
    info = next(make_cases(entry, {})).info
    try:
        resolve_build(entry.build, entry.name)(info, no_such_option=1)
    except TypeError:
        return
    yield "build takes no_such_option=1"
