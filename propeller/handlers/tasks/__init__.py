"""Task plugins: how an attempt of a task becomes a pod, and what the pod's end means."""

from propeller.handlers.tasks._metadata import ATTEMPT_ANNOTATION, EXECUTION_LABEL
from propeller.handlers.tasks._places import needs_template, template_uri
from propeller.handlers.tasks._pod import build_pod
from propeller.handlers.tasks._report import attempt_of, gone, is_alive, node_of, report, system_failures_of
from propeller.handlers.tasks._settings import PodSettings

__all__ = [
    "ATTEMPT_ANNOTATION",
    "EXECUTION_LABEL",
    "PodSettings",
    "attempt_of",
    "build_pod",
    "gone",
    "is_alive",
    "needs_template",
    "node_of",
    "report",
    "system_failures_of",
    "template_uri",
]
