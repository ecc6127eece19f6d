"""`propeller get EXECUTION NODE links`: dashboards of a resource that is there, and templates."""

from __future__ import annotations

import json
from typing import Any

import pytest

from propeller.cli._logs import Attempt, show_links
from propeller.embedded.server import ApiServer
from propeller.errors import PropellerError
from propeller.kube import NAMESPACES, Client
from propeller.telemetry import LogLink
from tests.contract.custom_resources import install
from tests.unit.handlers.build import World, graph, task, template
from tests.unit.handlers.operator_tasks import resource_of

DASHBOARD = "head-svc.ns.svc:8265"
BY_RAY = LogLink(name="Ray logs", uri="https://logs.example.com/{{ .rayClusterName }}/{{ .podName }}")


def crd() -> dict[str, Any]:
    of = resource_of("ray")
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": of.version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"kind": of.kind, "plural": of.plural, "singular": of.kind.lower(), "listKind": f"{of.kind}List"}
    spec = {"group": of.group, "scope": "Namespaced", "names": names, "versions": [version]}
    return {"metadata": {"name": f"{of.plural}.{of.group}"}, "spec": spec}


def attempt(task_type: str, *templates: LogLink) -> Attempt:
    of = World(graph(task("n0")), {"t": template(type=task_type)})
    return Attempt(of.node("n0"), 0, templates)


async def links(of: Attempt, client: Client, capsys: pytest.CaptureFixture[str]) -> list[tuple[str, str]]:
    await show_links(of, client, as_json=True)
    return [(one["name"], one["uri"]) for one in json.loads(capsys.readouterr().out)["links"]]


async def test_a_dashboard_is_shown_while_the_resource_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    async with ApiServer() as server:
        client, of = Client(server.transport()), attempt("ray", BY_RAY)
        await client.create(NAMESPACES, {"metadata": {"name": "ns"}})
        with pytest.raises(PropellerError, match="there are no links for this task"):  # the type is not installed
            await links(attempt("ray"), client, capsys)
        assert await links(of, client, capsys) == [("Ray logs", "")]
        await install(client, crd())
        assert await links(of, client, capsys) == [("Ray logs", "")]
        status = {"dashboardURL": DASHBOARD, "rayClusterName": "c-x"}
        await client.create(resource_of("ray"), {"metadata": {"name": of.pod}, "status": status}, "ns")
        assert await links(of, client, capsys) == [
            ("Ray dashboard", f"http://{DASHBOARD}"),
            ("Ray logs", f"https://logs.example.com/c-x/{of.pod}"),
        ]
