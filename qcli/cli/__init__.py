"""The command line: one file for each verb; the only place that exits."""

from __future__ import annotations

import importlib
import io
import os
import sys
import traceback
from typing import Any, NoReturn

import click

from qcli.cli.allocation import keep_freed_memory
from qcli.errors import QcliError

VERBS = {
    "train": "train_verb",
    "eval": "eval_verb",
    "plan": "plan_verb",
    "runs": "runs_verb",
    "reproduce": "reproduce_verb",
    "compare": "compare_verb",
    "diff": "diff_verb",
    "report": "report_verb",
    "export": "export_verb",
    "verify": "verify_verb",
    "infer": "infer_verb",
    "list": "list_verb",
    "show": "show_verb",
    "check": "check_verb",
    "data": "data_verb",
    "bench": "bench_verb",
    "doctor": "doctor_verb",
    "recipe": "recipe_verb",
    "schema": "schema_verb",
    "plugin": "plugin_verb",
    "completion": "completion_verb",
    "cite": "cite_verb",
}


class LazyGroup(click.Group):
    """Imports a verb's module when the verb is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs in the order in which people need them."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one verb."""
        if cmd_name not in VERBS:
            return None
        command: click.Command = importlib.import_module(f"qcli.cli.{VERBS[cmd_name]}").command
        if ctx is not None and ctx.resilient_parsing:
            from qcli.cli.completion import complete_values

            complete_values(command, cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Suggest the nearest verb for an unknown one."""
        from qcli.errors import suggest

        if args and not args[0].startswith("-") and args[0] not in VERBS:
            verbs = ", ".join(VERBS)
            raise click.UsageError(f'no verb "{args[0]}"{suggest(args[0], VERBS)}; verbs: {verbs}')
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a verb; end well where whoever read the output has gone, as `head` does."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # click would exit with 1, and Python would complain while it flushes stdout.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="qcli")
def cli() -> None:
    """Train low-bit neural networks from recipes, and deploy exactly what was trained.

    `qcli train` with no argument trains a small network on data that come along.
    """


def main() -> NoReturn:
    """Run the command line and exit with 0, or with the code that the error stands for."""
    # A spinning OpenMP thread makes a step ten times slower on a busy machine; torch reads this
    # when it is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    keep_freed_memory()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # An author's accent must not end a command where the terminal knows no such letter.
        sys.stdout.reconfigure(errors="backslashreplace")
    if "_QCLI_COMPLETE" in os.environ:
        from qcli.cli.shells import be_silent, register_shells

        register_shells()
        be_silent()
    sys.exit(run())


def run() -> int:
    """Run the command line; return its exit code."""
    try:
        code = cli.main(prog_name="qcli", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except (Exception, KeyboardInterrupt) as error:
        text, code = _explain(error)
        _tell(text, error)
        return code


def _explain(error: BaseException) -> tuple[str, int]:
    """Return what an error means to a person, and its exit code."""
    match error:
        case QcliError():
            return str(error), error.exit_code
        case click.ClickException():
            return error.format_message(), 2
        case click.Abort() | KeyboardInterrupt():
            return "interrupted", 130
        case OSError():
            return f"{error.filename or 'the output'}: {error.strerror or error}", 1
    text = str(error).lower()
    if isinstance(error, MemoryError) or "out of memory" in text:
        return "out of memory; use a smaller batch_size, or more accumulate", 1
    if "WORLD_SIZE" in os.environ and ("gloo" in text or "nccl" in text):
        return "another process has ended; its message says why", 1
    where = "this is a fault of qcli or of a plugin; --debug shows where"
    return f"{type(error).__name__}: {error}\n{where}", 1


def _tell(text: str, error: BaseException) -> None:
    """Write an error to stderr, with its traceback where --debug asks for it."""
    from qcli.reporting.visible import make_visible, shorten

    traced = "".join(traceback.format_exception(error)) if "--debug" in sys.argv else ""
    rank = os.environ.get("RANK", "0")
    prefix = "error: " if rank == "0" else f"error in process {rank}: "
    lines = [prefix + shorten(make_visible(line)) for line in text.rstrip().split("\n")]
    try:
        sys.stderr.write(make_visible(traced) + "\n".join(lines) + "\n")
    except OSError:
        # Where nothing can be written any more, the exit code is all that is left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
