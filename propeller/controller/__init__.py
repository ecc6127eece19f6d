"""The FlyteWorkflow controller: wires informers, reconciles, effects and checkpoints together."""

from propeller.controller._controller import Observer, WorkflowController
from propeller.controller._events import Recorder
from propeller.controller._finalizers import JOBS_FINALIZER
from propeller.controller._kind import FLYTE_WORKFLOWS
from propeller.controller._loading import Loader
from propeller.controller._resource import WORKFLOWS, FlyteWorkflow, closure_of, info_of, inline_inputs
from propeller.controller._workflow_crd import workflow_crd

__all__ = [
    "FLYTE_WORKFLOWS",
    "JOBS_FINALIZER",
    "WORKFLOWS",
    "FlyteWorkflow",
    "Loader",
    "Observer",
    "Recorder",
    "WorkflowController",
    "closure_of",
    "info_of",
    "inline_inputs",
    "workflow_crd",
]
