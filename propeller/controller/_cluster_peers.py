"""Tell other processes, which hold other shards, what this one has of the clusters, and hear what they have.

Guarantees
    What a cluster has of all processes counts against its capacity, as each told it with its last renewal of its Lease.
    Whether a cluster is well a process judges by what it sees itself; what others see is shown beside it.
    What cannot be read of a note is nothing.
Caveats
    Counts are some seconds old: processes that launch at the same moment may exceed a capacity together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec

from propeller.controller._clusters import Clusters, Elsewhere, Member
from propeller.reconcile.shards import Peers
from propeller.text import bounded, one_line

MAX_CLUSTERS = 300
"""In a note: 30 KB of an annotation's 256."""

MAX_TROUBLE = 100
"""Characters of why a cluster is not well, in a note."""

_Count = Annotated[int, msgspec.Meta(ge=0, le=10**9)]


class _Noted(msgspec.Struct, frozen=True, omit_defaults=True):
    executions: _Count = 0
    pods: _Count = 0
    trouble: str = ""


_NOTHING = _Noted()
_NOTES = msgspec.json.Decoder(dict[str, _Noted])


class ClusterPeers:
    """See the module's text. `alone`: no other process divides the work with this one."""

    def __init__(self, clusters: Clusters, *, alone: bool) -> None:
        self._clusters = clusters
        self._has_table = False
        self.speaks = alone
        """Whether this process says for all how the clusters are."""

    def note(self) -> str:
        """Return what this process has, "" if it never had a table."""
        members = self._clusters.members
        self._has_table = self._has_table or bool(members)
        if not self._has_table:
            return ""
        noted = {name: found for name, member in members.items() if (found := _noted(member)) != _NOTHING}
        return msgspec.json.encode(dict(list(noted.items())[:MAX_CLUSTERS])).decode()

    def met(self, peers: Peers) -> None:
        """Take in what other processes have."""
        self.speaks = peers.speaks
        members = self._clusters.members
        if not members:
            return
        total: dict[str, Elsewhere] = {}
        for text in peers.notes:
            for name, noted in _decoded(text).items():
                before = total.get(name, Elsewhere())
                total[name] = Elsewhere(
                    before.executions + noted.executions, before.pods + noted.pods, before.trouble or noted.trouble
                )
        for name, member in members.items():
            member.elsewhere = total.get(name, Elsewhere())


def _noted(member: Member) -> _Noted:
    trouble = "" if member.circuit.healthy else one_line(bounded(member.any_trouble, MAX_TROUBLE))
    return _Noted(member.executions, member.pods, trouble)


def _decoded(text: str) -> Mapping[str, _Noted]:
    try:
        return _NOTES.decode(text)
    except (msgspec.MsgspecError, ValueError):
        return {}
