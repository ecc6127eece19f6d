"""Resources to damage: small ones of ours for each node kind, and those that Flyte and FlyteAdmin made."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from typing import Any

from tests.vectors import folder

_INTEGER = {"type": {"simple": "INTEGER"}}
_TASK: dict[str, Any] = {
    "id": {"resourceType": "TASK", "project": "p", "domain": "d", "name": "t", "version": "v"},
    "type": "python-task",
    "interface": {"inputs": {"variables": {"x": _INTEGER}}, "outputs": {"variables": {"o0": _INTEGER}}},
    "metadata": {"retries": {"retries": 1}, "timeout": "60s"},
    "container": {
        "image": "registry.example/t:v1",
        "args": ["run", "--x", "{{.inputs.x}}", "--output-prefix", "{{.outputPrefix}}"],
        "env": [{"key": "A", "value": "b"}],
        "resources": {"requests": [{"name": "CPU", "value": "1"}]},
    },
}
_SIDECAR: dict[str, Any] = {
    "id": {"resourceType": "TASK", "project": "p", "domain": "d", "name": "pod", "version": "v"},
    "type": "sidecar",
    "interface": {},
    "config": {"primary_container_name": "main"},
    "k8sPod": {
        "primaryContainerName": "main",
        "podSpec": {
            "containers": [
                {"name": "main", "image": "i", "args": ["{{.outputPrefix}}"], "resources": {"limits": {"cpu": "1"}}},
                {"name": "side", "image": "i", "volumeMounts": [{"name": "v", "mountPath": "/v"}]},
            ],
            "volumes": [{"name": "v", "emptyDir": {}}],
        },
        "metadata": {"labels": {"l": "m"}, "annotations": {"a": "b"}},
    },
}


def _value(number: int) -> dict[str, Any]:
    return {"scalar": {"primitive": {"integer": str(number)}}}


def _bound(node: str) -> list[dict[str, Any]]:
    return [{"var": "x", "binding": {"promise": {"nodeId": node, "var": "o0" if node else "x"}}}]


def _node(name: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "kind": "task", "task": "t", "name": name, "inputBindings": _bound("")} | more


def _graph(name: str, nodes: list[dict[str, Any]], upstream: dict[str, list[str]], last: str) -> dict[str, Any]:
    ends: list[dict[str, Any]] = [
        {"id": "start-node", "kind": "start"},
        {"id": "end-node", "kind": "end", "inputBindings": [{**_bound(last)[0], "var": "o0"}]},
    ]
    return {
        "id": name,
        "nodes": {node["id"]: node for node in (*nodes, *ends)},
        "edges": {"upstream": upstream | {"end-node": [last]}},
        "outputs": {"variables": {"o0": _INTEGER}},
    }


def _resource(graph: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "apiVersion": "flyte.lyft.com/v1alpha1",
        "kind": "FlyteWorkflow",
        "metadata": {},
        "spec": graph,
        "tasks": {"t": _TASK, "pod": _SIDECAR},
        "subWorkflows": {"inner": _graph("inner", [_node("i0")], {"i0": ["start-node"]}, "i0")},
        "inputs": {"literals": {"x": _value(3), "xs": {"collection": {"literals": [_value(1), _value(2)]}}}},
        "executionId": {"project": "p", "domain": "d", "name": "e"},
        "executionConfig": {
            "TaskPluginImpls": {},
            "MaxParallelism": 25,
            "RecoveryExecution": {},
            "TaskResources": {"Requests": {"CPU": "100m", "Memory": "200Mi"}, "Limits": {"CPU": "2", "Memory": "1Gi"}},
            "Interruptible": None,
            "OverwriteCache": False,
            "EnvironmentVariables": {"E": "f"},
        },
        "node-defaults": {"interruptible": True},
        "rawOutputDataConfig": {},
        "securityContext": {"run_as": {"k8s_service_account": "default"}},
        "serviceAccountName": "default",
        "acceptedAt": "2026-01-01T00:00:00Z",
        "consoleUrl": "http://console.example.com",
    } | more


def ours() -> list[dict[str, Any]]:
    """One for each node kind that runs."""
    condition = {
        "comparison": {"operator": "GT", "leftValue": {"var": "x"}, "rightValue": {"primitive": {"integer": "1"}}}
    }
    branch = {"if": {"condition": condition, "then": "yes"}, "else": "no", "elseFail": None}
    array = {
        "SubNodeSpec": _node("m"),
        "Parallelism": 0,
        "MinSuccessRatio": 1.0,
        "boundInputs": [],
    }
    listed = [{"var": "x", "binding": {"promise": {"nodeId": "", "var": "xs"}}}]
    chain = [_node("n0", retry={"minAttempts": 2}), _node("n1", inputBindings=_bound("n0"), resources={})]
    timed = [_node("n0", executionDeadline="1m0s", activeDeadline="2m0s", interruptible=False)]
    return [
        _resource(_graph("chain", chain, {"n0": ["start-node"], "n1": ["n0"]}, "n1")),
        _resource(_graph("timed", timed, {"n0": ["start-node"]}, "n0"), activeDeadlineSeconds=600),
        _resource(
            _graph(
                "pod",
                [_node("n0"), _node("n1", task="pod", inputBindings=None)],
                {"n0": ["start-node"], "n1": ["start-node"]},
                "n0",
            )
        ),
        _resource(
            _graph(
                "inside",
                [_node("n0", kind="workflow", task="", workflow={"subWorkflowRef": "inner"})],
                {"n0": ["start-node"]},
                "n0",
            )
        ),
        _resource(
            _graph(
                "branch",
                [_node("n0", kind="branch", task="", branch=branch), _node("yes"), _node("no")],
                {"n0": ["start-node"], "yes": ["start-node"], "no": ["start-node"]},
                "n0",
            )
        ),
        _resource(
            _graph(
                "map",
                [_node("n0", kind="array", task="", array=array, inputBindings=listed)],
                {"n0": ["start-node"]},
                "n0",
            )
            | {"outputs": {"variables": {"o0": {"type": {"collectionType": {"simple": "INTEGER"}}}}}}
        ),
        _resource(
            _graph("failing", [_node("n0")], {"n0": ["start-node"]}, "n0")
            | {"onFailure": _node("fn"), "onFailurePolicy": "FAIL_AFTER_EXECUTABLE_NODES_COMPLETE"}
        ),
    ]


def recorded() -> list[dict[str, Any]]:
    """Those of the folder of vectors, if it is there: what Flyte's compiler and FlyteAdmin wrote."""
    found = [json.loads(path.read_text()) for path in folder.found("flytekit/*/resource.json")]
    for path in folder.found("admin-resources/*.json"):
        text = re.sub(r"<exec(\d+)>", r"exec\1", path.read_text())
        record = json.loads(text)
        if not record.get("offloaded"):
            found.append(record["resource"])
    return [resource for resource in found if "spec" in resource]


def all_bases() -> list[dict[str, Any]]:
    """Ours as often as all the recorded ones together, so that each kind comes often."""
    theirs = recorded()
    mine = ours()
    return mine * max(1, len(theirs) // len(mine)) + theirs


def named(resource: dict[str, Any], name: str, namespace: str) -> dict[str, Any]:
    """A copy, as an object of that name."""
    metadata = {key: value for key, value in resource.get("metadata", {}).items() if key in {"labels", "annotations"}}
    return deepcopy(resource) | {
        "apiVersion": "flyte.lyft.com/v1alpha1",
        "kind": "FlyteWorkflow",
        "metadata": metadata | {"name": name, "namespace": namespace},
    }
