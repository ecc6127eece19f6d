"""The FairQueue resource, as it is read."""

from __future__ import annotations

from typing import Any

from propeller.kube import KubeObject, Raw, Resource

GROUP = "propeller.dev"
VERSION = "v1alpha1"


class FairQueue(KubeObject, frozen=True, rename="camel", omit_defaults=True):
    """`spec` and `status` are plain JSON, so that all can be read: what is wrong with a spec belongs in its status."""

    spec: Any = None
    status: Any = None

    @property
    def age(self) -> tuple[str, str]:
        """Sorts older ones first."""
        return self.metadata.creation_timestamp or "", self.metadata.name


FAIR_QUEUES: Resource[FairQueue] = Resource(
    group=GROUP, version=VERSION, kind="FairQueue", plural="fairqueues", type=FairQueue, namespaced=False
)
RAW_FAIR_QUEUES: Resource[Raw] = FAIR_QUEUES.typed(dict[str, Any])
