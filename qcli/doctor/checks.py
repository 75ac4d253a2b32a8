"""The checks that qcli makes itself, in the order in which they are told."""

from __future__ import annotations

from qcli.catalog.entries import HealthCheckEntry

CHECKS = tuple(
    HealthCheckEntry(name, summary, check)
    for name, summary, check in (
        (
            "python",
            "Python, and every package that qcli needs.",
            "qcli.doctor.packages:check_packages",
        ),
        (
            "torch",
            "torch against torchvision: versions, and both at work.",
            "qcli.doctor.torch_pair:check_torch",
        ),
        (
            "cuda",
            "The GPU, its driver, and the CUDA that torch is for.",
            "qcli.doctor.cuda:check_cuda",
        ),
        (
            "accelerate",
            "Whether a launch starts what fits this machine.",
            "qcli.doctor.launch:check_launch",
        ),
        ("plugins", "Every plugin, and what broke.", "qcli.doctor.plugins:check_plugins"),
        ("disk", "Room and rights for runs and temporary files.", "qcli.doctor.storage:check_disk"),
        (
            "shared-memory",
            "Room for what worker processes hand over.",
            "qcli.doctor.storage:check_shared_memory",
        ),
        ("memory", "Memory that is free.", "qcli.doctor.machine:check_memory"),
        (
            "threads",
            "Cores, and what limits the threads that use them.",
            "qcli.doctor.machine:check_threads",
        ),
        ("clock", "The time, also that of the file system.", "qcli.doctor.machine:check_clock"),
    )
)
