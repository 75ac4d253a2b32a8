"""Generated C99: a network in two files without dependencies, allocation or floating point."""

from qcli_exporters.c99.compilation import run_c99 as run_c99
from qcli_exporters.c99.export import describe_c99 as describe_c99
from qcli_exporters.c99.export import write_c99 as write_c99

__all__ = ["describe_c99", "run_c99", "write_c99"]
