"""Paths of calls, checked, and their names in messages."""

from __future__ import annotations

from typing import Any

from propeller.errors import Invalid
from propeller.kube._resource import Resource


def path_of_one(
    resource: Resource[Any], name: str | None, namespace: str | None, what: str, subresource: str = ""
) -> str:
    """The path of one object. Raises Invalid if it would be the path of a collection, or of another object."""
    check_namespace(resource, namespace, what)
    try:
        return resource.path(namespace, "" if name is None else name, subresource)
    except Invalid as error:
        raise Invalid(f"{what}: {error}") from None


def check_namespace(resource: Resource[Any], namespace: str | None, what: str) -> None:
    if resource.namespaced and not namespace:
        raise Invalid(f"{what}: {resource.plural} are namespaced, and no namespace is given")


def named(verb: str, resource: Resource[Any], namespace: str | None, name: str = "", subresource: str = "") -> str:
    """`patch pods/status ns/name`, for messages."""
    kind = f"{resource.plural}/{subresource}" if subresource else resource.plural
    where = f"{namespace}/{name}" if namespace and name else namespace or name
    return f"{verb} {kind} {where}".rstrip()


def query_of(**parameters: str) -> dict[str, str]:
    return {key: value for key, value in parameters.items() if value}
