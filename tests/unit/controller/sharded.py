"""A controller that divides the workflows with others."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from propeller.clock import Clock
from propeller.config import Settings
from propeller.controller import WorkflowController
from propeller.kube import Client, Raw
from propeller.reconcile.shards import Membership

COUNT = 4
"""Shards by key; one more has the workflows without one."""


@dataclass
class Sharded:
    controller: WorkflowController
    membership: Membership

    @property
    def keys(self) -> set[str]:
        """Of the workflows that it has cached."""
        return {workflow.key for workflow in self.controller._workflows.store}

    def pods(self, cluster: str) -> set[str]:
        """Those of a cluster that it has cached; "" for the workflows' own."""
        found = self.controller._clusters.named(cluster)
        return set() if found is None else {pod.metadata.name for pod in found.resources.pods.store}

    def page(self, cluster: str) -> Raw:
        """What it shows of a cluster of the table."""
        return next(one for one in self.controller.several.page() if one["name"] == cluster)


@asynccontextmanager
async def joined(
    controller: WorkflowController, client: Client, settings: Settings, clock: Clock
) -> AsyncIterator[Membership]:
    """Let a controller run, and work on the shards that it gets, until the block is left."""
    assert controller.shards is not None
    membership = Membership(
        *(client, "flyte", "group", COUNT + 1, controller.shards, settings.shards, settings.election),
        note=controller.shards.note,
        met=controller.shards.met,
        clock=clock,
    )
    async with controller.running(), membership.joined():
        yield membership
