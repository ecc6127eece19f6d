"""Route a request to the verb of a kind, or to a document.

Guarantees
    Everything but a watch, a log and the deletion of a collection is answered synchronously: no request sees half of
    another one's effect.
    Every error of a request is a Status in the response; nothing else is raised.
Caveats
    An object may be nested 250 levels deep; kube-apiserver's decoder allows 10,000.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

import orjson

from propeller.embedded.server._errors import Failure, bad_request, method_not_allowed, no_such_path, qualified
from propeller.embedded.server._responses import Answer, json_response
from propeller.embedded.server._storage import Storage
from propeller.embedded.server.controllers._definitions import Definitions
from propeller.embedded.server.controllers._namespaces import Namespaces
from propeller.embedded.server.endpoints._discovery import VERSION, Discovery
from propeller.embedded.server.endpoints._openapi import OpenApi, version_2
from propeller.embedded.server.endpoints._pod_logs import LogSource, read_log
from propeller.embedded.server.endpoints._pod_subresources import bind, evict
from propeller.embedded.server.endpoints._reviews import REVIEWS, reviewed
from propeller.embedded.server.negotiation._bodies import read_any
from propeller.embedded.server.negotiation._requests import (
    Call,
    Target,
    find_target,
    form_of,
    header,
    is_true,
    manager_of,
)
from propeller.embedded.server.registry._kinds import APIEXTENSIONS, Registry
from propeller.embedded.server.registry._missing import lacked, none_can_be_made
from propeller.embedded.server.rest import _lists
from propeller.embedded.server.rest._deletes import Deletes
from propeller.embedded.server.rest._patch import patch
from propeller.embedded.server.rest._scale import get_scale, write_scale
from propeller.embedded.server.rest._watch import Watch, open_watch
from propeller.embedded.server.rest._writes import Writes
from propeller.kube import Request, Response

_TEXT = {"content-type": "text/plain; charset=utf-8"}
_OK = Response(status=200, headers=_TEXT, body=b"ok")
_NO_PAGE = Response(status=404, headers=_TEXT, body=b"404 page not found\n")
_HEALTH = ("/healthz", "/livez", "/readyz")
_TOO_DEEP = "the object is nested too deep: this server takes about 250 levels"
_NO_RULES = '299 - "x-kubernetes-validations: CEL rules are kept, but this server does not evaluate them"'


class Handler:
    """Answers the requests of one server. `now` gives epoch seconds."""

    def __init__(
        self,
        storage: Storage,
        registry: Registry,
        writes: Writes,
        deletes: Deletes,
        definitions: Definitions,
        namespaces: Namespaces,
        *,
        now: Callable[[], float],
        bookmark_interval: float,
        randomness: random.Random,
    ) -> None:
        self._storage = storage
        self._registry = registry
        self._writes = writes
        self._deletes = deletes
        self._definitions = definitions
        self._namespaces = namespaces
        self._now = now
        self._bookmark_interval = bookmark_interval
        self._randomness = randomness
        self._discovery = Discovery(registry)
        self._openapi = OpenApi(registry)
        self.logs: LogSource | None = None
        self.watches: dict[Watch, None] = {}
        """Those that are being read, in the order in which they began."""

    def answer(self, request: Request, user: str) -> Answer | Awaitable[Answer]:
        """The answer to a request of a user."""
        try:
            target = find_target(self._registry, request.path)
            if target is None:
                if failure := lacked(request.path, (qualified(kind.plural, kind.group) for kind in self._registry)):
                    raise failure
                return self._document(request, user)
            return self._resource(request, target)
        except Failure as failure:
            return failure.response()
        except (RecursionError, orjson.JSONEncodeError) as error:
            if isinstance(error, orjson.JSONEncodeError) and "Recursion" not in str(error):
                raise  # a fault of ours: something in an object is no JSON
            return bad_request(_TOO_DEEP).response()

    def _document(self, request: Request, user: str) -> Answer:
        path = request.path
        for review in REVIEWS:
            if path == review.path:
                if request.method != "POST":
                    raise method_not_allowed()
                return json_response(reviewed(review, read_any(request, review.kind), user), 201)
        if request.method != "GET":
            raise no_such_path()
        if path.startswith(_HEALTH):
            return _OK
        match path.rstrip("/"):
            case "":
                return json_response({"paths": self._discovery.paths()})
            case "/version":
                return json_response(VERSION)
            case "/openapi/v2":
                return version_2(request)
            case text if text.startswith("/openapi/v3"):
                return self._openapi.answer(request)
            case "/api" | "/apis":
                return self._discovery.answer(request)
            case text if text.startswith(("/api/", "/apis/")):
                return self._below_api(request, text)
            case _:
                return _NO_PAGE

    def _below_api(self, request: Request, path: str) -> Answer:
        """Return a group's document, or the failure for an unknown path."""
        parts = path.strip("/").split("/")
        known = {(kind.group, kind.version) for kind in self._registry} | {(one.group, "v1") for one in REVIEWS}
        own = {(kind.group, kind.version) for kind in self._registry if not kind.custom}
        group, version = ("", parts[1]) if parts[0] == "api" else (parts[1], parts[2] if len(parts) > 2 else "")
        depth = 2 if parts[0] == "api" else 3
        if len(parts) <= depth and any(group == one and version in ("", other) for one, other in known):
            return self._discovery.answer(request)
        if (group, version) in own:
            raise no_such_path()
        return _NO_PAGE

    def _resource(self, request: Request, target: Target) -> Answer | Awaitable[Answer]:
        form = form_of(header(request, "accept"))
        verb = _verb_of(request, target)
        allowed = target.kind.subresources[target.subresource] if target.subresource else target.kind.verbs
        if verb not in allowed:
            raise method_not_allowed() if "create" in target.kind.verbs else none_can_be_made(target.kind.plural)
        call = Call(verb=verb, target=target, request=request, form=form, manager=manager_of(request))
        match target.subresource:
            case "binding":
                return bind(call, self._storage, self._now())
            case "eviction":
                return evict(call, self._storage, self._deletes, self._now())
            case "scale":
                return get_scale(call, self._now()) if verb == "get" else write_scale(self._writes, call, self._now())
            case "log":
                return _guarded(read_log(call, self.logs, self._now()))
            case _:
                return self._perform(call)

    def _perform(self, call: Call) -> Answer | Awaitable[Answer]:
        now = self._now()
        match call.verb:
            case "get":
                return _lists.get(call, self._storage, now)
            case "list":
                return _lists.list_objects(call, self._storage, now)
            case "watch":
                return open_watch(
                    call,
                    self._storage,
                    bookmark_interval=self._bookmark_interval,
                    now=self._now,
                    open_watches=self.watches,
                    randomness=self._randomness,
                )
            case "create":
                return self._written(call, self._writes.create(call, now))
            case "update":
                return self._written(call, self._writes.replace(call, now))
            case "patch":
                return self._written(call, patch(self._writes, call, now))
            case "delete":
                self._namespaces.admit_deletion(call.target)
                return self._deletes.delete(call)
            case _:
                return _guarded(self._deletes.delete_collection(call))

    def _written(self, call: Call, response: Response) -> Response:
        """Serve a written definition before its client gets the response."""
        kind = call.target.kind
        if kind.group != APIEXTENSIONS or response.status >= 300:
            return response
        self._definitions.settle()
        if b"x-kubernetes-validations" not in call.request.body:
            return response
        headers = {**response.headers, "warning": _NO_RULES}
        return Response(status=response.status, headers=headers, body=response.body)


def _verb_of(request: Request, target: Target) -> str:
    match request.method:
        case "GET":
            if is_true(request.query, "watch") and not target.subresource:
                return "watch"
            return "get" if target.name else "list"
        case "POST":
            return "create"
        case "PUT" if target.name:
            return "update"
        case "PATCH" if target.name:
            return "patch"
        case "DELETE":
            return "delete" if target.name else "deletecollection"
        case _:
            raise method_not_allowed()


async def _guarded(work: Awaitable[Answer]) -> Answer:
    try:
        return await work
    except Failure as failure:
        return failure.response()
