"""Tokens of launches: an attempt is asked for when its claim has been granted, and gives back when nothing of it runs.

Guarantees
    An attempt whose rules name no pool is never asked about twice. One that has to wait does so without a request, and
    hears of its grant at once; its node says what it waits for.
    A claim's identity is the attempt. Its resource carries the claim (annotations `propeller/pools` and
    `propeller/tenant`): what runs after a restart is counted before anything is launched, and what the informer shows
    to run is counted whoever has launched it.
    Tokens come back when the resource has ended or is gone, or the create was refused. After a create without an
    answer, and after the end of an execution, they stay out until the resource was seen to end, or none was seen for
    `resources.unused_grant` seconds.
Caveats
    If a watch is later than that, its pods are counted when they are seen: a pool may have more out by those.
    Who may create pods that a FlyteWorkflow owns can take tokens with them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from propeller.clock import Clock
from propeller.errors import Invalid
from propeller.handlers.executors._gates import refusals_of
from propeller.handlers.plugins import TaskPlugin
from propeller.handlers.plugins.pod import POOLS_ANNOTATION, demand_of
from propeller.kube import KubeObject
from propeller.resourcemgr import (
    SEPARATOR,
    Claim,
    MemoryTokens,
    ResourceOptions,
    check_options,
    needs_of,
    path_of,
    text_of,
    wanted_pools,
)
from propeller.telemetry import Causes
from propeller.workflow import (
    AttemptObserved,
    AttemptPhase,
    EffectFailed,
    Failure,
    Launched,
    NodeEvent,
    NodeView,
    Refusals,
    Refused,
    Remains,
)

TENANT_ANNOTATION = "propeller/tenant"

SHORTEST_LOOK, LOOKS_A_SECOND = 30.0, 100
"""Seconds after which an attempt that waits says anew what it waits for; more if so many wait that the looks of all
would be more than that in a second.
"""

_LIMIT = "ResourceLimit"
"""The code of an attempt whose claim can never be met."""


class Holder(msgspec.Struct, frozen=True):
    """Whose claim it is."""

    execution: str
    """Its key."""
    uid: str
    node: int
    attempt: int
    name: str
    """Of the attempt's resource."""


