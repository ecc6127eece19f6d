"""`python -m tests.fuzz --count 2000 --seed 7` sends damaged data through a controller on a real kube-apiserver."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

import uvloop

from propeller.testing import run_kube_apiserver
from tests import assets
from tests.fuzz.campaign import Outcome, prepared
from tests.fuzz.kinds import KINDS
from tests.fuzz.verdicts import Verdict

BAD = (Verdict.UNCLEAR, Verdict.SILENT, Verdict.STUCK)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--what", choices=[*KINDS, "all"], default="all", help="which data is damaged")
    parser.add_argument("--count", type=int, default=200, help="executions of each kind")
    parser.add_argument("--seed", type=int, help="of the damage; without it, a new one")
    parser.add_argument("--show", type=int, default=20, help="how many bad findings of each kind are printed")
    parser.add_argument("--all-failures", action="store_true", help="print every failure's message, to be read")
    arguments = parser.parse_args()
    for name in ("kube-apiserver", "etcd"):
        if not assets.is_here(name):
            print(f"{name} is not here; get it with: make assets", file=sys.stderr)
            return 2
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    seed = random.randrange(1_000_000) if arguments.seed is None else arguments.seed
    print(f"seed {seed}")
    bad = False
    kinds = list(KINDS) if arguments.what == "all" else [arguments.what]
    with (
        tempfile.TemporaryDirectory(prefix="propeller-fuzz-") as directory,
        run_kube_apiserver(Path(directory)) as server,
    ):

        async def run(kind: str) -> Outcome:
            async with prepared(server, Path(directory), seed) as campaign:
                return await KINDS[kind](campaign, arguments.count, lambda line: print(f"  {line}"))

        for kind in kinds:
            outcome = uvloop.run(run(kind))
            bad |= _tell(outcome, arguments.show, everything=arguments.all_failures)
    return int(bad)


def _tell(outcome: Outcome, show: int, *, everything: bool) -> bool:
    """Whether something is bad."""
    counts = outcome.counts
    print(f"{outcome.what}: {counts.total()} executions, {outcome.refused} more were refused by the API server")
    for verdict in Verdict:
        print(f"  {counts[verdict]:5} {verdict}")
    print(
        f"  loop held at most {outcome.cpu:.3f} s of its own CPU, {outcome.wall:.3f} s by the clock "
        f"({outcome.late} times over 0.1 s); peak {outcome.peak_mib} MiB"
    )
    shown: Counter[Verdict] = Counter()
    for finding in outcome.findings:
        is_bad = finding.verdict in BAD
        if is_bad or (everything and finding.text):
            shown[finding.verdict] += 1
            if everything or shown[finding.verdict] <= show:
                print(f"  {finding.verdict}: {finding.name}: {finding.damage}\n      {finding.text[:600]!r}")
    for problem in outcome.problems:
        print(f"  PROBLEM: {problem}")
    return bool(outcome.problems) or any(counts[verdict] for verdict in BAD)


if __name__ == "__main__":
    sys.exit(main())
