"""What a page says of each run, put together from files, network and figures."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from qcli.reporting.graph_drawing import draw_graph
from qcli.reporting.report.certificate import Certificate, tell_certificate
from qcli.reporting.report.class_tables import ClassPart, tell_classes
from qcli.reporting.report.courses import draw_courses, draw_level_course
from qcli.reporting.report.curves import draw_curves
from qcli.reporting.report.facts import State, list_facts, tell_state
from qcli.reporting.report.health_table import list_findings, tabulate_health
from qcli.reporting.report.layer_table import tabulate_layers
from qcli.reporting.report.levels import draw_distribution
from qcli.reporting.report.picture import Picture
from qcli.reporting.report.rerun import Rerun, tell_rerun
from qcli.reporting.report.table import Table, write_number

if TYPE_CHECKING:
    from qcli.quantization.distribution import Distribution
    from qcli.training.inspection import Inspection
    from qcli.training.run_account import RunAccount

# Of larger networks the others are in the tables alone: a page must load on a phone.
MOST_CARDS = 120


@dataclass(frozen=True)
class Card:
    """One slot of one layer.

    Args:
        title: Layer and slot.
        text: Its numbers, in words.
        pictures: Before and after; levels over epochs.
    """

    title: str
    text: str
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class RunPage:
    """All that is told of one run.

    Args:
        label: What it is called in this report.
        state: How far it came.
        facts: What people ask first.
        left_out: What is missing and why.
        curves: Training curves.
        layers: The table of layers; None where there is no plan.
        graph: What the network computes; None where that is not known.
        cards: Weights, then inputs and outputs.
        courses: What changed from epoch to epoch.
        health: Numbers after the last epoch; None where there are none.
        findings: What is sick.
        classes: What the network takes for what; None where no test image was measured.
        certificate: What `qcli verify` found.
        rerun: How to run it again.
    """

    label: str
    state: State
    facts: Sequence[tuple[str, str]]
    left_out: Sequence[str]
    curves: Sequence[Picture]
    layers: Table | None
    graph: Picture | None
    cards: Sequence[Card]
    courses: Sequence[Picture]
    health: Table | None
    findings: Sequence[str]
    classes: ClassPart | None
    certificate: Certificate
    rerun: Rerun

    def pictures(self) -> Iterator[Picture]:
        """Yield every figure of the run."""
        yield from self.curves
        if self.graph:
            yield self.graph
        for card in self.cards:
            yield from card.pictures
        yield from self.courses
        if self.classes:
            yield self.classes.picture


def make_page(label: str, account: RunAccount, inspection: Inspection) -> RunPage:
    """Put together what is told of a run."""
    seen = [*inspection.weights, *inspection.values]
    return RunPage(
        label,
        tell_state(account),
        list_facts(account),
        [*account.damage, *_missing(account, len(seen)), *inspection.left_out],
        draw_curves({label: account}),
        tabulate_layers(account, inspection.weights),
        _draw_graph(inspection),
        [_make_card(account, each, number) for number, each in enumerate(seen[:MOST_CARDS], 1)],
        draw_courses(account),
        tabulate_health(account),
        list_findings(account),
        tell_classes(inspection),
        tell_certificate(account),
        tell_rerun(account),
    )


def _missing(account: RunAccount, num_seen: int) -> Iterator[str]:
    """Yield what the files of a run lack, and why."""
    if not account.rows:
        yield "curves: no epoch of this run has ended yet"
    elif account.quantization and account.training.get("health") == "off":
        yield "the course of the quantizers: the run was trained with health off"
    elif account.places() and not any("levels" in row for row in account.rows):
        yield "the course of the levels: the run is from before epochs recorded them"
    if num_seen > MOST_CARDS:
        yield f"figures of {num_seen - MOST_CARDS} of {num_seen} weights, inputs and outputs"


def _draw_graph(inspection: Inspection) -> Picture | None:
    if inspection.graph is None:
        return None
    svg = draw_graph(inspection.graph)
    return Picture("graph", "the network with the bits of what flows in it", svg, None, svg)


def _make_card(account: RunAccount, each: Distribution, number: int) -> Card:
    pictures = [draw_distribution(each, number)]
    course = draw_level_course(account, f"{each.layer}.{each.slot}", number)
    return Card(
        f"{each.layer}, {each.slot}",
        "; ".join(_describe(each)),
        (*pictures, course) if course else tuple(pictures),
    )


def _describe(each: Distribution) -> Iterator[str]:
    if not each.levels:
        yield "float" if each.after is None else "changed, not rounded"
        return
    yield f"{len(each.levels)} levels"
    if each.dead:
        yield f"{each.dead} of them dead"
    if each.signal_to_noise is not None:
        yield f"SQNR {write_number(each.signal_to_noise)} dB"


def label_runs(accounts: Sequence[RunAccount], labels: Sequence[str]) -> Mapping[str, RunAccount]:
    """Return runs by what they are called: labels that are given, or the names of their folders.

    With as many folders above as tell them apart; a run of a campaign, seed0, is no name alone.
    """
    paths = [account.path.resolve() for account in accounts]
    return dict(zip(labels or [_name(path, paths) for path in paths], accounts, strict=True))


def _name(path: Path, paths: Sequence[Path]) -> str:
    tails = (path.parts[-depth:] for depth in range(1, len(path.parts)))
    for tail in tails:
        is_alone = sum(each.parts[-len(tail) :] == tail for each in paths) == 1
        if is_alone and not re.fullmatch(r"seed\d+", "/".join(tail)):
            return "/".join(tail)
    return str(path)
