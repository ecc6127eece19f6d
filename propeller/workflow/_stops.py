"""Pods whose attempts are over and that have not stopped yet, and the nodes whose next attempt waits for that.

Guarantees
    Every change costs O(depth of the node), however many other pods are stopping.
    A pod counts until an event shows that it has stopped, or until the grace period after its deletion is over.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from propeller.workflow._events import AttemptObserved, AttemptPhase, NodeEvent, Remains, TimerFired

if TYPE_CHECKING:
    from propeller.workflow._execution import Execution


class Stops:
    """The stopping pods of one execution. They are not in its status: after a restart the pods themselves show it."""

    __slots__ = ("_execution", "_waiting", "_within", "pods")

    def __init__(self, execution: Execution) -> None:
        self._execution = execution
        self.pods: dict[int, dict[int, float]] = {}
        """By node and attempt: when the pod's grace period is over, in epoch seconds; infinite until its deletion was
        sent.
        """
        self._within: dict[int, int] = {}
        """By node: how many of these pods are its own or belong to nodes inside it."""
        self._waiting: set[int] = set()
        """The nodes whose next attempt waits for `_within` to become zero."""

    def within(self, node: int) -> bool:
        """Whether a pod of the node, or of a node inside it, has not stopped yet."""
        return node in self._within

    def add(self, node: int, attempt: int) -> None:
        """Record that the attempt is over and its pod still exists."""
        attempts = self.pods.setdefault(node, {})
        if attempt not in attempts:
            attempts[attempt] = math.inf
            for around in self._path(node):
                self._within[around] = self._within.get(around, 0) + 1

    def stop_sent(self, node: int, attempt: int, over: float) -> None:
        """Record that the pod's deletion was sent, and that it may take until `over`."""
        attempts = self.pods.get(node, {})
        if attempt in attempts:
            attempts[attempt] = min(over, attempts[attempt])
            if any(around in self._waiting for around in self._path(node)):
                self._execution.wake_at(over, node)

    def stopped(self, node: int, attempt: int) -> list[int]:
        """Record that the pod has stopped or does not exist. Returns the nodes that waited for this one alone."""
        attempts = self.pods.get(node, {})
        if attempts.pop(attempt, None) is None:
            return []
        if not attempts:
            del self.pods[node]
        ready = []
        for around in self._path(node):
            self._within[around] -= 1
            if not self._within[around]:
                del self._within[around]
                if around in self._waiting:
                    ready.append(around)
        return ready

    def observe(self, node: int, event: NodeEvent, now: float) -> list[int]:
        """Take from an event that a pod has stopped, or that its grace period is over. Returns as `stopped` does."""
        if isinstance(event, AttemptObserved):
            has_ended = event.phase >= AttemptPhase.SUCCEEDED and event.remains is Remains.NOTHING
            return self.stopped(node, event.attempt) if has_ended else []
        return self.expire(node, now) if isinstance(event, TimerFired) else []

    def expire(self, node: int, now: float) -> list[int]:
        """Give up the node's pods whose grace period is over: their machine is lost. Returns as `stopped` does."""
        over = [attempt for attempt, end in self.pods.get(node, {}).items() if end <= now]
        return [ready for attempt in over for ready in self.stopped(node, attempt)]

    def wait(self, node: int) -> None:
        """Let the node's next attempt wait for its pods and those of nodes inside it."""
        self._waiting.add(node)
        if node in self._within:
            for other, attempts in self.pods.items():
                if node in self._path(other):
                    for over in attempts.values():
                        if over < math.inf:
                            self._execution.wake_at(over, other)

    def is_waited_out(self, node: int) -> bool:
        """Whether the node waits for nothing any more. If so, it is no longer recorded as waiting."""
        if node not in self._waiting or node in self._within:
            return False
        self._waiting.discard(node)
        return True

    def forget(self, node: int) -> None:
        """Forget a node that has ended."""
        self._waiting.discard(node)

    def _path(self, node: int) -> Iterator[int]:
        """The node and all nodes that it is inside."""
        while node >= 0:
            yield node
            node = self._execution.frame_of(node).parent
