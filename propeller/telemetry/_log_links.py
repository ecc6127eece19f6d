"""Links to the logs of a task's attempt, by the operator's templates.

Guarantees
    A link is whole: if a variable has no value, as a pod's UID once the pod is gone, the link says so instead of having
    a gap. Values are percent-encoded, so that a task's name or config cannot change where a link leads.
Source
    flyteplugins/go/tasks/pluginmachinery/tasklog/template.go of FlytePropeller 1.16, which leaves what it does not know
    as it is, and encodes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

import msgspec

from propeller.telemetry._options import LOG_LINK_USE, LOG_LINK_VARIABLES, TASK_CONFIG, LogLink

LINK_TYPE = "link_type"
"""Key of a task's config that asks for links by their types, with commas."""

_NAMES = {name.lower(): name for name in LOG_LINK_VARIABLES}


class TaskLog(msgspec.Struct, frozen=True):
    """A link; `uri` is empty, and `missing` has the variables that have no value, if it cannot be made."""

    name: str
    uri: str
    missing: tuple[str, ...] = ()


def task_logs(
    templates: Iterable[LogLink], values: Mapping[str, str], task_type: str, config: Mapping[str, str]
) -> Iterator[TaskLog]:
    """Make the links of an attempt. `values` are by the names of `LOG_LINK_VARIABLES`, `config` is the task's own."""
    asked = {one.strip() for one in config.get(LINK_TYPE, "").split(",")}
    for template in templates:
        if template.task_types and task_type not in template.task_types:
            continue
        if template.link_type and template.link_type not in asked:
            continue
        yield _filled(template, values, config)


def _filled(template: LogLink, values: Mapping[str, str], config: Mapping[str, str]) -> TaskLog:
    missing = []

    def value_of(use: re.Match[str]) -> str:
        variable = use[1].strip()
        if variable.lower().startswith(TASK_CONFIG):
            value = config.get(variable[len(TASK_CONFIG) :], "")
        else:
            variable = _NAMES[variable.lower()]
            value = values.get(variable, "")
        if not value and variable != "logName":
            missing.append(variable)
        return quote(value, safe=":")

    uri = LOG_LINK_USE.sub(value_of, template.uri)
    return TaskLog(template.name, "", tuple(dict.fromkeys(missing))) if missing else TaskLog(template.name, uri)


def pod_values(pod: Mapping[str, Any], container: str) -> dict[str, str]:
    """Read the values that only a pod has, from its JSON; those that it does not have yet are left out."""
    metadata, spec, status = (pod.get(part) or {} for part in ("metadata", "spec", "status"))
    of_container: Mapping[str, Any] = next(
        (one for one in status.get("containerStatuses") or () if one.get("name") == container), {}
    )
    ended = (of_container.get("state") or {}).get("terminated") or {}
    began, finished = metadata.get("creationTimestamp") or "", ended.get("finishedAt") or ""
    values = {
        "podUID": metadata.get("uid") or "",
        "containerName": container,
        "containerId": str(of_container.get("containerID") or "").rpartition("://")[2],
        "hostname": spec.get("hostname") or metadata.get("name") or "",
        "nodeName": spec.get("nodeName") or "",
        "podRFC3339StartTime": began,
        "podRFC3339FinishTime": finished,
        "podUnixStartTime": _unix(began),
        "podUnixFinishTime": _unix(finished),
    }
    return {name: value for name, value in values.items() if value}


def _unix(time: str) -> str:
    return str(int(datetime.fromisoformat(time).timestamp())) if time else ""
