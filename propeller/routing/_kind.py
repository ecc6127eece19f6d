"""The RoutingTable resource, as it is read."""

from __future__ import annotations

from typing import Any

from propeller.kube import KubeObject, Raw, Resource
from propeller.routing._parse import GROUP, KIND, VERSION


class RoutingTable(KubeObject, frozen=True, rename="camel", omit_defaults=True):
    """`spec` and `status` are plain JSON, so that all can be read: what is wrong with a spec belongs in its status."""

    spec: Any = None
    status: Any = None


ROUTING_TABLES: Resource[RoutingTable] = Resource(
    group=GROUP, version=VERSION, kind=KIND, plural="routingtables", type=RoutingTable, namespaced=False
)
RAW_ROUTING_TABLES: Resource[Raw] = ROUTING_TABLES.typed(dict[str, Any])
