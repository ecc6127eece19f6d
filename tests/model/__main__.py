"""`python -m tests.model` searches the small configurations for what breaks a promise, `--large` the larger ones.

`--planted` plants each defect alone, and tells how it is found.
"""

from __future__ import annotations

import argparse
import resource
import sys
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from tests.model import catalogue
from tests.model.configurations import Configuration
from tests.model.fleet import catalogue as fleet
from tests.model.fleet.configurations import Fleet
from tests.model.fleet.model import Model
from tests.model.protocol import Protocol
from tests.model.search import Finding, Result, search


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.model", description=__doc__)
    parser.add_argument("--large", action="store_true", help="the larger configurations")
    parser.add_argument("--only", metavar="TEXT", default="", help="those that have it in their name")
    parser.add_argument("--planted", action="store_true", help="plant each defect, and tell the shortest trace to it")
    arguments = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    if arguments.planted:
        return _plant(arguments.only)
    print(f"{'configuration':62} {'states':>9} {'steps':>9} {'depth':>5} {'CPU s':>6} {'peak MB':>7}")
    broken = 0
    small: list[Configuration | Fleet] = [*catalogue.CONFIGURATIONS, *fleet.CONFIGURATIONS]
    large: list[Configuration | Fleet] = [*catalogue.LARGE, *fleet.LARGE]
    for plan in large if arguments.large else small:
        if arguments.only in plan.name:
            result = search(_model(plan), not_promised=plan.not_promised)
            print(_row(plan, result))
            broken += result.finding is not None
            findings = [] if result.finding is None else [result.finding]
            _tell(findings, "broken")
            _tell(result.known.values(), "not promised here, and broken")
    return 1 if broken else 0


def _plant(only: str) -> int:
    missed = 0
    planted: dict[str, tuple[Configuration | Fleet, str]] = {**catalogue.PLANTED, **fleet.PLANTED}
    for defect, (plan, _) in planted.items():
        if only in defect:
            result = search(_model(replace(plan, planted=frozenset({defect}))), not_promised=plan.not_promised)
            print(f"{defect}: {plan.name}, {result.states} states, {result.seconds:.1f} s")
            missed += result.finding is None
            _tell([] if result.finding is None else [result.finding], "found")
    return 1 if missed else 0


def _model(plan: Configuration | Fleet) -> Any:  # of the one kind of world or the other
    return Protocol(plan) if isinstance(plan, Configuration) else Model(plan)


def _row(plan: Configuration | Fleet, result: Result) -> str:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    seconds = f"{result.seconds:6.1f}"
    return f"{plan.name:62} {result.states:9} {result.steps:9} {result.depth:5} {seconds} {peak:7}"


def _tell(findings: Iterable[Finding], how: str) -> None:
    for finding in findings:
        print(f"  {how}: {finding.broken.name}: {finding.broken.what}")
        for number, line in enumerate(finding.trace, 1):
            print(f"  {number:4}  {line}")


if __name__ == "__main__":
    sys.exit(main())
