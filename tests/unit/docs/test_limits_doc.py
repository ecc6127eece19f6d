"""The settings that docs/limits.md shows are settings."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from propeller.config import Settings
from propeller.resourcemgr import check_options

PAGE = Path(__file__).parents[3] / "docs" / "limits.md"


def examples() -> list[Settings]:
    """Those of the page that are settings, and not resources."""
    texts = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return [msgspec.yaml.decode(text.encode(), type=Settings) for text in texts if "apiVersion:" not in text]


def test_the_examples_are_read_as_they_stand_and_contradict_nothing() -> None:
    for settings in examples():
        check_options(settings.resources)
    first = examples()[0].resources
    assert [pool.name for pool in first.pools] == ["cluster", "hive", "warehouse-api", "gpus"]


def test_the_example_of_kueue_maps_a_project_and_another_of_its_domains() -> None:
    (kueue,) = [one.kueue for one in examples() if one.kueue.queues]
    assert (kueue.queue_of("ml", "production"), kueue.queue_of("ml", "development")) == ("team-ml", "team-dev")
    assert kueue.queue_of("other", "production") == ""
