"""Which kinds there are: aggregated discovery (apidiscovery.k8s.io/v2), and the older documents."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import orjson

from propeller.embedded.server._errors import no_such_path
from propeller.embedded.server._responses import json_response
from propeller.embedded.server.endpoints._reviews import REVIEWS
from propeller.embedded.server.negotiation._requests import header
from propeller.embedded.server.registry._kinds import Kind, Registry
from propeller.kube import Request, Response

VERSION = {
    "major": "1",
    "minor": "37",
    "gitVersion": "v1.37.2+propeller",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": "",
    "platform": "linux/amd64",
}
"""The release whose behaviour this server has."""

_AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
_SUBRESOURCE_KINDS: Mapping[str, tuple[str, str, str]] = {
    "binding": ("", "v1", "Binding"),
    "eviction": ("policy", "v1", "Eviction"),
    "scale": ("autoscaling", "v1", "Scale"),
}
"""Group, version and kind of the request body of a subresource, if it is not the object itself."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One resource of a group version."""

    kind: str
    plural: str
    singular: str
    namespaced: bool
    verbs: tuple[str, ...]
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: Mapping[str, tuple[str, ...]] = {}


class Discovery:
    """Discovery documents from the registry, cached until the set of kinds changes."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._computed_at = -1
        self._groups: dict[str, dict[str, list[Entry]]] = {}

    def answer(self, request: Request) -> Response:
        """GET below /api or /apis, down to a group version. Raises Failure."""
        groups = self._current()
        match request.path.strip("/").split("/"):
            case ["api"] if _wants_aggregated(request):
                return self._aggregated({"": groups[""]})
            case ["apis"] if _wants_aggregated(request):
                return self._aggregated({name: versions for name, versions in groups.items() if name})
            case ["api"]:
                return json_response(
                    {"kind": "APIVersions", "versions": list(groups[""]), "serverAddressByClientCIDRs": []}
                )
            case ["apis"]:
                listed = [_group(name, versions) for name, versions in groups.items() if name]
                return json_response({"kind": "APIGroupList", "apiVersion": "v1", "groups": listed})
            case ["api", version] if version in groups[""]:
                return json_response(_resource_list(version, groups[""][version]))
            case ["apis", group] if group and group in groups:
                return json_response({"kind": "APIGroup", "apiVersion": "v1", **_group(group, groups[group])})
            case ["apis", group, version] if group and version in groups.get(group, {}):
                return json_response(_resource_list(f"{group}/{version}", groups[group][version]))
            case _:
                raise no_such_path()

    def paths(self) -> list[str]:
        """The documents that there are."""
        groups = self._current()
        found = ["/api", "/apis", "/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version"]
        found += [f"/api/{version}" for version in groups[""]]
        for name, versions in groups.items():
            if name:
                found += [f"/apis/{name}", *(f"/apis/{name}/{version}" for version in versions)]
        return sorted(found)

    def _current(self) -> dict[str, dict[str, list[Entry]]]:
        if self._computed_at != self._registry.changes:
            self._computed_at = self._registry.changes
            self._groups = {}
            for kind in self._registry:
                versions = self._groups.setdefault(kind.group, {})
                versions.setdefault(kind.version, []).append(_entry(kind))
            for review in REVIEWS:
                entry = Entry(
                    kind=review.kind,
                    plural=review.plural,
                    singular=review.kind.lower(),
                    namespaced=False,
                    verbs=("create",),
                )
                self._groups.setdefault(review.group, {}).setdefault("v1", []).append(entry)
        return self._groups

    def _aggregated(self, groups: Mapping[str, Mapping[str, list[Entry]]]) -> Response:
        content = {
            "kind": "APIGroupDiscoveryList",
            "apiVersion": "apidiscovery.k8s.io/v2",
            "metadata": {},
            "items": [
                {
                    "metadata": {"name": name} if name else {},
                    "versions": [
                        {
                            "version": version,
                            "resources": [_aggregated_entry(entry) for entry in _sorted(entries)],
                            "freshness": "Current",
                        }
                        for version, entries in versions.items()
                    ],
                }
                for name, versions in groups.items()
            ],
        }
        body = orjson.dumps(content)
        etag = hashlib.sha256(body).hexdigest()
        headers = {"content-type": _AGGREGATED, "etag": f'"{etag}"', "cache-control": "public", "vary": "Accept"}
        return Response(status=200, headers=headers, body=body)


def _wants_aggregated(request: Request) -> bool:
    accept = header(request, "accept").replace(" ", "")
    return (
        "as=APIGroupDiscoveryList" in accept
        and "g=apidiscovery.k8s.io" in accept
        and "v=v2" in accept.replace("v2beta1", "")
    )


def _entry(kind: Kind) -> Entry:
    return Entry(
        kind=kind.kind,
        plural=kind.plural,
        singular=kind.singular,
        namespaced=kind.namespaced,
        verbs=kind.verbs,
        short_names=kind.short_names,
        categories=kind.categories,
        subresources=kind.subresources,
    )


def _sorted(entries: Iterable[Entry]) -> list[Entry]:
    return sorted(entries, key=lambda entry: entry.plural)


def _aggregated_entry(entry: Entry) -> dict[str, Any]:
    found: dict[str, Any] = {
        "resource": entry.plural,
        "responseKind": {"group": "", "version": "", "kind": entry.kind},
        "scope": "Namespaced" if entry.namespaced else "Cluster",
        "singularResource": entry.singular,
        "verbs": entry.verbs,
    }
    if entry.short_names:
        found["shortNames"] = entry.short_names
    if entry.categories:
        found["categories"] = entry.categories
    if entry.subresources:
        found["subresources"] = [
            {
                "subresource": name,
                "responseKind": dict(zip(("group", "version", "kind"), _posted(entry, name), strict=True)),
                "verbs": verbs,
            }
            for name, verbs in sorted(entry.subresources.items())
        ]
    return found


def _posted(entry: Entry, subresource: str) -> tuple[str, str, str]:
    return _SUBRESOURCE_KINDS.get(subresource, ("", "", entry.kind))


def _group(name: str, versions: Iterable[str]) -> dict[str, Any]:
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def _resource_list(group_version: str, entries: Iterable[Entry]) -> dict[str, Any]:
    resources: list[dict[str, Any]] = []
    for entry in _sorted(entries):
        resource: dict[str, Any] = {
            "name": entry.plural,
            "singularName": entry.singular,
            "namespaced": entry.namespaced,
            "kind": entry.kind,
            "verbs": entry.verbs,
        }
        if entry.short_names:
            resource["shortNames"] = entry.short_names
        if entry.categories:
            resource["categories"] = entry.categories
        resources.append(resource)
        for name, verbs in sorted(entry.subresources.items()):
            group, version, kind = _posted(entry, name)
            resources.append(
                {
                    "name": f"{entry.plural}/{name}",
                    "singularName": "",
                    "namespaced": entry.namespaced,
                    **({"group": group, "version": version} if group else {}),
                    "kind": kind,
                    "verbs": verbs,
                }
            )
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources}
