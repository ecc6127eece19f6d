"""API priority and fairness, driven full: a client of ours slows down, loses nothing, and delays no other flow.

On the real server alone: the embedded one has one limit for everybody (`ApiServer.max_in_flight`).
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator
from typing import Any

import pytest

from propeller.config import CheckpointOptions, Settings
from propeller.controller import FLYTE_WORKFLOWS, WorkflowController
from propeller.errors import Denied, Throttled
from propeller.kube import CONFIG_MAPS, LEASES, PODS, Client, Connection, Raw, Request, Resource, connect
from propeller.storage import MemoryStore, Storage, StorageOptions
from propeller.testing import HttpServerUnderTest, KubeApiserver, eventually
from tests.contract.custom_resources import install_flyte_workflows
from tests.contract.objects import DEADLINE, config_map
from tests.unit.workflow.drive import TASK, graph, task

WORKFLOWS = FLYTE_WORKFLOWS.typed(Raw)
RAW_PODS = PODS.typed(Raw)
USER = "busy"
OBJECTS = 400
WORKERS = 64

PRIORITY_LEVELS: Resource[dict[str, Any]] = Resource(
    group="flowcontrol.apiserver.k8s.io",
    kind="PriorityLevelConfiguration",
    plural="prioritylevelconfigurations",
    type=dict,
    namespaced=False,
)
FLOW_SCHEMAS: Resource[dict[str, Any]] = Resource(
    group="flowcontrol.apiserver.k8s.io", kind="FlowSchema", plural="flowschemas", type=dict, namespaced=False
)
BINDINGS: Resource[dict[str, Any]] = Resource(
    group="rbac.authorization.k8s.io",
    kind="ClusterRoleBinding",
    plural="clusterrolebindings",
    type=dict,
    namespaced=False,
)

FEW_SEATS = {
    "metadata": {"name": USER},
    "spec": {
        "type": "Limited",
        "limited": {
            "nominalConcurrencyShares": 1,
            "lendablePercent": 0,
            "borrowingLimitPercent": 0,
            "limitResponse": {"type": "Reject"},
        },
    },
}
CREATES_OF_CONFIG_MAPS = {
    "metadata": {"name": USER},
    "spec": {
        "priorityLevelConfiguration": {"name": USER},
        "matchingPrecedence": 10,
        "rules": [
            {
                "subjects": [{"kind": "User", "user": {"name": USER}}],
                "resourceRules": [
                    {"verbs": ["create"], "apiGroups": [""], "resources": ["configmaps", "pods"], "namespaces": ["*"]}
                ],
            }
        ],
    },
}
MAY_DO_ALL = {
    "metadata": {"name": USER},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
    "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": USER}],
}


@pytest.fixture
async def busy(real_server: HttpServerUnderTest, kube_apiserver: KubeApiserver) -> AsyncIterator[Client]:
    """A client of a user whose creates of ConfigMaps have a few seats of the server, and no queue."""
    pair = kube_apiserver.authority.client(USER, "busy-people")  # system:masters would be exempt
    connection = Connection(
        server=kube_apiserver.url,
        ca=kube_apiserver.ca,
        client_certificate=pair.certificate.read_bytes(),
        client_key=pair.key.read_bytes(),
    )
    admin = real_server.client
    await admin.create(PRIORITY_LEVELS, FEW_SEATS)
    schema = await admin.create(FLOW_SCHEMAS, CREATES_OF_CONFIG_MAPS)
    await admin.create(BINDINGS, MAY_DO_ALL)
    try:
        async with connect(connection) as client:
            await _in_force(client, real_server.namespace, schema["metadata"]["uid"])
            yield client
    finally:
        await admin.delete(FLOW_SCHEMAS, USER)
        await admin.delete(PRIORITY_LEVELS, USER)
        await admin.delete(BINDINGS, USER)


async def _in_force(client: Client, namespace: str, schema: str) -> None:
    """The server learns of its own configuration by watches."""
    request = Request(
        method="POST",
        path=CONFIG_MAPS.path(namespace),
        query={"dryRun": "All"},
        headers={"content-type": "application/json"},
        body=b'{"metadata":{"generateName":"probe-"}}',
    )
    async with asyncio.timeout(DEADLINE):
        while True:
            answer = await client.transport.send(request, deadline=DEADLINE)
            if answer.status == 201 and answer.headers.get("x-kubernetes-pf-flowschema-uid") == schema:
                return
            await asyncio.sleep(0.1)


async def test_a_priority_level_driven_full_slows_its_own_flow_alone_and_loses_nothing(
    busy: Client, real_server: HttpServerUnderTest
) -> None:
    namespace = real_server.namespace
    await busy.create(LEASES, {"metadata": {"name": "holder"}}, namespace)
    await busy.create(CONFIG_MAPS, config_map("patched"), namespace)
    writes, others = busy.flows.writes, [busy.flows.leases, busy.flows.status]
    left, lowest, while_waiting = iter(range(OBJECTS)), writes.limit, [0, 0]

    async def create() -> None:
        nonlocal lowest
        for number in left:
            while True:
                try:
                    await busy.create(CONFIG_MAPS, config_map(f"object-{number}"), namespace)
                    break
                except Throttled:  # the flow waits for as long as the server said
                    lowest = min(lowest, writes.limit)

    async def others_go_on() -> None:
        """As soon as it can, over and over: none waits for a place, while creates do."""
        number = 0
        while True:
            number += 1
            renewal = {"spec": {"holderIdentity": f"h{number}", "leaseTransitions": number}}
            await busy.patch(LEASES, "holder", namespace, body=renewal)
            while_waiting[0] += writes.waiting > 0
            await busy.patch(CONFIG_MAPS, "patched", namespace, body={"data": {"n": str(number)}})
            while_waiting[1] += writes.waiting > 0

    going_on = asyncio.create_task(others_go_on())
    async with asyncio.timeout(100), asyncio.TaskGroup() as group:
        for _ in range(WORKERS):
            group.create_task(create())
    going_on.cancel()
    await asyncio.wait([going_on])
    assert going_on.cancelled(), "a request of another flow failed"

    found = [page async for page in busy.pages(CONFIG_MAPS, namespace)]
    names = {item["metadata"]["name"] for page in found for item in page.items}
    assert names >= {f"object-{number}" for number in range(OBJECTS)}
    assert writes.throttled > 0
    assert lowest < 32
    assert (writes.in_flight, writes.waiting) == (0, 0)
    assert [(flow.throttled, flow.waiting) for flow in others] == [(0, 0), (0, 0)]
    assert min(while_waiting) > 20, "other flows stood still while creates waited"


async def test_a_client_that_is_refused_asks_less_and_less(busy: Client, real_server: HttpServerUnderTest) -> None:
    """What is refused in a later round is a small part of what was refused in the first."""
    created = 0

    async def create(prefix: str, number: int) -> None:
        nonlocal created
        while True:
            try:
                await busy.create(CONFIG_MAPS, config_map(f"{prefix}-{number}"), real_server.namespace)
                created += 1
                return
            except Throttled:
                continue

    refused = []
    for prefix in ("first", "second"):
        before = busy.flows.writes.throttled
        async with asyncio.timeout(100):
            await asyncio.gather(*(create(prefix, number) for number in range(100)))
        refused.append(busy.flows.writes.throttled - before)
    assert created == 200
    assert refused[1] < refused[0]


async def test_a_controllers_launches_yield_to_a_full_priority_level_and_nothing_else_of_it_does(
    busy: Client, real_server: HttpServerUnderTest
) -> None:
    """Pods that end while hundreds of launches wait are observed, and the ends of their executions are written."""
    user, namespace = real_server.client, real_server.namespace
    await install_flyte_workflows(user)
    settings = Settings(checkpoint=CheckpointOptions(max_lag=0.2), storage=StorageOptions(metadata_prefix="memory://m"))
    waited, ended_while_waiting = set[str](), 0

    async def look() -> None:
        for number in range(4):
            status = (await user.get(WORKFLOWS, f"flood{number}", namespace)).get("status", {})
            waited.update(wait["reason"] for wait in status.get("waits", ()))

    async def create(name: str, nodes: int, project: str) -> None:
        labels = {"project": project, "domain": "d"}
        spec = graph(*(task(f"n{number}") for number in range(nodes)))
        body = {"metadata": {"name": name, "labels": labels}, "spec": spec, "tasks": {"t": TASK}}
        await user.create(WORKFLOWS, body, namespace)

    async def has_ended(name: str) -> bool:
        status = (await user.get(WORKFLOWS, name, namespace)).get("status", {})
        return bool(status.get("phase") == 3)

    async with (
        Storage(settings.storage, stores={"memory": MemoryStore()}) as storage,
        WorkflowController(busy, storage, settings, namespace=namespace).running() as controller,
    ):
        for number in range(5):
            await create(f"small{number}", 1, "small")
        await eventually(lambda: user.get(PODS, "small4-n0-0", namespace))
        pressure = controller._clusters.control.pressure
        for number in range(4):
            await create(f"flood{number}", 150, "many")
        for number in range(5):
            while not pressure.waiting and busy.flows.writes.throttled == 0:
                await asyncio.sleep(0.01)
            body = {"status": {"phase": "Succeeded"}}
            await user.patch(RAW_PODS, f"small{number}-n0-0", namespace, body=body, subresource="status")
            await eventually(functools.partial(has_ended, f"small{number}"), interval=0.02)
            ended_while_waiting += pressure.waiting > 0
            await look()

        async def all_there() -> bool:
            await look()
            return sum([len(page.items) async for page in user.pages(RAW_PODS, namespace)]) == 605

        await eventually(all_there, deadline=100.0, interval=0.1)
        assert busy.flows.writes.throttled > 0
        assert ended_while_waiting >= 3
        assert any(reason.startswith("waits for the API server: it answers 429; ") for reason in waited), waited
        assert [flow.throttled for flow in (busy.flows.status, busy.flows.deletes, busy.flows.leases)] == [0, 0, 0]


async def test_who_was_not_given_the_rights_is_still_denied_and_not_throttled(
    real_server: HttpServerUnderTest, kube_apiserver: KubeApiserver
) -> None:
    async with connect(kube_apiserver.connection(token="nobody-token")) as client:
        for number in range(5):
            with pytest.raises(Denied):
                await client.create(CONFIG_MAPS, config_map(f"a{number}"), real_server.namespace)
        assert (client.flows.writes.throttled, client.flows.writes.limit) == (0, 32)
