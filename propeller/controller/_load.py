"""Count what a cluster runs for the controller, for its capacity in the routing table.

Guarantees
    An attempt counts from when it is to be launched until its resource has ended or is gone, or no resource was made.
"""

from __future__ import annotations


class Load:
    """Of one cluster. Resources are named `namespace/name`."""

    def __init__(self) -> None:
        self._running: set[str] = set()
        self._expected: dict[str, set[str]] = {}
        """Of attempts whose launch has shown no resource yet, by their execution's uid."""
        self._expecting = 0

    def __len__(self) -> int:
        return len(self._running) + self._expecting

    def expect(self, uid: str, name: str) -> None:
        """An attempt is to be launched."""
        names = self._expected.setdefault(uid, set())
        if name not in self._running and name not in names:
            names.add(name)
            self._expecting += 1

    def is_none(self, uid: str, name: str) -> None:
        """The launch has made no resource."""
        names = self._expected.get(uid, set())
        if name in names:
            names.remove(name)
            self._expecting -= 1
            if not names:
                del self._expected[uid]

    def seen(self, uid: str, name: str, *, runs: bool) -> None:
        """A resource has an event."""
        self.is_none(uid, name)
        if runs:
            self._running.add(name)
        else:
            self._running.discard(name)

    def leave(self, name: str) -> None:
        """A resource is another process' to count."""
        self._running.discard(name)

    def forget(self, uid: str) -> None:
        """The execution has ended or is gone: what has shown no resource will show none."""
        self._expecting -= len(self._expected.pop(uid, ()))
