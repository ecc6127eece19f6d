"""Many seeds: one after the other, or shared by processes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import nullcontext
from itertools import islice

from tests.simulation.cached import CACHED_MUTATIONS, all_tasks_are_cached
from tests.simulation.gated import GATED_MUTATIONS, all_workflows_have_gates
from tests.simulation.loaded import LOADED_MUTATIONS, most_tasks_are_loaded
from tests.simulation.map_mutations import MAP_MUTATIONS
from tests.simulation.mutations import MUTATIONS
from tests.simulation.nested import NESTED_MUTATIONS, all_workflows_start_others
from tests.simulation.often import OFTEN
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
}
"""All defects that can be planted."""

Results = Generator[Result, None, None]

A_TIME = 10
"""Seeds that a process takes at once: some seconds' work."""


def one_after_the_other(
    seeds: Iterable[int],
    mutation: str | None,
    *,
    plugged: bool = False,
    sharded: bool = False,
    cached: bool = False,
    gated: bool = False,
    loaded: bool = False,
    nested: bool = False,
    often: str = "",
    verbose: bool = False,
) -> Results:
    """`plugged`: the tasks run by a plugin of another package. `sharded`: several controllers divide the workflows.
    `cached`: outputs of all tasks are cached. `gated`: workflows have gates. `loaded`: most tasks have uploaders.
    `nested`: nodes of workflows start launch plans. `often`: of OFTEN, what each world has.
    """
    for seed in seeds:
        with (
            PLANTED[mutation]() if mutation else nullcontext(),
            all_tasks_are_plugged() if plugged else nullcontext(),
            all_tasks_are_cached() if cached else nullcontext(),
            all_workflows_have_gates() if gated else nullcontext(),
            most_tasks_are_loaded() if loaded else nullcontext(),
            all_workflows_start_others() if nested else nullcontext(),
            OFTEN[often]() if often else nullcontext(),
        ):
            yield simulate(seed, verbose=verbose, sharded=sharded)


def side_by_side(
    seeds: range,
    mutation: str | None,
    processes: int,
    *,
    plugged: bool = False,
    sharded: bool = False,
    cached: bool = False,
    gated: bool = False,
    loaded: bool = False,
    nested: bool = False,
    often: str = "",
) -> Results:
    """Results as they come. What has not begun when nobody wants more is left out."""
    parts = (seeds[start : start + A_TIME] for start in range(0, len(seeds), A_TIME))
    pool = ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"))
    try:
        running: set[Future[list[Result]]] = {
            pool.submit(several, part, mutation, plugged, sharded, cached, gated, loaded, nested, often)
            for part in islice(parts, processes * 2)
        }
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            running |= {
                pool.submit(several, part, mutation, plugged, sharded, cached, gated, loaded, nested, often)
                for part in islice(parts, len(done))
            }
            for part in done:
                yield from part.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def several(
    seeds: range,
    mutation: str | None,
    plugged: bool,
    sharded: bool,
    cached: bool,
    gated: bool,
    loaded: bool,
    nested: bool,
    often: str,
) -> list[Result]:
    worlds = {"plugged": plugged, "sharded": sharded, "cached": cached, "gated": gated} | {
        "loaded": loaded,
        "nested": nested,
    }
    return list(one_after_the_other(seeds, mutation, **worlds, often=often))
