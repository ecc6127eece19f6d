"""Write docs/metrics.md from the metrics that `propeller.telemetry` declares.

`python tools/metrics_doc.py` writes it; `--check` only says whether it is current (exit code 1 if it is not).
"""

from __future__ import annotations

import sys
from pathlib import Path

from propeller.telemetry import Metrics

PAGE = Path(__file__).parent.parent / "docs" / "metrics.md"

HEAD = """# Metrics

Made from `propeller/telemetry` by `make metrics-doc`; do not edit.

`propeller controller` serves them on `--metrics-port` under `/metrics`, with those of the process and of
Python (`process_*`, `python_*`). Labels have few values: kinds, phases, verbs, codes and reasons that propeller
knows; a reason that a task made up is `Other`. Results of single executions are in the log (one line each at info),
in their status, and in Events (`kubectl describe flyteworkflow NAME`).

| name | type | labels | description |
|---|---|---|---|
"""


def page() -> str:
    rows = [
        f"| `{family.name}` | {family.type} | {', '.join(family.labels)} | {family.documentation} |"
        for family in Metrics().families
    ]
    return HEAD + "\n".join(rows) + "\n"


def main() -> int:
    if "--check" in sys.argv:
        current = PAGE.exists() and PAGE.read_text() == page()
        if not current:
            print("docs/metrics.md is not what propeller.telemetry says: run make metrics-doc", file=sys.stderr)
        return 0 if current else 1
    PAGE.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
