"""A kubelet without processes: each pod takes a while, and comes to what its script says."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from flyteidl.core import dynamic_job_pb2, errors_pb2, execution_pb2, literals_pb2
from google.protobuf import json_format

from propeller.errors import Conflict, Malformed, NotFound
from propeller.informers import Change, Informer
from propeller.kube import PODS, Client, Raw
from tests.simulation.drains import Drains
from tests.simulation.flows import task_template
from tests.simulation.model import DYNAMIC_TASKS, Expected, output_of, serialized
from tests.simulation.oracle import NODE, Oracle
from tests.simulation.retries import retry_until_ok
from tests.simulation.scripts import Outcome
from tests.simulation.sidecars import Sidecars, end_of_task, statuses, task_container

NODE_LOST_SECONDS = 40.0

STATUS_SYNC_SECONDS = 10.0
"""As in the kubelet's status manager."""

_ENDED = ("Succeeded", "Failed")
_PODS = PODS.typed(Raw)
_OTHERS = (NotFound, Conflict, Malformed)
"""Answers to what concerns a pod that is gone, or whose name another has by now."""

_TERMINATED: dict[Outcome, dict[str, Any]] = {
    Outcome.EXIT: {"exitCode": 1, "reason": "Error"},
    Outcome.OOM: {"exitCode": 137, "reason": "OOMKilled"},
    Outcome.KILLED: {"exitCode": 137, "reason": "Error"},
}

_COMPLETED = {"exitCode": 0, "reason": "Completed"}
_SIGKILL = {"terminated": _TERMINATED[Outcome.KILLED]}


