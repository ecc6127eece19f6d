"""The settings that docs/limits.md shows are settings."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import yaml

from propeller.config import Settings
from propeller.fairqueues import FAIR_QUEUES, decode, fair_queue_crd
from propeller.resourcemgr import check_options, kept_of, with_borrowing
from propeller.tenants import load, read_templates, rendered

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


def test_what_the_example_of_lending_says_is_kept_is_kept() -> None:
    (lent,) = [one.resources for one in examples() if any(tenant.lending for tenant in one.resources.tenants)]
    assert kept_of(lent) == {"hive": {("etl",): 40, ("etl", "nightly"): 40}}
    assert {tenant.name: tenant.limits for tenant in with_borrowing(lent).tenants}["ml"] == {"hive": 25}


def test_the_example_of_kueue_maps_a_project_and_another_of_its_domains() -> None:
    (kueue,) = [one.kueue for one in examples() if one.kueue.queues]
    assert (kueue.queue_of("ml", "production"), kueue.queue_of("ml", "development")) == ("team-ml", "team-dev")
    assert kueue.queue_of("other", "production") == ""


def test_the_fairqueue_of_the_page_is_one_and_says_what_the_text_says() -> None:
    (text,) = (text for text in re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL) if "FairQueue" in text)
    found = yaml.safe_load(text)
    assert (found["apiVersion"], found["kind"]) == (FAIR_QUEUES.api_version, FAIR_QUEUES.kind)
    assert {pool.name: pool.capacity for pool in decode(found["spec"]).pools} == {"hive": 80, "warehouse-api": None}


def test_the_columns_of_the_page_are_those_of_the_type() -> None:
    (shown,) = re.findall(r"^(NAME +READY.*)$", PAGE.read_text(), re.MULTILINE)
    (version,) = fair_queue_crd()["spec"]["versions"]
    columns = [one["name"].upper() for one in version["additionalPrinterColumns"] if not one.get("priority")]
    assert shown.split() == ["NAME", *columns]


def test_the_tenants_of_the_page_on_tenants_are_read_as_they_stand(tmp_path: Path) -> None:
    page = PAGE.with_name("tenants.md").read_text()
    for text in re.findall(r"```yaml\n(# \S+\n.*?)```", page, re.DOTALL):
        path = tmp_path / text.split()[1]
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    config, tenants = load(str(tmp_path / "tenants.yaml"), {"IAM_ROLE": "x"})
    objects = rendered(config, read_templates(tmp_path / config.templates), tenants["gpu"])
    assert [one.kind for one in objects] == ["Namespace"] * 3 + ["ResourceQuota"] * 3
    assert objects[-1].body["spec"]["hard"] == {"limits.cpu": 64, "limits.memory": "32Gi"}
