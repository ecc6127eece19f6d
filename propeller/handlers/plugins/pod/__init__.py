"""Task plugins: how an attempt of a task becomes a pod, and what the pod's end means."""

from propeller.handlers.plugins.pod._claims import attempt_at, claim_of, is_of, proven_by
from propeller.handlers.plugins.pod._ends import DEFAULT_GRACE, grace_of, has_ended
from propeller.handlers.plugins.pod._metadata import ATTEMPT_ANNOTATION, EXECUTION_LABEL
from propeller.handlers.plugins.pod._places import template_uri
from propeller.handlers.plugins.pod._pod import build_pod
from propeller.handlers.plugins.pod._report import gone, is_alive, report
from propeller.handlers.plugins.pod._settings import PodSettings
from propeller.handlers.plugins.pod._shape import shape_of

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
