"""How many creates of one namespace may be under way, learned from what is refused: additive increase, multiplicative
decrease, for limits that nothing but a refusal tells (webhooks, 429, quotas that may not be read).

Guarantees
    After a create was refused for its namespace's sake, creates there go one after the other. Each that is accepted
    lets the next one go at once; each that is refused begins a pause, which doubles up to `launches.pause_cap`: while
    the limit stays reached, one create a `pause_cap` is refused, however many attempts wait.
    A pod of the namespace that ends makes room for one create, without a pause, until such a create is refused.
    Attempts wait in the order in which they came, without a request, and are woken.
    Other namespaces are not slowed down.
Caveats
    In memory: after a restart the first creates find the limit again.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec

from propeller.clock import Clock
from propeller.config import LaunchOptions
from propeller.handlers.executors._waits import Holder, holder_of
from propeller.workflow import NodeView

DENIALS_IN_A_ROW = 16
"""Creates of one namespace that may be denied in a row, of whatever tasks, before it is taken for the namespace's: a
policy that one task violates must not slow down the others. Twice as many as of one execution.
"""

JITTER = 0.25
"""The share of a pause by which it may be longer."""

THROTTLED_FOR = 30.0
"""Seconds in which the API server answers 429 to all creates of a namespace before it is taken for the namespace's: a
server under load has room for one now and then, and slows down all of them (`LaunchPressure`).
"""

KEPT = 60
"""Longest pauses after the last refusal until a namespace's launches need not take turns any more. Turns cost little;
without them as many creates are refused at once as are under way.
"""

MAX_TURN = 60.0
"""Seconds after which a create under way no longer keeps others waiting: it was given up."""


class _Window(msgspec.Struct):
    pause: float
    """Of the last refusal: half as long after each success, twice as long after the next refusal."""
    opens: float = 0.0
    """Epoch seconds when a create may be sent whatever is known."""
    refused_at: float = 0.0
    turn: str = ""
    """Whose create is under way, "" if none is."""
    turn_ends: float = 0.0
    ended: int = 0
    """Pods that have ended since the last refusal, for which nothing was created yet."""
    trusts_ends: bool = True
    """Whether pods that end make room, as far as is known."""
    on_end: bool = False
    """Whether the create under way was sent because a pod has ended."""
    waiting: dict[str, Holder] = {}


class Windows:
    """Of all namespaces of a controller. `granted` is called when an attempt that has waited may ask again; it returns
    whether that is still wanted.
    """

    def __init__(
        self,
        settings: LaunchOptions,
        clock: Clock,
        granted: Callable[[Holder], bool],
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._granted = granted
        self._uniform = uniform
        self._windows: dict[str, _Window] = {}
        self._denials: dict[str, int] = {}
        """In a row, by namespace."""
        self._throttled: dict[str, tuple[float, float]] = {}
        """By namespace whose last creates had a 429: epoch seconds of the first in a row, and of the last."""

    def __bool__(self) -> bool:
        """Whether any namespace is slowed down."""
        return bool(self._windows)

    @property
    def waiting(self) -> dict[str, int]:
        """Attempts that wait, by namespace."""
        return {namespace: len(window.waiting) for namespace, window in self._windows.items() if window.waiting}

    def has_room(self, node: NodeView) -> bool:
        """Whether a pod of the namespace has ended, so that a create is worth a try whatever was refused before."""
        window = self._windows.get(node.execution.info.namespace)
        return window is not None and window.ended > 0 and window.trusts_ends and not window.turn

    def hold(self, node: NodeView, attempt: int) -> float | None:
        """Return the seconds until the node's create may be tried, None if it may be sent now, which takes its turn."""
        window = self._windows.get(node.execution.info.namespace)
        if window is None:
            return None
        holder, now = holder_of(node, attempt), self._clock.now()
        name = holder.claim
        if window.turn in ("", name) or now >= window.turn_ends:
            is_first = not window.waiting or next(iter(window.waiting)) == name
            if window.ended and window.trusts_ends:
                window.ended -= 1
                self._take_turn(window, name, now, on_end=True)
                return None
            if now >= window.opens and (is_first or now >= window.opens + MAX_TURN):
                self._take_turn(window, name, now, on_end=False)
                return None
        window.waiting.setdefault(name, holder)
        is_first = next(iter(window.waiting)) == name
        left = max(window.opens - now, 0.0)
        return max(left, 1.0) if is_first else left + MAX_TURN + self._uniform(0.0, MAX_TURN)

    def refused(self, node: NodeView, attempt: int, after: float | None) -> float:
        """Record that a create was refused for its namespace's sake; returns the seconds until it may be tried again.
        `after` is what the server asked to wait.
        """
        now, namespace = self._clock.now(), node.execution.info.namespace
        window = self._windows.get(namespace)
        if window is None:
            window = self._windows[namespace] = _Window(self._settings.pause / 2)
        holder = holder_of(node, attempt)
        name = holder.claim
        if window.turn == name:
            window.trusts_ends &= not window.on_end
            window.turn = ""
        window.refused_at = now
        if now >= window.opens:  # those that were under way together count once
            window.pause = min(window.pause * 2, self._settings.pause_cap)
            window.opens = now + max(window.pause * self._uniform(1.0, 1.0 + JITTER), after or 0.0)
        window.ended = 0
        window.waiting.setdefault(name, holder)
        return max(window.opens - now, 0.1)

    def throttled(self, node: NodeView, attempt: int, after: float | None) -> float | None:
        """Record that a create was answered 429; returns the seconds until it may be tried again if that is for its
        namespace's sake, as far as is known, else None. `after` is what the server asked to wait.
        """
        namespace, now = node.execution.info.namespace, self._clock.now()
        if namespace in self._windows:
            return self.refused(node, attempt, after)
        began, last = self._throttled.get(namespace, (now, now))
        if now - last > THROTTLED_FOR:
            began = now
        self._throttled[namespace] = began, now
        return self.refused(node, attempt, after) if now - began >= THROTTLED_FOR else None

    def denied(self, node: NodeView, attempt: int) -> None:
        """Record that a create was denied: maybe because of the pod; after many in a row, for its namespace's sake."""
        namespace = node.execution.info.namespace
        row = self._denials[namespace] = self._denials.get(namespace, 0) + 1
        window = self._windows.get(namespace)
        if row >= DENIALS_IN_A_ROW or (window is not None and window.turn == holder_of(node, attempt).claim):
            self.refused(node, attempt, None)

    def passed(self, node: NodeView, attempt: int) -> None:
        """Record that a create was accepted: the next one may be sent."""
        namespace = node.execution.info.namespace
        if self._denials:
            self._denials.pop(namespace, None)
        if self._throttled:
            self._throttled.pop(namespace, None)
        window = self._windows.get(namespace)
        if window is None:
            return
        name = holder_of(node, attempt).claim
        window.waiting.pop(name, None)
        window.trusts_ends = True
        if window.turn != name:
            return  # sent before anything was refused
        window.turn = ""
        if not window.on_end:
            window.pause = max(window.pause / 2, self._settings.pause / 2)
        if not window.on_end or window.ended:
            self._wake(namespace, window)

    def given_up(self, node: NodeView, attempt: int) -> None:
        """Nothing was sent after all: it is another one's turn."""
        window = self._windows.get(node.execution.info.namespace)
        if window is not None and window.turn == holder_of(node, attempt).claim:
            window.turn = ""
            self._wake(node.execution.info.namespace, window)

    def pod_ended(self, namespace: str) -> None:
        """A pod of the namespace has ended, or is gone."""
        window = self._windows.get(namespace)
        if window is not None and window.trusts_ends:
            window.ended += 1
            self._wake(namespace, window)

    def _take_turn(self, window: _Window, name: str, now: float, *, on_end: bool) -> None:
        window.waiting.pop(name, None)
        window.turn, window.turn_ends, window.on_end = name, now + MAX_TURN, on_end

    def _wake(self, namespace: str, window: _Window) -> None:
        """Have the first that waits ask again. If none does, and nothing was refused of late, forget the window."""
        while window.waiting:
            name, holder = next(iter(window.waiting.items()))
            if self._granted(holder):
                return
            del window.waiting[name]
        if not window.turn and self._clock.now() >= window.refused_at + KEPT * self._settings.pause_cap:
            self._windows.pop(namespace, None)
