"""`python -m tests.soak --minutes 5 --seed 7` on a real kube-apiserver; a broken promise is told, with its seed."""

from __future__ import annotations

import argparse
import logging
import random
import sys
import tempfile
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path

import uvloop

from tests import assets
from tests.soak.ground import Ground, embedded_ground, kube_apiserver_ground
from tests.soak.mutations import MUTATIONS
from tests.soak.report import Report
from tests.soak.soak import SETTLE, Soak


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0, help="at least")
    parser.add_argument("--seed", type=int, help="of the plan; without it, a new one")
    parser.add_argument("--server", choices=["kube-apiserver", "embedded"], default="kube-apiserver")
    parser.add_argument("--settle", type=float, default=SETTLE, help="seconds within which stores are to be the list")
    parser.add_argument("--mutation", choices=sorted(MUTATIONS), help="a defect to plant, to see whether it is found")
    arguments = parser.parse_args()
    if arguments.server == "kube-apiserver":
        for name in ("kube-apiserver", "etcd"):
            if not assets.is_here(name):
                print(f"{name} is not here; get it with: make assets", file=sys.stderr)
                return 2
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    logging.basicConfig(level=logging.CRITICAL)  # warnings are what a soak is full of; defects are in its report
    seed = random.randrange(1_000_000) if arguments.seed is None else arguments.seed
    print(f"seed {seed} on {arguments.server}, {arguments.minutes:g} minutes")
    planted = MUTATIONS[arguments.mutation]() if arguments.mutation else nullcontext()
    with tempfile.TemporaryDirectory(prefix="propeller-soak-") as directory, planted:
        report = uvloop.run(_soak(arguments, seed, Path(directory)))
    print(*report.lines(), sep="\n")
    if report.failures:
        print(f"the same plan again: python -m tests.soak --server {arguments.server} --seed {seed}")
    return 1 if report.failures else 0


async def _soak(arguments: argparse.Namespace, seed: int, directory: Path) -> Report:
    ground: AbstractAsyncContextManager[Ground]
    ground = kube_apiserver_ground(directory) if arguments.server == "kube-apiserver" else embedded_ground()
    async with ground as there:
        soak = Soak(there, seed, print, settle=arguments.settle)
        return await soak.run(lambda report: report.seconds >= arguments.minutes * 60)


if __name__ == "__main__":
    sys.exit(main())
