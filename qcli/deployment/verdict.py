"""What came out of a proof: for each form, and for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from qcli.catalog.entries import ExporterEntry
from qcli.deployment.comparison import Agreement
from qcli.deployment.graph import Graph

if TYPE_CHECKING:
    from qcli.deployment.fake_quant import FloatAgreement


@dataclass(frozen=True)
class Artifact:
    """A form to be verified.

    Args:
        entry: Who wrote it, and runs it.
        path: The file or folder.
        label: For people: the format and its options, or the path.
        lossy: Whether its scaling is coarser than the reference's: it is measured, not judged.
    """

    entry: ExporterEntry
    path: Path
    label: str
    lossy: bool = False


@dataclass(frozen=True)
class Verdict:
    """What came out for one form.

    Args:
        artifact: The form.
        agreement: With the reference.
        skipped: Why it did not run; "": it did.
        damaged: Why it cannot be read; "": it can.
    """

    artifact: Artifact
    agreement: Agreement
    skipped: str = ""
    damaged: str = ""

    @property
    def status(self) -> str:
        """One word: exact, differs, skipped or damaged."""
        if self.skipped or self.damaged:
            return "skipped" if self.skipped else "damaged"
        return "exact" if self.agreement.is_exact else "differs"


@dataclass(frozen=True)
class Verification:
    """A run's proof.

    Args:
        graph: The reference.
        reference: Its accuracy: it is compared with itself.
        floating: The float32 network.
        verdicts: Of every form.
        available: How many test images there are.
        pixels_sha256: Of those that were run, in order.
    """

    graph: Graph
    reference: Agreement
    floating: FloatAgreement
    verdicts: tuple[Verdict, ...]
    available: int
    pixels_sha256: str

    def with_skipped(self, verdicts: Sequence[Verdict]) -> Verification:
        """Return it with forms that could not even be written."""
        return replace(self, verdicts=(*self.verdicts, *verdicts))

    @property
    def faults(self) -> list[str]:
        """What keeps the proof from holding, one line each."""
        found = [f"{each.artifact.label} {each.status}" for each in self._judged if _fails(each)]
        if not any(each.status == "exact" for each in self._judged) and not found:
            found.append("no exact form was run: nothing is proved")
        return found + self.floating.faults

    @property
    def failed(self) -> bool:
        """Whether something differs, is damaged, or nothing at all was run."""
        ran = any(each.status != "skipped" for each in self.verdicts)
        wrong = any(_fails(each) for each in self._judged)
        return not ran or wrong or bool(self.floating.faults)

    @property
    def _judged(self) -> list[Verdict]:
        return [each for each in self.verdicts if not each.artifact.lossy]


def _fails(verdict: Verdict) -> bool:
    return verdict.status in ("differs", "damaged")
