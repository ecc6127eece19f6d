"""Plans of executions: parsed once for each closure, and shared by all that run it.

Guarantees
    A plan lives as long as an execution runs it, and for a while longer (`_recent_plans.py`). Parsing more than
    `INLINE_BYTES` runs in a thread.
    A closure that came with an object is set aside until its execution is loaded; later it is asked for again, unless
    the plan was kept. One in the object store that is named by its content is not read while its plan is in memory.
"""

from __future__ import annotations

import asyncio
from weakref import WeakValueDictionary

from propeller.controller._offloaded import mean_the_same, read_offloaded_closure
from propeller.controller._recent_plans import RecentPlans
from propeller.controller._resource import CLOSURES, FlyteWorkflow, closure_of, digest_of
from propeller.errors import NotFound
from propeller.kube import Client
from propeller.storage import Storage
from propeller.workflow import Plan, is_shared_closure, parse_plan

INLINE_BYTES = 128 * 1024
"""About 5 ms of parsing: the longest that a reconcile may take."""


class Plans:
    """See the module's text. Executions are known by their uids."""

    def __init__(self, client: Client, storage: Storage) -> None:
        self._client = client
        self._storage = storage
        self._plans: WeakValueDictionary[str, Plan] = WeakValueDictionary()
        """By the digest of the closure; and by its URI, if that says what the content is."""
        self._recent = RecentPlans()
        self._closures: dict[str, bytes] = {}
        self._kept: dict[str, Plan] = {}
        self._loaded: set[str] = set()

    def set_aside(self, workflow: FlyteWorkflow) -> None:
        """Take the closure of an object until its execution is loaded, if it was not before."""
        if (uid := workflow.metadata.uid) not in self._loaded:
            self._closures[uid] = closure_of(workflow)

    def is_at_hand(self, workflow: FlyteWorkflow) -> bool:
        """Whether `of` returns the plan without waiting, and soon."""
        if reference := workflow.workflow_closure_reference:
            return is_shared_closure(reference) and reference in self._plans
        return 0 < len(self._closures.get(workflow.metadata.uid, b"")) <= INLINE_BYTES

    def loaded(self, uid: str) -> None:
        """Drop what was set aside for loading an execution."""
        self._closures.pop(uid, None)
        self._kept.pop(uid, None)
        self._loaded.add(uid)

    def keep(self, uid: str, plan: Plan) -> None:
        """Keep the plan of an evicted execution, so that it can be loaded without asking for its closure."""
        self._kept[uid] = plan

    def forget(self, uid: str) -> None:
        """Forget an execution that is deleted or has ended."""
        self._closures.pop(uid, None)
        self._kept.pop(uid, None)
        self._loaded.discard(uid)

    async def of(self, workflow: FlyteWorkflow) -> Plan:
        """Return the plan of an execution that is loaded. Raises Invalid, StorageError, CorruptBlob, MissingBlob; and
        NotFound or Unavailable if the object has to be read again.
        """
        kept = self._kept.get(workflow.metadata.uid)
        plan = kept or await self._of(workflow, whole=False)
        self._recent.use(plan)
        return plan

    async def of_whole(self, workflow: FlyteWorkflow) -> Plan:
        """Return the plan of an object that has its closure. Raises as `of`."""
        return await self._of(workflow, whole=True)

    async def are_same(self, earlier: FlyteWorkflow, later: FlyteWorkflow) -> bool:
        """Whether a whole object runs the same as an execution that is loaded, although one has its closure in the
        resource, which the server spells as it likes, and the other in the object store. Raises as `of`.
        """
        if not any(is_shared_closure(one.workflow_closure_reference) for one in (earlier, later)):
            return False
        both = await self._closure(earlier, whole=True), await self._closure(later, whole=False)
        return await asyncio.to_thread(mean_the_same, *both)

    async def _of(self, workflow: FlyteWorkflow, *, whole: bool) -> Plan:
        reference = workflow.workflow_closure_reference
        if is_shared_closure(reference) and (plan := self._plans.get(reference)) is not None:
            return plan
        closure = await self._closure(workflow, whole=whole)
        digest = digest_of(closure)
        plan = self._plans.get(digest)
        if plan is None:
            if len(closure) > INLINE_BYTES:
                plan = await asyncio.to_thread(parse_plan, closure, digest)
            else:
                plan = parse_plan(closure, digest)
            self._plans[digest] = plan
        if is_shared_closure(reference):
            self._plans[reference] = plan
        return plan

    async def _closure(self, workflow: FlyteWorkflow, *, whole: bool) -> bytes:
        if reference := workflow.workflow_closure_reference:
            return await read_offloaded_closure(self._storage, reference)
        if whole:
            return closure_of(workflow)
        return self._closures.get(workflow.metadata.uid) or await self._fetch(workflow)

    async def _fetch(self, workflow: FlyteWorkflow) -> bytes:
        """Read the closure of an execution that was loaded before. Raises NotFound, Unavailable."""
        whole = await self._client.get(CLOSURES, workflow.metadata.name, workflow.metadata.namespace)
        if whole.metadata.uid != workflow.metadata.uid:
            raise NotFound(f"{workflow.key} is another object of the same name now", status=404)
        return closure_of(whole)
