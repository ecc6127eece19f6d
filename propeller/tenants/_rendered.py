"""What templates mean for a cluster's tenants: the objects that there should be.

Guarantees
    Pure, but for reading the directory. Each object names itself, is there once, and carries the labels by which it is
    known later. Namespaces come first, then the others in the order of their templates' names.
Errors
    Invalid, naming the template, and the tenant if it is one's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from propeller.errors import Invalid
from propeller.kube import Raw
from propeller.tenants._config import Tenant, Tenants
from propeller.tenants._variables import Template

MANAGER = "propeller-tenants"
"""The field manager of what is applied."""

OWNER_LABEL, PROJECT_LABEL, DOMAIN_LABEL = "propeller.dev/tenants", "propeller.dev/project", "propeller.dev/domain"

MAX_TEMPLATE = 1024 * 1024
"""Bytes of a template: what etcd holds of an object."""


class Rendered(msgspec.Struct, frozen=True):
    """An object that should be there. `whose` is `project/domain`, "" if several tenants have the very same."""

    template: str
    whose: str
    body: Raw
    default_namespace: str
    """If the kind is namespaced and the template names no namespace."""

    @property
    def api_version(self) -> str:
        return str(self.body["apiVersion"])

    @property
    def kind(self) -> str:
        return str(self.body["kind"])

    @property
    def name(self) -> str:
        return str(self.body["metadata"]["name"])

    @property
    def namespace(self) -> str:
        """That its template names, or the tenant's."""
        return str(self.body["metadata"].get("namespace") or self.default_namespace)


def read_templates(directory: Path) -> tuple[Template, ...]:
    """The templates of a directory, by name. Raises Invalid."""
    try:
        paths = sorted(path for path in directory.iterdir() if path.suffix in {".yaml", ".yml"} and path.is_file())
        texts = []
        for path in paths:
            if path.stat().st_size > MAX_TEMPLATE:
                raise Invalid(f"template {path.name} has more than {MAX_TEMPLATE} bytes")
            texts.append((path.name, path.read_text()))
    except OSError as error:
        raise Invalid(f"templates in {directory} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise Invalid(f"a template in {directory} is no UTF-8 text: {error.reason}") from error
    if not texts:
        raise Invalid(f"templates: {directory} has no *.yaml")
    return tuple(Template(name, text) for name, text in texts)


def rendered(config: Tenants, templates: Iterable[Template], tenants: Iterable[Tenant]) -> tuple[Rendered, ...]:
    """All objects of a cluster's tenants. Raises Invalid."""
    found: dict[tuple[str, str, str, str], Rendered] = {}
    shared: set[tuple[str, str, str, str]] = set()
    every = tuple(templates)
    for tenant in tenants:
        for template in every:
            for one in _of(template, tenant):
                key = (one.api_version, one.kind, one.namespace, one.name)
                other = found.setdefault(key, one)
                if other is one:
                    continue
                if other.body != one.body or other.template != one.template:
                    raise Invalid(
                        f"{one.kind} {one.name!r} of template {one.template} for {one.whose} is also that of template "
                        f"{other.template} for {other.whose}, and differs: use {{{{ namespace }}}} in its name"
                    )
                shared.add(key)
    for key in shared:
        found[key] = msgspec.structs.replace(found[key], whose="")
    marked = [msgspec.structs.replace(one, body=_marked(one, config.name)) for one in found.values()]
    return tuple(sorted(marked, key=lambda one: one.kind != "Namespace"))


def _of(template: Template, tenant: Tenant) -> Iterable[Rendered]:
    whose = f"{tenant.project}/{tenant.domain}"
    for number, body in enumerate(template.documents(tenant.values), 1):
        what = f"template {template.name}, document {number}" if len(template) > 1 else f"template {template.name}"
        if body is not None:
            _check(body, f"{what} for {whose}")
            yield Rendered(template.name, whose, body, tenant.namespace)


def _check(body: Any, what: str) -> None:
    if not isinstance(body, dict):
        raise Invalid(f"{what} is no object of Kubernetes: it has to have apiVersion, kind and metadata")
    metadata = body.get("metadata")
    for name, value in (
        ("apiVersion", body.get("apiVersion")),
        ("kind", body.get("kind")),
        ("metadata.name", metadata.get("name") if isinstance(metadata, dict) else None),
    ):
        if not isinstance(value, str) or not value:
            raise Invalid(f"{what}: {name} is {value!r}, and has to be text")
    labels = metadata.get("labels") if isinstance(metadata, dict) else None
    if not isinstance(labels, dict | None):
        raise Invalid(f"{what}: metadata.labels is {labels!r}, and has to be an object")
    try:
        msgspec.json.encode(body)
    except (TypeError, ValueError, msgspec.MsgspecError) as error:
        raise Invalid(f"{what} is no JSON: {error}") from error


def _marked(one: Rendered, owner: str) -> Raw:
    """The object with the labels by which it is known."""
    project, _, domain = one.whose.partition("/")
    own: Mapping[str, str] = {OWNER_LABEL: owner, PROJECT_LABEL: project, DOMAIN_LABEL: domain}
    metadata = one.body["metadata"]
    labels = {**(metadata.get("labels") or {}), **{label: value for label, value in own.items() if value}}
    return {**one.body, "metadata": {**metadata, "labels": labels}}
