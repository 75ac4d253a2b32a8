"""`python -m qcli`, which is also what `accelerate launch -m qcli` runs."""

from qcli.cli import main

main()
