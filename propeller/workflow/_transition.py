"""Transitions: how a node goes on, or ends, after an event.

Guarantees
    Each variant holds what belongs to it and nothing else: a node that ends sets no timer, a node that fails has a
    failure, and only a new attempt can follow a failed one.
Assumptions
    Transition functions are pure: `decide` may call one and drop its result, if the node has to wait for a slot.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import msgspec

from propeller.workflow._caching import CacheStatus
from propeller.workflow._effects import Effect
from propeller.workflow._events import Failure, NodeEvent
from propeller.workflow._execution import NodeView
from propeller.workflow._plan import Graph, ItemsGraph
from propeller.workflow._states import RunningSubgraph, RunningSubtasks, State, WritingOutputs


class _Transition(msgspec.Struct, frozen=True, kw_only=True):
    """The base of all transitions. `effects` are run after the decision, in this order."""

    effects: tuple[Effect, ...] = ()
    cache: CacheStatus | None = None
    """The cache's status of the node from now on; None if it stays as it is."""


@final
class Stay(_Transition, frozen=True, kw_only=True):
    """Keep the state. A TimerFired follows at each of `wakes` (epoch seconds)."""

    wakes: tuple[float, ...] = ()


@final
class Continue(_Transition, frozen=True):
    """Go to another state of the same attempt. With `awaits_stops`, AllStopped follows once no pod of the last attempt
    runs any more. Without `checkpoint`, the change alone is no reason to write a status: the next one has it.
    """

    state: State
    wakes: tuple[float, ...] = ()
    awaits_stops: bool = False
    checkpoint: bool = True


@final
class StartAttempt(_Transition, frozen=True):
    """Begin attempt number `attempt`, now or when `state` says. `failure` is that of the attempt before it.

    `system_failures` is how many earlier attempts are known to have failed by the system's fault, at least.
    `cancel_inside` cancels the nodes that the attempt before it runs inside the node. Other fields are as in Continue.
    """

    state: State
    attempt: int
    wakes: tuple[float, ...] = ()
    failure: Failure | None = None
    system_failures: int = 0
    awaits_stops: bool = False
    cancel_inside: bool = False
    checkpoint: bool = True


@final
class StartSubgraph(_Transition, frozen=True):
    """Run a graph inside the node, for the attempt that the state names."""

    state: RunningSubgraph
    graph: Graph


@final
class StartSubtasks(_Transition, frozen=True):
    """Open the items of a map task for this attempt, and start the first of them: as many as the state says."""

    state: RunningSubtasks | WritingOutputs
    graph: ItemsGraph
    attempt: int


@final
class StartSubtask(_Transition, frozen=True):
    """Start one more item of a map task: number `item`."""

    state: RunningSubtasks
    item: int


@final
class SelectCase(_Transition, frozen=True):
    """Run the branch's case with the node id `case`, and skip the others."""

    case: str


@final
class Succeed(_Transition, frozen=True):
    """End the node well: its successors may start."""


@final
class Fail(_Transition, frozen=True):
    """End the node with a failure. `cancel_inside` cancels the nodes inside it."""

    failure: Failure
    cancel_inside: bool = False


@final
class Abort(_Transition, frozen=True):
    """End the node because it was cancelled."""


Transition = (
    Stay | Continue | StartAttempt | StartSubgraph | StartSubtasks | StartSubtask | SelectCase | Succeed | Fail | Abort
)

TransitionFunction = Callable[[NodeView, State | None, NodeEvent, float], Transition | None]
"""`(node, state, event, now) -> Transition`, pure; None if the event changes nothing."""
