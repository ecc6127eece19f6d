"""Run workflows of connector tasks with the real FlytePropeller and with `propeller controller`, and compare what their
connector service is asked, and how the workflows end.

    python tools/compare_flytepropeller.py [--only WORD] [--keep DIRECTORY] [--all] [--record]

The resources of `tests/connector_peers/flows.py` run first with the one, then with the other: on a real kube-apiserver,
a real S3 server, and a connector service that records every request. It needs `make assets`, and the first time some
minutes for building FlytePropeller from Go modules. Each request is compared field by field, with its headers and its
deadline; of each workflow the calls, phase, error and outputs. Differences that are meant are in
`tests/connector_peers/differences.py`, each with its reason, and counted only. `--record` keeps what FlytePropeller did
for the tests, which run without it. Exit code 0 if nothing else differs, else 1.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.connector_peers.bench import OURS, THEIRS, bench
from tests.connector_peers.differences import RECORDED, differences, reason, write_run


async def compare(home: Path, only: str, *, show_meant: bool, record: bool) -> int:
    async with bench(home, only) as (found, names):
        theirs, ours = await found.run(THEIRS), await found.run(OURS)
    if record:
        write_run(theirs, RECORDED)
    meant: collections.Counter[str] = collections.Counter()
    wrong = 0
    for difference in differences(theirs, ours, names):
        if why := reason(difference):
            meant[why] += 1
            if show_meant:
                print(f"meant  {difference}")
        else:
            wrong += 1
            print(f"DIFFERS  {difference}", flush=True)
    for why, count in meant.most_common():
        print(f"{count:5}  meant: {why}")
    print(f"{wrong:5}  differ, of {len(names)} workflows and {len(theirs.calls)} | {len(ours.calls)} calls")
    return int(bool(wrong))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", default="", help="run workflows whose name has this word")
    parser.add_argument("--keep", type=Path, help="an empty directory in which calls and logs are kept")
    parser.add_argument("--all", action="store_true", help="also show differences that are meant")
    parser.add_argument("--record", action="store_true", help=f"write FlytePropeller's run to {RECORDED.name}")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="peers-") as directory:
        home = options.keep or Path(directory)
        return asyncio.run(compare(home, options.only, show_meant=options.all, record=options.record))


if __name__ == "__main__":
    sys.exit(main())
