"""The server itself: its parts put together, its background work owned, and its doors.

Guarantees
    With the same clock, loop and `randomness`, the same requests give the same objects, uids and names included.
    When the context is left, every stream has ended and no task is left.
Caveats
    State is in memory, and gone with the object. Any user may do everything: roles are stored, not enforced.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager
from types import TracebackType
from typing import Self

from propeller.clock import SYSTEM_CLOCK, Clock, rfc3339
from propeller.config import ApiServerOptions
from propeller.embedded.server._backup import Backup, back_up, restore
from propeller.embedded.server._responses import Answer
from propeller.embedded.server._storage import Storage
from propeller.embedded.server.controllers._definitions import Definitions
from propeller.embedded.server.controllers._event_ttl import expire
from propeller.embedded.server.controllers._garbage_collector import GarbageCollector
from propeller.embedded.server.controllers._namespaces import INITIAL, Namespaces
from propeller.embedded.server.controllers._quotas import Quotas
from propeller.embedded.server.controllers._service_accounts import ServiceAccounts
from propeller.embedded.server.endpoints._front import Front
from propeller.embedded.server.endpoints._handler import Handler
from propeller.embedded.server.endpoints._pod_logs import LogSource
from propeller.embedded.server.endpoints._transport import Interceptor, MemoryTransport
from propeller.embedded.server.negotiation._requests import Call, Form, Target
from propeller.embedded.server.registry._kinds import APIEXTENSIONS, Registry, builtin_kinds
from propeller.embedded.server.rest._deletes import Deletes
from propeller.embedded.server.rest._writes import Identity, Writes
from propeller.errors import Unavailable
from propeller.kube import Request, Transport

ADMIN = "kubernetes-admin"

_SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""Of generated names: kube-apiserver's, which spells no words."""


