"""The command line: every verb and option, and the exit codes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import click

from qcli import errors
from qcli.cli import cli
from qcli_pages import markdown


def verbs() -> Iterator[tuple[str, click.Command]]:
    """Yield every verb with its name, those of groups as `data check`."""
    yield from _of_group(cli, "")


def _of_group(group: click.Group, prefix: str) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None or command.hidden:
            continue
        yield f"{prefix}{name}", command
        if isinstance(command, click.Group):
            yield from _of_group(command, f"{prefix}{name} ")


def make_page() -> str:
    """Return the page of all verbs."""
    lines = [
        "# Verbs\n",
        "What `qcli VERB --help` says. Data go to stdout, everything else to stderr; "
        "[exit codes](exit-codes.md) say how a verb ended.\n",
    ]
    for name, command in verbs():
        lines += _section(name, command)
    return "\n".join(lines)


def anchor(name: str) -> str:
    """Return what links to a verb."""
    return f"qcli-{name.replace(' ', '-')}"


def _section(name: str, command: click.Command) -> Iterator[str]:
    context = click.Context(command, info_name=f"qcli {name}")
    yield f"## qcli {name} {{ #{anchor(name)} }}\n"
    usage = command.get_usage(context).removeprefix("Usage: ")
    yield markdown.block(" ".join(usage.split()), "text")
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        words = paragraph.replace("\b", "").strip("\f\n ")
        yield (markdown.block(words, "text") if "\b" in paragraph else markdown.text(words)) + "\n"
    options = [each for each in command.params if isinstance(each, click.Option)]
    rows = [_option(name, each, context) for each in options if not each.hidden]
    if rows:
        yield markdown.table(("option", "default", "what it does"), rows)


def _option(verb: str, option: click.Option, context: click.Context) -> list[str]:
    record = option.get_help_record(context)
    flags = record[0] if record else ", ".join(option.opts)
    name = max(option.opts, key=len).lstrip("-")
    default = option.get_default(context)
    is_plain = isinstance(default, str | int | float) and not isinstance(default, bool)
    return [
        markdown.anchored(flags, f"{anchor(verb)}.{name}"),
        markdown.code(str(default)) if is_plain else "",
        markdown.text(option.help or ""),
    ]


def make_exit_codes() -> str:
    """Return the page of exit codes, from the table that `qcli.errors` opens with."""
    rows = [
        [code, markdown.code(name.strip()), markdown.text(meaning)]
        for name, code, meaning in re.findall(
            r"^[ |+-]*(\w+) +(\d+(?:/\d+)?)  (.*)$", errors.__doc__ or "", re.MULTILINE
        )
    ]
    words = (
        "# Exit codes\n\n0 says that all went well. Every other code comes with a message on "
        "stderr, which says where, what was found, what is allowed and what to type; "
        "`--debug` adds the traceback. The names are those that a Python program catches.\n"
    )
    return f"{words}\n{markdown.table(('code', 'exception', 'what happened'), rows)}"
