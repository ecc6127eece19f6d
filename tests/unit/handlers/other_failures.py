"""Failures of what is no pod: documents that tasks write, operators' resources, connectors' jobs, child executions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from flyteidl.admin import agent_pb2
from flyteidl.core import errors_pb2, execution_pb2

from propeller.clock import SYSTEM_CLOCK
from propeller.connectors import ConnectorOptions, Nobody
from propeller.errors import CorruptBlob, NotFound, PropellerError
from propeller.handlers.executors._job_effects import launch_job
from propeller.handlers.executors._jobs import RemoteJobs
from propeller.handlers.executors._outcome import collect
from propeller.handlers.plugins import CHILD, Plugins, RemotePlugin
from propeller.handlers.plugins._connectors import state_of
from propeller.storage import MemoryStore, Storage, StorageOptions
from propeller.workflow import AttemptObserved, EffectFailed, Failure, Job, Launch, NodeEvent
from tests.unit.handlers.build import World, graph, task, template
from tests.unit.handlers.operator_tasks import plugin_of

_PHASE = execution_pb2.TaskExecution


def failure_of(seen: Any) -> Failure:
    assert seen is not None
    assert seen.failure is not None
    found: Failure = seen.failure
    return found


def by_operator(task_type: str, status: dict[str, Any]) -> Callable[[], Awaitable[Failure]]:
    async def happens() -> Failure:
        plugin = plugin_of(task_type)
        body = {"metadata": {"name": "e-n0-1", "namespace": "ns"}, "status": status}
        return failure_of(plugin.observe(msgspec.convert(body, plugin.resource.type), 1))

    return happens


def job_failed(**condition: str) -> dict[str, Any]:
    return {"conditions": [{"type": "Failed", "status": "True", **condition}]}


def by_documents(limit: int = 10_000, **documents: bytes) -> Callable[[], Awaitable[Failure]]:
    """A task ends well, and has written these."""

    async def happens() -> Failure:
        of = World(graph(task("n0")), {"t": template(outputs=("o0",))})
        storage = Storage(StorageOptions(max_blob_bytes=limit), stores={"memory": MemoryStore(of.blobs)})
        directory = of.execution.output_directory(of.node("n0").number, 1)
        for name, data in documents.items():
            of.blobs[f"{directory}/{name}.pb"] = data
        found = await collect(of.node("n0"), 1, storage, of.launch_plans)
        assert isinstance(found, EffectFailed)
        return found.failure

    return happens


def by_connector(phase: Any, **error: Any) -> Callable[[], Awaitable[Failure]]:
    async def happens() -> Failure:
        resource = agent_pb2.Resource(phase=phase, message="no room")
        if error:
            resource.agent_error.CopyFrom(agent_pb2.AgentError(**error))
        return failure_of(state_of("c", resource))

    return happens


class Service(RemotePlugin):
    """A service that answers each look with an error."""

    task_types = frozenset({"remote"})

    def __init__(self, error: PropellerError) -> None:
        self._error = error

    async def create(self, task: Any) -> bytes:
        raise self._error

    async def get(self, job: Job, output_prefix: str) -> Any:
        raise self._error

    async def delete(self, job: Job) -> None:
        raise self._error


def by_looks(error: PropellerError) -> Callable[[], Awaitable[Failure]]:
    """Looks at a job that fail as often as it takes."""

    async def happens() -> Failure:
        of = World(graph(task("n0")), {"t": template(type="remote", outputs=("o0",))})
        node = of.node("n0")
        heard: list[NodeEvent] = []

        def tell(holder: object, event: NodeEvent) -> bool:
            heard.append(event)
            return True

        async def hold(info: object) -> None:
            raise AssertionError("nothing is created")

        jobs = RemoteJobs(
            Plugins(remote=[Service(error)]), None, ConnectorOptions(), of.storage, SYSTEM_CLOCK, None, tell, hold
        )
        of.execution.jobs.begin(Job(node.number, 1, "remote", 0, b"id", 0.0))
        jobs.follow(node, 1)
        (key,) = jobs._watched
        for _ in range(ConnectorOptions().max_failures):
            await jobs._look(key)
        (ended,) = heard
        assert isinstance(ended, AttemptObserved)
        return failure_of(ended)

    return happens


async def _nobody() -> Failure:
    of = World(graph(task("n0")), {"t": template(type="remote")})
    unused: Any = None
    (event,) = await launch_job(of.node("n0"), Launch(0, 1), Nobody("no connector runs it"), unused, unused)
    assert isinstance(event, EffectFailed)
    return event.failure


def by_child(**status: Any) -> Callable[[], Awaitable[Failure]]:
    async def happens() -> Failure:
        body = {"metadata": {"name": "e-n0-1", "namespace": "ns"}, "status": status}
        return failure_of(CHILD.observe(msgspec.convert(body, CHILD.resource.type), 1))

    return happens


async def _child_is_gone() -> Failure:
    return failure_of(CHILD.missing("e-n0-1", 1))


async def _resource_is_gone() -> Failure:
    return failure_of(plugin_of("ray").missing("e-n0-1", 1))


_SAID = {"code": "Error", "message": "[main] terminated with exit code (3)", "kind": "USER"}

NO_PODS: dict[str, Callable[[], Awaitable[Failure]]] = {
    "the task ends well, and an output is missing": by_documents(),
    "an output document is larger than `storage.max_blob_bytes`": by_documents(10, outputs=b"x" * 11),
    "the task writes what is no document of Flyte's": by_documents(outputs=b"\xff" * 20),
    "an error document has no error in it": by_documents(error=errors_pb2.ErrorDocument().SerializeToString()),
    "a dynamic task writes a workflow that cannot be": by_documents(futures=b"\x22\x02\x0a\x00"),
    "a Spark application, a Dask, training or Kubernetes job fails": by_operator(
        "spark", {"applicationState": {"state": "FAILED", "errorMessage": "driver failed"}}
    ),
    "a Spark application cannot be submitted": by_operator(
        "spark", {"applicationState": {"state": "SUBMISSION_FAILED"}}
    ),
    "a Ray job fails": by_operator("ray", {"jobDeploymentStatus": "Failed", "reason": "AppFailed"}),
    "the cluster of a Ray job does not come up in time": by_operator(
        "ray",
        {"jobDeploymentStatus": "Failed", "reason": "JobDeploymentStatusTransitionGracePeriodExceeded"},
    ),
    "a Kubernetes job fails by its `podFailurePolicy`": by_operator(
        "kubernetes-job", job_failed(reason="PodFailurePolicy", message="exit code 42")
    ),
    "an operator's resource is gone before its end was seen": _resource_is_gone,
    "a connector's job fails, and its service says that it may be tried again": by_connector(_PHASE.RETRYABLE_FAILED),
    "a connector's job fails, or is aborted": by_connector(_PHASE.FAILED),
    "a connector says that its platform has failed a job": by_connector(
        _PHASE.FAILED,
        code="Throttled",
        origin=execution_pb2.ExecutionError.SYSTEM,
        kind=agent_pb2.AgentError.RECOVERABLE,
    ),
    "a connector has forgotten the job, and says so `connectors.max_failures` times": by_looks(NotFound("no such job")),
    "a connector answers nonsense, or that it must not be asked, as often": by_looks(CorruptBlob("phase 77")),
    "no connector and no plugin runs tasks of that type": _nobody,
    "the execution that a launch plan has started fails: code and kind are its own": by_child(phase=5, error=_SAID),
    "the execution that a launch plan has started is aborted": by_child(phase=6, error={"message": "by hand"}),
    "the execution that a launch plan has started is deleted": _child_is_gone,
}
