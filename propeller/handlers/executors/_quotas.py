"""Room of launches in the quotas of their namespaces: an attempt that has none waits without a request, and is woken.

Guarantees
    A namespace without quotas costs a look into a table.
    Room is taken before tokens of pools are asked for, and given back if those have to be waited for: an attempt holds
    neither while it waits for the other, but for tokens that it has lost before (`LaunchTokens.keep`).
    An attempt that comes back, from a refusal or from waiting for tokens, has the place of its first wait.
Caveats
    Of a pod, what is known is what its task says: a sidecar of a webhook, the overhead of a runtime class, or a default
    priority class are learned by the first refusal.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from propeller.clock import Clock
from propeller.config import LaunchOptions
from propeller.errors import Throttled
from propeller.handlers.executors._gates import refusals_of
from propeller.handlers.executors._tokens import LOOKS_A_SECOND, MIN_LOOK
from propeller.handlers.executors._waits import Holder, claim_of, holder_of, tenant_of
from propeller.handlers.plugins import PodSettings
from propeller.handlers.plugins.pod import PLAIN, footprint_of
from propeller.kube import PODS, KubeObject, Resource
from propeller.resourcemgr import Path
from propeller.resourcemgr.quotas import (
    Launch,
    NamespaceQuotas,
    OutOfRange,
    Pace,
    QuotaWait,
    TooSmall,
    quota_of,
    refusal_of,
)
from propeller.workflow import AttemptObserved, EffectFailed, Failure, Launched, NodeEvent, NodeView, Refusals, Refused

_MIN_DELAY = 0.001
"""Seconds between two looks at the time."""

_CODE = "ResourceQuota"
"""Of an attempt that no quota of its namespace has room for, ever."""

_RANGE_CODE = "LimitRange"
"""Of an attempt that a limit range of its namespace never allows."""

_Json = Mapping[str, Any]


class LaunchQuotas:
    """One for all executions of a controller. `granted` is called when an attempt that has waited may be launched; it
    returns whether that is still wanted.

    More than 15 methods: one for each source of news, of informers and of an attempt's life.
    """

    def __init__(
        self,
        settings: LaunchOptions,
        clock: Clock,
        granted: Callable[[Holder], bool],
        weight_of: Callable[[Path], float] = lambda tenant: 1.0,
        pods: PodSettings = PLAIN,
    ) -> None:
        """`pods` are the settings of the pods that are launched."""
        self._pace = Pace(
            settle=settings.quota_settle,
            patience=settings.quota_patience,
            pause=settings.pause,
            pause_cap=settings.pause_cap,
        )
        self._clock = clock
        self._granted = granted
        self._weight_of = weight_of
        self._pods = pods
        self._namespaces: dict[str, NamespaceQuotas] = {}
        self._holders: dict[str, tuple[str, Holder]] = {}
        """Of attempts that wait, or were granted room: their namespace, and whose they are."""
        self._of_execution: dict[str, set[str]] = {}
        """The same attempts, by their execution's uid."""
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._waits_since: dict[str, tuple[Path, float]] = {}
        """Of claims that wait: their tenant, and since when in monotonic seconds."""
        self.on_waited: Callable[[Path, float], None] = lambda tenant, seconds: None
        """Called with the tenant of an attempt that has room, and for how long it has waited."""

    # what the informers show

    def quota_changed(self, namespace: str, name: str, quota: _Json | None) -> None:
        """A ResourceQuota is new, has changed, or is gone."""
        book, now = self._book(namespace), self._clock.monotonic()
        if quota is None:
            book.forget(name, now)
        else:
            book.observe(quota_of(quota), now)
        self._settle(namespace, book)

    def limit_range_changed(self, namespace: str, name: str, limit_range: _Json | None) -> None:
        """A LimitRange is new, has changed, or is gone."""
        book = self._book(namespace)
        spec = None if limit_range is None else limit_range.get("spec") or {}
        book.limit_range(name, spec, self._clock.monotonic())
        self._settle(namespace, book)

    def seen(self, obj: KubeObject, uid: str) -> None:
        """The resource of an attempt, as its informer has it."""
        if (book := self._namespaces.get(obj.metadata.namespace)) is not None:
            version = obj.metadata.resource_version
            book.shown(claim_of(uid, obj.metadata.name), int(version) if version.isdecimal() else 0)

    # an attempt's life

    def ask(self, node: NodeView, attempt: int, resource: Resource[Any]) -> Refused | EffectFailed | None:
        """Give an attempt its room; if there is none, what to tell its node."""
        namespace = node.execution.info.namespace
        book = self._namespaces.get(namespace)
        if not book:
            if self._holders:
                self._drop(holder_of(node, attempt).claim)
            return None
        holder = holder_of(node, attempt)
        name = holder.claim
        try:
            wait = book.ask(self._launch(node, name, resource), self._since(node), self._clock.monotonic())
        except (TooSmall, OutOfRange) as error:
            self._drop(name)
            book.give_up(name, self._clock.monotonic())
            code = _CODE if isinstance(error, TooSmall) else _RANGE_CODE
            return EffectFailed(attempt, Failure(code, str(error)))
        if wait is None:
            self._has_room(name)
            self._drop(name)
            return None
        self._keep(namespace, holder, tenant_of(node.execution.info))
        self._settle(namespace, book)
        return self._waits(node, attempt, book, wait)

    def refused(self, node: NodeView, attempt: int, resource: Resource[Any], error: Throttled) -> Refused | None:
        """A create was refused: what to tell its node, if by a quota that is known; the attempt then waits for it."""
        namespace = node.execution.info.namespace
        book, refusal = self._namespaces.get(namespace), refusal_of(str(error))
        if not book or refusal is None:
            return None
        holder = holder_of(node, attempt)
        name = holder.claim
        launch = self._launch(node, name, resource)
        wait = book.refused(launch, refusal, self._since(node), self._clock.monotonic())
        if wait is None:
            return None
        self._keep(namespace, holder, tenant_of(node.execution.info))
        self._settle(namespace, book)
        return self._waits(node, attempt, book, wait, tries=1)

    def answered(self, node: NodeView, attempt: int, events: Iterable[NodeEvent]) -> None:
        """A launch has come to something."""
        namespace = node.execution.info.namespace
        book = self._namespaces.get(namespace)
        if book is None or (name := holder_of(node, attempt).claim) in self._holders:
            return  # it waits
        if any(map(_may_exist, events)):
            book.answered(name, self._clock.monotonic())
        else:
            book.give_up(name, self._clock.monotonic())
        self._settle(namespace, book)

    def __bool__(self) -> bool:
        """Whether any namespace has quotas."""
        return bool(self._namespaces)

    def waits(self, uid: str) -> bool:
        """Whether an attempt of the execution waits."""
        return uid in self._of_execution

    def forget(self, uid: str) -> None:
        """The execution has ended or is gone: nothing of it waits any more."""
        for name in tuple(self._of_execution.get(uid, ())):
            namespace, _ = self._holders[name]
            self._drop(name)
            if (book := self._namespaces.get(namespace)) is not None:
                book.give_up(name, self._clock.monotonic())
                self._settle(namespace, book)

    def full(self, namespace: str) -> str:
        """Say why attempts of a namespace have to wait for a quota now; "" if they need not, as far as is known."""
        book = self._namespaces.get(namespace)
        if book is None:
            return ""
        if book.waiting:
            return f"{book.waiting} attempts wait for a quota of namespace {namespace}"
        why = book.exhausted(self._clock.monotonic())
        return f"{why} in namespace {namespace}" if why else ""

    def close(self) -> None:
        """Wake nothing any more."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._namespaces.clear()

    @property
    def waiting(self) -> Mapping[str, int]:
        """Attempts that wait, by namespace."""
        return {namespace: book.waiting for namespace, book in self._namespaces.items() if book.waiting}

    # within

    def _book(self, namespace: str) -> NamespaceQuotas:
        book = self._namespaces.get(namespace)
        if book is None:
            book = self._namespaces[namespace] = NamespaceQuotas(self._on_granted, self._pace, self._weight_of)
        return book

    def _settle(self, namespace: str, book: NamespaceQuotas) -> None:
        """Have the book looked at when time alone makes room; forget it if it has nothing in it."""
        if (timer := self._timers.pop(namespace, None)) is not None:
            timer.cancel()
        if book.is_empty:
            self._namespaces.pop(namespace, None)
        elif (wake := book.next_wake(self._clock.monotonic())) is not None:
            after = max(_MIN_DELAY, wake - self._clock.monotonic())
            tick = functools.partial(self._tick, namespace)
            self._timers[namespace] = asyncio.get_running_loop().call_later(after, tick)

    def _tick(self, namespace: str) -> None:
        self._timers.pop(namespace, None)
        if (book := self._namespaces.get(namespace)) is not None:
            book.serve(self._clock.monotonic())
            self._settle(namespace, book)

    def _launch(self, node: NodeView, name: str, resource: Resource[Any]) -> Launch:
        counted_as = f"count/{resource.plural}.{resource.group}" if resource.group else f"count/{resource.plural}"
        tenant = tenant_of(node.execution.info)
        found = footprint_of(node, self._pods) if resource is PODS else None
        if found is None:
            return Launch(name, counted_as, counted_as, None, tenant)
        return Launch(name, found.kind, counted_as, found.spec, tenant)

    def _since(self, node: NodeView) -> float:
        return refusals_of(node).since or self._clock.now()

    def _waits(
        self, node: NodeView, attempt: int, book: NamespaceQuotas, wait: QuotaWait, *, tries: int = 0
    ) -> Refused:
        before = refusals_of(node)
        refusals = Refusals(before.tries + tries, self._since(node), 0.0, str(wait))
        again = wait.after or max(MIN_LOOK, book.waiting / LOOKS_A_SECOND)
        repeats, queued = before.reason.startswith(wait.what), not wait.after
        return Refused(attempt, str(wait), again, refusals, repeats=repeats, queued=queued)

    def _has_room(self, name: str) -> None:
        if (waited := self._waits_since.pop(name, None)) is not None:
            tenant, since = waited
            self.on_waited(tenant, self._clock.monotonic() - since)

    def _keep(self, namespace: str, holder: Holder, tenant: Path) -> None:
        self._holders[holder.claim] = namespace, holder
        self._waits_since.setdefault(holder.claim, (tenant, self._clock.monotonic()))
        self._of_execution.setdefault(holder.uid, set()).add(holder.claim)

    def _drop(self, name: str) -> None:
        self._waits_since.pop(name, None)
        if (kept := self._holders.pop(name, None)) is not None:
            names = self._of_execution[kept[1].uid]
            names.discard(name)
            if not names:
                del self._of_execution[kept[1].uid]

    def _on_granted(self, name: str) -> bool:
        kept = self._holders.get(name)
        if kept is None or not self._granted(kept[1]):
            self._drop(name)
            return False
        self._has_room(name)
        return True


def _may_exist(event: NodeEvent) -> bool:
    return isinstance(event, Launched | AttemptObserved) or (isinstance(event, Refused) and event.may_exist)
