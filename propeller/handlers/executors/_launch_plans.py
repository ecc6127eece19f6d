"""Find launch plans: those that a resource carries, and those that are registered.

Guarantees
    What the resource carries wins: it is what its author compiled against.
    A registered plan is read once while it is in use: it never changes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping

import msgspec

from propeller.errors import Invalid
from propeller.registry import Entity, EntityKind, Registry
from propeller.storage import in_thread_if_large
from propeller.workflow import LaunchPlan, LaunchPlanRef, NodeView, read_launch_plan

KEPT_BYTES = 16 * 1024 * 1024
"""Of documents that are kept parsed: a map over a launch plan starts it many times."""


ENTRY_BYTES = 2_000
"""Of a document that is kept parsed besides its text."""


class _Kept(msgspec.Struct, frozen=True):
    carried: msgspec.Raw | bytes
    """The document; of a carried one it has to be the same object."""
    plan: LaunchPlan
    size: int
    """Bytes of the document, and what holding it takes besides: a stranger's may be small and many."""


class LaunchPlans:
    """See the module's text."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._kept: OrderedDict[tuple[int, str], _Kept] = OrderedDict()
        """By the id of the carried document, 0 for a registered one, and path; the latest used last."""
        self._size = 0

    async def of(self, node: NodeView) -> LaunchPlan:
        """Return the launch plan of a node. Raises as `find`."""
        reference = node.spec.launch_plan
        assert reference is not None
        return await self.find(reference, node.graph.plan.launch_plans)

    async def find(self, reference: LaunchPlanRef, carried: Mapping[str, msgspec.Raw]) -> LaunchPlan:
        """Return a launch plan. Raises Invalid, of kind USER, if there is none of that name and version, or if it is
        malformed; CorruptBlob, StorageError.
        """
        path = reference.path
        own = carried.get(path)
        key = (id(own) if own is not None else 0, path)
        kept = self._kept.get(key)
        if kept is not None and (own is None or kept.carried is own):
            self._kept.move_to_end(key)
            return kept.plan
        if own is not None:
            data, where = bytes(own), f"launchPlans[{path}]"
        else:
            data, where = await self._registered(reference), f"launch plan {reference} in {self._registry.address}"
        plan = await in_thread_if_large(len(data), read_launch_plan, data, where)
        _require_same(plan, reference, where)
        self._keep(key, _Kept(data if own is None else own, plan, len(data) + ENTRY_BYTES))
        return plan

    async def find_all(
        self, references: Iterable[LaunchPlanRef], carried: Mapping[str, msgspec.Raw]
    ) -> list[LaunchPlan]:
        """Return the launch plans of these references, each once. Raises as `find`."""
        return [await self.find(one, carried) for one in dict.fromkeys(references)]

    def _keep(self, key: tuple[int, str], kept: _Kept) -> None:
        if (before := self._kept.pop(key, None)) is not None:
            self._size -= before.size
        self._kept[key] = kept
        self._size += kept.size
        while self._size > KEPT_BYTES and len(self._kept) > 1:
            _, oldest = self._kept.popitem(last=False)
            self._size -= oldest.size

    async def _registered(self, reference: LaunchPlanRef) -> bytes:
        entity = Entity(EntityKind.LAUNCH_PLAN, reference.project, reference.domain, reference.name, reference.version)
        data = await self._registry.find(entity)
        if data is None:
            raise Invalid(
                f"launch plan {reference} is not there: the resource does not carry it, and it is not registered in "
                f"{self._registry.address}: run `propeller register FILE --registry {self._registry.address}` with "
                "that project, domain and version"
            )
        return data


def _require_same(plan: LaunchPlan, reference: LaunchPlanRef, where: str) -> None:
    found = plan.message.id
    if (found.project, found.domain, found.name, found.version) != (
        reference.project,
        reference.domain,
        reference.name,
        reference.version,
    ):
        raise Invalid(f"{where} is another launch plan: its id is {found.project}/{found.domain}/{found.name}")
