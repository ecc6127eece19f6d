"""Tokens of launches: an attempt is asked for when its claim has been granted, and gives back when nothing of it runs.

Guarantees
    An attempt whose rules name no pool costs the look at the rules. One that has to wait does so without a request, and
    hears of its grant at once; its node says what it waits for.
    Other limits and rules may come at any time. Attempts that have their tokens keep them; those that wait keep their
    places, and take what the new rules say. What can never be met fails, with both numbers.
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

import functools
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from propeller.clock import Clock
from propeller.errors import Invalid
from propeller.handlers.executors._gates import refusals_of
from propeller.handlers.executors._queue_page import Asked, queue_page
from propeller.handlers.executors._waits import Holder, Waiting, Waits, claim_of, holder_of, tenant_of
from propeller.handlers.plugins import AttemptObserver, PodSettings
from propeller.handlers.plugins.pod import PLAIN, POOLS_ANNOTATION, demand_of
from propeller.kube import KubeObject
from propeller.resourcemgr import (
    SEPARATOR,
    Backend,
    Claim,
    Path,
    ResourceOptions,
    Tokens,
    Usage,
    check_options,
    in_memory,
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
    Submitted,
)

TENANT_ANNOTATION = "propeller/tenant"

MIN_LOOK, LOOKS_A_SECOND = 30.0, 100
"""Seconds after which an attempt that waits says anew what it waits for; more if so many wait that the looks of all
would be more than that in a second.
"""

MAX_LOSSES = 2
"""How often an attempt gives its tokens back because a quota has no room by then, before it keeps them while it waits:
else those that need only one of the two could take turns at both for ever, and it would never meet both.
"""

_LIMIT = "ResourceLimit"
"""The code of an attempt whose claim can never be met."""


class LaunchTokens:
    """One for all executions of a controller. `granted` is called when a holder that has waited may ask again, as it
    has its tokens or other limits apply; it returns whether that is still wanted.

    More than 15 methods: one for each thing that happens to an attempt.
    """

    def __init__(
        self,
        options: ResourceOptions,
        clock: Clock,
        granted: Callable[[Holder], bool],
        causes: Causes,
        backend: Backend = in_memory,
        pods: PodSettings = PLAIN,
    ) -> None:
        """`pods` are the settings of the pods that are launched. Raises Invalid for limits or rules that contradict
        themselves.
        """
        check_options(options)
        self._rules = options.rules
        self._is_limited = self._is_used = bool(options.pools)
        """`_is_used`: whether anything was ever limited, or found with a claim; if not, there are no claims."""
        self.weights = _weights_of(options)
        self.named_tenants = frozenset(self.weights)
        """Tenants that the limits name."""
        self._granted = granted
        self._pods = pods
        self._causes = causes
        self._clock = clock
        self._tokens: Tokens = backend(options, clock=clock, taken_back=self._taken_back)
        self._running: set[str] = set()
        """Claims of attempts whose resource is there, and has not ended."""
        self._doubtful: set[str] = set()
        """Claims of attempts whose create had no answer: there may be a resource."""
        self._without_resource: dict[str, set[str]] = {}
        """By execution's uid: claims, held or waiting, of attempts that have shown no resource yet."""
        self._losses: dict[str, dict[str, int]] = {}
        """By execution's uid and claim: how often tokens were given back for a quota's sake."""
        self._kept: set[str] = set()
        """Claims whose launch waits for a quota, and keeps its tokens."""
        self._waiting = Waits()
        self.on_waited: Callable[[Path, float], None] = lambda tenant, seconds: None
        """Called with the tenant of a claim that was granted, and for how long it has waited."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Have the backend's tokens until the block is left."""
        async with self._tokens.running():
            yield

    def configure(self, options: ResourceOptions) -> None:
        """Have other limits and rules from now on. Raises Invalid, and changes nothing, if they contradict themselves.

        If the rules differ, all attempts that wait are asked anew: O(those), spread by the controller's queues.
        """
        check_options(options)
        self._tokens.configure(options)
        self._is_limited = bool(options.pools)
        self._is_used |= self._is_limited
        self.weights = _weights_of(options)
        self.named_tenants = frozenset(self.weights)
        if options.rules != self._rules:
            self._rules = options.rules
            for waiting in self._waiting:
                self._ask_again(waiting.name, waiting.holder)

    async def ask(self, node: NodeView, attempt: int) -> Refused | EffectFailed | None:
        """Take the tokens of an attempt's launch; if they are not free, what to tell its node."""
        if not self._is_limited and not self._waiting:
            return None
        holder = holder_of(node, attempt)
        uid, name = holder.uid, holder.claim
        try:
            claim = self._claim(node, name)
            if claim is None:
                self._wait_no_more(uid, name)
                return None
            answered = functools.partial(self._answered_later, name, holder)
            answer = self._tokens.request(claim, answered, lambda _: answered())
            has_tokens = answer if isinstance(answer, bool) else await answer
        except Invalid as error:
            self._wait_no_more(uid, name)
            return EffectFailed(attempt, Failure(_LIMIT, str(error)))
        self._without_resource.setdefault(uid, set()).add(name)
        if has_tokens:
            self._was_granted(name)
            self._tokens.use(name)
            return None
        return self._waits(node, attempt, claim, holder)

    def _waits(self, node: NodeView, attempt: int, claim: Claim, holder: Holder) -> Refused:
        wait, at = self._tokens.explain(claim.id), self._clock.monotonic()
        pool, since = (claim.needs[0][0], at) if wait is None else (wait.pool, wait.since)
        self._waiting.put(Waiting(claim.id, holder, claim.tenant, pool, since), at)
        what = "waits for " + " and ".join(pool for pool, _ in claim.needs) if wait is None else wait.what
        before, now = refusals_of(node), self._clock.now()
        reason = what if wait is None else str(wait)
        refusals = Refusals(before.tries, before.since or now, before.denied, reason)
        again = max(MIN_LOOK, self._tokens.waiting / LOOKS_A_SECOND)
        return Refused(attempt, reason, again, refusals, repeats=before.reason.startswith(what), queued=True)

    def describe(self, node: NodeView, attempt: int, resource: dict[str, Any]) -> None:
        """Write the claim into the resource that is going to be created."""
        if self._is_used and (needs := self._tokens.held(holder_of(node, attempt).claim)):
            metadata = resource["metadata"]
            marks = {
                POOLS_ANNOTATION: text_of(needs),
                TENANT_ANNOTATION: SEPARATOR.join(tenant_of(node.execution.info)),
            }
            metadata["annotations"] = {**metadata.get("annotations", {}), **marks}

    def answered(self, node: NodeView, attempt: int, events: Iterable[NodeEvent]) -> None:
        """A launch has come to something. Tokens come back if it has left no resource that runs, at once or, if a
        create had no answer, when the informer has had the time to show one.
        """
        if not self._is_used:
            return
        uid, name = node.execution.info.uid, holder_of(node, attempt).claim
        if name in self._running:
            return
        if any(map(_runs, events)):
            self._doubtful.discard(name)
        elif name in self._kept:
            self._kept.discard(name)
        elif any(isinstance(event, Refused) and event.may_exist for event in events) or name in self._doubtful:
            self._doubtful.add(name)
            self._tokens.doubt(name)
        elif name not in self._waiting:
            self._give_back(uid, name)

    def keep(self, node: NodeView, attempt: int) -> bool:
        """Whether an attempt that waits for room in a quota keeps the tokens that it has: until it is asked again, or
        for `resources.unused_grant` seconds. Tokens are never waited for with room in a quota in hand, so that no two
        attempts wait for each other.
        """
        if not self._is_used:
            return False
        holder = holder_of(node, attempt)
        uid, name = holder.uid, holder.claim
        if name in self._doubtful or name in self._running or not self._tokens.is_held(name):
            return False
        losses = self._losses.setdefault(uid, {})
        losses[name] = losses.get(name, 0) + 1
        if losses[name] <= MAX_LOSSES:
            return False
        self._tokens.use(name)
        self._tokens.doubt(name)
        self._kept.add(name)
        return True

    def stopped(self, node: NodeView, attempt: int) -> None:
        """Nothing runs of an attempt that is over, and nothing will."""
        if self._is_used:
            self._give_back(node.execution.info.uid, holder_of(node, attempt).claim)

    def job_runs(self, node: NodeView, attempt: int) -> None:
        """A job of a remote service runs, which no informer shows: it has its tokens, also after a restart."""
        if not self._is_limited:
            return
        holder = holder_of(node, attempt)
        self._show(holder.uid, holder.claim)
        self._running.add(holder.claim)
        if self._tokens.is_held(holder.claim):
            self._tokens.use(holder.claim)
        elif (claim := self._claim(node, holder.claim)) is not None:
            self._tokens.restore(claim)
            self._is_used = True

    def job_ended(self, uid: str, name: str) -> None:
        """Nothing runs any more of a job."""
        self._running.discard(name)
        if self._is_used and self._tokens.is_held(name):
            self._give_back(uid, name)

    def given_up(self, holder: Holder) -> None:
        """An attempt that had its tokens, and waited for something else, is over, or late: then it asks again."""
        name = holder.claim
        if not self._is_used or name in self._running:
            return
        if name in self._doubtful:
            self._tokens.doubt(name)
        else:
            self._give_back(holder.uid, name)

    def seen(self, plugin: AttemptObserver, obj: KubeObject, uid: str, *, is_gone: bool = False) -> None:
        """The resource of an attempt of the execution `uid`, as its informer has it."""
        if not self._is_limited and POOLS_ANNOTATION not in (obj.metadata.annotations or ()):
            return
        name = claim_of(uid, obj.metadata.name)
        if is_gone or plugin.has_ended(obj):
            self._running.discard(name)
            if self._tokens.is_held(name):
                self._give_back(uid, name)
        elif name not in self._running:
            self._runs(uid, name, obj.metadata.annotations or {})

    def _runs(self, uid: str, name: str, annotations: Mapping[str, str]) -> None:
        """The resource of a claim is seen to run for the first time."""
        self._show(uid, name)
        if self._tokens.is_held(name):
            self._running.add(name)
            self._tokens.use(name)
        elif text := annotations.get(POOLS_ANNOTATION):
            try:
                tenant = path_of(annotations.get(TENANT_ANNOTATION, ""))
                self._tokens.restore(Claim(name, tenant, wanted_pools(text)))
                self._is_used = True
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
        self._losses.pop(uid, None)
        for name in tuple(self._without_resource.get(uid, ())):
            if self._tokens.is_held(name):
                self._tokens.doubt(name)
            else:
                self._give_back(uid, name)

    def hand_over(self, uids: Collection[str]) -> tuple[str, ...]:
        """Another process goes on with these executions. Returns the claims to `give_back` once it counts them."""
        wanted = frozenset(uids)
        names = {name for uid in wanted for name in self._without_resource.get(uid, ())}
        names.update(name for name in self._running if name.partition("/")[0] in wanted)
        for name in names:
            self._running.discard(name)
            self._show(name.partition("/")[0], name)
            if not self._tokens.is_held(name):
                self._tokens.release(name)
        return tuple(name for name in names if self._tokens.is_held(name))

    def give_back(self, names: Iterable[str]) -> None:
        """Give back claims that were handed over, unless their resources are seen here again, or they are asked for."""
        for name in names:
            if name not in self._running and name not in self._without_resource.get(name.partition("/")[0], ()):
                self._tokens.release(name)

    def report(self, *, own: bool = False) -> Usage:
        """What each pool and tenant holds and waits for, of all controllers that share the tokens or of this one."""
        return self._tokens.report(own=own)

    def report_for_all(self) -> Usage | None:
        """What each pool and tenant holds and waits for, if this controller is the one that says so for all of them."""
        return self._tokens.report() if self._tokens.speaks() else None

    def queue(self, asked: Asked) -> dict[str, Any]:
        """Who holds and waits for what: pools, tenants, and a page of claims."""
        return queue_page(asked, self._tokens.report(), self._waiting, self._tokens.explain, self._clock)

    def close(self) -> None:
        """Grant nothing any more."""
        self._tokens.close()

    def _claim(self, node: NodeView, name: str) -> Claim | None:
        """The claim of an attempt; None if it needs no tokens, or nothing is limited. Raises Invalid."""
        if not self._is_limited:
            return None
        needs = needs_of(demand_of(node, self._pods), self._rules)
        return Claim(name, tenant_of(node.execution.info), needs) if needs else None

    def _answered_later(self, name: str, holder: Holder) -> None:
        """The claim waits no more: it has its tokens, or can never get them."""
        if self._tokens.is_held(name):
            self._was_granted(name)
        else:
            self._waiting.drop(name)
        self._ask_again(name, holder)

    def _was_granted(self, name: str) -> None:
        now = self._clock.monotonic()
        if (waited := self._waiting.granted(name, now)) is not None:
            self.on_waited(waited.tenant, now - waited.since)

    def _ask_again(self, name: str, holder: Holder) -> None:
        """Have an attempt ask again: it is told then what became of its claim."""
        if not self._granted(holder):
            self._give_back(holder.uid, name)

    def _wait_no_more(self, uid: str, name: str) -> None:
        if name in self._waiting:
            self._give_back(uid, name)

    def _give_back(self, uid: str, name: str) -> None:
        self._show(uid, name)
        self._tokens.release(name)

    def _taken_back(self, name: str) -> None:
        self._show(name.partition("/")[0], name)

    def _show(self, uid: str, name: str) -> None:
        """The claim is no longer one without a resource, nor does it wait."""
        self._doubtful.discard(name)
        self._waiting.drop(name)
        if (names := self._without_resource.get(uid)) is not None:
            names.discard(name)
            if not names:
                del self._without_resource[uid]


def _weights_of(options: ResourceOptions) -> Mapping[Path, float]:
    return {path_of(tenant.name): tenant.weight for tenant in options.tenants}


def _runs(event: NodeEvent) -> bool:
    match event:
        case Launched() | Submitted():
            return True
        case AttemptObserved(phase=phase, remains=remains):
            return phase < AttemptPhase.SUCCEEDED or remains is not Remains.NOTHING
        case _:
            return False
