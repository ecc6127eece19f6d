"""`python -m tests.simulation --seeds 500` runs seeds, and says which broke what; `--seed N --trace` tells a story."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter

from rich.console import Console
from rich.progress import Progress

from tests.simulation.often import OFTEN
from tests.simulation.reached import Cell, as_rows, table_of
from tests.simulation.seeds import KINDS, PLANTED, Options, one_after_the_other, side_by_side


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=500, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--seed", type=int, help="this one alone")
    parser.add_argument("--trace", action="store_true", help="print what happens, line by line")
    parser.add_argument("--stop", action="store_true", help="at the first seed that breaks something")
    parser.add_argument("--mutation", choices=sorted(PLANTED), help="a defect to plant, to see whether it is found")
    parser.add_argument("--plugged", action="store_true", help="run the tasks by a plugin of another package")
    parser.add_argument("--sharded", action="store_true", help="let several controllers divide the workflows")
    parser.add_argument("--cached", action="store_true", help="cache the outputs of all tasks")
    parser.add_argument("--gated", action="store_true", help="let workflows have gates, which people answer")
    parser.add_argument("--often", choices=sorted(OFTEN), default="", help="what each world has, and others seldom")
    parser.add_argument("--loaded", action="store_true", help="have uploaders beside most tasks")
    parser.add_argument("--nested", action="store_true", help="let nodes of workflows start launch plans")
    parser.add_argument(
        "--reached", action="store_true", help="print how many seeds have reached what, as JSON at last"
    )
    parser.add_argument("--processes", type=int, default=1, help="that share the seeds; 0: as many as there are cores")
    arguments = parser.parse_args()
    if os.environ.get("PYTHONHASHSEED") != "0":  # the order of sets of strings is part of the story
        os.execve(
            sys.executable,
            [sys.executable, "-m", "tests.simulation", *sys.argv[1:]],
            os.environ | {"PYTHONHASHSEED": "0"},
        )
    first = arguments.first if arguments.seed is None else arguments.seed
    seeds = range(first, first + (arguments.seeds if arguments.seed is None else 1))
    processes = arguments.processes or os.cpu_count() or 1
    kinds = frozenset(name for name in KINDS if getattr(arguments, name))
    options = Options(kinds, sharded=arguments.sharded, often=arguments.often, mutation=arguments.mutation)
    began = time.perf_counter()
    ran = violated = pods = workflows = 0
    reached: Counter[Cell] = Counter()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    if processes == 1 or arguments.trace:
        results = one_after_the_other(seeds, options, verbose=arguments.trace)
    else:
        results = side_by_side(seeds, options, processes)
    with Progress(console=Console(stderr=True), transient=True, disable=arguments.trace) as progress:
        for result in progress.track(results, total=len(seeds), description="seeds"):
            ran += 1
            pods += result.pods
            workflows += result.workflows
            reached.update(result.reached)
            if result.failures:
                violated += 1
                print(f"seed {result.seed}: {len(result.failures)} broken, first: {result.failures[0]}")
                if arguments.stop:
                    break
    results.close()
    took = time.perf_counter() - began
    print(
        f"{ran} seeds, {workflows} workflows, {pods} pods in {took:.1f} s ({ran / took:.1f} seeds/s); "
        f"{violated} broke something"
        + ("; `python -m tests.simulation --seed N --trace` tells the story of one" if violated else "")
    )
    if arguments.reached:
        print(table_of(reached))
        print(json.dumps(as_rows(reached)))
    return 1 if violated else 0


if __name__ == "__main__":
    sys.exit(main())
