"""Worlds whose tasks are cached: later executions take over what earlier ones have computed, whatever goes wrong.

What a task computes depends on its inputs alone there, and nothing that it does fails: the store, the API server and
the controllers do. So each execution comes to the same end, with or without the cache.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

import msgspec

from propeller.catalog import Busy, Key, Owner, Reservations, key_of
from propeller.handlers.executors import _task_cache
from propeller.workflow import CacheRecord
from tests.simulation import flows, kubelet, model, users
from tests.simulation.flows import Flow, Graph, also, task_template
from tests.simulation.model import output_of
from tests.simulation.oracle import Oracle


@dataclass(frozen=True)
class CachedFlow(Flow):
    """A workflow of cached tasks; in half of them of those that would compute the same one does."""

    serialize: bool = False

    def resource(self, name: str) -> dict[str, Any]:
        resource = super().resource(name)
        for template in resource["tasks"].values():
            template["metadata"]["cacheSerializable"] = self.serialize
        return resource


@contextmanager
def all_tasks_are_cached() -> Iterator[None]:
    """See the module's text."""
    with (
        mock.patch.object(users, "draw_flow", functools.partial(_draw, users.draw_flow)),
        mock.patch.object(flows, "task_template", _cached_template),
        mock.patch.object(kubelet, "task_template", _cached_template),
        mock.patch.object(model, "output_of", _of_inputs_alone),
        mock.patch.object(kubelet, "output_of", _of_inputs_alone),
        mock.patch.object(Oracle, "caches", True),
        mock.patch.object(Oracle, "kinds_of_pods", Oracle.kinds_of_pods | {"cached task"}),
    ):
        yield


def _cached_template(kind: str) -> dict[str, Any]:
    return task_template(kind) | {"metadata": {"discoverable": True, "discoveryVersion": "1"}}


def _of_inputs_alone(unique_id: str, inputs: bytes) -> int:
    return output_of("", inputs) % 5  # few values, so that inputs are often the same


def _draw(draw: Callable[[random.Random], Flow], rng: random.Random) -> CachedFlow:
    flow = draw(rng)
    root = _untroubled(replace(flow.root, nodes=tuple(node for node in flow.root.nodes if not node.timed)))
    subs = {key: _untroubled(graph) for key, graph in flow.subs.items() if key != "timed"}
    return also(CachedFlow, flow, root=root, subs=subs, x=flow.x % 3, trouble=0.0, serialize=rng.random() < 0.5)


def _untroubled(graph: Graph) -> Graph:
    """Nothing in it has a time that slowness may use up, or items that need not succeed."""
    nodes = tuple(replace(node, deadline=False, min_successes=None) for node in graph.nodes)
    return replace(graph, nodes=nodes)


def _a_launch_does_not_wait_for_the_hit_that_it_builds_on() -> AbstractContextManager[Any]:
    return mock.patch.object(CacheRecord, "builds_on", return_value=False)


def _inputs_are_no_part_of_the_key() -> AbstractContextManager[Any]:
    async def blind(*args: Any) -> Key:
        return msgspec.structs.replace(await key_of(*args), inputs={})

    return mock.patch.object(_task_cache, "key_of", blind)


def _reservations_are_held_by_everybody() -> AbstractContextManager[Any]:
    async def generous(self: Reservations, path: str, owner: Owner, tell: Any) -> Busy | None:
        return None

    return mock.patch.object(Reservations, "acquire", generous)


def _reservations_are_not_given_back() -> AbstractContextManager[Any]:
    return mock.patch.object(Reservations, "release", return_value=None)


CACHED_MUTATIONS: Mapping[str, Any] = {
    function.__name__.strip("_").replace("_", " "): function
    for function in (
        _a_launch_does_not_wait_for_the_hit_that_it_builds_on,
        _inputs_are_no_part_of_the_key,
        _reservations_are_held_by_everybody,
        _reservations_are_not_given_back,
    )
}
