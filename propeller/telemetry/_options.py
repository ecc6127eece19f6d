"""Who may ask for metrics and probes, and where logs of tasks are. Units are in the docstrings."""

from __future__ import annotations

import re

import msgspec

from propeller.bounds import PositiveFloat, PositiveInt


class MetricsOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may ask for metrics and probes, and how slowly. In a pod the port is open to all of the cluster."""

    connections: int = 64
    """At once. A scrape and a probe take one each, for milliseconds; a process has 1024 descriptors by default, and
    most are for the API server and the object store. One more makes the one go that has sent nothing for longest.
    """

    head_seconds: PositiveFloat = 10.0
    """Seconds until a request's head has to be whole. Probes give up after 1 by default, Prometheus after 10."""

    head_bytes: PositiveInt = 16 * 1024
    """Bytes of a request's head: more than any scraper sends."""

    def __post_init__(self) -> None:
        if self.connections < 1:
            raise ValueError(f"connections must be at least 1: at {self.connections}, no probe would be answered")


LOG_LINK_VARIABLES = (
    "logName",
    "podName",
    "podUID",
    "namespace",
    "containerName",
    "containerId",
    "hostname",
    "nodeName",
    "podRFC3339StartTime",
    "podRFC3339FinishTime",
    "podUnixStartTime",
    "podUnixFinishTime",
    "taskID",
    "taskVersion",
    "taskProject",
    "taskDomain",
    "taskRetryAttempt",
    "nodeID",
    "executionName",
    "executionProject",
    "executionDomain",
    "generatedName",
    "rayClusterName",
    "rayJobID",
    "sparkApplicationID",
)
"""Variables of links to logs, by FlytePropeller's names (flyteplugins' tasklog); `sparkApplicationID` is ours."""

LOG_LINK_USE = re.compile(r"\{\{\s{0,8}[.$]([^{}]{1,200})\}\}")
"""One use of a variable in a template."""

TASK_CONFIG = "taskconfig."

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]{0,30}://", re.IGNORECASE)


class LogLink(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One link that every attempt of a task has."""

    name: str
    """What people see, such as `Cloud Logging`."""

    uri: str
    """With variables as in FlytePropeller: `https://logs.example.com/{{ .namespace }}/{{ .podName }}`. In a link with a
    `link_type`, `{{ .taskConfig.KEY }}` is a value of the task's own `config`.
    """

    task_types: tuple[str, ...] = ()
    """Only tasks of these types have it; empty: all."""

    link_type: str = ""
    """If set, only tasks whose `config` has it in `link_type` have this link, as flytekit's decorators for interactive
    tasks write there (`vscode`): FlytePropeller's dynamic log links.
    """

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise ValueError("name must not be empty: people choose a link by it")
        if not _SCHEME.match(self.uri):
            raise ValueError(f"uri must begin with a scheme, such as https://, and is {self.uri[:200]!r}")
        known = {name.lower() for name in LOG_LINK_VARIABLES}
        for use in LOG_LINK_USE.finditer(self.uri):
            variable = use[1].strip().lower()
            if variable.startswith(TASK_CONFIG):
                if not self.link_type:
                    raise ValueError(f"uri uses {use[0]}, which needs a link_type: other tasks have no such config")
            elif variable not in known:
                raise ValueError(f"uri uses {use[0]}, which is no variable; there are {', '.join(LOG_LINK_VARIABLES)}")


class LogLinkOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where people find the logs of tasks once their pods are gone: FlytePropeller's `plugins.logs.templates`."""

    templates: tuple[LogLink, ...] = ()
    """None by default: Kubernetes itself keeps no logs of pods that are gone."""
