"""The frozen records that plugins hand over. Data only: building happens where it is used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Shape = tuple[int, int, int]
Build = str | Callable[..., Any]

SLOTS = ("weight", "input", "output")

Severity = Literal["ok", "note", "warning", "error"]


@dataclass(frozen=True)
class QuantizerEntry:
    """A quantizer that recipes can name.

    Args:
        name: Lower case, as in the paper: `lsq`.
        summary: One sentence.
        source: The citation, with the arXiv number where there is one.
        build: Import string "package.module:Class" or a callable. It is called as
            `build(info, **options)` with a `qcli.TensorInfo` and returns a `qcli.Quantizer`.
        options: The properties of a JSON Schema object, one for each keyword parameter of
            `build`, each with a description and a default.
        quantizes: The slots that it can fill: of "weight", "input", "output".
    """

    name: str
    summary: str
    source: str
    build: Build
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    quantizes: frozenset[str] = frozenset(SLOTS)


@dataclass(frozen=True)
class Member:
    """What is known of one network of a family before it is built.

    Args:
        name: What stands behind the colon, as runs remember it: a path is absolute.
        num_classes: Used where no data set says otherwise.
        image_shape: (C, H, W), used where no data set says otherwise.
    """

    name: str
    num_classes: int
    image_shape: Shape


@dataclass(frozen=True)
class ArchitectureEntry:
    """A family of float networks that `-a` can name.

    Args:
        name: `resnet20`. A name that ends with a colon, `torchvision:`, stands for a family:
            what the user types behind the colon becomes the keyword argument `member`.
        summary: One sentence.
        source: The citation.
        build: Called as `build(num_classes, image_shape, **options)`; returns a torch Module.
        options: JSON Schema properties of the keyword parameters, as for quantizers. One that is
            called `pretrained` says whether the network comes with trained weights.
        first_layer: Dotted name of the first quantizable layer; None: the first one called.
        last_layer: Dotted name of the last quantizable layer; None: the last one called.
        default_num_classes: Used where no data set says otherwise.
        default_image_shape: (C, H, W), used where no data set says otherwise.
        find_member: Of a family whose members differ in these two: called as `find_member(member)`
            before torch is loaded; returns a `qcli.Member`.
    """

    name: str
    summary: str
    source: str
    build: Build
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    first_layer: str | None = None
    last_layer: str | None = None
    default_num_classes: int = 1000
    default_image_shape: Shape = (3, 224, 224)
    find_member: Build | None = None


@dataclass(frozen=True)
class DatasetEntry:
    """A data set that `-d` can name.

    Args:
        name: `cifar10`.
        summary: One sentence.
        source: The citation.
        build: Called as `build(root, image_shape, **options)`; returns a `qcli.Splits`. `root` is
            the path given with `-p` or None. `image_shape` is (C, H, W): the entry's own, or the
            network's where the entry leaves it None, changed by the `image_size` and `channels`
            that a recipe gives every data set. It raises `qcli.DataError` where files are missing
            or damaged, or where it has no images of that shape.
        options: JSON Schema properties of the keyword parameters, as for quantizers.
        num_classes: None: known only from the files, as for a folder of images.
        image_shape: (C, H, W); None: the images are made in the shape that the network wants.
        checksums: MD5 of the published files by path below `root`, for `qcli data check`. A file
            may also lie at a shorter path: without the first folders.
    """

    name: str
    summary: str
    source: str
    build: Build
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    num_classes: int | None = None
    image_shape: Shape | None = None
    checksums: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ExporterEntry:
    """A form that `qcli export --format` writes.

    Args:
        name: `onnx-integer`.
        summary: One sentence.
        source: Where the form is described.
        suffix: How the file name ends, with its dot; "" for a folder.
        build: Called as `build(deployment, path, **options)` with a `qcli.Deployment`; writes
            `path` and nothing else. What it returns, None or JSON values by name, such as the
            bytes of RAM, is told beside the size of the file. It raises `qcli.ExportError` where
            the form cannot hold the network, naming the layer.
        options: JSON Schema properties of the keyword parameters, as for quantizers.
        execute: Called as `execute(path, images)` with uint8 [N, C, H, W], what `build` wrote is
            run; returns integers [N, ...] by name for each of `graph.observed`: what is missing
            counts as wrong. It raises `qcli.MissingTool` where a program or package
            that it needs is not there, and `qcli.ArtifactError` where the file is damaged.
            None: the form is not run here.
        read: Called as `read(path)`; returns the graph again, of a form that holds all of it:
            `qcli verify` compares then what no integer shows, such as scales and class names.
        needs_integers: Whether the network must lower to integers for this form.
    """

    name: str
    summary: str
    source: str
    suffix: str
    build: Build
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    execute: Build | None = None
    read: Build | None = None
    needs_integers: bool = True


@dataclass(frozen=True)
class HealthRequest:
    """What a health check is told.

    Args:
        data_root: The path given with `-p`, or None.
        full: Whether to take the time to read everything, such as all files of a data set.
    """

    data_root: Path | None = None
    full: bool = False


@dataclass(frozen=True)
class HealthFinding:
    """One thing that a health check found.

    Args:
        severity: "ok"; "note": good to know; "warning": something will not work or be slow;
            "error": qcli does not work.
        text: What was found.
        remedy: The command to type that mends it; "" where there is nothing to mend.
    """

    severity: Severity
    text: str
    remedy: str = ""


@dataclass(frozen=True)
class HealthCheckEntry:
    """A check that `qcli doctor` makes.

    Args:
        name: `onnx`.
        summary: One sentence: what is looked at.
        check: Import string "package.module:function" or a callable. It is called as
            `check(request)` with a `qcli.HealthRequest`, in a process of its own, and returns
            `qcli.HealthFinding`s. One that breaks or hangs is told as a finding.
    """

    name: str
    summary: str
    check: Build
