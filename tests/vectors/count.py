"""The count of vectors, printed at the end of a run that had some."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tests.vectors.folder import MISSING, is_here


def pytest_terminal_summary(terminalreporter: Any) -> None:
    counts = {outcome: _by_test(terminalreporter.stats.get(outcome, ())) for outcome in ("passed", "failed", "skipped")}
    if not any(counts.values()):
        return
    if not is_here():
        terminalreporter.write_line(f"Flyte's vectors: none, {MISSING}")
        return
    total = {outcome: count.total() for outcome, count in counts.items()}
    terminalreporter.write_line(f"Flyte's vectors: {total['passed']} green, {total['failed']} not")
    for test, count in sorted(counts["passed"].items()):
        terminalreporter.write_line(f"  {count:4} {test}")


def _by_test(reports: Any) -> Counter[str]:
    """Cases of each test over the folder; tests without cases are no vectors."""
    names = (report.nodeid for report in reports if "tests/vectors/" in getattr(report, "nodeid", ""))
    return Counter(name.split("::")[-1].split("[")[0] for name in names if "[" in name)
