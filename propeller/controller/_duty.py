"""Dependencies that the controller's duties share."""

from __future__ import annotations

import msgspec

from propeller.clock import Clock
from propeller.config import Settings
from propeller.controller._clusters import Clusters
from propeller.controller._executions import Executions
from propeller.controller._lanes import Lanes
from propeller.controller._milestones import Milestones
from propeller.controller._placing import Placing
from propeller.kube import Client
from propeller.storage import Storage
from propeller.telemetry import Causes


class Shared(msgspec.Struct, frozen=True, kw_only=True):
    """One per controller; each duty takes the dependencies that it needs."""

    client: Client
    """Of the cluster of the FlyteWorkflows."""
    storage: Storage
    settings: Settings
    clock: Clock
    executions: Executions
    lanes: Lanes
    clusters: Clusters
    placing: Placing
    milestones: Milestones
    causes: Causes
    """Failures that repeat, logged once per cause."""
