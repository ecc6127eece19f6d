"""Own writes whose versions are waited for: what is read then is not older than they are."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

from propeller.kube import Client
from tests.soak.writers import ANCHORS, KINDS, blank

_MAX_LIFE = 0.4  # seconds of an object that is made in order to be deleted


@dataclass(frozen=True)
class Fence:
    """Once `version` is reached, an informer of `plural` has `kept` at that version or later, and `gone` no more."""

    plural: str
    kept: str
    gone: str
    version: str


async def write_fence(client: Client, namespace: str, name: str, rng: random.Random) -> Fence:
    """Make and delete an object of a name that nothing else ever has, then change an anchor. Raises as `client` does:
    what it has done by then stays.
    """
    kind, anchor = rng.choice(KINDS), rng.choice(ANCHORS)
    await client.create(kind, blank(kind, name, {"in": rng.choice(("yes", "no"))}), namespace)
    await asyncio.sleep(rng.uniform(0.0, _MAX_LIFE))
    await client.delete(kind, name, namespace, grace_seconds=0)
    body = {"metadata": {"annotations": {"after": name}}}
    written = await client.patch(kind, anchor, namespace, body=body)
    version = str(written["metadata"]["resourceVersion"])
    return Fence(kind.plural, f"{namespace}/{anchor}", f"{namespace}/{name}", version)
