"""docs/metrics.md lists what a scrape has, and a scrape has no other metrics of ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from propeller.telemetry import Metrics

ROOT = Path(__file__).parents[3]


def test_the_page_is_current() -> None:
    done = subprocess.run([sys.executable, ROOT / "tools" / "metrics_doc.py", "--check"], check=False, cwd=ROOT)
    assert done.returncode == 0


def test_a_scrape_has_the_metrics_that_the_page_lists() -> None:
    metrics = Metrics()
    scraped = {
        family.name + ("_total" if family.type == "counter" else ""): (family.type, family.documentation)
        for family in text_string_to_metric_families(metrics.text().decode())
        if family.name.startswith("propeller_")
    }
    assert scraped == {family.name: (family.type, family.documentation) for family in metrics.families}