class ApiServer:
    """A Kubernetes API server in this process. Use within `async with`.

    `logs` is the source of pods' logs, usually a kubelet's `logs`; it may be set later. `randomness` generates uids,
    suffixes of generated names and jitter. Without `controllers` it is as bare as a kube-apiserver without its
    controller manager: deleted namespaces stay terminating, dependents are not garbage collected, quotas do not notice
    freed resources, and namespaces have no service account.

    More than 15 methods: one for each operation on a server (serve, stop, compact, back up).
    """

    def __init__(
        self,
        settings: ApiServerOptions | None = None,
        *,
        clock: Clock = SYSTEM_CLOCK,
        randomness: random.Random | None = None,
        logs: LogSource | None = None,
        controllers: bool = True,
    ) -> None:
        self._controllers = controllers
        self._settings = settings = settings or ApiServerOptions()
        self._clock = clock
        self._random = randomness or random.Random()
        self._make_parts()
        self._handler.logs = logs
        self._second = (-1, "")
        self._up = False
        self._stack = AsyncExitStack()
        self._group: asyncio.TaskGroup | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self.max_in_flight = settings.max_in_flight
        self.retry_after = settings.retry_after
        self.in_flight = 0
        """Requests that are being answered, watches apart."""

    async def __aenter__(self) -> Self:
        self._create_namespaces()
        async with AsyncExitStack() as stack:
            self._group = await stack.enter_async_context(asyncio.TaskGroup())
            self._begin_work(self._group)
            stack.callback(self._end_work)
            stack.callback(self.stop)
            self._up = True
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Exception):  # the caller's own, which is not to come out within a group
            kind = error = trace = None
        await self._stack.__aexit__(kind, error, trace)

    @property
    def logs(self) -> LogSource | None:
        """The source of pods' logs; without one, reading a log is answered with 501."""
        return self._handler.logs

    @logs.setter
    def logs(self, source: LogSource | None) -> None:
        self._handler.logs = source

    @property
    def resource_version(self) -> int:
        """The version of the latest write."""
        return self._storage.version

    def transport(self, user: str = ADMIN, *, interceptor: Interceptor | None = None) -> Transport:
        """Return a transport to this server without a socket, as `user`; requests and responses pass the
        interceptor.
        """
        return MemoryTransport(self, user, interceptor)

    @asynccontextmanager
    async def serve(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        token: str | None = None,
        tls: ssl.SSLContext | None = None,
        ca: bytes | None = None,
        user: str = ADMIN,
        interceptor: Interceptor | None = None,
    ) -> AsyncIterator[Front]:
        """Open the server to other processes: over HTTP, or HTTPS with `tls`; clients should trust `ca`.

        Port 0 means any free one; `token` None means a new random one. Raises Invalid if the port is taken.
        """
        from propeller.embedded.server.endpoints._http import serve

        transport = self.transport(user, interceptor=interceptor)
        limit = self._settings.connections
        async with serve(transport, host, port, token=token, connections=limit, tls=tls, ca=ca) as front:
            yield front

    def compact(self) -> None:
        """Forget all history: watches and pages that want to go on from before now are refused with 410."""
        self._storage.compact()

    def drop_watches(self, reason: str = "the connection was reset") -> None:
        """Cut every watch that is open."""
        for watch in tuple(self._handler.watches):
            watch.end(reason)

    def stop(self) -> None:
        """Stop serving: watches are cut, and requests fail as if the port were closed, until `start`. The objects
        stay.
        """
        self._up = False
        self.drop_watches("the API server went away")

    def start(self) -> None:
        """Serve again, like a restarted server: the history that watches could resume from is lost."""
        self._storage.forget_watches()
        self._up = True

    def back_up(self) -> Backup:
        """A copy of all objects as they are now: etcd's snapshot."""
        return back_up(self._storage)

    def restore(self, backup: Backup, *, bump: int = 0) -> None:
        """Restore a copy: the server is down until `start`, and then has lost everything written since. Versions go
        back, too; with `bump` they continue above those that were seen (etcdutl's --bump-revision).
        """
        logs = self.logs
        self.stop()
        self._end_work()
        self._make_parts()
        self.logs = logs
        for definition in backup.collections[f"customresourcedefinitions.{APIEXTENSIONS}"]:
            if definition.name in backup.collections:
                self._definitions.serve_again(definition)
        restore(self._storage, backup, bump)
        if self._group is not None:
            self._begin_work(self._group)

    def answer(self, request: Request, user: str) -> Answer | Awaitable[Answer]:
        """The answer to one request; for transports. Raises Unavailable while the server is down."""
        if not self._up:
            raise Unavailable(
                f"the embedded API server is down: connection refused for {request.method} {request.path}"
            )
        return self._handler.answer(request, user)

    def _make_parts(self) -> None:
        """Create all parts, empty: a new server keeps nothing of the previous one."""
        settings, clock = self._settings, self._clock
        self._storage = Storage(max_changes=settings.history_changes, max_bytes=settings.history_bytes)
        self._registry = Registry(self._storage)
        for kind in builtin_kinds(self._storage):
            self._registry.add(kind)
        self._deletes = Deletes(self._storage, clock.now)
        self._gc = GarbageCollector(self._storage, self._registry, self._deletes)
        self._namespaces = Namespaces(self._storage, self._registry, self._deletes, clock.now)
        self._quotas = Quotas(self._storage, self._registry, clock.now)
        self._definitions = Definitions(self._storage, self._registry, self._deletes, clock.now)
        self._writes = Writes(
            self._storage,
            Identity(self._time, self._uid, self._suffix),
            admit=(self._definitions.admit, self._namespaces.admit),
            admit_valid=self._quotas.admit,
        )
        self._service_accounts = ServiceAccounts(self._storage, self._registry, self._writes)
        self._handler = Handler(
            self._storage,
            self._registry,
            self._writes,
            self._deletes,
            self._definitions,
            self._namespaces,
            now=clock.now,
            bookmark_interval=settings.bookmark_interval,
            randomness=self._random,
        )

    def _begin_work(self, group: asyncio.TaskGroup) -> None:
        events = self._registry.get("", "v1", "events").collection
        work = {
            "serve definitions": self._definitions.run(),
            "expire events": expire(self._storage, events, self._settings.event_ttl, self._clock.now),
        }
        if self._controllers:
            work["collect garbage"] = self._gc.run()
            work["empty namespaces"] = self._namespaces.run()
            work["work out quotas"] = self._quotas.run()
            work["make service accounts"] = self._service_accounts.run()
        self._tasks = [group.create_task(run, name=f"api server: {name}") for name, run in work.items()]

    def _end_work(self) -> None:
        for task in self._tasks:
            task.cancel()

    def _create_namespaces(self) -> None:
        """Those that every cluster has, unless they are there already."""
        kind = self._registry.get("", "v1", "namespaces")
        for name in INITIAL:
            if name not in kind.collection.records:
                target = Target(kind)
                request = Request(method="POST", path="/api/v1/namespaces")
                call = Call(verb="create", target=target, request=request, form=Form.OBJECT, manager="kube-apiserver")
                self._writes.create_object(call, {"metadata": {"name": name}}, ())

    def _time(self) -> str:
        """The current time as metav1.Time; formatted once a second."""
        now = self._clock.now()
        if int(now) != self._second[0]:
            self._second = (int(now), rfc3339(now))
        return self._second[1]

    def _uid(self) -> str:
        """A random UUID (version 4)."""
        digits = f"{self._random.getrandbits(128):032x}"
        return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"

    def _suffix(self) -> str:
        return "".join(self._random.choices(_SUFFIX_ALPHABET, k=5))