class Kubelet:
    """Runs every pod of the server that `client` talks to; blobs go straight into the store."""

    def __init__(
        self,
        client: Client,
        blobs: dict[str, bytes],
        oracle: Oracle,
        rng: random.Random,
        sidecars: Sidecars,
        drains: Drains,
    ) -> None:
        self._client = client
        self._sidecars = sidecars
        self._drains = drains
        self._blobs = blobs
        self._oracle = oracle
        self._rng = rng
        self._pods: dict[str, asyncio.Task[None]] = {}
        self._ending: dict[str, asyncio.Task[None]] = {}
        self._stuck: set[str] = set()
        self._bound: set[str] = set()
        self._told: dict[str, dict[str, Any]] = {}
        """By uid, the last status that was reported."""
        self._group = asyncio.TaskGroup()

    async def run(self) -> None:
        """Until cancelled."""
        async with self._group, Informer(self._client, _PODS) as pods:
            pods.subscribe(self._changed)
            pods.subscribe_restores(lambda: self._start_over(pods.store))
            await self._sync_statuses(pods.store)

    def _start_over(self, pods: Iterable[Raw]) -> None:
        """The server was restored from an older copy."""
        for pod in pods:
            if "deletionTimestamp" not in pod["metadata"]:
                self._set_right(pod)

    async def _sync_statuses(self, pods: Iterable[Raw]) -> None:
        """Compare all pods with what was reported of them, now and then, once the server was restored. No watch shows a
        restore that comes before the event of the last report.
        """
        while True:
            await asyncio.sleep(STATUS_SYNC_SECONDS)
            for pod in pods if self._oracle.restores else ():
                if "deletionTimestamp" in pod["metadata"]:
                    if not self._is_being_ended(pod):
                        self._group.create_task(self._end_again(pod))
                elif self._is_out_of_date(pod):
                    self._group.create_task(self._sync_status(pod))

    def _is_being_ended(self, pod: Raw) -> bool:
        """Whether a pod that is told to stop will be removed: by what runs it, if its node is drained."""
        uid = pod["metadata"]["uid"]
        tasks = self._ending.get(uid), self._pods.get(uid)
        return any(task is not None and not task.done() for task in tasks)

    async def _end_again(self, pod: Raw) -> None:
        """A pod that was removed is there again, and told to stop."""
        if await self._is_to_go(pod) and not self._is_being_ended(pod):
            self._ending[pod["metadata"]["uid"]] = self._group.create_task(self._terminate(pod))

    def _is_out_of_date(self, pod: Raw) -> bool:
        verbose = self._told.get(pod["metadata"]["uid"], {})
        return pod["status"] | verbose != pod["status"] or not self._runs_or_has_ended(pod)

    def _runs_or_has_ended(self, pod: Raw) -> bool:
        """Whether the pod runs, or its end was reported."""
        uid = pod["metadata"]["uid"]
        verbose, running = self._told.get(uid, {}), self._pods.get(uid)
        is_running = running is not None and not running.done()
        return is_running or verbose.get("phase") in _ENDED or end_of_task(verbose) is not None

    async def _sync_status(self, pod: Raw) -> None:
        try:
            found = await retry_until_ok(
                lambda: self._client.get(_PODS, pod["metadata"]["name"], pod["metadata"]["namespace"])
            )
        except NotFound:
            return
        is_same = found["metadata"]["uid"] == pod["metadata"]["uid"]
        if is_same and "deletionTimestamp" not in found["metadata"] and self._is_out_of_date(found):
            self._set_right(found)

    def _set_right(self, pod: Raw) -> None:
        """Tell a restored server again what came of a pod, or run one that was stopped for a reason that it does not
        know.
        """
        uid = pod["metadata"]["uid"]
        if (stopping := self._ending.pop(uid, None)) is not None:
            stopping.cancel()
        if self._runs_or_has_ended(pod):
            self._group.create_task(self._tell_again(pod))
        else:
            self._pods[uid] = self._group.create_task(self._run_pod(pod))

    async def _tell_again(self, pod: Raw) -> None:
        try:
            if pod["metadata"]["uid"] in self._bound and not pod["spec"].get("nodeName"):
                await self._bind(pod)
            uid = pod["metadata"]["uid"]
            verbose, running = self._told.get(uid, {}), self._pods.get(uid)
            if running is not None and running.cancelled():  # the server does not know that the pod was stopped
                verbose = self._sidecars.last_report(pod, verbose) or verbose
            if pod["status"] | verbose != pod["status"]:
                await self._report(pod, verbose)
        except _OTHERS:
            return  # it was deleted

    def _changed(self, change: Change[Raw]) -> None:
        pod = change.new or change.old
        assert pod is not None
        uid = pod["metadata"]["uid"]
        if change.new is None or "deletionTimestamp" in pod["metadata"]:
            self._sidecars.is_told_to_stop(uid)
        if change.new is None:
            self._cancel(uid)
            self._pods.pop(uid, None)
            self._ending.pop(uid, None)
            self._told.pop(uid, None)
            self._bound.discard(uid)
        elif "deletionTimestamp" in pod["metadata"]:
            if uid not in self._ending and not self._drains.has_struck(uid):
                self._cancel(uid)
                self._ending[uid] = self._group.create_task(self._terminate(pod))
        elif uid not in self._pods:
            self._pods[uid] = self._group.create_task(self._run_pod(pod))
        elif self._oracle.restores:
            self._set_right(pod)

    def _cancel(self, uid: str) -> None:
        if uid in self._stuck:  # to be stopped is the end that its script has
            self._stuck.discard(uid)
            self._oracle.run_ended(uid, unseen=True)
        if (task := self._pods.get(uid)) is not None:
            task.cancel()

    async def _terminate(self, pod: Raw) -> None:
        uid = pod["metadata"]["uid"]
        owner = self._oracle.pods.get(uid)
        hurries = owner is not None and owner[0].flow.is_timed  # its time is not to be up for that
        await asyncio.sleep(self._rng.uniform(0.0, 30.0) + (0.0 if hurries else self._sidecars.stopping_takes(uid)))
        if not self._oracle.restores or await self._is_to_go(pod):
            await self._report_last(pod)
            await self._remove(pod)
        elif self._ending.pop(pod["metadata"]["uid"], None) is not None:
            self._set_right(pod)

    async def _report_last(self, pod: Raw) -> None:
        last = self._sidecars.stopped(pod, self._told.get(pod["metadata"]["uid"], {}))
        if last is not None:
            with suppress(*_OTHERS):
                await self._report(pod, last)

    async def _is_to_go(self, pod: Raw) -> bool:
        """A restored server may have forgotten that the pod was told to stop."""
        try:
            found = await retry_until_ok(
                lambda: self._client.get(_PODS, pod["metadata"]["name"], pod["metadata"]["namespace"])
            )
        except NotFound:
            return False
        return "deletionTimestamp" in found["metadata"]

    async def _remove(self, pod: Raw) -> None:
        metadata = pod["metadata"]
        try:
            await retry_until_ok(
                lambda: self._client.delete(
                    PODS, metadata["name"], metadata["namespace"], grace_seconds=0, uid=metadata["uid"]
                )
            )
        except _OTHERS:
            return

    async def _run_pod(self, pod: Raw) -> None:
        uid = pod["metadata"]["uid"]
        found = self._oracle.script(uid)
        if found is None:
            return
        expected, outcome = found
        try:
            await self._rest(0.3)
            if self._drains.comes_early(outcome):
                self._oracle.run_ended(uid, unseen=True)
                await self._drains.strike(pod)
                return
            if not pod["spec"].get("nodeName"):
                await self._bind(pod)
            await self._rest(1.0)
            self._check_inputs(pod, expected)
            if outcome is Outcome.IMAGE:
                await self._wait_for_the_image(pod)
                return
            if self._rng.random() < 0.7:
                await self._report(pod, {"phase": "Running"})
            await self._rest(self._rng.choice((0.1, 1.0, 10.0)))
            await self._end(pod, expected, outcome)
        except _OTHERS:
            return  # it was deleted

    async def _rest(self, mean: float) -> None:
        await asyncio.sleep(self._rng.expovariate(1 / mean))

    def _check_inputs(self, pod: Raw, expected: Expected) -> None:
        inputs = self._blobs.get(_arguments(pod)[1])
        if inputs != expected.inputs:
            found = literals_pb2.LiteralMap.FromString(inputs) if inputs is not None else None
            wanted = literals_pb2.LiteralMap.FromString(expected.inputs)
            self._oracle.event_log.violation(f"pod {pod['metadata']['name']} finds inputs {found}, not {wanted}")

    async def _wait_for_the_image(self, pod: Raw) -> None:
        waiting = {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}
        await self._report(pod, {"phase": "Pending", **statuses(pod, {"waiting": waiting})})
        await self._until_stopped(pod)

    async def _until_stopped(self, pod: Raw) -> None:
        self._stuck.add(pod["metadata"]["uid"])
        await asyncio.Event().wait()

    async def _end(self, pod: Raw, expected: Expected, outcome: Outcome) -> None:
        uid = pod["metadata"]["uid"]
        match outcome:
            case Outcome.HANG:
                await self._until_stopped(pod)
            case Outcome.VANISHES | Outcome.LOST:
                if outcome is Outcome.LOST:
                    await asyncio.sleep(NODE_LOST_SECONDS)
                self._oracle.run_ended(uid, unseen=True)
                await self._remove(pod)
            case Outcome.DRAINED:
                await asyncio.sleep(await self._drains.strike(pod))
                self._oracle.run_ended(uid, unseen=True)
                if self._drains.end_is_reported():
                    await self._report(pod, {"phase": "Failed", **statuses(pod, _SIGKILL, _SIGKILL)})
                await self._rest(1.0)
                await self._remove(pod)
            case Outcome.SPARED:
                await self._end_well(pod, expected)
            case Outcome.EVICTED:
                await self._report(pod, {"phase": "Failed", "reason": "Evicted", "message": "the node is full"})
            case Outcome.EXIT | Outcome.OOM | Outcome.KILLED:
                await self._report_end(pod, "Failed", _TERMINATED[outcome])
            case _:
                self._write(pod, expected, outcome)
                await self._report_end(pod, "Succeeded", _COMPLETED)

    async def _end_well(self, pod: Raw, expected: Expected) -> None:
        """Before the pod is deleted, or in its grace."""
        late = self._drains.comes_late(Outcome.SPARED)
        if not late:
            await asyncio.sleep(await self._drains.strike(pod))
        self._write(pod, expected, Outcome.SPARED)
        if late or self._drains.end_is_reported():
            await self._report_end(pod, "Succeeded", _COMPLETED)
        else:
            self._oracle.run_ended(pod["metadata"]["uid"])
        await self._rest(self._rng.choice((0.1, 1.0, 10.0)))
        if late:
            await asyncio.sleep(await self._drains.strike(pod))
        await self._remove(pod)

    async def _report_end(self, pod: Raw, phase: str, terminated: dict[str, Any]) -> None:
        for pause, status in self._sidecars.ends(pod, phase, terminated):
            if pause:
                await asyncio.sleep(pause)
            await self._report(pod, status)

    def _write(self, pod: Raw, expected: Expected, outcome: Outcome) -> None:
        """What flytekit would have written before the process ends."""
        kind, _, directory = _arguments(pod)
        if outcome.is_well:
            self._oracle.outputs_left(pod["metadata"]["uid"])
        match outcome:
            case Outcome.NO_OUTPUTS:
                pass
            case Outcome.USER | Outcome.FATAL | Outcome.SYSTEM:
                document = errors_pb2.ErrorDocument()
                document.error.code, document.error.message = "Simulated", outcome.value
                if outcome is not Outcome.FATAL:
                    document.error.kind = errors_pb2.ContainerError.RECOVERABLE
                if outcome is Outcome.SYSTEM:
                    document.error.origin = execution_pb2.ExecutionError.SYSTEM
                self._blobs[f"{directory}/error.pb"] = document.SerializeToString()
            case _ if kind == "dynamic":
                self._blobs[f"{directory}/futures.pb"] = _job().SerializeToString(deterministic=True)
            case _:
                value = output_of(pod["metadata"]["annotations"][NODE], expected.inputs)
                self._blobs[f"{directory}/outputs.pb"] = serialized({"o": value})

    async def _bind(self, pod: Raw) -> None:
        metadata = pod["metadata"]
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"]},
            "target": {"apiVersion": "v1", "kind": "Node", "name": "node"},
        }
        name, namespace = metadata["name"], metadata["namespace"]
        try:
            await retry_until_ok(
                lambda: self._client.create(PODS, binding, namespace, name=name, subresource="binding")
            )
        except Conflict:  # or an earlier try was not answered: then it is bound
            found = await retry_until_ok(lambda: self._client.get(_PODS, name, namespace))
            if found["metadata"]["uid"] != metadata["uid"] or not found["spec"].get("nodeName"):
                raise
        self._bound.add(metadata["uid"])

    async def _report(self, pod: Raw, status: dict[str, Any]) -> None:
        metadata = pod["metadata"]
        self._told[metadata["uid"]] = status
        body = {"metadata": {"uid": metadata["uid"]}, "status": status}
        name, namespace = metadata["name"], metadata["namespace"]
        await retry_until_ok(lambda: self._client.patch(PODS, name, namespace, body=body, subresource="status"))


def _arguments(pod: Raw) -> tuple[str, str, str]:
    kind, inputs, outputs = task_container(pod)["args"]
    return kind, inputs, outputs


def _job() -> dynamic_job_pb2.DynamicJobSpec:
    """A chain of tasks; what the last one gives is the output."""
    job = dynamic_job_pb2.DynamicJobSpec()
    json_format.ParseDict(task_template("task"), job.tasks.add())
    for number in range(DYNAMIC_TASKS):
        node = job.nodes.add(id=f"dn{number}")
        node.task_node.reference_id.CopyFrom(job.tasks[0].id)
        binding = node.inputs.add(var="x")
        if number:
            binding.binding.promise.node_id, binding.binding.promise.var = f"dn{number - 1}", "o"
        else:
            binding.binding.scalar.primitive.integer = 7
    output = job.outputs.add(var="o")
    output.binding.promise.node_id, output.binding.promise.var = f"dn{DYNAMIC_TASKS - 1}", "o"
    return job
