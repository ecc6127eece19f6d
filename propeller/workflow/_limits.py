"""Reject numbers, durations and names of a resource that no execution could apply, with the name of the field."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Mapping, Sequence

from propeller.errors import Invalid
from propeller.workflow._names import UNIQUE_ID_LENGTH, fixed_length_id, folded
from propeller.workflow._spec import ArraySpec, ExecutionSpec, NodeKind, NodeSpec

MAX_DURATION = 2**63 / 1e9
"""Seconds: Go keeps a duration as nanoseconds in 64 bits, 292 years."""

MAX_DURATION_CHARACTERS = 100

NESTED_PREFIX = 4
"""Characters that precede the id of a node inside another one, at least: its parent's id and attempt."""

_PART = re.compile(r"(?<![0-9.])([0-9]++\.?+[0-9]*+|\.[0-9]++)(ms|us|µs|μs|ns|h|m|s)")
_DURATION = re.compile(rf"\+?(?:{_PART.pattern})++|\+?0")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ns": 1e-9}


@functools.lru_cache(maxsize=1024)
def parse_duration(text: str) -> float:
    """Seconds of a Go duration ("1h0m0s", "1.5s"); 0 for "". Raises Invalid for any other text, and below 0."""
    if not text:
        return 0.0
    if len(text) > MAX_DURATION_CHARACTERS or not _DURATION.fullmatch(text):
        raise Invalid(f"is {text[:MAX_DURATION_CHARACTERS]!r}, which is no duration of 0 or more like 1h30m or 1.5s")
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))
    if not seconds <= MAX_DURATION:
        raise Invalid(f"is {text!r}, longer than the 292 years that a duration can be")
    return seconds


def check_node(node: NodeSpec, at: str) -> None:
    """Raise Invalid for the first field that no execution could apply."""
    for name, text in (("executionDeadline", node.execution_deadline), ("activeDeadline", node.active_deadline)):
        try:
            parse_duration(text)
        except Invalid as error:
            raise Invalid(f"{at}.{name} {error}") from None
    if node.array is not None:
        _check_array(node.array, f"{at}.array")
        check_node(node.array.sub_node_spec, f"{at}.array.SubNodeSpec")


MAX_REFERENCE_BYTES = 200
"""Bytes of each part of a launch plan's identifier once it is quoted: each is a directory's name in the registry."""


def check_reference(node: NodeSpec, at: str) -> None:
    """Raise Invalid for a workflow node that names neither a sub-workflow nor a launch plan, or one that cannot be."""
    reference = node.launch_plan
    if reference is None:
        if node.workflow is None or not node.workflow.sub_workflow_ref:
            raise Invalid(f"{at}.workflow names neither a sub-workflow nor a launch plan")
        return
    at = f"{at}.workflow.launchPlanRefId"
    if not reference.name:
        raise Invalid(f"{at}.name is empty: it has to name a launch plan")
    for field, part in zip(("project", "domain", "name", "version"), reference.path.split("/"), strict=True):
        if len(part) > MAX_REFERENCE_BYTES:
            raise Invalid(f"{at}.{field} has {len(part)} bytes as a path, and may have {MAX_REFERENCE_BYTES}")


def check_execution(spec: ExecutionSpec) -> None:
    """Raise Invalid for the first field that no execution could apply."""
    _check_count("activeDeadlineSeconds", spec.active_deadline_seconds)
    _check_count("executionConfig.MaxParallelism", spec.execution_config.max_parallelism)


def check_names(nodes: Sequence[NodeSpec], case_of: Mapping[int, int], where: str) -> None:
    """Raise Invalid if pods of two nodes, or of nodes inside them, would have the same name: names of pods have no
    capitals and few other characters. The cases of one branch may share a name, as only one runs.
    """
    nested = NESTED_PREFIX if where != "spec" else 0
    taken: dict[str, int] = {}
    for number, node in enumerate(nodes):
        if node.kind in {NodeKind.END, NodeKind.BRANCH}:
            continue
        name = node.id if len(node.id) + nested > UNIQUE_ID_LENGTH else folded(node.id)
        if not nested:
            name = fixed_length_id((name,), UNIQUE_ID_LENGTH)
        other = taken.setdefault(name, number)
        if other == number or (number in case_of and case_of[number] == case_of.get(other)):
            continue
        raise Invalid(
            f"{where}.nodes.{nodes[other].id} and nodes.{node.id}: their pods would have the same name, with "
            f"{name!r} in it: rename one of them"
        )


def _check_array(array: ArraySpec, at: str) -> None:
    _check_count(f"{at}.Parallelism", array.parallelism)
    _check_count(f"{at}.MinSuccesses", array.min_successes)
    ratio = array.min_success_ratio
    if ratio is not None and not 0 <= ratio <= 1:
        raise Invalid(f"{at}.MinSuccessRatio is {ratio}, and can be 0 to 1")


def _check_count(field: str, value: int | None) -> None:
    if value is not None and not 0 <= value < 2**63:
        shown = value if math.log10(abs(value) + 1) < 40 else "beyond 10^40"
        raise Invalid(f"{field} is {shown}, and can be 0 or more, in 64 bits")
