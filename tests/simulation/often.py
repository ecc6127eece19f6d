"""Worlds of which each has what others seldom have: a restore, a store of tokens that forgets, shards that move.

A defect that shows only where two rare things meet would be found by none of thousands of seeds. What a world draws is
as in others; these are put on top of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from unittest import mock

from propeller.embedded.faults import FaultProfile
from tests.simulation.failing import FAILURE_MUTATIONS, failures
from tests.simulation.held import HELD_MUTATIONS, holds
from tests.simulation.namesakes import NAMESAKE_MUTATIONS, namesakes
from tests.simulation.recovering import RECOVERY_MUTATIONS, recoveries
from tests.simulation.reserving import RESERVATION_MUTATIONS, reservations
from tests.simulation.restored import Restored
from tests.simulation.scene import Scene
from tests.simulation.shared import SharedPools
from tests.simulation.timeouts import TIMEOUT_MUTATIONS, timeouts
from tests.simulation.tokens import Tokens


@contextmanager
def _restores() -> Iterator[None]:
    """Every server is restored from an older copy. Statuses are in the object store, where a newer one has replaced the
    one that the copy names.
    """

    def put_on(scene: Scene) -> None:
        scene.restored.used = not scene.oracle.gated
        scene.fault_free = False
        scene.offload()

    with mock.patch.object(Scene, "put_on", put_on), mock.patch.object(Restored, "late", True):
        yield


@contextmanager
def _losses() -> Iterator[None]:
    """Controllers that divide the workflows share tokens in a store that loses its data again and again. Nothing else
    fails, so that all that runs is counted.
    """

    def put_on(scene: Scene) -> None:
        scene.calm()

    with _counted(put_on, "losses"):
        yield


@contextmanager
def _moves() -> Iterator[None]:
    """Shards move every few seconds, while every attempt takes a token of a pool that all processes share. The API
    server is slow, and nothing fails, so that all that runs is counted.
    """

    def put_on(scene: Scene) -> None:
        scene.calm(FaultProfile(latency=0.5))
        scene.pace = 5.0

    with _counted(put_on, "nothing"):
        yield


@contextmanager
def _counted(put_on: Callable[[Scene], None], faults: str) -> Iterator[None]:
    """Every attempt takes a token of a shared pool, whose store has these faults alone."""
    with (
        mock.patch.object(Scene, "put_on", put_on),
        mock.patch.object(Tokens, "always", True),
        mock.patch.object(SharedPools, "only", faults),
    ):
        yield


@contextmanager
def _handovers() -> Iterator[None]:
    """Shards move every few seconds, and the object store is slow: what is under way for an execution takes longer than
    its shard waits for it.
    """

    def put_on(scene: Scene) -> None:
        scene.calm(FaultProfile(blob_latency=5.0))
        scene.is_local, scene.pace = False, 5.0

    with mock.patch.object(Scene, "put_on", put_on):
        yield


OFTEN: Mapping[str, Callable[[], AbstractContextManager[None]]] = {
    "failures": failures,
    "handovers": _handovers,
    "holds": holds,
    "losses": _losses,
    "moves": _moves,
    "namesakes": namesakes,
    "recoveries": recoveries,
    "reservations": reservations,
    "restores": _restores,
    "timeouts": timeouts,
}

OFTEN_MUTATIONS = {
    **FAILURE_MUTATIONS,
    **HELD_MUTATIONS,
    **NAMESAKE_MUTATIONS,
    **RECOVERY_MUTATIONS,
    **RESERVATION_MUTATIONS,
    **TIMEOUT_MUTATIONS,
}
"""Defects that are planted in worlds which have modules of their own."""
