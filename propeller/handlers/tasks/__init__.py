"""Task plugins: how an attempt of a task becomes a pod, and what the pod's end means."""

from propeller.handlers.tasks._metadata import ATTEMPT_ANNOTATION, EXECUTION_LABEL
from propeller.handlers.tasks._places import template_uri
from propeller.handlers.tasks._pod import build_pod
from propeller.handlers.tasks._report import attempt_of, gone, is_alive, node_of, report, system_failures_of
from propeller.handlers.tasks._settings import PodSettings
from propeller.handlers.tasks._shape import shape_of

__all__ = [
    "ATTEMPT_ANNOTATION",
    "EXECUTION_LABEL",
    "PodSettings",
    "attempt_of",
    "build_pod",
    "gone",
    "is_alive",
    "node_of",
    "report",
    "shape_of",
    "system_failures_of",
    "template_uri",
]
