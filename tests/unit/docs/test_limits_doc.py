"""The settings that docs/limits.md shows are settings."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from propeller.config import Settings
from propeller.resourcemgr import check_options

PAGE = Path(__file__).parents[3] / "docs" / "limits.md"


def test_the_example_is_read_as_it_stands_and_contradicts_nothing() -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    settings = msgspec.yaml.decode(example.encode(), type=Settings)
    check_options(settings.resources)
    assert [pool.name for pool in settings.resources.pools] == ["cluster", "hive", "warehouse-api", "gpus"]
