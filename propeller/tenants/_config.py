"""The file that says which tenants there are, on which clusters, and where the templates of their objects are.

Guarantees
    Everything that is wrong with the file, or with a value that it takes from the environment or a file, is an error
    before any request: field, value and what to write instead.
Errors
    Invalid.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

from propeller.errors import Invalid
from propeller.names import is_dns_label
from propeller.redaction import place_of_yaml_error
from propeller.tenants._variables import MAX_VALUE, filled

RESERVED = ("namespace", "project", "domain", "cluster")
"""Variables that each tenant has of itself."""

MAX_TENANTS = 10_000
"""Projects and domains on one cluster."""

_VARIABLE = re.compile(r"[A-Za-z_][-A-Za-z0-9_.]*")


class Source(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a value comes from: a variable of the environment, or a file (relative to the file that says so)."""

    env: str = ""
    file: str = ""


Data = Mapping[str, str | int | float | bool | Source]
"""Values by the name of a variable."""


class Domain(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A domain, with values for its tenants."""

    name: str
    data: Data = {}


class Project(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A project, with values for its tenants; `domains` are those that it has, by default all, with values for each."""

    name: str
    data: Data = {}
    domains: tuple[str | Domain, ...] | None = None


class Cluster(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A context of a kubeconfig, by default the current one of the usual file; with values for its tenants."""

    name: str
    context: str = ""
    kubeconfig: str = ""
    data: Data = {}


class Lease(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The lease that `--watch` holds, on the first cluster: of several that run one acts."""

    namespace: str = "flyte"
    name: str = "propeller-tenants"


class Tenants(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file. Of a variable that has several values the most specific counts: that of a project's domain goes before
    the project's, this before the domain's, the cluster's, and those of the file.
    """

    templates: str
    """Directory of the templates (`*.yaml`, `*.yml`), relative to the file."""

    projects: tuple[str | Project, ...]
    domains: tuple[str | Domain, ...]
    clusters: tuple[Cluster, ...] = (Cluster(name="current"),)
    data: Data = {}

    namespace: str = "{{ project }}-{{ domain }}"
    """Flyte's: FlyteAdmin runs executions in the namespace of this name."""

    name: str = "tenants"
    """Marks the objects of this file, of which `--prune` deletes those that no template makes any more. Two files that
    sync one cluster need two names.
    """

    interval: float = 300.0
    """Seconds between two rounds of `--watch`. Flyte's default is 60; templates change by hand, and each round reads
    every object once."""

    lease: Lease = Lease()

    def __post_init__(self) -> None:
        if not self.interval >= 1:
            raise ValueError(f"interval must be at least 1, and is {self.interval}")


class Tenant(msgspec.Struct, frozen=True):
    """A project's domain on a cluster, with the values of its variables."""

    project: str
    domain: str
    namespace: str
    values: Mapping[str, str]


def load(path: str, environment: Mapping[str, str] = os.environ) -> tuple[Tenants, Mapping[str, tuple[Tenant, ...]]]:
    """Read the file; returns it with the tenants of each cluster, by the cluster's name. Raises Invalid."""
    file = Path(path)
    try:
        document = yaml.safe_load(file.read_bytes())
    except OSError as error:
        raise Invalid(f"{path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # not chained: its text quotes the file's
        raise Invalid(f"{path} does not parse: {place_of_yaml_error(error)}") from None
    try:
        found = msgspec.convert(document, Tenants)
    except msgspec.ValidationError as error:
        raise Invalid(f"{path}: {error}") from error
    try:
        _check(found)
        values = _Values(file.parent, environment)
        return found, {cluster.name: tuple(_tenants(found, cluster, values)) for cluster in found.clusters}
    except Invalid as error:
        raise Invalid(f"{path}: {error}") from error


def _check(config: Tenants) -> None:
    for field, names in (
        ("projects", [_project(one).name for one in config.projects]),
        ("domains", [_domain(one).name for one in config.domains]),
        ("clusters", [cluster.name for cluster in config.clusters]),
    ):
        if not names:
            raise Invalid(f"{field} has none: name at least one")
        _check_names(field, names)
    _check_names("name", [config.name])
    domains = {_domain(one).name for one in config.domains}
    for project in map(_project, config.projects):
        own = [_domain(one).name for one in project.domains or ()]
        _check_names(f"domains of project {project.name!r}", own)
        for name in own:
            if name not in domains:
                raise Invalid(f"project {project.name!r} has domain {name!r}, which is not in domains")
    if len(config.projects) * len(config.domains) > MAX_TENANTS:
        raise Invalid(f"{len(config.projects)} projects of {len(config.domains)} domains are more than {MAX_TENANTS}")


def _check_names(field: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if not is_dns_label(name):
            raise Invalid(
                f"{field}: {name[:80]!r} has to be 1 to 63 lower-case letters, digits and '-', beginning and ending "
                "with a letter or a digit"
            )
        if name in seen:
            raise Invalid(f"{field}: {name!r} is there twice: remove one")
        seen.add(name)


def _tenants(config: Tenants, cluster: Cluster, values: _Values) -> Iterator[Tenant]:
    """The tenants of a cluster. Raises Invalid."""
    of_namespace: dict[str, str] = {}
    general = {_domain(one).name: _domain(one).data for one in config.domains}
    for project in map(_project, config.projects):
        own = config.domains if project.domains is None else project.domains
        for domain in map(_domain, own):
            layers = [config.data, cluster.data, general[domain.name], project.data]
            if project.domains is not None:
                layers.append(domain.data)
            whose = f"{project.name}/{domain.name}"
            found = {name: value for layer in layers for name, value in values.of(layer).items()}
            found |= {"project": project.name, "domain": domain.name, "cluster": cluster.name}
            namespace = filled(config.namespace, found, f"namespace of {whose}")
            if not is_dns_label(namespace):
                raise Invalid(f"namespace of {whose} is {namespace[:80]!r}, which is no name of a namespace")
            if (other := of_namespace.setdefault(namespace, whose)) != whose:
                raise Invalid(
                    f"namespace {namespace!r} is that of {other} and of {whose}: rename one, or change `namespace`"
                )
            yield Tenant(project.name, domain.name, namespace, {**found, "namespace": namespace})


class _Values:
    """Reads values, each source once."""

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        self._directory = directory
        self._environment = environment
        self._read: dict[tuple[str, Any], str] = {}

    def of(self, data: Data) -> dict[str, str]:
        return {name: self._of(name, value) for name, value in data.items()}

    def _of(self, name: str, value: str | float | bool | Source) -> str:
        if name in RESERVED:
            raise Invalid(f"data: {name!r} is the tenant's own, and cannot be set")
        if not _VARIABLE.fullmatch(name):
            raise Invalid(f"data: {name[:80]!r} is no name of a variable: write letters, digits, '-', '_' and '.'")
        if isinstance(value, bool):
            return "true" if value else "false"
        if not isinstance(value, Source):
            return _bounded(name, str(value))
        key = (name, value)
        if key not in self._read:
            self._read[key] = _bounded(name, self._from(name, value))
        return self._read[key]

    def _from(self, name: str, source: Source) -> str:
        if bool(source.env) == bool(source.file):
            raise Invalid(f"data: {name!r} needs a value, or one of env and file")
        if source.env:
            if not self._environment.get(source.env):
                raise Invalid(f"data: {name!r} is the variable {source.env} of the environment, which is not set")
            return self._environment[source.env]
        path = self._directory / source.file
        try:
            with path.open("rb") as stream:
                text = stream.read(MAX_VALUE + 1).decode().rstrip("\n")
        except OSError as error:
            raise Invalid(f"data: {name!r} is in file {path}, which cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise Invalid(f"data: {name!r} is in file {path}, which is no UTF-8 text") from error
        if not text:
            raise Invalid(f"data: {name!r} is in file {path}, which is empty")
        return text


def _bounded(name: str, value: str) -> str:
    if len(value) > MAX_VALUE:
        raise Invalid(f"data: {name!r} has more than {MAX_VALUE} characters")
    return value


def _project(one: str | Project) -> Project:
    return Project(name=one) if isinstance(one, str) else one


def _domain(one: str | Domain) -> Domain:
    return Domain(name=one) if isinstance(one, str) else one
