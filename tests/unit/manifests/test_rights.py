"""The rights that the controller is given: those of its own requests, and of the task plugins that are installed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from propeller.handlers.plugins import Plugins, load_plugins
from propeller.manifests import RULES, manifests
from tests.unit.controller.things import plugins


def rules(kind: str, documents: list[dict[str, Any]], name: str = "propeller") -> list[dict[str, Any]]:
    (found,) = (one for one in documents if one["kind"] == kind and one["metadata"]["name"] == name)
    granted: list[dict[str, Any]] = found["rules"]
    return granted


def test_a_plugins_resource_is_granted_with_the_verbs_that_the_controller_uses() -> None:
    verbs = ["get", "list", "watch", "create", "delete"]
    things = {"apiGroups": ["example.org"], "resources": ["things"], "verbs": verbs}
    without = rules("ClusterRole", manifests("flyte", plugins=Plugins()))
    granted = rules("ClusterRole", manifests("flyte", plugins=plugins("OTHER")))
    assert [rule for rule in granted if rule not in without] == [things]
    assert len(granted) == len(without) + 1


def test_of_one_namespace_alone_if_the_controller_has_no_other() -> None:
    documents = manifests("flyte", only="team-a", plugins=plugins())
    assert rules("Role", documents)[-1]["resources"] == ["things"]
    assert not [one for one in documents if one["kind"] == "ClusterRole"]


def test_a_plugin_that_cannot_be_used_is_granted_nothing() -> None:
    broken = manifests("flyte", plugins=plugins("no_such_module:PLUGIN"))
    assert rules("ClusterRole", broken) == rules("ClusterRole", manifests("flyte", plugins=Plugins()))


def test_fairqueues_may_be_read_and_their_statuses_written_and_nothing_else() -> None:
    documents = manifests("flyte", plugins=Plugins())
    granted = [rule for rule in rules("ClusterRole", documents) if rule["apiGroups"] == ["propeller.dev"]]
    assert [(rule["resources"], rule["verbs"]) for rule in granted] == [
        (["fairqueues"], ["list", "watch"]),
        (["fairqueues/status"], ["patch"]),
    ]
    names = [one["metadata"]["name"] for one in documents if one["kind"] == "CustomResourceDefinition"]
    assert names == ["flyteworkflows.flyte.lyft.com", "fairqueues.propeller.dev"]
    of_one = manifests("flyte", only="team-a", plugins=Plugins())
    assert "propeller.dev" not in str(of_one), "they have no namespace"


def test_what_is_between_a_job_and_its_pods_may_be_read_and_no_more() -> None:
    without = rules("ClusterRole", manifests("flyte", plugins=Plugins()))
    enabled = load_plugins((), ("ray", "kubernetes-job"))
    granted = [one for one in rules("ClusterRole", manifests("flyte", plugins=enabled)) if one not in without]
    verbs = {(one["apiGroups"][0], one["resources"][0]): one["verbs"] for one in granted}
    assert verbs.pop(("ray.io", "rayclusters")) == ["get"]
    full = ["get", "list", "watch", "create", "delete"]
    assert verbs == {("ray.io", "rayjobs"): full, ("batch", "jobs"): full}


def test_the_table_of_security_names_each_right() -> None:
    page = (Path(__file__).parents[3] / "docs" / "security.md").read_text()
    (table,) = re.findall(r"^\| to \| it needs \|\n\|---\|---\|\n((?:\|.*\n)+)", page, re.MULTILINE)
    named = {
        (one.resource, verb)
        for verbs, text in re.findall(r"`([a-z ]+)` on ([^`|]+)", table)
        for one in RULES
        for verb in verbs.split()
        if re.search(rf"\b{one.resource}(?![\w/])", text)
    }
    assert {(one.resource, verb) for one in RULES for verb in one.verbs} == named
