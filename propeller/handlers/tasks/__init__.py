"""Task plugins: how an attempt of a task becomes a pod, and what the pod's end means."""

from propeller.handlers.tasks._claims import attempt_at, claim_of, is_of, proven_by
from propeller.handlers.tasks._ends import DEFAULT_GRACE, grace_of, has_ended
from propeller.handlers.tasks._metadata import ATTEMPT_ANNOTATION, EXECUTION_LABEL
from propeller.handlers.tasks._places import template_uri
from propeller.handlers.tasks._pod import build_pod
from propeller.handlers.tasks._report import gone, is_alive, report
from propeller.handlers.tasks._settings import PodSettings
from propeller.handlers.tasks._shape import shape_of

__all__ = [
    "ATTEMPT_ANNOTATION",
    "DEFAULT_GRACE",
    "EXECUTION_LABEL",
    "PodSettings",
    "attempt_at",
    "build_pod",
    "claim_of",
    "gone",
    "grace_of",
    "has_ended",
    "is_alive",
    "is_of",
    "proven_by",
    "report",
    "shape_of",
    "template_uri",
]
