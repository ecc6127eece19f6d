"""Tasks that operators run: Spark, Ray, Dask, and PyTorch, TensorFlow and MPI by Kubeflow's training operator.

Each is data and two functions (`Operator`); one plugin runs them all. None is used unless the setting
`operators.enabled` names it: the controller opens an informer for each kind.
"""

from collections.abc import Iterable

from propeller.errors import Invalid
from propeller.handlers.plugins.operators._dask import DASK
from propeller.handlers.plugins.operators._kubeflow import MPI, PYTORCH, TENSORFLOW
from propeller.handlers.plugins.operators._operator import Operator, OperatorPlugin, Reading, Task
from propeller.handlers.plugins.operators._ray import RAY
from propeller.handlers.plugins.operators._spark import SPARK

OPERATORS = {one.task_type: OperatorPlugin(one) for one in (DASK, MPI, PYTORCH, RAY, SPARK, TENSORFLOW)}
"""By task type."""


def operator_plugins(enabled: Iterable[str]) -> list[OperatorPlugin]:
    """Return the plugins of these task types. Raises Invalid, naming one that there is not."""
    for name in enabled:
        if name not in OPERATORS:
            raise Invalid(f"operators.enabled names {name!r}, and there are {', '.join(OPERATORS)}")
    return [OPERATORS[name] for name in dict.fromkeys(enabled)]


__all__ = ["OPERATORS", "Operator", "OperatorPlugin", "Reading", "Task", "operator_plugins"]
