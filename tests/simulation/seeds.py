"""Many seeds: one after the other, or shared by processes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

from tests.simulation.cached import CACHED_MUTATIONS, all_tasks_are_cached
from tests.simulation.gated import GATED_MUTATIONS, all_workflows_have_gates
from tests.simulation.loaded import LOADED_MUTATIONS, most_tasks_are_loaded
from tests.simulation.map_mutations import MAP_MUTATIONS
from tests.simulation.mutations import MUTATIONS
from tests.simulation.nested import NESTED_MUTATIONS, all_workflows_start_others
from tests.simulation.often import OFTEN, OFTEN_MUTATIONS
from tests.simulation.plugged import all_tasks_are_plugged
from tests.simulation.sharded_mutations import SHARDED_MUTATIONS
from tests.simulation.world import Result, simulate

PLANTED = {
    **LOADED_MUTATIONS,
    **MUTATIONS,
    **MAP_MUTATIONS,
    **SHARDED_MUTATIONS,
    **CACHED_MUTATIONS,
    **GATED_MUTATIONS,
    **NESTED_MUTATIONS,
    **OFTEN_MUTATIONS,
}
"""All defects that can be planted."""

Results = Generator[Result, None, None]

A_TIME = 10
"""Seeds that a process takes at once: some seconds' work."""

KINDS: Mapping[str, Callable[[], AbstractContextManager[Any]]] = {
    "plugged": all_tasks_are_plugged,
    "cached": all_tasks_are_cached,
    "gated": all_workflows_have_gates,
    "loaded": most_tasks_are_loaded,
    "nested": all_workflows_start_others,
}
"""In the order in which they are entered: each adds to the workflows that those before it draw."""


@dataclass(frozen=True)
class Options:
    """What worlds are like: of KINDS, whose names are options; whether controllers divide the workflows; of OFTEN, what
    each world has; and the defect that is planted.
    """

    kinds: frozenset[str] = frozenset()
    sharded: bool = False
    often: str = ""
    mutation: str | None = None

    @contextmanager
    def entered(self) -> Iterator[None]:
        with ExitStack() as stack:
            if self.mutation is not None:
                stack.enter_context(PLANTED[self.mutation]())
            for name, entered in KINDS.items():
                if name in self.kinds:
                    stack.enter_context(entered())
            if self.often:
                stack.enter_context(OFTEN[self.often]())
            yield


def one_after_the_other(seeds: Iterable[int], options: Options, *, verbose: bool = False) -> Results:
    for seed in seeds:
        with options.entered():
            yield simulate(seed, verbose=verbose, sharded=options.sharded)


def side_by_side(seeds: range, options: Options, processes: int) -> Results:
    """Results as they come. What has not begun when nobody wants more is left out."""
    parts = (seeds[start : start + A_TIME] for start in range(0, len(seeds), A_TIME))
    pool = ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"))
    try:
        running: set[Future[list[Result]]] = {
            pool.submit(several, part, options) for part in islice(parts, processes * 2)
        }
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            running |= {pool.submit(several, part, options) for part in islice(parts, len(done))}
            for part in done:
                yield from part.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def several(seeds: range, options: Options) -> list[Result]:
    return list(one_after_the_other(seeds, options))
