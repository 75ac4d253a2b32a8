"""What `qcli verify` found, in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qcli.deployment.hashing import hash_path
from qcli.reporting.report.table import Table, write_count, write_percent, write_text
from qcli.training.run_account import is_number, list_of, part_of

if TYPE_CHECKING:
    from qcli.training.run_account import RunAccount


@dataclass(frozen=True)
class Certificate:
    """A proof, or why there is none.

    Args:
        verdict: In words.
        holds: Whether the proof holds; None: there is none.
        forms: A row for each form; None where there is none.
        hashes: What was compared.
    """

    verdict: str
    holds: bool | None
    forms: Table | None = None
    hashes: tuple[tuple[str, str], ...] = ()


def tell_certificate(account: RunAccount) -> Certificate:
    """Return what verify.json says, and whether it is about the weights that lie there."""
    found = account.certificate
    if not found:
        return Certificate(_tell_missing(account), None)
    images, available = found.get("images"), found.get("images_available")
    measured = f"{write_count(images) or 'no'} of {write_count(available) or '?'} test images"
    faults = [each for each in list_of(found, "faults") if isinstance(each, str)]
    graph = part_of(found, "graph")
    stale = _is_stale(account, graph)
    holds = found.get("holds") is True and not faults and not stale
    if stale:
        verdict = (
            "It was made for other weights than those that lie in the run: "
            f"qcli verify {account.path}"
        )
    elif holds:
        verdict = f"The proof holds: every exact form computed the same integers on {measured}."
    else:
        verdict = f"The proof does not hold, on {measured}: {'; '.join(faults) or 'no reason told'}"
    hashes = {
        "graph": found.get("graph_sha256"),
        "weights": graph.get("weights_sha256"),
        "pixels": found.get("pixels_sha256"),
    }
    told = tuple((name, value) for name, value in hashes.items() if isinstance(value, str))
    return Certificate(verdict, holds, _tabulate(found), told)


def _tell_missing(account: RunAccount) -> str:
    if not account.quantization:
        return "Nothing to prove: the network is float."
    return (
        f"Nothing was proved yet: qcli verify {account.path} compares the integers of every form "
        "on the test set, and says what is missing where the network has none."
    )


def _is_stale(account: RunAccount, graph: Mapping[str, Any]) -> bool:
    name, expected = graph.get("weights"), graph.get("weights_sha256")
    if name not in ("best.safetensors", "last.safetensors") or not isinstance(expected, str):
        return False
    file = account.path / name
    return file.is_file() and hash_path(file) != expected


def _tabulate(found: Mapping[str, Any]) -> Table:
    rows = [["reference", "", "", write_percent(part_of(found, "reference").get("top1")), ""]]
    floating = part_of(found, "float")
    mismatch = [each for each in part_of(floating, "local_mismatch").values() if is_number(each)]
    rows.append(
        [
            "float32, fake-quantized",
            f"local mismatch at most {max(mismatch, default=0):.1e}",
            write_percent(floating.get("argmax_agreement")),
            write_percent(floating.get("top1")),
            "",
        ]
    )
    for form in list_of(found, "forms"):
        if isinstance(form, dict):
            rows.append(
                [
                    write_text(form.get("form")),
                    write_text(form.get("status")),
                    write_percent(form.get("argmax_agreement")),
                    write_percent(form.get("top1")),
                    write_text(form.get("reason")) or write_text(form.get("sha256"))[:16],
                ]
            )
    return Table(("form", "integers", "same class", "top-1", "why, or SHA-256"), rows, words=2)
