"""Resource types for the contract suite: FlyteWorkflow as the project has it, and one without a status subresource."""

from __future__ import annotations

import copy
from contextlib import aclosing, suppress
from typing import Any

from propeller.controller import workflow_crd
from propeller.errors import AlreadyExists
from propeller.kube import CUSTOM_RESOURCE_DEFINITIONS, Client, Raw, Resource
from propeller.testing import eventually

PLAIN: Resource[Raw] = Resource(
    group="contract.example.org", version="v1alpha1", kind="Plain", plural="plains", type=dict[str, Any]
)
"""As Flyte's own FlyteWorkflow: no status subresource."""


async def install_flyte_workflows(client: Client) -> None:
    await install(client, workflow_crd())


async def install_plains(client: Client) -> None:
    crd = copy.deepcopy(workflow_crd())
    crd["metadata"]["name"] = f"{PLAIN.plural}.{PLAIN.group}"
    crd["spec"]["group"] = PLAIN.group
    crd["spec"]["names"] = {"kind": PLAIN.kind, "listKind": "PlainList", "plural": PLAIN.plural, "singular": "plain"}
    (served,) = crd["spec"]["versions"]
    del served["subresources"]
    await install(client, crd)


async def install(client: Client, crd: Raw) -> None:
    """Create a type where it is missing, and wait until it can be listed and watched."""
    with suppress(AlreadyExists):
        await client.create(CUSTOM_RESOURCE_DEFINITIONS, crd)
    await eventually(lambda: is_established(client, crd["metadata"]["name"]), interval=0.02)
    spec = crd["spec"]
    plural, (served,) = spec["names"]["plural"], spec["versions"]
    resource: Resource[Raw] = Resource(
        group=spec["group"], version=served["name"], kind=spec["names"]["kind"], plural=plural, type=dict[str, Any]
    )
    await eventually(lambda: is_watchable(client, resource))


async def is_watchable(client: Client, resource: Resource[Raw]) -> bool:
    """Raises for a moment after a type or its server has come up: requests are answered with 404 and 429."""
    async with aclosing(client.watch(resource, resource_version="", initial_events=True)) as events:
        await anext(events)
    return True


async def is_established(client: Client, name: str) -> bool:
    crd = await client.get(CUSTOM_RESOURCE_DEFINITIONS, name)
    conditions = crd["status"]["conditions"] or []  # null at first
    return any(condition["type"] == "Established" and condition["status"] == "True" for condition in conditions)
