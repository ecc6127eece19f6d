"""Finalizers: they keep a deleted object until a controller has cleaned up.

Guarantees
    Finalizers of other controllers are kept, in their order: each write names the resourceVersion and uid of the state
    that it was computed from, and is computed again from a fresh read if the object was changed in between. A finalizer
    that is there already, or gone already, costs no request.
Errors
    Conflict if the object was changed in between `client.finalizer_tries` times. NotFound from `add_finalizer` if the
    object is gone, or was created again under its name; for `remove_finalizer` nothing is left to do then. The API
    server refuses to add a finalizer to an object that is being deleted.
"""

from __future__ import annotations

from typing import Any

from propeller.errors import Conflict, Invalid, NotFound
from propeller.kube._bodies import Body, metadata_of_body
from propeller.kube._client import Client
from propeller.kube._resource import Resource


async def add_finalizer(client: Client, resource: Resource[Any], obj: Body, name: str) -> bool:
    """Put a finalizer on an object, a struct or JSON as it was read; returns whether it was not there yet."""
    return await _change(client, resource, obj, name, present=True)


async def remove_finalizer(client: Client, resource: Resource[Any], obj: Body, name: str) -> bool:
    """Take a finalizer off an object, as it was read; returns whether it was there."""
    try:
        return await _change(client, resource, obj, name, present=False)
    except NotFound:
        return False


async def _change(client: Client, resource: Resource[Any], obj: Body, name: str, *, present: bool) -> bool:
    if not name:
        raise Invalid(f"the name of a finalizer of {resource.plural} may not be empty")
    bare: Resource[Any] = resource.metadata_only()
    metadata = metadata_of_body(obj)
    key, namespace, uid = str(metadata.get("name", "")), metadata.get("namespace"), metadata.get("uid")
    tries = 0
    while True:
        finalizers = list(metadata.get("finalizers") or ())
        if (name in finalizers) == present:
            return False
        wanted = [*finalizers, name] if present else [other for other in finalizers if other != name]
        guard = {"resourceVersion": metadata.get("resourceVersion"), "uid": uid}
        if not all(guard.values()):
            raise Invalid(f"{resource.plural} {key}: a finalizer is changed on an object that was read from the server")
        tries += 1
        try:
            await client.patch(bare, key, namespace, body={"metadata": {**guard, "finalizers": wanted}})
        except Conflict:
            if tries == client.settings.finalizer_tries:
                raise
        else:
            return True
        metadata = metadata_of_body(await client.get(bare, key, namespace))
        if metadata.get("uid") != uid:
            raise NotFound(f"{resource.plural} {key} of uid {uid} is gone: another has its name", status=404)
