"""Identify the node and attempt of a resource, such as a pod, from its annotations and name.

Guarantees
    Annotations count only if the resource's name follows from them: a client that may patch annotations cannot make a
    resource count for another node or attempt. Numbers out of range are ignored.
    If annotations are missing or damaged, the name decides.
Assumptions
    The caller has checked the owner reference.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from propeller.handlers.plugins._metadata import (
    ATTEMPT_ANNOTATION,
    NODE_ANNOTATION,
    PATH_ANNOTATION,
    SYSTEM_FAILURES_ANNOTATION,
)
from propeller.handlers.transitions._time_limits import MAX_ATTEMPTS
from propeller.kube import KubeObject
from propeller.workflow import UNIQUE_ID_LENGTH as MAX_NODE_CHARACTERS
from propeller.workflow import AttemptOptions, Execution, ObservedAttempt, pod_name

_NUMBER = re.compile(r"[0-9]{1,3}")


class Claim(NamedTuple):
    """The node, by unique id, and the attempt of a resource."""

    node: str
    attempt: int


def attempt_of(obj: KubeObject) -> int | None:
    """Return the attempt that the annotation names, None if it names none."""
    return _number(obj.metadata.annotations, ATTEMPT_ANNOTATION, MAX_ATTEMPTS)


def claim_of(obj: KubeObject, execution: str) -> Claim | None:
    """Return the claim of a resource if its name agrees. `execution` is the name of its FlyteWorkflow."""
    annotations, name = obj.metadata.annotations or {}, obj.metadata.name
    node = annotations.get(NODE_ANNOTATION, "")
    if not 0 < len(node) <= MAX_NODE_CHARACTERS:
        return None
    attempts = (one for one in _candidates(obj) if pod_name(execution, node, one) == name)
    return next((Claim(node, attempt) for attempt in attempts), None)


def attempt_at(execution: Execution, node: int, obj: KubeObject) -> int | None:
    """Return which attempt of this node the resource is: by its name the current one in most cases, otherwise the one
    of its annotation or of the end of its name; None if none agrees.
    """
    name, current = obj.metadata.name, execution.attempts[node]
    if execution.pod_name(node, current) == name:
        return current
    return next((one for one in _candidates(obj) if execution.pod_name(node, one) == name), None)


def _candidates(obj: KubeObject) -> Iterator[int]:
    """Return possible attempts: by the annotation, then by the end of the name."""
    for attempt in (attempt_of(obj), _bounded(obj.metadata.name.rpartition("-")[2], MAX_ATTEMPTS)):
        if attempt is not None:
            yield attempt


def is_of(execution: Execution, node: int, attempt: int, obj: KubeObject) -> bool:
    """Whether a resource with the name of this node's attempt belongs to it: false if it claims another attempt with
    the same name (by letter case, characters that names cannot have, or a hash).
    """
    claim = claim_of(obj, execution.info.name)
    if claim is None:
        return True
    path = (obj.metadata.annotations or {}).get(PATH_ANNOTATION)
    return claim == (execution.unique_id(node), attempt) and (path is None or path == execution.path(node))


def observed_attempts(
    execution: str, resources: Iterable[KubeObject], system_retries: int = AttemptOptions().system_retries
) -> dict[str, ObservedAttempt]:
    """Return the last attempt that resources of the execution show, by unique node id.

    Every earlier attempt has left a resource, but for the few that the system took away: an attempt with more missing
    before it is ignored.
    """
    claims: dict[str, dict[int, int]] = {}
    for obj in resources:
        if (claim := claim_of(obj, execution)) is not None:
            failures = _number(obj.metadata.annotations, SYSTEM_FAILURES_ANNOTATION, system_retries) or 0
            claims.setdefault(claim.node, {})[claim.attempt] = min(failures, claim.attempt)
    observed = {}
    for node, attempts in claims.items():
        found = [attempt for before, attempt in enumerate(sorted(attempts)) if attempt - before <= system_retries]
        if found:
            observed[node] = ObservedAttempt(found[-1], attempts[found[-1]])
    return observed


def _number(annotations: Mapping[str, str] | None, name: str, most: int) -> int | None:
    return _bounded((annotations or {}).get(name, ""), most)


def _bounded(text: str, most: int) -> int | None:
    """Parse a number of ASCII digits from 0 to `most`, in the form that propeller writes."""
    if not _NUMBER.fullmatch(text) or (number := int(text)) > most or str(number) != text:
        return None
    return number
