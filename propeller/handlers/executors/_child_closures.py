"""Decide where the executions of a launch plan have their closure: in each resource, or once in the object store.

A thousand items of a workflow of 20 KB would be 20 MB in etcd, and as much on the way of each of their events. Instead
what they share is stored once, named by its content, and each resource names it (`workflowClosureReference`).

Guarantees
    A closure is stored before a resource that refers to it is created.
    It never changes: its name is its digest, which whoever reads it verifies.
    Of several launches at once one stores it, and the others wait for that one, or fail with it.
Caveats
    It is never deleted, as later executions of the launch plan have the same. It is stored again if this process has
    not done so for `FRESH_SECONDS`, so that one that somebody has removed is soon there again.
"""

from __future__ import annotations

import asyncio
from typing import Any
from weakref import WeakKeyDictionary

import orjson

from propeller.errors import PropellerError
from propeller.storage import Storage, in_thread_if_large
from propeller.workflow import LaunchPlan, NodeView, Plan, shared_closure_uri

FRESH_SECONDS = 60.0
"""Seconds for which a closure that was stored is taken to be there."""

Parts = dict[str, Any]
"""The static part of a resource, by field."""


class _Write:
    """A write in flight. It ends without an error if it succeeds, and if its writer is cancelled."""

    __slots__ = ("done", "error")

    def __init__(self) -> None:
        self.done = asyncio.Event()
        self.error: PropellerError | None = None


class _Known:
    """What is known of a closure: its bytes; once it was stored its URI, and until when it is taken to be there, in the
    loop's time.
    """

    __slots__ = ("__weakref__", "size", "until", "uri", "write")

    def __init__(self, size: int) -> None:
        self.size = size
        self.uri = ""
        self.until = 0.0
        self.write: _Write | None = None


class ChildClosures:
    """See the module's text. `inline_bytes` is `controller.child_closure_bytes`."""

    def __init__(self, storage: Storage, inline_bytes: int) -> None:
        self._storage = storage
        self._inline_bytes = inline_bytes
        self._known: WeakKeyDictionary[LaunchPlan, WeakKeyDictionary[Plan, _Known]] = WeakKeyDictionary()
        """By launch plan, and by what carries the launch plans that it may start."""

    async def of(self, node: NodeView, plan: LaunchPlan) -> Parts:
        """Return the static part of the resource that starts `plan` for a node. Raises StorageError, and TooLarge for
        one that is too large for a blob.
        """
        reference, carrier = node.spec.launch_plan, node.graph.plan
        assert reference is not None
        known = self._known.setdefault(plan, WeakKeyDictionary()).get(carrier)
        if known is None:
            known = self._known[plan][carrier] = _Known(_size_of(plan, carrier))
        if known.size * node.graph.starts(reference) <= self._inline_bytes:
            return _parts_of(plan, carrier)
        while known.until <= asyncio.get_running_loop().time():
            await self._store(known, plan, carrier)
        started = plan.message.spec.workflow_id
        # the id is for people and commands: the controller reads what is stored
        identity = {"id": f"{started.project}:{started.domain}:{started.name}"}
        return {"workflowClosureReference": known.uri, "spec": identity}

    async def _store(self, known: _Known, plan: LaunchPlan, carrier: Plan) -> None:
        """Store a closure, or wait until another launch has tried to."""
        if (other := known.write) is not None:
            await other.done.wait()
            if other.error is not None:
                raise other.error
            return
        write = known.write = _Write()
        try:
            closure = await in_thread_if_large(known.size, orjson.dumps, _parts_of(plan, carrier))
            prefix = self._storage.settings.metadata_prefix
            known.uri = await in_thread_if_large(known.size, shared_closure_uri, prefix, closure)
            await self._storage.write(known.uri, closure)
            known.until = asyncio.get_running_loop().time() + FRESH_SECONDS
        except PropellerError as error:
            write.error = error
            raise
        finally:
            known.write = None
            write.done.set()


def _parts_of(plan: LaunchPlan, carrier: Plan) -> Parts:
    """The static part as the documents have it; with the launch plans that the parent carries, as it may need them."""
    document = plan.document
    parts = {"spec": document.spec, "tasks": document.tasks, "subWorkflows": document.sub_workflows}
    closure: Parts = {name: orjson.Fragment(bytes(raw)) for name, raw in parts.items() if bytes(raw)}
    if carried := carrier.launch_plans:
        closure["launchPlans"] = {path: orjson.Fragment(bytes(raw)) for path, raw in carried.items()}
    return closure


def _size_of(plan: LaunchPlan, carrier: Plan) -> int:
    document = plan.document
    own = (document.spec, document.tasks, document.sub_workflows)
    return sum(len(bytes(raw)) for raw in (*own, *carrier.launch_plans.values()))
