"""Kubelets without containers: a pod begins when it is seen without scheduling gates, runs for as long as a test says,
and is reported as succeeded. Each namespace has a kubelet of its own: real ones watch the pods of their machine alone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec

from loadtest._shares import Span
from propeller.errors import Conflict, NotFound, Retryable
from propeller.informers import Change, Informer, InformerOptions
from propeller.kube import PODS, Client, KubeObject, SchedulingGate
from propeller.reconcile import FairPool

MAX_CONCURRENT_WRITES = 64
DEADLINE = 60.0  # seconds for the first list


class _Spec(msgspec.Struct, frozen=True, rename="camel"):
    scheduling_gates: tuple[SchedulingGate, ...] = ()


class _Pod(KubeObject, frozen=True, rename="camel"):
    spec: _Spec = _Spec()


class HollowKubelet:
    """All of them. `seconds` draws how long a pod of a namespace runs; times are those of `time.perf_counter`.

    `appeared` and `began` are by namespace and name, `spans` are of pods whose time is over, and `reported` is when
    the API server has acknowledged each of these.
    """

    def __init__(self, client: Client, namespaces: Iterable[str], seconds: Callable[[str], float]) -> None:
        self._client = client
        self._namespaces = tuple(namespaces)
        self._seconds = seconds
        self._writes: FairPool[str] = FairPool(MAX_CONCURRENT_WRITES, group=lambda key: key.partition("/")[0])
        self.appeared: dict[str, float] = {}
        self.began: dict[str, float] = {}
        self.spans: list[Span] = []
        self._over: set[str] = set()
        self.reported: dict[str, float] = {}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        settings = InformerOptions(progress_deadline=10.0)  # kube-apiserver lets a watch fall silent now and then
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._writes)
            for namespace in self._namespaces:
                pods = Informer(self._client, PODS.typed(_Pod), namespace=namespace, settings=settings)
                await stack.enter_async_context(pods)
                await pods.wait_for_sync(DEADLINE)
                pods.subscribe(self._seen)
            yield

    def all_spans(self) -> list[Span]:
        """Those of pods that run, too, up to now."""
        now = time.perf_counter()
        running = [
            Span(key.partition("/")[0], began, now) for key, began in self.began.items() if key not in self._over
        ]
        return [*self.spans, *running]

    def _seen(self, change: Change[_Pod]) -> None:
        pod = change.new
        if pod is None:
            return
        key = change.key
        if key not in self.appeared:
            self.appeared[key] = time.perf_counter()
        if key in self.began or pod.spec.scheduling_gates or pod.metadata.deletion_timestamp is not None:
            return
        self.began[key] = time.perf_counter()
        asyncio.get_running_loop().call_later(self._seconds(pod.metadata.namespace), self._end, key)

    def _end(self, key: str) -> None:
        self._over.add(key)
        self.spans.append(Span(key.partition("/")[0], self.began[key], time.perf_counter()))
        self._writes.submit(key, lambda: self._report(key))

    async def _report(self, key: str) -> None:
        namespace, _, name = key.partition("/")
        while True:
            try:
                await self._client.patch(
                    PODS, name, namespace, body={"status": {"phase": "Succeeded"}}, subresource="status"
                )
            except NotFound:
                return  # it was deleted
            except Conflict:
                raise
            except Retryable:
                await asyncio.sleep(0.2)
            else:
                self.reported[key] = time.perf_counter()
                return
