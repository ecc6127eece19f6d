"""What really happened in all clusters, as their API servers saw it, and what may not happen: checked at each write."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from propeller.embedded.faults import FaultyLink
from propeller.embedded.server import Forward
from propeller.embedded.server.patch._merge_patch import merge_patch
from propeller.kube import Request, Response
from propeller.status import Snapshot, decode
from propeller.workflow import ENDED, NodePhase
from tests.simulation.event_log import EventLog

CONTROL, VAULT = "control", "vault"
"""The cluster of the workflows, and the one of the isolated pool."""

ISOLATED = "secret"
"""The project whose work the isolated pool is for."""


@dataclass
class Pod:
    name: str
    cluster: str
    node: str
    attempt: int
    succeeded: bool = False


@dataclass
class Workflow:
    name: str
    uid: str
    project: str
    nodes: tuple[str, ...]
    status: dict[str, Any] = field(default_factory=dict)
    deleted: bool = False
    pods: dict[str, Pod] = field(default_factory=dict)

    @property
    def snapshot(self) -> Snapshot | None:
        text = self.status.get("nodes")
        return decode(base64.b64decode(text)) if text else None

    def is_over(self, node: str, attempt: int) -> bool:
        """Whether its status says that an attempt counts no more."""
        snapshot = self.snapshot
        if self.deleted or self.status.get("phase") in {3, 5, 6}:
            return True
        if snapshot is None:
            return False
        number = self.nodes.index(node)
        return snapshot.attempts[number] > attempt or NodePhase(snapshot.phases[number]) in ENDED

    def is_written(self, node: str, attempt: int, cluster: str) -> bool:
        """Whether its status says that an attempt is to run in a cluster."""
        elsewhere = (self.status.get("placement") or {}).get("elsewhere") or []
        for one in elsewhere:
            if (one["node"], one["attempt"]) == (node, attempt):
                return bool(one["cluster"] == cluster)
        return self.status.get("cluster") == cluster


class Truth:
    """`workflows` by uid."""

    def __init__(self, event_log: EventLog) -> None:
        self.event_log = event_log
        self.workflows: dict[str, Workflow] = {}
        self.lost: set[str] = set()
        """Names of pods that a cluster has forgotten, as it was restored."""
        self.launched: list[Pod] = []
        self.none_is_repeated = False
        """Whether each node has one attempt, as nothing happens to its pod."""

    def created(self, workflow: Mapping[str, Any], nodes: tuple[str, ...]) -> None:
        metadata = workflow["metadata"]
        found = Workflow(metadata["name"], metadata["uid"], metadata["labels"]["project"], nodes)
        self.workflows[found.uid] = found
        self.event_log.record(f"{found.name} of {found.project} is created")

    def deleted(self, uid: str) -> None:
        self.workflows[uid].deleted = True
        self.event_log.record(f"{self.workflows[uid].name} is deleted")

    def applied(self, cluster: str, request: Request, response: Response) -> None:
        """A controller's request had its effect."""
        if response.status >= 300:
            return
        if request.method == "POST" and request.path.endswith("/pods"):
            self._launched(cluster, orjson.loads(response.body or request.body))
        elif request.method == "DELETE" and "/pods/" in request.path:
            self._stopped(cluster, request.path.rpartition("/")[2])
        elif request.method == "PATCH" and "/flyteworkflows/" in request.path:
            self._written(orjson.loads(request.body))

    def _launched(self, cluster: str, answer: dict[str, Any]) -> None:
        metadata = answer["metadata"]
        name, annotations, labels = metadata["name"], metadata["annotations"], metadata["labels"]
        workflow = self.workflows.get(labels["propeller/workflow-uid"])
        self.event_log.record(f"pod {name} is created in {cluster}")
        if workflow is None:
            self.event_log.violation(f"{name} in {cluster} is of a workflow that never was")
            return
        pod = Pod(name, cluster, annotations["propeller/node"], int(annotations["propeller/attempt"]))
        if (before := workflow.pods.get(name)) is not None and not (before.cluster == cluster and name in self.lost):
            self.event_log.violation(f"{name} runs twice: in {before.cluster} and in {cluster}")
        workflow.pods[name] = pod
        self.launched.append(pod)
        if self.none_is_repeated and pod.attempt:
            self.event_log.violation(f"{name} is launched in {cluster}, and nothing had happened to an earlier attempt")
        self.lost.discard(name)
        if (workflow.project == ISOLATED) is not (cluster == VAULT):
            self.event_log.violation(f"{name} of {workflow.project} is placed in {cluster}")
        if not workflow.is_written(pod.node, pod.attempt, cluster):
            self.event_log.violation(f"{name} is launched in {cluster} before a status says so")

    def _stopped(self, cluster: str, name: str) -> None:
        for workflow in self.workflows.values():
            pod = workflow.pods.get(name)
            if pod is not None and pod.cluster == cluster:
                self.event_log.record(f"pod {name} is told to stop in {cluster}")
                if not workflow.is_over(pod.node, pod.attempt):
                    self.event_log.violation(f"{name} is stopped in {cluster}, and no status says why")

    def _written(self, body: dict[str, Any]) -> None:
        workflow = self.workflows.get(body.get("metadata", {}).get("uid", ""))
        if workflow is None or "status" not in body:
            return
        before = workflow.status.get("phase")
        workflow.status = merge_patch(workflow.status, body["status"])
        status = workflow.status
        self.event_log.record(f"{workflow.name}: {status.get('state')} in {status.get('cluster')}, {status['counts']}")
        if before in {3, 5, 6} and status["phase"] != before:
            self.event_log.violation(f"{workflow.name} had ended, and is {status['state']} now")

    def check_the_end(self) -> None:
        """Every execution has succeeded, by attempts that did: one of each node."""
        for workflow in self.workflows.values():
            if workflow.deleted:
                continue
            if workflow.status.get("phase") != 3:
                self.event_log.violation(f"{workflow.name} is {workflow.status.get('state')} at the end")
                continue
            snapshot = workflow.snapshot
            assert snapshot is not None
            for number, node in enumerate(workflow.nodes):
                counted = f"{workflow.name}-{node}-{snapshot.attempts[number]}"
                if (pod := workflow.pods.get(counted)) is None or not pod.succeeded:
                    self.event_log.violation(f"{counted} counts, and has not succeeded")


class Seen:
    """An interceptor around a link to a cluster: tells the truth of what was done, whatever its client gets to see."""

    def __init__(self, truth: Truth, cluster: str, link: FaultyLink) -> None:
        self._truth = truth
        self._cluster = cluster
        self._link = link

    async def exchange(self, request: Request, forward: Forward) -> Response:
        async def seen(passed: Request) -> Response:
            response = await forward(passed)
            self._truth.applied(self._cluster, passed, response)
            return response

        return await self._link.exchange(request, seen)

    def stream(self, request: Request, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        return self._link.stream(request, chunks)
