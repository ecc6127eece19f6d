"""Every setting, in frozen sections, each with the reason for its default.

Units are in the docstrings. Options of a room of the library stand in that room, beside what they configure, and
`Settings` gathers them; those of the FlyteWorkflow controller and of the embedded cluster stand here: the first are
shared by its rooms, and importing the second would bring an API server into a controller's memory. A section is handed
to the room that it configures; no room reads another's. Commands read settings from the file that `--config` names,
overridden by the environment (`PROPELLER_SECTION__FIELD`), and refuse unknown names, so that a typo never silently
falls back to a default.
"""

from __future__ import annotations

import msgspec

from propeller.catalog._options import CatalogOptions
from propeller.clusters._options import ClusterOptions
from propeller.config._controller import (
    CheckpointOptions,
    ControllerOptions,
    EffectOptions,
    EventOptions,
    LaunchOptions,
    LeaseOptions,
)
from propeller.config._embedded import ApiServerOptions, KubeletOptions
from propeller.config._kueue import KueueOptions, KueueQueue
from propeller.config._operators import OperatorName, OperatorOptions
from propeller.config._pod_defaults import Amounts, NodeRequirement, PodDefaults, ResourceRule, SecretsBy, Toleration
from propeller.config._pods import PodPolicy
from propeller.config._shards import WorkflowShardOptions, group_beside
from propeller.connectors._options import ConnectorOptions, ConnectorService
from propeller.dataloader._options import RawContainerOptions
from propeller.informers._options import InformerOptions
from propeller.kube._options import ClientOptions
from propeller.lineage._options import LineageOptions
from propeller.reconcile._options import QueueOptions, WatchdogOptions
from propeller.reconcile.rollouts._options import RolloutOptions
from propeller.registry._options import RegistryOptions
from propeller.resourcemgr._options import ResourceOptions
from propeller.resourcemgr.shared._options import RedisOptions
from propeller.routing._options import RoutingOptions
from propeller.storage._options import StorageOptions
from propeller.telemetry._options import LogLink, LogLinkOptions, MetricsOptions
from propeller.workflow._options import AttemptOptions

__all__ = [
    "Amounts",
    "ApiServerOptions",
    "AttemptOptions",
    "CatalogOptions",
    "CheckpointOptions",
    "ClientOptions",
    "ClusterOptions",
    "ConnectorOptions",
    "ConnectorService",
    "ControllerOptions",
    "EffectOptions",
    "EventOptions",
    "InformerOptions",
    "KubeletOptions",
    "KueueOptions",
    "KueueQueue",
    "LaunchOptions",
    "LeaseOptions",
    "LineageOptions",
    "LogLink",
    "LogLinkOptions",
    "MetricsOptions",
    "NodeRequirement",
    "OperatorName",
    "OperatorOptions",
    "PodDefaults",
    "PodPolicy",
    "QueueOptions",
    "RawContainerOptions",
    "RedisOptions",
    "RegistryOptions",
    "ResourceOptions",
    "ResourceRule",
    "RolloutOptions",
    "RoutingOptions",
    "SecretsBy",
    "Settings",
    "StorageOptions",
    "Toleration",
    "WatchdogOptions",
    "WorkflowShardOptions",
    "group_beside",
]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All sections."""

    client: ClientOptions = ClientOptions()
    informers: InformerOptions = InformerOptions()
    queue: QueueOptions = QueueOptions()
    election: LeaseOptions = LeaseOptions()
    shards: WorkflowShardOptions = WorkflowShardOptions()
    rollout: RolloutOptions = RolloutOptions()
    watchdog: WatchdogOptions = WatchdogOptions()
    checkpoint: CheckpointOptions = CheckpointOptions()
    launches: LaunchOptions = LaunchOptions()
    attempts: AttemptOptions = AttemptOptions()
    effects: EffectOptions = EffectOptions()
    resources: ResourceOptions = ResourceOptions()
    redis: RedisOptions = RedisOptions()
    pods: PodPolicy = PodPolicy()
    pod_defaults: PodDefaults = PodDefaults()
    raw_containers: RawContainerOptions = RawContainerOptions()
    kueue: KueueOptions = KueueOptions()
    operators: OperatorOptions = OperatorOptions()
    connectors: ConnectorOptions = ConnectorOptions()
    routing: RoutingOptions = RoutingOptions()
    storage: StorageOptions = StorageOptions()
    catalog: CatalogOptions = CatalogOptions()
    lineage: LineageOptions = LineageOptions()
    registry: RegistryOptions = RegistryOptions()
    controller: ControllerOptions = ControllerOptions()
    clusters: ClusterOptions = ClusterOptions()
    metrics: MetricsOptions = MetricsOptions()
    log_links: LogLinkOptions = LogLinkOptions()
    events: EventOptions = EventOptions()
    kubelet: KubeletOptions = KubeletOptions()
    api_server: ApiServerOptions = ApiServerOptions()
