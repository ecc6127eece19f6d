"""Decide when a create that was refused is sent again.

Guarantees
    The pauses of one attempt grow with its refusals, up to `launches.pause_cap`, with jitter.
    Of all attempts in a namespace that run the same task and were refused for the same cause, one create is sent per
    pause. The pause of this gate grows as well, and the first create that succeeds opens it.
    An execution whose creates were refused `FIRST_TRIES` times in a row sends one create per pause, also for attempts
    that were not refused yet. Other executions are not delayed.
Caveats
    Gates are in memory: after a restart each attempt may be tried once more than necessary.
"""

from __future__ import annotations

import random
import re
from collections import OrderedDict
from collections.abc import Callable

import msgspec

from propeller.clock import SYSTEM_CLOCK, Clock
from propeller.config import LaunchOptions
from propeller.errors import PropellerError
from propeller.workflow import Launching, NodeView, Refusals, Refused

FIRST_TRIES = 8
"""Creates of one execution that may be refused in a row before the rest of its pods wait as well: a map task of 10,000
items is not refused 10,000 times.
"""

JITTER = 0.25
"""The share of a pause by which it may be longer or shorter."""

REASON_CHARACTERS = 1000
"""Characters of a refusal that are kept: a webhook may answer with any length of text."""

CAUSE_CHARACTERS = 200
"""Of a refusal's text that tell it from others, without what differs from pod to pod."""

_VARYING = re.compile(r'"[^"]{0,253}"|[0-9]+')

Key = tuple[str, str, str]


class _Gate(msgspec.Struct):
    pause: float
    opens: float
    """Epoch seconds when one more create may be sent."""
    grows: float
    """Epoch seconds from which on a refusal makes the pause longer: those that were under way together count once."""
    row: int = 0
    """Refusals since the last create that passed."""


class Gates:
    """The gates of all executions of a controller."""

    def __init__(
        self,
        settings: LaunchOptions = LaunchOptions(),  # noqa: B008 - frozen
        clock: Clock = SYSTEM_CLOCK,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self.settings = settings
        self.clock = clock
        self._uniform = uniform
        self._gates: OrderedDict[Key, _Gate] = OrderedDict()
        """In the order in which they were last refused."""

    def hold(self, node: NodeView) -> float | None:
        """Return the seconds until the node's create may be tried, None if it may be sent now, which takes its turn."""
        if not self._gates:
            return None
        refusals = refusals_of(node)
        key = _cause(node, refusals.reason) if refusals.tries else _execution(node)
        gate = self._gates.get(key)
        if gate is None or (not refusals.tries and gate.row < FIRST_TRIES):
            return None
        now = self.clock.now()
        if now >= gate.opens:
            gate.opens, gate.grows = now + gate.pause, now
            return None
        return gate.opens - now + self._uniform(0.0, gate.pause)

    def refused(self, node: NodeView, reason: str) -> float:
        """Record that a create was refused; returns the seconds until this attempt may be tried again."""
        now = self.clock.now()
        self._forget_unused(now)
        for key in (_cause(node, reason), _execution(node)):
            self._close(key, now)
        return self._jittered(self._grown(refusals_of(node).tries))

    def passed(self, node: NodeView) -> None:
        """Record that a create succeeded: attempts that were refused as it was may be tried."""
        if self._gates:
            self._gates.pop(_execution(node), None)
            self._gates.pop(_cause(node, refusals_of(node).reason), None)

    def _close(self, key: Key, now: float) -> None:
        gate = self._gates.get(key)
        if gate is None:
            pause = self._jittered(self.settings.pause)
            gate = self._gates[key] = _Gate(pause, now + pause, now + pause)
        elif now >= gate.grows:
            gate.pause = self._jittered(min(gate.pause * 2, self.settings.pause_cap))
            gate.opens = gate.grows = now + gate.pause
        gate.row += 1
        self._gates.move_to_end(key)

    def _forget_unused(self, now: float) -> None:
        """Drop gates that no attempt has used for a while: those that waited there were stopped."""
        while self._gates:
            key, gate = next(iter(self._gates.items()))
            if now < gate.opens + 4 * self.settings.pause_cap:
                return
            del self._gates[key]

    def _grown(self, tries: int) -> float:
        return min(self.settings.pause * 2.0 ** min(tries, 60), self.settings.pause_cap)

    def _jittered(self, pause: float) -> float:
        return pause * self._uniform(1 - JITTER, 1 + JITTER)


def refused_event(
    node: NodeView, attempt: int, why: PropellerError | str, after: float, now: float, *, denied: float
) -> Refused:
    """Return the event of a create that was refused, and is tried again after so many seconds. `denied` is the epoch
    second of the first denial in a row, 0 if this is none.
    """
    before, reason = refusals_of(node), str(why)[:REASON_CHARACTERS]
    return Refused(attempt, reason, after, Refusals(before.tries + 1, before.since or now, denied, reason))


def refusals_of(node: NodeView) -> Refusals:
    """Return the refusals so far of the attempt that is being launched."""
    state = node.execution.states.get(node.number)
    return state.refusals if isinstance(state, Launching) else Refusals()


def _cause(node: NodeView, reason: str) -> Key:
    """Return the refusal without verb and object, which precede the first colon, and without names and numbers."""
    text = reason.partition(": ")[2]
    return (
        node.execution.info.namespace,
        node.spec.task,
        _VARYING.sub("", text[: 4 * CAUSE_CHARACTERS])[:CAUSE_CHARACTERS],
    )


def _execution(node: NodeView) -> Key:
    return (node.execution.info.namespace, "", node.execution.info.uid)
