"""Run every test of faults, slow ones included; the last lines count cases, lost, tracebacks.

python tests/faults [PYTEST OPTIONS]
"""

import sys
from pathlib import Path

import pytest

if __name__ == "__main__":
    here = str(Path(__file__).parent)
    sys.exit(pytest.main([here, "-q", "-m", "not gpu", *sys.argv[1:]]))
