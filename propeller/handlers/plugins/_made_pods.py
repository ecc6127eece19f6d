"""Find the pods that the resource of an attempt has made, and say what became of those that failed or cannot start.

Guarantees
    A pod counts only if its owner references lead to the resource by uid, in the resource's namespace: labels alone can
    be anybody's.
    One LIST for each selector of the plugin, of `MAX_LISTED` pods at most, and `MAX_LOOKS` GETs of what is between pods
    and resource; none for a plugin whose resources make no pods.
    `why_pods_failed` raises nothing, and takes `DEADLINE` seconds at most: what an operator says is said without it.
Caveats
    Pods that the operator has deleted are not found. What may not be read between a pod and the resource (RBAC) does
    not lead to it: if no other pod explains the failure, the message names the right.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from propeller.errors import Denied, Invalid, NotFound, PropellerError
from propeller.handlers.plugins._api import AttemptObserver
from propeller.handlers.plugins.pod import trouble_of
from propeller.kube import PODS, Client, KubeObject, ObjectMeta, OwnerReference, Pod, Resource
from propeller.text import bounded, headline
from propeller.workflow import AttemptObserved

MAX_LISTED = 500
"""Pods of one LIST. A job with more has failed by one of them, which may not be among these."""

MAX_LOOKS = 20
"""GETs of objects between pods and resource: a Dask worker has two of its own."""

MAX_OWNERS = 6
"""Objects on the way from a pod to its resource; a Dask worker has four between."""

MAX_SHOWN = 3
"""Pods that a message tells of. The first to fail is the cause in most cases."""

POD_CHARACTERS = 4096
"""Of what is said of one pod: the kubelet keeps 2 KiB of a container's log."""

DEADLINE = 10.0
"""Seconds. The failure waits for it: with this, a retry starts a little later at most."""


class MadePod(NamedTuple):
    """A pod that a resource has made; `trouble` is why it failed or cannot start, "" if neither is known."""

    pod: Pod
    trouble: str

    @property
    def name(self) -> str:
        return self.pod.metadata.name


async def why_pods_failed(observer: AttemptObserver, obj: KubeObject, client: Client) -> str:
    """Return what became of the pods of a resource that has failed, as lines; "" if there is nothing to say."""
    if not observer.pods_of(obj):
        return ""
    try:
        async with asyncio.timeout(DEADLINE):
            found = [one for one in await made_pods(observer, obj, client) if one.trouble]
    except TimeoutError:
        return f"its pods could not be looked at: no answer within {DEADLINE:g} s"
    except PropellerError as error:
        return f"its pods could not be looked at: {headline(str(error), POD_CHARACTERS)}"
    lines = [f"pod {one.name}: {bounded(one.trouble, POD_CHARACTERS)}" for one in found[:MAX_SHOWN]]
    if more := [one.name for one in found[MAX_SHOWN:]]:
        lines.append(f"and {len(more)} more of its pods, such as {more[0]}")
    return "\n".join(lines)


def told_of_pods(seen: AttemptObserved, why: str) -> AttemptObserved:
    """Return an observation whose failure says what became of the pods."""
    if seen.failure is None or not why:
        return seen
    failure = msgspec.structs.replace(seen.failure, message=f"{seen.failure.message}\n{why}")
    return msgspec.structs.replace(seen, failure=failure)


async def made_pods(observer: AttemptObserver, obj: KubeObject, client: Client) -> list[MadePod]:
    """Return the pods that a resource has made: those in trouble first, in the order in which they failed. Raises what
    the client raises.
    """
    namespace = obj.metadata.namespace
    listed: dict[str, Pod] = {}
    for labels in observer.pods_of(obj):
        selector = ",".join(f"{name}={value}" for name, value in labels.items())
        page = await client.list(PODS, namespace, label_selector=selector, limit=MAX_LISTED)
        listed |= {pod.metadata.uid: pod for pod in page.items}
    troubles = {uid: trouble_of(pod) for uid, pod in listed.items()}
    order = sorted(listed, key=lambda uid: (troubles[uid].rank, listed[uid].metadata.creation_timestamp or ""))
    owners = _Owners(obj.metadata, client, observer.pod_owners, listed)
    found = [MadePod(listed[uid], troubles[uid].text) for uid in order if await owners.lead_from(listed[uid].metadata)]
    if owners.denied is not None and not any(one.trouble for one in found):
        raise owners.denied
    return found


class _Owners:
    """The way from pods to the resource, by uids. What was found for one pod counts for the next."""

    def __init__(self, root: ObjectMeta, client: Client, kinds: Iterable[Resource[Any]], pods: dict[str, Pod]) -> None:
        self._root = root
        self._client = client
        self._kinds = {(one.group, one.kind): one for one in kinds}
        self._pods = pods
        self._known: dict[str, bool] = {root.uid: True}
        self._looks = 0
        self.denied: Denied | None = None
        """Set if an owner may not be read."""

    async def lead_from(self, metadata: ObjectMeta, depth: int = 0) -> bool:
        """Whether the owner references of an object lead to the resource."""
        return depth < MAX_OWNERS and any([await self._leads(one, depth) for one in metadata.owner_references])

    async def _leads(self, owner: OwnerReference, depth: int) -> bool:
        if (known := self._known.get(owner.uid)) is None:
            self._known[owner.uid] = False  # owners in a circle end here
            found = await self._find(owner)
            known = self._known[owner.uid] = found is not None and await self.lead_from(found, depth + 1)
        return known

    async def _find(self, owner: OwnerReference) -> ObjectMeta | None:
        """Return the metadata of an owner: one of the pods, or an object of the plugin's kinds."""
        if (pod := self._pods.get(owner.uid)) is not None:
            return pod.metadata
        resource = self._kinds.get((owner.api_version.rpartition("/")[0], owner.kind))
        if resource is None or self._looks >= MAX_LOOKS:
            return None
        self._looks += 1
        try:
            found = await self._client.get(resource, owner.name, self._root.namespace)
        except (NotFound, Invalid):  # the server does not check what owners are called
            return None
        except Denied as error:
            self.denied = error
            return None
        metadata: ObjectMeta = found.metadata
        return metadata if metadata.uid == owner.uid else None
