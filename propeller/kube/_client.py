"""Verbs on typed resources of one API server.

Guarantees
    A response decodes to the resource's type, or the call raises an error of ours that names verb, kind and object.
    Reads are retried on Unavailable and Throttled, with jittered backoff, `Retry-After` honoured, within the deadline
    of the call. Writes are not: only the caller knows whether they are idempotent. Requests of different flows never
    wait for each other (`flows`). A watch yields each line once, in order; it ends when the server ends it, and raises
    if the connection was cut.
    No verb of one object acts on a collection: a name, or a namespace that the kind needs, is refused if it is empty.
    No typed write loses a field: `replace` refuses a struct that has only a part of the object, and `update` and
    `apply` leave fields alone that the struct lacks.
Errors
    Invalid, before anything is sent, for a call that cannot be meant.
    See propeller.errors: NotFound, AlreadyExists, Conflict, Denied, Rejected, TooLarge, Throttled, ResourceExpired,
    Unavailable.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any, TypeVar, cast, get_origin

import msgspec

from propeller.clock import SYSTEM_CLOCK, Clock
from propeller.decoding import UNDECODABLE
from propeller.errors import EndlessList, Invalid, NotFound, Unavailable
from propeller.kube._bodies import Body, PatchKind, merge_patch, metadata_of_body, name_in, whole
from propeller.kube._calls import check_namespace, named, path_of_one, query_of
from propeller.kube._decoding import Event, Page, decode_events, decode_object, decode_page, whole_lines
from propeller.kube._objects import Raw
from propeller.kube._options import ClientOptions
from propeller.kube._resource import PODS, Resource, check_segment
from propeller.kube._responses import check
from propeller.kube._sender import JSON, METADATA, Sender
from propeller.kube._transport import Request, Transport

T = TypeVar("T")

_METADATA_LIST = JSON | {"accept": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"}
_MANAGER = {"fieldManager": "propeller"}
_COMPRESSED = {"accept-encoding": "gzip"}  # a page shrinks to a fraction, and so do the costs of TLS and copying
MAX_PAGES = 20_000
"""Ten million objects of the default page size: etcd holds fewer, so a longer list never ends."""


class _ApiResource(msgspec.Struct, frozen=True):
    name: str
    kind: str = ""
    namespaced: bool = True


class _ApiResources(msgspec.Struct, frozen=True):
    resources: tuple[_ApiResource, ...] = ()


class Client:
    """One API server, through a transport; `settings` bound time and concurrency.

    More than 15 methods: one for each verb of the API, and discovery.
    """

    def __init__(
        self, transport: Transport, settings: ClientOptions | None = None, *, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self.transport = transport
        self.settings = settings or ClientOptions()
        self._sender = Sender(transport, self.settings, clock)
        self.flows = self._sender.flows
        """The limits of concurrent requests, with their counters."""
        self.requests = self._sender.requests
        """Counts of requests by status code, and whether the credentials are refused."""

    async def get(self, resource: Resource[T], name: str, namespace: str | None = None) -> T:
        what = named("get", resource, namespace, name)
        headers = METADATA if resource.partial else JSON
        path = path_of_one(resource, name, namespace, what)
        response = await self._sender.read(Request(method="GET", path=path, headers=headers), what)
        return decode_object(resource, response.body, what)

    async def list(
        self,
        resource: Resource[T],
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int | None = None,
        continue_token: str = "",
        resource_version: str = "",
        shard_selector: str = "",
    ) -> Page[T]:
        """One page; `limit` objects at most, the settings' page size if None, all if 0.

        Raises ResourceExpired for an old token.
        A server without sharded lists ignores `shard_selector`: the page says whether it kept to it.
        """
        query = query_of(
            labelSelector=label_selector,
            fieldSelector=field_selector,
            limit="" if limit == 0 else str(limit or self.settings.page_size),
            **{"continue": continue_token},
            shardSelector=shard_selector,
            resourceVersion="" if continue_token else resource_version,
        )
        headers = _COMPRESSED | (_METADATA_LIST if resource.partial else JSON)
        request = Request(method="GET", path=resource.path(namespace), query=query, headers=headers)
        what = named("list", resource, namespace)
        return decode_page(resource, (await self._sender.read(request, what)).body, what)

    async def pages(
        self,
        resource: Resource[T],
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        shard_selector: str = "",
    ) -> AsyncIterator[Page[T]]:
        """Every page of a consistent list, one after the other.

        Raises ResourceExpired if the list expires before its last page, and EndlessList if it does not end: the server
        repeats a continue token, or there are more than MAX_PAGES pages.
        """
        token = ""
        tokens: set[str] = set()
        while True:
            page = await self.list(
                resource,
                namespace,
                label_selector=label_selector,
                field_selector=field_selector,
                continue_token=token,
                shard_selector=shard_selector,
            )
            yield page
            token = page.continue_token
            if not token:
                return
            if token in tokens or len(tokens) >= MAX_PAGES:
                fault = "repeats a continue token" if token in tokens else f"sends more than {MAX_PAGES} pages"
                raise EndlessList(f"{named('list', resource, namespace)}: the list does not end: the server {fault}")
            tokens.add(token)

    async def create(
        self,
        resource: Resource[T],
        body: Body,
        namespace: str | None = None,
        *,
        name: str | None = None,
        subresource: str = "",
    ) -> T:
        """Create an object, or post to a `subresource` of the object `name`."""
        what = named("create", resource, namespace, name or name_in(body), subresource)
        if subresource or name is not None:
            path = path_of_one(resource, name, namespace, what, subresource)
        else:
            check_namespace(resource, namespace, what)
            path = resource.path(namespace)
        response = await self._sender.write("POST", path, whole(resource, body), what, partial=resource.partial)
        # the response to a post to a subresource is of another kind (a binding's Status, a TokenRequest): no struct's
        untyped = get_origin(resource.type) is dict
        return decode_object(resource, b"{}" if subresource and not untyped else response.body, what)

    async def replace(
        self,
        resource: Resource[T],
        body: Body,
        name: str,
        namespace: str | None = None,
        *,
        subresource: str = "",
    ) -> T:
        """Put the whole object, onto its resourceVersion if it has one: fields that `body` lacks are removed.

        Raises Invalid for a struct of a resource that is not `complete`, as it has a part of the object only.
        """
        what = named("replace", resource, namespace, name, subresource)
        path = path_of_one(resource, name, namespace, what, subresource)
        if isinstance(body, msgspec.Struct) and not resource.complete:
            raise Invalid(
                f"{what}: {type(body).__name__} has a part of the object's fields, and replacing would remove the "
                "others: use update (a patch of what changed) or apply, or read and write the object with `typed(dict)`"
            )
        response = await self._sender.write("PUT", path, whole(resource, body), what, partial=resource.partial)
        return decode_object(resource, response.body, what)

    async def update(self, resource: Resource[T], before: T, after: T, *, subresource: str = "") -> T:
        """Write the difference of two states of one object, as a merge patch onto the resourceVersion and uid of
        `before`; fields that the type does not know stay as they are. Asks for nothing if they are equal.

        Raises Conflict if the object was changed since `before` was read, and Invalid if a list of objects differs: a
        merge patch replaces lists whole.
        """
        metadata = metadata_of_body(cast(Body, before))
        name, namespace = metadata.get("name"), metadata.get("namespace")
        what = named("update", resource, namespace, name or "", subresource)
        path = path_of_one(resource, name, namespace, what, subresource)
        if not metadata.get("resourceVersion"):
            raise Invalid(f"{what}: the state to start from has no resourceVersion: update takes what was read")
        body = merge_patch(before, after, what)
        if not body:
            return after
        guard = {key: metadata[key] for key in ("resourceVersion", "uid") if metadata.get(key)}
        body = {**body, "metadata": {**body.get("metadata", {}), **guard}}
        return await self._patch(resource, path, body, what, PatchKind.MERGE, _MANAGER)

    async def apply(
        self,
        resource: Resource[T],
        body: Body,
        namespace: str | None = None,
        *,
        field_manager: str = "propeller",
        force: bool = False,
        dry_run: bool = False,
        subresource: str = "",
    ) -> T:
        """Server-side apply of an object that names itself; kind and version are filled in. `force` takes fields over
        from other managers. Fields that `field_manager` applied before, and that `body` has not, are removed. With
        `dry_run` nothing is written, and the object is returned as it would be.
        """
        metadata = metadata_of_body(body)
        name, namespace = metadata.get("name"), namespace or metadata.get("namespace")
        what = named("apply", resource, namespace, name or "", subresource)
        path = path_of_one(resource, name, namespace, what, subresource)
        query = query_of(fieldManager=field_manager, force="true" if force else "", dryRun="All" if dry_run else "")
        return await self._patch(resource, path, whole(resource, body), what, PatchKind.APPLY, query)

    async def patch(
        self,
        resource: Resource[T],
        name: str,
        namespace: str | None = None,
        *,
        body: Any,
        kind: PatchKind = PatchKind.MERGE,
        subresource: str = "",
        field_manager: str = "propeller",
        force: bool = False,
    ) -> T:
        """Patch; `force` takes fields over from other managers (APPLY only, whose body may leave out kind and version).

        Raises Invalid for a struct, but for APPLY: a merge would remove from lists the fields that the struct lacks.
        """
        what = named("patch", resource, namespace, name, subresource)
        path = path_of_one(resource, name, namespace, what, subresource)
        if kind is PatchKind.APPLY and isinstance(body, Mapping | msgspec.Struct):
            body = whole(resource, body)
        elif isinstance(body, msgspec.Struct):
            raise Invalid(f"{what}: a {kind.name} patch is JSON, and no {type(body).__name__}: use update or apply")
        query = query_of(fieldManager=field_manager, force="true" if force else "")
        return await self._patch(resource, path, body, what, kind, query)

    async def _patch(
        self, resource: Resource[T], path: str, body: Any, what: str, kind: PatchKind, query: Mapping[str, str]
    ) -> T:
        response = await self._sender.write(
            "PATCH", path, body, what, content_type=kind, query=query, partial=resource.partial
        )
        return decode_object(resource, response.body, what)

    async def delete(
        self,
        resource: Resource[T],
        name: str,
        namespace: str | None = None,
        *,
        grace_seconds: int | None = None,
        propagation: str | None = None,
        uid: str | None = None,
        resource_version: str | None = None,
    ) -> None:
        """Delete; if `uid` or `resource_version` is given, only that very object (Conflict otherwise)."""
        what = named("delete", resource, namespace, name)
        path = path_of_one(resource, name, namespace, what)
        if uid == "" or resource_version == "":
            raise Invalid(f"{what}: uid and resource_version may not be empty: leave out what is not to be checked")
        preconditions = {k: v for k, v in (("uid", uid), ("resourceVersion", resource_version)) if v}
        options = {
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "gracePeriodSeconds": grace_seconds,
            "propagationPolicy": propagation,
            "preconditions": preconditions or None,
        }
        body = {key: value for key, value in options.items() if value is not None}
        await self._sender.write("DELETE", path, body, what)

    async def watch(
        self,
        resource: Resource[T],
        namespace: str | None = None,
        *,
        resource_version: str,
        label_selector: str = "",
        field_selector: str = "",
        timeout_seconds: float | None = None,
        bookmarks: bool = True,
        initial_events: bool = False,
        shard_selector: str = "",
    ) -> AsyncGenerator[Event[T], None]:
        """Events after `resource_version`, until the server ends the watch. Raises ResourceExpired if it is too old."""
        query = query_of(
            watch="true",
            resourceVersion=resource_version,
            labelSelector=label_selector,
            fieldSelector=field_selector,
            timeoutSeconds="" if timeout_seconds is None else str(int(timeout_seconds)),
            allowWatchBookmarks="true" if bookmarks else "",
            sendInitialEvents="true" if initial_events else "",
            resourceVersionMatch="NotOlderThan" if initial_events else "",
            shardSelector=shard_selector,
        )
        what = named("watch", resource, namespace)
        headers = METADATA if resource.partial else JSON
        request = Request(method="GET", path=resource.path(namespace), query=query, headers=headers)
        async with self._sender.watch(request, what) as stream:
            async for text in whole_lines(stream, what):
                for event in decode_events(resource, text, what):
                    yield event

    async def proxied(
        self, pod: str, namespace: str, port: int, path: str, query: Mapping[str, str] = {}, *, deadline: float = 10.0
    ) -> bytes:
        """What a pod answers to a GET of `path` on its port, through the API server's proxy. It is sent once.

        Raises NotFound if there is no such pod, Denied without the right `get` on `pods/proxy`, Unavailable or Rejected
        if the pod does not answer, or answers an error.
        """
        what = named("get", PODS, namespace, pod, "proxy")
        way = f"{path_of_one(PODS, pod, namespace, what)}:{port}/proxy{path}"
        response = await self._sender.send(Request(method="GET", path=way, query=query, headers=JSON), deadline, what)
        return check(response, what, self.settings.retry_after_cap, way).body

    async def pod_log(
        self, pod: str, namespace: str, *, container: str = "", most: int = 1 << 20, deadline: float = 30.0
    ) -> bytes:
        """The last lines of a container's log, about `most` bytes. Raises NotFound, Denied, Malformed if it has not
        begun, Unavailable.
        """
        what = named("get", PODS, namespace, pod, "log")
        way = f"{path_of_one(PODS, pod, namespace, what)}/log"
        query = query_of(container=container, tailLines=str(most // 100), limitBytes=str(most))
        response = await self._sender.send(Request(method="GET", path=way, query=query, headers=JSON), deadline, what)
        return check(response, what, self.settings.retry_after_cap, way).body

    async def reach(self, deadline: float) -> None:
        """Wait until the server answers with any status, `deadline` seconds at most. Raises Unavailable."""
        await self._sender.reach(deadline)

    async def has_subresource(self, resource: Resource[T], subresource: str) -> bool:
        """Whether the type has that subresource. Raises NotFound if the type itself is not served."""
        names = {found.name for found in await self._served(resource.api_version, resource.kind)}
        if resource.plural not in names:
            raise NotFound(
                f"look up {resource.kind}: the server has no {resource.plural} in {resource.api_version}", status=404
            )
        return f"{resource.plural}/{subresource}" in names

    async def find_resource(self, api_version: str, kind: str) -> Resource[Raw]:
        """The resource of a kind, as the server's discovery has it. Raises NotFound, Invalid."""
        group, _, version = api_version.rpartition("/")
        for text, what in ((group or "core", "a group"), (version, "a version")):
            check_segment(text, f"{what} in apiVersion {api_version!r} of {kind}")
        try:
            served = await self._served(api_version, kind)
        except NotFound as error:
            raise NotFound(f"look up {kind}: the server has nothing of {api_version}", status=404) from error
        for found in served:
            if found.kind == kind and "/" not in found.name:
                return Resource(
                    group=group,
                    version=version,
                    kind=kind,
                    plural=found.name,
                    type=dict[str, Any],
                    namespaced=found.namespaced,
                )
        raise NotFound(f"look up {kind}: the server has no such kind in {api_version}", status=404)

    async def _served(self, api_version: str, kind: str) -> tuple[_ApiResource, ...]:
        path = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
        what = f"look up {kind}"
        response = await self._sender.read(Request(method="GET", path=path, headers=JSON), what)
        try:
            return msgspec.json.decode(response.body, type=_ApiResources).resources
        except UNDECODABLE as error:
            raise Unavailable(f"{what}: the answer is no list of resource types: {error}") from error
