"""The rights that the controller is given: those of its own requests, and of the task plugins that are installed."""

from __future__ import annotations

from typing import Any

from propeller.controller import manifests
from propeller.handlers.plugins import Plugins
from tests.unit.controller.things import plugins


def rules(kind: str, documents: list[dict[str, Any]], name: str = "propeller") -> list[dict[str, Any]]:
    (found,) = (one for one in documents if one["kind"] == kind and one["metadata"]["name"] == name)
    granted: list[dict[str, Any]] = found["rules"]
    return granted


def test_a_plugins_resource_is_granted_with_the_verbs_that_the_controller_uses() -> None:
    verbs = ["get", "list", "watch", "create", "delete"]
    things = {"apiGroups": ["example.org"], "resources": ["things"], "verbs": verbs}
    without = rules("ClusterRole", manifests("flyte", plugins=Plugins()))
    assert rules("ClusterRole", manifests("flyte", plugins=plugins("OTHER"))) == [*without, things]


def test_of_one_namespace_alone_if_the_controller_has_no_other() -> None:
    documents = manifests("flyte", only="team-a", plugins=plugins())
    assert rules("Role", documents)[-1]["resources"] == ["things"]
    assert not [one for one in documents if one["kind"] == "ClusterRole"]


def test_a_plugin_that_cannot_be_used_is_granted_nothing() -> None:
    broken = manifests("flyte", plugins=plugins("no_such_module:PLUGIN"))
    assert rules("ClusterRole", broken) == rules("ClusterRole", manifests("flyte", plugins=Plugins()))
