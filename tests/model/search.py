"""Explicit-state search: every state that a model can come to, breadth first, and the shortest way to what is wrong.

Guarantees
    What is broken is found by a shortest trace. A search that ends without one has seen every reachable state.
    `stuck` looks at steps that are no faults alone: from every state they must lead to the end.
Assumptions
    States are hashable and equal where they are the same; `steps` and the checks are pure.
Errors
    TooLarge where a model has more states than the limit: a part of a state space proves nothing.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Hashable, Iterable
from typing import Generic, NamedTuple, Protocol, TypeVar

S = TypeVar("S", bound=Hashable)

STUCK = "every execution can still end"


class TooLarge(Exception):
    """The model has more states than it may."""


class Broken(NamedTuple):
    """A broken invariant: its name, and what broke it."""

    name: str
    what: str


class Step(NamedTuple, Generic[S]):
    """One thing that can happen. A `fault` may happen or not; what is none happens sooner or later."""

    label: str
    state: S
    fault: bool = False
    broken: Broken | None = None


class Model(Protocol[S]):
    """What is searched. `quiet` is asked about states in which nothing but faults can happen."""

    def initial(self) -> S: ...
    def steps(self, state: S) -> Iterable[Step[S]]: ...
    def quiet(self, state: S) -> Broken | None: ...
    def ended(self, state: S) -> bool: ...


class Finding(NamedTuple):
    """One broken invariant and the shortest way to it, a line for each step."""

    broken: Broken
    trace: list[str]


class Result(NamedTuple):
    """`seconds` are of CPU. `known` has the first finding of each invariant that was not expected to hold."""

    states: int
    steps: int
    depth: int
    seconds: float
    finding: Finding | None
    known: dict[str, Finding]


def search(model: Model[S], *, not_promised: frozenset[str] = frozenset(), limit: int = 10_000_000) -> Result:
    """Look at every state, until an invariant is broken that is not among the `not_promised`. Raises TooLarge."""
    return _Search(model, not_promised, limit).run()


class _Search(Generic[S]):
    def __init__(self, model: Model[S], not_promised: frozenset[str], limit: int) -> None:
        self._model = model
        self._not_promised = not_promised
        self._limit = limit
        self._numbers: dict[S, int] = {}
        self._parents = array("i")
        self._firsts = array("I")  # of each state's steps that are no faults, in _targets
        self._targets = array("I")
        self._can_end = bytearray()
        self._steps = 0
        self._known: dict[str, Finding] = {}
        self._began = time.process_time()

    def run(self) -> Result:
        frontier = [self._model.initial()]
        self._add(frontier[0], -1)
        depth = 0
        while frontier:
            following: list[S] = []
            for state in frontier:
                finding = self._expand(state, following)
                if finding is not None:
                    return self._result(depth, finding)
            frontier = following
            depth += bool(following)
        return self._result(depth, self._stuck())

    def _expand(self, state: S, following: list[S]) -> Finding | None:
        number = self._numbers[state]
        self._firsts.append(len(self._targets))
        for step in self._model.steps(state):
            self._steps += 1
            if step.broken is not None and (finding := self._judge(step.broken, number, step.label)) is not None:
                return finding
            target = self._numbers.get(step.state)
            if target is None:
                target = self._add(step.state, number)
                following.append(step.state)
            if not step.fault and target != number:
                self._targets.append(target)
        self._can_end.append(self._model.ended(state))
        if self._firsts[-1] == len(self._targets) and (broken := self._model.quiet(state)) is not None:
            return self._judge(broken, number)
        return None

    def _add(self, state: S, parent: int) -> int:
        number = self._numbers[state] = len(self._numbers)
        self._parents.append(parent)
        if number >= self._limit:
            raise TooLarge(f"more than {self._limit} states")
        return number

    def _judge(self, broken: Broken, number: int, last: str = "") -> Finding | None:
        if broken.name in self._known:
            return None
        finding = Finding(broken, [*self._trace(number), *([last] if last else [])])
        if broken.name not in self._not_promised:
            return finding
        self._known[broken.name] = finding
        return None

    def _trace(self, number: int) -> list[str]:
        """The labels of the steps that first led to a state: they are not kept, the way is walked again."""
        path = [number]
        while self._parents[path[-1]] >= 0:
            path.append(self._parents[path[-1]])
        path.reverse()
        labels, state = [], self._model.initial()
        for target in path[1:]:
            step = next(step for step in self._model.steps(state) if self._numbers.get(step.state) == target)
            labels.append(step.label)
            state = step.state
        return labels

    def _stuck(self) -> Finding | None:
        """The first state from which no steps but faults lead to the end.

        Steps mostly lead to later states, so that a few passes from the last to the first see all that can end.
        """
        firsts, targets, can_end = self._firsts, self._targets, self._can_end
        firsts.append(len(targets))
        more = True
        while more:
            more = False
            for number in range(len(can_end) - 1, -1, -1):
                if not can_end[number] and any(
                    can_end[target] for target in targets[firsts[number] : firsts[number + 1]]
                ):
                    can_end[number] = more = True
        number = can_end.find(0)
        return self._judge(Broken(STUCK, "no steps but faults lead to the end"), number) if number >= 0 else None

    def _result(self, depth: int, finding: Finding | None) -> Result:
        seconds = time.process_time() - self._began
        return Result(len(self._numbers), self._steps, depth, seconds, finding, self._known)
