"""The laws that a plugin must obey, for its author to run.

In a test of the plugin:

    from qcli.testing import check_quantizer

    def test_my_quantizer():
        check_quantizer(my_plugin.ENTRY, {"bits": 2})

Without a test: `pytest --pyargs qcli.testing` checks every entry of the plugins that are installed.
"""

from qcli.testing.architecture import check_architecture as check_architecture
from qcli.testing.dataset import check_dataset as check_dataset
from qcli.testing.exporter import check_exporter as check_exporter
from qcli.testing.law import LawBroken as LawBroken
from qcli.testing.quantizer import check_quantizer as check_quantizer
from qcli.testing.step_cost import StepCost as StepCost
from qcli.testing.step_cost import measure_step as measure_step

__all__ = [
    "LawBroken",
    "check_architecture",
    "check_dataset",
    "check_exporter",
    "check_quantizer",
    "StepCost",
    "measure_step",
]
