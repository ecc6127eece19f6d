"""Worlds in which executions that a deleted one has started go late: its namesake finds them under its own's names.

Somebody else has a finalizer on each of them, and takes his time to remove it. Until then they have the names that the
executions of a namesake, which a user creates at once, are to have. They are not its own, whatever they came to.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from unittest import mock

import msgspec
import orjson

from propeller.embedded.server import Forward, Interceptor
from propeller.errors import Conflict, NotFound
from propeller.handlers.executors import _attempts
from propeller.handlers.plugins import parent_of
from propeller.kube import KubeObject, Raw, Request, Response
from propeller.workflow import NodeView
from tests.simulation.finalizers import ARCHIVE
from tests.simulation.retries import retry_until_ok
from tests.simulation.scene import NAMESPACE, WORKFLOWS, Scene
from tests.simulation.users import Users


class Archive:
    """The webhook that adds the finalizer, and what removes it."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._rng = random.Random(f"archive {scene.seed}")
        self._since: dict[str, float] = {}
        """By uid, loop time when an execution that is being deleted may go."""

    def before(self, interceptor: Interceptor) -> Interceptor:
        return _Webhook(interceptor)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(1.0)
            for one in (await retry_until_ok(lambda: self._scene.clean.list(WORKFLOWS, NAMESPACE))).items:
                metadata = one["metadata"]
                if "deletionTimestamp" not in metadata or ARCHIVE not in metadata.get("finalizers", ()):
                    continue
                now = self._scene.loop.time()
                pause = self._rng.choice((0.0, 5.0, 60.0))
                if now >= self._since.setdefault(metadata["uid"], now + pause):
                    await self._remove(metadata)

    async def _remove(self, metadata: Raw) -> None:
        left = [one for one in metadata["finalizers"] if one != ARCHIVE]
        body = {"metadata": {"finalizers": left, "resourceVersion": metadata["resourceVersion"]}}
        try:
            await retry_until_ok(lambda: self._scene.clean.patch(WORKFLOWS, metadata["name"], NAMESPACE, body=body))
        except (NotFound, Conflict):
            return  # again, a second later


class _Webhook:
    def __init__(self, inner: Interceptor) -> None:
        self._inner = inner

    async def exchange(self, request: Request, forward: Forward) -> Response:
        async def admitted(passed: Request) -> Response:
            return await forward(_admitted(passed))

        return await self._inner.exchange(request, admitted)

    def stream(self, request: Request, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        return self._inner.stream(request, chunks)


def _admitted(request: Request) -> Request:
    if request.method != "POST" or not request.path.endswith("/flyteworkflows"):
        return request
    workflow = orjson.loads(request.body)
    if not workflow["metadata"].get("ownerReferences"):
        return request
    workflow["metadata"].setdefault("finalizers", []).append(ARCHIVE)
    return msgspec.structs.replace(request, body=orjson.dumps(workflow))


@contextmanager
def namesakes() -> Iterator[None]:
    """See the module's text."""

    def put_on(scene: Scene) -> None:
        scene.archive = Archive(scene)

    with (
        mock.patch.object(Scene, "put_on", put_on),
        mock.patch.object(Users, "deletes", 0.7),
        mock.patch.object(Users, "creates_again", 1.0),
    ):
        yield


def _an_execution_of_an_earlier_parent_of_the_name_counts() -> AbstractContextManager[Any]:
    is_ours = _attempts.is_ours

    def by_name(node: NodeView, obj: KubeObject) -> bool:
        if node.spec.workflow is not None and parent_of(obj.metadata) == node.execution.info.name:
            return True
        return is_ours(node, obj)

    return mock.patch.object(_attempts, "is_ours", by_name)


NAMESAKE_MUTATIONS: Mapping[str, Any] = {
    function.__name__.strip("_").replace("_", " "): function
    for function in (_an_execution_of_an_earlier_parent_of_the_name_counts,)
}