class LaunchTokens:
    """One for all executions of a controller. `granted` is called when a holder that has waited may launch; it returns
    whether that is still wanted.
    """

    def __init__(
        self, options: ResourceOptions, clock: Clock, granted: Callable[[Holder], bool], causes: Causes
    ) -> None:
        """Raises Invalid for limits or rules that contradict themselves."""
        check_options(options)
        self._rules = options.rules
        self._granted = granted
        self._causes = causes
        self._clock = clock
        self._tokens = MemoryTokens(
            options, clock=clock, unused_after=options.unused_grant, taken_back=self._taken_back
        )
        self._running: set[str] = set()
        """Claims of attempts whose resource is there, and has not ended."""
        self._doubtful: set[str] = set()
        """Claims of attempts whose create had no answer: there may be a resource."""
        self._without_resource: dict[str, set[str]] = {}
        """By execution's uid: claims, held or waiting, of attempts that have shown no resource yet."""

    def ask(self, node: NodeView, attempt: int) -> Refused | EffectFailed | None:
        """Take the tokens of an attempt's launch; if they are not free, what to tell its node."""
        execution, uid = node.execution, node.execution.info.uid
        try:
            claim = self._claim(node, attempt)
            if claim is None:
                return None
            holder = Holder(execution.key, uid, node.number, attempt, execution.pod_name(node.number, attempt))
            is_granted = self._tokens.request(claim, lambda: self._on_granted(claim.id, holder), lambda _: None)
        except Invalid as error:
            return EffectFailed(attempt, Failure(_LIMIT, str(error)))
        self._without_resource.setdefault(uid, set()).add(claim.id)
        if is_granted:
            self._tokens.use(claim.id)
            return None
        wait = self._tokens.ledger.explain(claim.id)
        assert wait is not None
        before, now = refusals_of(node), self._clock.now()
        refusals = Refusals(before.tries, before.since or now, before.denied, str(wait))
        again = max(SHORTEST_LOOK, len(self._tokens.ledger) / LOOKS_A_SECOND)
        return Refused(attempt, str(wait), again, refusals, repeats=before.reason.startswith(wait.what))

    def describe(self, node: NodeView, attempt: int, resource: dict[str, Any]) -> None:
        """Write the claim into the resource that is going to be created."""
        if (claim := self._claim(node, attempt)) is not None:
            metadata = resource["metadata"]
            marks = {POOLS_ANNOTATION: text_of(claim.needs), TENANT_ANNOTATION: SEPARATOR.join(claim.tenant)}
            metadata["annotations"] = {**metadata.get("annotations", {}), **marks}

    def answered(self, node: NodeView, attempt: int, events: Iterable[NodeEvent]) -> None:
        """A launch has come to something. Tokens come back if it has left no resource that runs, at once or, if a
        create had no answer, when the informer has had the time to show one.
        """
        uid, name = node.execution.info.uid, _id_of(node, attempt)
        if name in self._running:
            return
        if any(map(_runs, events)):
            self._doubtful.discard(name)
        elif any(isinstance(event, Refused) and event.may_exist for event in events) or name in self._doubtful:
            self._doubtful.add(name)
            self._tokens.doubt(name)
        elif name not in self._tokens.ledger:  # else it waits
            self._give_back(uid, name)

    def stopped(self, node: NodeView, attempt: int) -> None:
        """Nothing runs of an attempt that is over, and nothing will."""
        self._give_back(node.execution.info.uid, _id_of(node, attempt))

    def seen(self, plugin: TaskPlugin, obj: KubeObject, uid: str, *, is_gone: bool = False) -> None:
        """The resource of an attempt of the execution `uid`, as its informer has it."""
        name = _claim_id(uid, obj.metadata.name)
        if is_gone or plugin.has_ended(obj):
            self._running.discard(name)
            if self._tokens.ledger.is_held(name):
                self._give_back(uid, name)
        elif name not in self._running:
            self._runs(uid, name, obj.metadata.annotations or {})

    def _runs(self, uid: str, name: str, annotations: Mapping[str, str]) -> None:
        """The resource of a claim is seen to run for the first time."""
        self._show(uid, name)
        if self._tokens.ledger.is_held(name):
            self._running.add(name)
            self._tokens.use(name)
        elif text := annotations.get(POOLS_ANNOTATION):
            try:
                tenant = path_of(annotations.get(TENANT_ANNOTATION, ""))
                self._tokens.restore(Claim(name, tenant, wanted_pools(text)))
            except Invalid as error:
                self._causes.report(error, "the tokens of %s are not counted", name)
            else:
                self._running.add(name)

    def waits(self, uid: str) -> bool:
        """Whether an attempt of the execution waits for tokens, or has some without a resource yet."""
        return bool(self._without_resource.get(uid))

    def forget(self, uid: str) -> None:
        """The execution has ended or is gone: nothing of it waits any more, and what has shown no resource will show
        one soon or not at all.
        """
        for name in tuple(self._without_resource.get(uid, ())):
            if self._tokens.ledger.is_held(name):
                self._tokens.doubt(name)
            else:
                self._give_back(uid, name)

    def close(self) -> None:
        """Grant nothing any more."""
        self._tokens.close()

    def _claim(self, node: NodeView, attempt: int) -> Claim | None:
        """The claim of an attempt; None if it needs no tokens. Raises Invalid."""
        needs, info = needs_of(demand_of(node), self._rules), node.execution.info
        if not needs:
            return None
        tenant = tuple(part for part in (info.project, info.domain) if part) or (info.namespace,)
        return Claim(_id_of(node, attempt), tenant, needs)

    def _on_granted(self, name: str, holder: Holder) -> None:
        if not self._granted(holder):
            self._give_back(holder.uid, name)

    def _give_back(self, uid: str, name: str) -> None:
        self._show(uid, name)
        self._tokens.release(name)

    def _taken_back(self, name: str) -> None:
        self._show(name.partition("/")[0], name)

    def _show(self, uid: str, name: str) -> None:
        """The claim is no longer one without a resource."""
        self._doubtful.discard(name)
        if (names := self._without_resource.get(uid)) is not None:
            names.discard(name)
            if not names:
                del self._without_resource[uid]


def _runs(event: NodeEvent) -> bool:
    match event:
        case Launched():
            return True
        case AttemptObserved(phase=phase, remains=remains):
            return phase < AttemptPhase.SUCCEEDED or remains is not Remains.NOTHING
        case _:
            return False


def _claim_id(uid: str, name: str) -> str:
    return f"{uid}/{name}"


def _id_of(node: NodeView, attempt: int) -> str:
    return _claim_id(node.execution.info.uid, node.execution.pod_name(node.number, attempt))
