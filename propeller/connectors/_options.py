"""Options of connectors: which services there are, and how often jobs are looked at. Units are in the docstrings."""

from __future__ import annotations

import re

import msgspec

OPERATIONS = frozenset(
    {"CreateTask", "GetTask", "DeleteTask", "GetTaskLogs", "GetTaskMetrics", "ExecuteTaskSync", "ListAgents"}
)
"""Calls that may have a deadline of their own: the names of agent.proto."""

_NAME = re.compile(r"[a-zA-Z0-9]([-_.a-zA-Z0-9]{0,61}[a-zA-Z0-9])?")


class ConnectorService(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One connector service: a process such as `pyflyte serve connector`, and its replicas."""

    name: str
    """What other settings, messages and metrics call it."""

    endpoint: str
    """`host:port`, or a target of gRPC such as `dns:///connectors.flyte:8000`, whose addresses take turns."""

    insecure: bool = False
    """Whether the connection is not encrypted, as within a cluster. Inputs of tasks go over it, so it has to be chosen.
    """

    ca_file: str = ""
    """PEM file of the authorities that sign the service's certificate. Empty: those that gRPC ships with."""

    timeout: float = 10.0
    """Seconds that a call may take, Flyte's `defaultTimeout`. A service that hangs delays its own tasks alone, but each
    call that waits for it holds a worker.
    """

    timeouts: dict[str, float] = {}
    """Seconds by call, where they differ: CreateTask, GetTask, DeleteTask, GetTaskLogs, GetTaskMetrics, ListAgents, and
    ExecuteTaskSync, within which a sync task has to end.
    """

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"name must be letters, digits, '-', '_' and '.', at most 63, and is {self.name!r}")
        if not self.endpoint.strip() or any(letter.isspace() for letter in self.endpoint):
            raise ValueError(f"endpoint of connector {self.name} must be host:port, and is {self.endpoint!r}")
        if self.insecure and self.ca_file:
            raise ValueError(f"connector {self.name} is insecure and has a ca_file: remove one of the two")
        if unknown := sorted(set(self.timeouts) - OPERATIONS):
            raise ValueError(f"timeouts of connector {self.name} name {unknown}: calls are {sorted(OPERATIONS)}")
        for what, seconds in {"timeout": self.timeout, **self.timeouts}.items():
            if not 0 < seconds <= 86_400:
                raise ValueError(f"{what} of connector {self.name} must be over 0 and at most a day, and is {seconds}")

    def timeout_of(self, operation: str) -> float:
        """Return the seconds that a call may take."""
        return self.timeouts.get(operation, self.timeout)


class ConnectorOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Services that run tasks outside of the cluster, by Flyte's protocol: its `plugins.agent-service`. Without
    services nothing is imported or asked.
    """

    services: tuple[ConnectorService, ...] = ()
    """Each is asked which task types it runs, at start and then every `refresh` seconds. Of two that run a type the
    first counts. A service that cannot be reached delays nothing but its own tasks.
    """

    task_types: dict[str, str] = {}
    """By task type the name of the service that runs it, whatever the services list: Flyte's `connectorForTaskTypes`.
    """

    default: str = ""
    """Name of the service for task types without a container that nothing else runs: Flyte's `defaultConnector`. Empty:
    such a task fails with a message that lists what is served.
    """

    refresh: float = 10.0
    """Seconds between two ListAgents, Flyte's `pollInterval`: a new connector is used so soon, and a call costs little.
    """

    poll_shortest: float = 1.0
    """Seconds between two looks at a job that has just begun: many jobs are short. If over `polls_per_second` jobs of a
    service are due each second, their looks take turns.
    """

    poll_longest: float = 30.0
    """Seconds between two looks at a job that runs for long, Flyte's `resyncInterval`: 1,000 jobs are 33 calls a
    second.
    """

    poll_share: float = 0.1
    """How much of its own time a job may wait until its end is seen: one of a minute is looked at every 6 seconds."""

    polls_per_second: float = 150.0
    """Looks that one controller process begins a second at the jobs of one service, shared fairly by tenants. So 1,000
    jobs that begin together are looked at every 7 seconds at first, for less than 5 % of a core; 4,500 that run for
    long have a use for all of them.
    """

    polls_at_once: int = 64
    """Calls to one service that look at jobs at the same time."""

    max_failures: int = 5
    """Looks at a job in a row that the service answers with an error, such as that it does not know the job, after
    which the attempt fails by the system's fault: Flyte's `maxSystemFailures`. A service that does not answer at all
    is waited for instead, as its jobs go on. After as many errors in a row that a delete is answered with, the job is
    left, with a warning in the log.
    """

    max_message_bytes: int = 4 * 1024 * 1024
    """Bytes of an answer, gRPC's own default. Outputs that are larger belong in the object store."""

    max_messages: int = 200_000
    """Messages within an answer, which take far more memory than bytes."""

    delete_limit: float = 3600.0
    """Seconds after the end of an execution for which the deletion of its jobs is tried again, and its FlyteWorkflow
    kept by a finalizer. Then it is let go, with an error in the log: a service that is gone for good must not keep
    workflows for ever.
    """

    def __post_init__(self) -> None:
        names = [service.name for service in self.services]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"services has {twice} twice: give each a name of its own")
        for what, name in {"default": self.default, **self.task_types}.items():
            if name not in names and (name or what != "default"):
                raise ValueError(f"{what} names service {name!r}, and services has {sorted(names)}")
        for field in ("refresh", "poll_shortest", "poll_longest", "polls_per_second", "delete_limit"):
            if not 0 < getattr(self, field) < float("inf"):
                raise ValueError(f"{field} must be over 0, and is {getattr(self, field)}")
        if self.poll_longest < self.poll_shortest:
            raise ValueError(f"poll_longest, {self.poll_longest}, must be at least poll_shortest, {self.poll_shortest}")
        if not 0 <= self.poll_share <= 1:
            raise ValueError(f"poll_share must be 0 to 1, and is {self.poll_share}")
        for field, least in (
            ("polls_at_once", 1),
            ("max_failures", 1),
            ("max_message_bytes", 1024),
            ("max_messages", 1),
        ):
            if getattr(self, field) < least:
                raise ValueError(f"{field} must be at least {least}, and is {getattr(self, field)}")
