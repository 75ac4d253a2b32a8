"""The hooks that a plugin may implement. Each returns frozen records and does nothing else."""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from qcli.catalog.entries import (
    ArchitectureEntry,
    DatasetEntry,
    ExporterEntry,
    HealthCheckEntry,
    QuantizerEntry,
)

PROJECT = "qcli"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def qcli_register_quantizers() -> Iterable[QuantizerEntry]:  # type: ignore[empty-body]
    """Offer quantizers to recipes.

    A complete plugin:

        import torch
        import qcli

        class Sign(qcli.Quantizer):
            '''Weights in {-1, 1}.'''

            def __init__(self, info: qcli.TensorInfo) -> None:
                super().__init__(info)
                self.register_buffer("levels", torch.tensor([-1.0, 1.0]))

            def forward(self, latent: torch.Tensor) -> torch.Tensor:
                hard = torch.where(latent >= 0, 1.0, -1.0).to(latent.dtype)
                return qcli.straight_through(latent, hard)

            def codebook(self) -> torch.Tensor:
                return self.levels

            def codes(self, latent: torch.Tensor) -> torch.Tensor:
                return (latent >= 0).int()

        @qcli.hookimpl
        def qcli_register_quantizers():
            return [qcli.QuantizerEntry(
                name="sign", summary="The sign of every weight.", source="this docstring",
                build=Sign, quantizes=frozenset({"weight"}))]
    """


@hookspec
def qcli_register_architectures() -> Iterable[ArchitectureEntry]:  # type: ignore[empty-body]
    """Offer networks to `-a`.

    A complete plugin:

        import math
        from torch import nn
        import qcli

        def build_mlp(num_classes, image_shape):
            return nn.Sequential(
                nn.Flatten(), nn.Linear(math.prod(image_shape), 64), nn.BatchNorm1d(64),
                nn.ReLU(), nn.Linear(64, num_classes))

        @qcli.hookimpl
        def qcli_register_architectures():
            return [qcli.ArchitectureEntry(
                name="mlp", summary="One hidden layer.", source="this docstring",
                build=build_mlp, default_num_classes=10, default_image_shape=(1, 8, 8))]
    """


@hookspec
def qcli_register_datasets() -> Iterable[DatasetEntry]:  # type: ignore[empty-body]
    """Offer data sets to `-d`.

    A complete plugin:

        import torch
        import qcli

        def build_stripes(root, image_shape):
            def split(count):
                labels = torch.arange(count) % 2
                images = torch.zeros(count, *image_shape, dtype=torch.uint8)
                images[labels == 1, :, ::2] = 255
                return qcli.ArraySplit(images, labels)
            return qcli.Splits(train=split(512), test=split(128), num_classes=2)

        @qcli.hookimpl
        def qcli_register_datasets():
            return [qcli.DatasetEntry(
                name="stripes", summary="Striped or black.", source="this docstring",
                build=build_stripes, num_classes=2)]
    """


@hookspec
def qcli_register_exporters() -> Iterable[ExporterEntry]:  # type: ignore[empty-body]
    """Offer forms to `qcli export`.

    A complete plugin:

        import json
        import qcli

        def write_sizes(deployment, path):
            nodes = deployment.graph.nodes
            sizes = {node.name: list(node.output.shape) for node in nodes}
            path.write_text(json.dumps(sizes))

        @qcli.hookimpl
        def qcli_register_exporters():
            return [qcli.ExporterEntry(
                name="sizes", summary="The shape of every tensor.", source="this docstring",
                suffix=".json", build=write_sizes)]
    """


@hookspec
def qcli_register_health_checks() -> Iterable[HealthCheckEntry]:  # type: ignore[empty-body]
    """Offer checks to `qcli doctor`.

    A complete plugin:

        import shutil
        import qcli

        def check_git(request):
            if shutil.which("git"):
                return [qcli.HealthFinding("ok", "git is there: runs tell their commit")]
            return [qcli.HealthFinding(
                "note", "no git: runs do not tell their commit", "apt install git")]

        @qcli.hookimpl
        def qcli_register_health_checks():
            return [qcli.HealthCheckEntry(
                name="git", summary="Whether runs can tell their commit.", check=check_git)]
    """
