"""`python -m tests.simulation.clusters --seeds 100` runs seeds, and says which broke what."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import nullcontext
from unittest import mock

from tests.simulation.clusters.mutations import MUTATIONS, ROLLOUT_MUTATIONS, SHARDED_MUTATIONS
from tests.simulation.clusters.rollouts import rolled_out
from tests.simulation.clusters.sharded import sharded
from tests.simulation.clusters.world import World, plain, simulate

PLANTED = {**MUTATIONS, **SHARDED_MUTATIONS, **ROLLOUT_MUTATIONS}
"""All defects that can be planted."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.clusters", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--seed", type=int, help="this one alone")
    parser.add_argument("--trace", action="store_true", help="print what happens, line by line")
    parser.add_argument("--stop", action="store_true", help="at the first seed that breaks something")
    parser.add_argument("--mutation", choices=sorted(PLANTED), help="a defect to plant, to see whether it is found")
    parser.add_argument(
        "--often",
        choices=("outages", "skews", "takeovers"),
        default="",
        help="in the place of other troubles; skews: beside them",
    )
    worlds = parser.add_mutually_exclusive_group()
    worlds.add_argument("--sharded", action="store_true", help="let several controllers divide the workflows")
    worlds.add_argument("--rollout", action="store_true", help="and try a new version in one of the clusters")
    arguments = parser.parse_args()
    if os.environ.get("PYTHONHASHSEED") != "0":  # the order of sets of strings is part of the story
        command = [sys.executable, "-m", "tests.simulation.clusters", *sys.argv[1:]]
        os.execve(sys.executable, command, os.environ | {"PYTHONHASHSEED": "0"})
    made = rolled_out if arguments.rollout else sharded if arguments.sharded else plain
    first = arguments.first if arguments.seed is None else arguments.seed
    broken = pods = ran = 0
    for seed in range(first, first + (arguments.seeds if arguments.seed is None else 1)):
        with (
            PLANTED[arguments.mutation]() if arguments.mutation else nullcontext(),
            mock.patch.object(World, "often", arguments.often),
        ):
            failures, digest, launched = simulate(seed, verbose=arguments.trace, made=made)
        ran, pods = ran + 1, pods + launched
        if failures:
            broken += 1
            print(f"seed {seed}: {len(failures)} broken, first: {failures[0]}", flush=True)
            if arguments.stop:
                break
        elif arguments.seed is not None:
            print(f"seed {seed}: {digest}")
    print(f"{ran} seeds, {pods} pods; {broken} broke something")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
