"""Where the attempts of one execution run, if there are several clusters.

Guarantees
    An attempt has one cluster, from when it is placed: it is not placed a second time, whatever becomes of the
    execution's own cluster. What is tried elsewhere is another attempt, with outputs of its own.
    `unwritten` says whether a status lacks a placement. A launch waits for that status: decided again, a placement
    could come out differently.
    After the execution was moved away from a cluster that could not be asked, no node begins with an attempt that may
    have been launched there: see `first_attempt`.
Assumptions
    With several clusters, the second and later attempts of a node are launched only once a status has their number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping


class Placements:
    """`home` is the cluster of new attempts: None until it is chosen, "" for that of the FlyteWorkflows.

    More than 15 methods: each is one change of where attempts are, or one question about it.
    """

    __slots__ = (
        "_changes",
        "_claims",
        "_elsewhere",
        "_here",
        "_placed",
        "_written",
        "first_attempt",
        "found",
        "home",
        "reason",
    )

    def __init__(
        self,
        home: str | None = None,
        reason: str = "",
        elsewhere: Mapping[tuple[int, int], str] = {},
        first_attempt: int = 0,
    ) -> None:
        """As a status has it. `reason` is why the home was chosen."""
        self.home = home
        self.reason = reason
        self.first_attempt = first_attempt
        """Number of the first attempt of nodes that have not started: how often a cluster was given up."""
        self.found: Mapping[str, str] = {}
        """By the name of a resource that was found when the execution was loaded, the cluster that it is in."""
        self._elsewhere = dict(elsewhere)
        self._here: set[int] = set()
        """Nodes whose attempts are executions: that follows from the plan, so no status has it."""
        self._placed = bytearray()
        """By node: one more than the number of the last attempt that was placed."""
        self._changes = self._written = 0
        self._claims = False

    @property
    def elsewhere(self) -> Mapping[tuple[int, int], str]:
        """By node and attempt, the clusters of attempts that are not at home."""
        return self._elsewhere

    @property
    def version(self) -> int:
        """Grows with each change."""
        return self._changes

    @property
    def unwritten(self) -> bool:
        """Whether there is a change that no status has."""
        return self._changes != self._written

    @property
    def is_unclaimed(self) -> bool:
        """Whether nothing may be done for the execution yet, as no status is written that says who has it."""
        return self._claims and self.unwritten

    def claim(self) -> None:
        """Nothing may be done for the execution until a status is written."""
        self._claims = True
        self._changes += 1

    def written(self, version: int) -> None:
        """A status has everything up to this version."""
        self._written = max(self._written, version)
        self._claims = False

    def cluster_of(self, node: int, attempt: int) -> str | None:
        """Return the cluster of an attempt, None if that is not decided."""
        if self._here and node in self._here:
            return ""
        return self._elsewhere.get((node, attempt), self.home) if self._elsewhere else self.home

    def keep_here(self, node: int) -> None:
        """All attempts of the node are in the cluster of the FlyteWorkflows, wherever the execution is at home."""
        self._here.add(node)

    def names(self) -> set[str]:
        """Return the clusters that may hold something of the execution."""
        return {*self._elsewhere.values(), *(() if self.home is None else (self.home,))}

    def is_placed(self, node: int, attempt: int) -> bool:
        """Whether the attempt has its cluster for good."""
        return node < len(self._placed) and self._placed[node] == attempt + 1

    def place(self, node: int, attempt: int, cluster: str) -> None:
        """The attempt runs in that cluster, at home or elsewhere."""
        self._changes += attempt > 0
        self.known(node, attempt)
        if self.cluster_of(node, attempt) != cluster:
            self._changes += 1
            self.pin(node, attempt, cluster)

    def known(self, node: int, attempt: int) -> None:
        """The attempt has its cluster already: a status says so."""
        if node >= len(self._placed):
            self._placed.extend(bytes(node + 1 - len(self._placed)))
        self._placed[node] = attempt + 1

    def pin(self, node: int, attempt: int, cluster: str) -> None:
        """The attempt is in that cluster, as its resource was found there. No status has to say so: it says it."""
        if cluster == self.home:
            self._elsewhere.pop((node, attempt), None)
        else:
            self._elsewhere[node, attempt] = cluster

    def hold(self, node: int, attempt: int) -> None:
        """The attempt stays in its cluster, wherever the execution goes."""
        cluster = self.cluster_of(node, attempt)
        if cluster is not None:
            self._elsewhere[node, attempt] = cluster

    def settle(self, home: str, reason: str, begun: Iterable[tuple[int, int]] = ()) -> None:
        """New attempts run in that cluster from now on; those in `begun`, by node and number, stay where they are."""
        if home == self.home:
            return
        if self.home is not None:
            for one in begun:
                self._elsewhere.setdefault(one, self.home)
        self._elsewhere = {key: cluster for key, cluster in self._elsewhere.items() if cluster != home}
        self.home, self.reason = home, reason
        self._changes += 1

    def give_up(self) -> None:
        """A cluster of the execution is given up: what was launched there since the last status is not known."""
        self.first_attempt += 1
        self._changes += 1
