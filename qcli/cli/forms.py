"""The forms that a proof writes and runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qcli.catalog.catalog import Catalog
from qcli.catalog.given_options import parse_options
from qcli.errors import ExportError, MissingTool, UsageError

if TYPE_CHECKING:
    from qcli.deployment.preparation import Prepared
    from qcli.deployment.verdict import Verdict


def choose_forms(catalog: Catalog, forms: tuple[str, ...]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield formats with their options: one with an option `form` is run in each."""
    runnable = [
        offer.entry.name
        for offer in catalog.of_kind("exporters").values()
        if getattr(offer.entry, "execute", None) is not None
    ]
    for name in dict.fromkeys(forms) or runnable:
        entry = catalog.exporter(name)
        if entry.execute is None:
            raise UsageError(f"--format {name}: it is not run here; allowed: {', '.join(runnable)}")
        defaults = parse_options(entry, ())
        choices = entry.options.get("form", {}).get("enum")
        forms_of_it = [{"form": choice} for choice in choices] if choices else [{}]
        yield from ((name, {**defaults, **form}) for form in forms_of_it)


class FormWriter:
    """Writes forms into a folder.

    Args:
        prepared: The run.
        catalog: Where formats are found.
        scaling: How they scale sums.
        folder: Where to.
        demanded: Whether the user named the formats: one that cannot hold the network fails.
    """

    def __init__(
        self, prepared: Prepared, catalog: Catalog, scaling: str, folder: Path, demanded: bool
    ) -> None:
        from dataclasses import replace

        from qcli.deployment.scaling import coarsen

        graph = coarsen(prepared.deployment.integers, scaling)
        self.deployment = replace(prepared.deployment, graph=graph)
        self.catalog, self.scaling, self.folder = catalog, scaling, folder
        self.refusals: tuple[type[Exception], ...] = (MissingTool, ExportError)
        if demanded:
            self.refusals = (MissingTool,)

    def write(self, name: str, settings: dict[str, Any]) -> Verdict:
        """Write one form; where it cannot be written, say why."""
        from qcli.deployment.comparison import Agreement
        from qcli.deployment.verdict import Artifact, Verdict
        from qcli.deployment.writing import write_form

        entry = self.catalog.exporter(name)
        label = " ".join([name, *(str(value) for value in settings.values() if value)])
        path = self.folder / f"{label.replace(' ', '-')}{entry.suffix}"
        lossy = self.scaling != "exact"
        told = f"{label}, {self.scaling} (lossy)" if lossy else label
        artifact = Artifact(entry, path, told, lossy)
        try:
            write_form(entry, self.deployment, path, settings)
        except self.refusals as error:
            return Verdict(artifact, Agreement(), skipped=str(error).replace("\n", "; "))
        return Verdict(artifact, Agreement())
