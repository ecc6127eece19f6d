"""Pods whose attempts are over and that have not stopped yet, and the nodes whose next attempt waits for that.

Guarantees
    Every change costs O(depth of the node), whatever else is stopping.
    A pod counts until it was seen to have stopped, or the grace period that it has from when it was told is over.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from propeller.workflow._execution import Execution


class Stops:
    """Of one execution. Not in its status: after a restart the pods that are there say the same."""

    __slots__ = ("_execution", "_waiting", "_within", "pods")

    def __init__(self, execution: Execution) -> None:
        self._execution = execution
        self.pods: dict[int, dict[int, float]] = {}
        """By node and attempt: when the pod's grace is over, in epoch seconds; infinite until it was told to stop.
        Others ask whether there are any.
        """
        self._within: dict[int, int] = {}
        """How many of these pods are a node's own, or of nodes inside it."""
        self._waiting: set[int] = set()

    def within(self, node: int) -> bool:
        """Whether a pod of the node, or of one inside it, has yet to stop."""
        return node in self._within

    def add(self, node: int, attempt: int) -> None:
        """The attempt is over, and its pod is not."""
        attempts = self.pods.setdefault(node, {})
        if attempt not in attempts:
            attempts[attempt] = math.inf
            for around in self._path(node):
                self._within[around] = self._within.get(around, 0) + 1

    def told(self, node: int, attempt: int, over: float) -> None:
        """The pod was told to stop, and has until `over`."""
        attempts = self.pods.get(node, {})
        if attempt in attempts:
            attempts[attempt] = min(over, attempts[attempt])
            if any(around in self._waiting for around in self._path(node)):
                self._execution.wake_at(over, node)

    def stopped(self, node: int, attempt: int) -> list[int]:
        """The pod has stopped, or is not there. Returns the nodes that waited for it as the last one."""
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

    def expire(self, node: int, now: float) -> list[int]:
        """Give up those of the node's pods whose grace is over: their machine is lost. Returns as `stopped` does."""
        over = [attempt for attempt, end in self.pods.get(node, {}).items() if end <= now]
        return [ready for attempt in over for ready in self.stopped(node, attempt)]

    def wait(self, node: int) -> None:
        """The node's next attempt waits for all of them."""
        self._waiting.add(node)
        if node in self._within:
            for other, attempts in self.pods.items():
                if node in self._path(other):
                    for over in attempts.values():
                        if over < math.inf:
                            self._execution.wake_at(over, other)

    def is_waited_out(self, node: int) -> bool:
        """Whether the node waits, and has nothing to wait for any more; it waits no longer then."""
        if node not in self._waiting or node in self._within:
            return False
        self._waiting.discard(node)
        return True

    def forget(self, node: int) -> None:
        """The node has ended."""
        self._waiting.discard(node)

    def _path(self, node: int) -> Iterator[int]:
        """The node and those that it is inside of."""
        while node >= 0:
            yield node
            node = self._execution.frame_of(node).parent
