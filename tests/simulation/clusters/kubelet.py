"""Runs the pods of one cluster: each ends well after a time of its own."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Set
from contextlib import suppress
from typing import Any

from propeller.errors import PropellerError
from propeller.informers import Change, Informer
from propeller.kube import PODS, Client, Raw
from tests.simulation.clusters.truth import Truth

NAMESPACE = "ns"
RAW_PODS = PODS.typed(Raw)


class Kubelet:
    """`down` are the clusters whose API server is down."""

    def __init__(self, cluster: str, client: Client, truth: Truth, down: Set[str]) -> None:
        self._cluster = cluster
        self._client = client
        self._truth = truth
        self._down = down

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            running: set[str] = set()

            async def run(act: Callable[[str, str], Coroutine[Any, Any, None]], name: str, uid: str) -> None:
                await act(name, uid)
                running.discard(uid)

            def changed(change: Change[Raw]) -> None:
                pod = change.new
                if pod is None or pod["metadata"]["uid"] in running:
                    return
                name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
                if "deletionTimestamp" in pod["metadata"]:
                    running.add(uid)
                    group.create_task(run(self._end_deleted, name, uid))
                elif pod.get("status", {}).get("phase") != "Succeeded":
                    running.add(uid)
                    group.create_task(run(self._run_pod, name, uid))

            async with Informer(self._client, RAW_PODS, namespace=NAMESPACE) as informer:
                informer.subscribe(changed)
                await asyncio.Event().wait()

    async def _run_pod(self, name: str, uid: str) -> None:
        drawn = random.Random(f"{name} {self._cluster}")
        with suppress(PropellerError):
            body = {"metadata": {"uid": uid}, "status": {"phase": "Running"}}
            await self._client.patch(RAW_PODS, name, NAMESPACE, body=body, subresource="status")
        await asyncio.sleep(drawn.choice((0.5, 3.0, 30.0, 90.0, 300.0)) * drawn.random())
        while True:
            try:
                body = {"metadata": {"uid": uid}, "status": {"phase": "Succeeded"}}
                pod = await self._client.get(RAW_PODS, name, NAMESPACE)
                if pod["metadata"]["uid"] != uid:
                    return
                if "deletionTimestamp" in pod["metadata"]:
                    await self._end_deleted(name, uid)
                    return
                await self._client.patch(RAW_PODS, name, NAMESPACE, body=body, subresource="status")
            except PropellerError as error:
                if self._cluster in self._down:
                    await asyncio.sleep(1.0)
                    continue
                self._truth.event_log.record(f"pod {name} is not there: {type(error).__name__}")
                return
            self._truth.event_log.record(f"pod {name} succeeds in {self._cluster}")
            owner = pod["metadata"]["labels"]["propeller/workflow-uid"]
            self._truth.workflows[owner].pods[name].succeeded = True
            return

    async def _end_deleted(self, name: str, uid: str) -> None:
        """A pod that is told to stop is killed, unless it has ended; then the kubelet lets it go."""
        await asyncio.sleep(random.Random(name).random() * 5.0)
        with suppress(PropellerError):
            pod = await self._client.get(RAW_PODS, name, NAMESPACE)
            if pod["metadata"]["uid"] == uid and pod.get("status", {}).get("phase") != "Succeeded":
                body = {"metadata": {"uid": uid}, "status": {"phase": "Failed"}}
                await self._client.patch(RAW_PODS, name, NAMESPACE, body=body, subresource="status")
        with suppress(PropellerError):
            await self._client.delete(RAW_PODS, name, NAMESPACE, uid=uid, grace_seconds=0)
