"""The pods of executions, as one informer has them."""

from __future__ import annotations

from collections.abc import Sequence

from propeller.controller._pod_events import owner_uids
from propeller.handlers.plugins.pod import EXECUTION_LABEL
from propeller.informers import Informer, InformerOptions
from propeller.kube import PODS, Client, Pod

_OWNER_INDEX = "owner"


class OwnedPods:
    """Pods that have an execution's label, by the uid of their owner."""

    def __init__(self, client: Client, namespace: str | None, settings: InformerOptions) -> None:
        self.informer = Informer(
            client,
            PODS,
            namespace=namespace,
            label_selector=EXECUTION_LABEL,
            indexes={_OWNER_INDEX: owner_uids},
            settings=settings,
        )

    def of(self, uid: str) -> Sequence[Pod]:
        """The pods of the workflow of that uid."""
        return self.informer.store.by_index(_OWNER_INDEX, uid)
