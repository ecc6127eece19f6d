"""A kubelet's part: each pod succeeds soon after it appeared, with outputs as its task declares them, or damaged ones.

While `held`, pods are left running. `leave` is what an attempt leaves in its directory instead of its outputs.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from flyteidl.core import interface_pb2, literals_pb2
from google.protobuf import json_format

from propeller.errors import NotFound, PropellerError
from propeller.informers import Change, Informer
from propeller.kube import PODS, Client
from propeller.reconcile import FairPool
from propeller.workflow import label_value
from tests.vectors.defaults import default_literal

_ENDED = frozenset({"Succeeded", "Failed"})
_FILE = "file://"

Leave = Callable[[Path, dict[str, Any]], None]
"""Write something into an attempt's directory, for its pod."""


class Pods:
    """Ends the pods of a namespace; `tasks` are, by workflow, its tasks as they were before any damage."""

    def __init__(self, client: Client, namespace: str, root: Path) -> None:
        self._client = client
        self._namespace = namespace
        self._root = root
        self._writes: FairPool[str] = FairPool(32)
        self.tasks: dict[str, Mapping[str, Any]] = {}
        self.leave: Leave = self.outputs
        self.seen: dict[str, dict[str, Any]] = {}
        """By name, those that are there and run."""
        self.held = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        pods = Informer(self._client, PODS.typed(dict[str, Any]), namespace=self._namespace)
        async with self._writes, pods:
            await pods.wait_for_sync(30)
            pods.subscribe(self._seen)
            yield

    def release(self) -> None:
        """End what was held, and hold no more."""
        self.held = False
        for name in list(self.seen):
            self._submit(name)

    def _seen(self, change: Change[dict[str, Any]]) -> None:
        pod = change.new
        if pod is None or pod.get("status", {}).get("phase") in _ENDED:
            self.seen.pop(change.key.rpartition("/")[2], None)
            return
        name = pod["metadata"]["name"]
        is_new = name not in self.seen
        self.seen[name] = pod
        if not self.held and (is_new or "deletionTimestamp" in pod["metadata"]):
            self._submit(name)

    def _submit(self, name: str) -> None:
        self._writes.submit(name, lambda: self._end(name))

    async def _end(self, name: str) -> None:
        pod = self.seen.get(name)
        if pod is None:
            return
        directory = self._directory(pod)
        if directory is not None:
            await asyncio.to_thread(self._leave, directory, pod)
        try:
            if "deletionTimestamp" in pod["metadata"]:
                await self._client.delete(PODS, name, self._namespace, grace_seconds=0)
                return
            statuses = [
                {
                    "name": container["name"],
                    "image": "i",
                    "imageID": "",
                    "ready": False,
                    "restartCount": 0,
                    "state": {"terminated": {"exitCode": 0, "reason": "Completed"}},
                }
                for container in pod["spec"]["containers"]
            ]
            body = {"status": {"phase": "Succeeded", "containerStatuses": statuses}}
            await self._client.patch(PODS, name, self._namespace, body=body, subresource="status")
        except NotFound:
            return
        except PropellerError as error:
            logging.getLogger(__name__).warning("%s could not be ended: %s", name, error)

    def _leave(self, directory: Path, pod: dict[str, Any]) -> None:
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self.leave(directory, pod)
        except OSError as error:  # a damaged path: the task could not have written there either
            logging.getLogger(__name__).info("%s: %s", directory, error)

    def _directory(self, pod: dict[str, Any]) -> Path | None:
        """Where the task writes: what follows --output-prefix, if that is below our directory."""
        for container in pod["spec"]["containers"]:
            arguments = [*(container.get("command") or ()), *(container.get("args") or ())]
            for flag, value in itertools.pairwise(arguments):
                if flag == "--output-prefix" and value.startswith(_FILE):
                    path = Path(value.removeprefix(_FILE))
                    return path if path.is_relative_to(self._root) and ".." not in path.parts else None
        return None

    def outputs(self, directory: Path, pod: dict[str, Any]) -> None:
        """A default value for each output that the pod's task declares."""
        (directory / "outputs.pb").write_bytes(self.outputs_of(pod).SerializeToString())

    def outputs_of(self, pod: dict[str, Any]) -> literals_pb2.LiteralMap:
        metadata = pod["metadata"]
        owner = metadata["ownerReferences"][0]["name"]
        found = literals_pb2.LiteralMap()
        for task in self.tasks.get(owner, {}).values():
            if label_value(task["id"]["name"]) != metadata.get("labels", {}).get("task-name"):
                continue
            interface = json_format.ParseDict(
                task.get("interface") or {}, interface_pb2.TypedInterface(), ignore_unknown_fields=True
            )
            for name, variable in interface.outputs.variables.items():
                found.literals[name].CopyFrom(default_literal(variable.type))
        return found
