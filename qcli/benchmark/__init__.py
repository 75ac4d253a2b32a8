"""The cases of `qcli bench`: what is measured, how, beside which peers, and what is wished."""
