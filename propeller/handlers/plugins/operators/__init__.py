"""Tasks that operators run: Spark, Ray, Dask, PyTorch, TensorFlow and MPI by Kubeflow's training operator, and Jobs.

Each is data and two functions (`Operator`); one plugin runs them all. None is used unless the setting
`operators.enabled` names it: the controller opens an informer for each kind.
"""

from propeller.config import OperatorName
from propeller.handlers.plugins.operators._dask import DASK
from propeller.handlers.plugins.operators._job import JOB
from propeller.handlers.plugins.operators._kubeflow import MPI, PYTORCH, TENSORFLOW
from propeller.handlers.plugins.operators._operator import Operator, OperatorPlugin, Reading, Task
from propeller.handlers.plugins.operators._ray import RAY
from propeller.handlers.plugins.operators._shown import Shown, shown
from propeller.handlers.plugins.operators._spark import SPARK

OPERATORS: dict[OperatorName, OperatorPlugin] = {
    one.task_type: OperatorPlugin(one) for one in (DASK, JOB, MPI, PYTORCH, RAY, SPARK, TENSORFLOW)
}
"""By task type: one for each that the setting takes."""

__all__ = ["OPERATORS", "Operator", "OperatorPlugin", "Reading", "Shown", "Task", "shown"]
