"""Every field of FlyteAdmin's resources is read, or docs/flyteadmin.md says why not.

Read means that a change shows: the resource is run with the field changed, and without it, and the pods, blobs and
status are compared with those of the resource as it was recorded.
"""

from __future__ import annotations

import copy
import re
from collections import defaultdict
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

import pytest

from propeller.errors import PropellerError
from propeller.testing import run_virtually
from tests.vectors.folder import CHECKOUT, MISSING, found, is_here
from tests.vectors.launched import Recorded, observe, recorded

pytestmark = pytest.mark.skipif(not is_here(), reason=MISSING)

TRIES = 4
"""Resources in which a field is changed before it counts as not read."""

_MAPS = frozenset(
    {"nodes", "tasks", "subWorkflows", "literals", "variables", "labels", "annotations", "downstream", "upstream"}
    | {"connections", "bindings", "fields", "EnvironmentVariables", "TaskPluginImpls"}
)
"""Fields whose keys are names that somebody chose."""

Path = tuple[str | int, ...]


def _leaves(value: Any, path: Path = (), shape: tuple[str, ...] = ()) -> Iterator[tuple[Path, str, Any]]:
    """Each value, with its path and the path's shape."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(inner, (*path, key), (*shape, "*" if shape and shape[-1] in _MAPS else key))
    elif isinstance(value, list) and value:
        for number, inner in enumerate(value):
            yield from _leaves(inner, (*path, number), (*shape, "[]"))
    else:
        yield path, ".".join(shape), value


def _other(value: Any) -> Any:
    """Another value of the same kind."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case str():
            return "7" if value.isdigit() else f"{value}x"
        case dict():
            return {"other": "1"}
        case _:
            return []


def _edited(of: Recorded, path: Path, *, remove: bool) -> Recorded:
    resource = copy.deepcopy(of.resource)
    parent: Any = resource
    for key in path[:-1]:
        parent = parent[key]
    if remove:
        del parent[path[-1]]
    else:
        parent[path[-1]] = _other(parent[path[-1]])
    return Recorded(of.name, resource, of.blobs)


def _outcome(of: Recorded, original: Recorded) -> object:
    try:
        seen = run_virtually(observe(of, original))
    except (PropellerError, KeyError) as error:  # the API server refuses it, or it has no namespace to be put into
        return type(error)
    pods = {
        name: (pod["spec"], pod["metadata"]["labels"], pod["metadata"]["annotations"])
        for name, pod in seen.pods.items()
    }
    status = {key: seen.status.get(key) for key in ("phase", "error", "message", "counts")}
    return pods, seen.blobs, status


def _is_read(occurrences: list[tuple[Recorded, Path]], before: dict[str, object]) -> bool:
    for of, path in occurrences[:: max(1, len(occurrences) // TRIES)][:TRIES]:
        if of.name not in before:
            before[of.name] = _outcome(of, of)
        if any(_outcome(_edited(of, path, remove=remove), of) != before[of.name] for remove in (False, True)):
            return True
    return False


def test_a_field_that_nothing_reads_has_a_reason_and_no_reason_is_left_over() -> None:
    occurrences: dict[str, list[tuple[Recorded, Path]]] = defaultdict(list)
    for file in found("admin-resources/*.json"):
        of = recorded(file)
        for path, shape, _ in _leaves(of.resource):
            occurrences[shape].append((of, path))
    before: dict[str, object] = {}
    unread = {shape for shape, places in occurrences.items() if not _is_read(places, before)}
    page = (CHECKOUT / "docs" / "flyteadmin.md").read_text().partition("\n## Pods")[0]
    reasons = set(re.findall(r"^\| `([^`]+)` \| .+ \|$", page, re.MULTILINE))
    assert {shape for shape in unread if not any(fnmatchcase(shape, row) for row in reasons)} == set()
    assert {row for row in reasons if not any(fnmatchcase(shape, row) for shape in unread)} == set()
