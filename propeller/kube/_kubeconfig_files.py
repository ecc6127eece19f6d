"""Kubeconfig files, read and merged as client-go's loading rules do.

Guarantees
    Of several files the first to name a cluster, user, context or current-context wins; those that do not exist are
    passed over. Paths are relative to the directory that their file is named in.
Errors
    Invalid, naming the file and the field.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec
import yaml

from propeller.errors import Invalid
from propeller.redaction import place_of_yaml_error

_FILES = ("certificate_authority", "client_certificate", "client_key", "token_file")
"""Fields that are paths."""

T = TypeVar("T")
C = TypeVar("C", bound="Cluster | User")


class Extension(msgspec.Struct, frozen=True):
    name: str = ""
    extension: Any = None


class Cluster(msgspec.Struct, frozen=True, rename="kebab"):
    server: str | None = None
    certificate_authority: str | None = None
    certificate_authority_data: str | None = None
    insecure_skip_tls_verify: bool | None = None
    tls_server_name: str | None = None
    proxy_url: str | None = None
    disable_compression: bool | None = None
    extensions: list[Extension] | None = None

    def __repr__(self) -> str:
        return "Cluster(...)"  # its URLs may hold passwords


class Variable(msgspec.Struct, frozen=True):
    name: str = ""
    value: str = ""

    def __repr__(self) -> str:
        return f"Variable({self.name!r})"


class Exec(msgspec.Struct, frozen=True, rename="camel"):
    command: str | None = None
    args: list[str] | None = None
    env: list[Variable] | None = None
    api_version: str | None = None
    install_hint: str | None = None
    provide_cluster_info: bool | None = None
    interactive_mode: str | None = None

    def __repr__(self) -> str:
        return f"Exec({self.command!r})"


class User(msgspec.Struct, frozen=True, rename="kebab"):
    client_certificate: str | None = None
    client_certificate_data: str | None = None
    client_key: str | None = None
    client_key_data: str | None = None
    token: str | None = None
    token_file: str | None = msgspec.field(default=None, name="tokenFile")
    exec: Exec | None = None
    auth_provider: dict[str, Any] | None = None
    username: str | None = None
    password: str | None = None
    as_: str | None = msgspec.field(default=None, name="as")
    as_uid: str | None = None
    as_groups: list[str] | None = None
    as_user_extra: dict[str, list[str] | None] | None = None

    def __repr__(self) -> str:
        return "User(...)"


class Context(msgspec.Struct, frozen=True):
    cluster: str | None = None
    user: str | None = None
    namespace: str | None = None


class _NamedCluster(msgspec.Struct, frozen=True):
    name: str
    cluster: Cluster | None = None


class _NamedUser(msgspec.Struct, frozen=True):
    name: str
    user: User | None = None


class _NamedContext(msgspec.Struct, frozen=True):
    name: str
    context: Context | None = None


class _Document(msgspec.Struct, frozen=True, rename="kebab"):
    """One kubeconfig file (client-go's api/v1.Config), as far as we read it."""

    kind: str | None = None
    api_version: str | None = msgspec.field(default=None, name="apiVersion")
    current_context: str | None = None
    clusters: list[_NamedCluster] | None = None
    users: list[_NamedUser] | None = None
    contexts: list[_NamedContext] | None = None


class Entry(msgspec.Struct, Generic[T], frozen=True):
    """A named section, and the file that it stands in."""

    section: T
    file: str


class Kubeconfig(msgspec.Struct):
    """Several files as one."""

    source: str
    """The files, as messages name them."""
    current: str = ""
    clusters: dict[str, Entry[Cluster]] = {}
    users: dict[str, Entry[User]] = {}
    contexts: dict[str, Entry[Context]] = {}


def merged(paths: list[str]) -> Kubeconfig:
    """Merge the files. Raises Invalid, also if none of them exists."""
    present = [path for path in dict.fromkeys(paths) if len(paths) == 1 or Path(path).exists()]
    if not present:
        raise Invalid(f"none of the kubeconfigs in KUBECONFIG exists: {', '.join(paths)}")
    found = Kubeconfig(os.pathsep.join(present))
    for path in present:
        document, base = _read(path), Path(path).absolute().parent  # a link's paths are relative to the link
        found.current = found.current or document.current_context or ""
        _add(found.clusters, ((c.name, _absolute(c.cluster or Cluster(), base)) for c in document.clusters or ()), path)
        _add(found.users, ((u.name, _absolute(u.user or User(), base)) for u in document.users or ()), path)
        _add(found.contexts, ((c.name, c.context or Context()) for c in document.contexts or ()), path)
    return found


def self_contained(data: bytes, source: str) -> Kubeconfig:
    """Read a kubeconfig that is no file of this machine, such as one in a Secret. Raises Invalid, also if it names
    files or commands: those of this machine are none of its author's business.
    """
    document = _parsed(data.decode(errors="replace"), source)
    found = Kubeconfig(source, document.current_context or "")
    _add(found.clusters, ((c.name, c.cluster or Cluster()) for c in document.clusters or ()), source)
    _add(found.users, ((u.name, u.user or User()) for u in document.users or ()), source)
    _add(found.contexts, ((c.name, c.context or Context()) for c in document.contexts or ()), source)
    sections: list[Cluster | User] = [entry.section for entry in found.clusters.values()]
    sections += [entry.section for entry in found.users.values()]
    for section in sections:
        for field in (*_FILES, "exec", "auth_provider"):
            if getattr(section, field, None):
                raise Invalid(
                    f"kubeconfig {source} has {field.replace('_', '-')}, and may name neither files nor commands: give "
                    "certificates as data, and a token as it is"
                )
    return found


def _add(known: dict[str, Entry[T]], named: Iterable[tuple[str, T]], path: str) -> None:
    """Add the entries that no earlier file has. Raises Invalid if this one has a name twice."""
    here: set[str] = set()
    for name, section in named:
        if name in here:
            raise Invalid(f"kubeconfig {path} has {type(section).__name__.lower()} {name!r} twice: remove one")
        here.add(name)
        known.setdefault(name, Entry(section, path))


def _read(path: str) -> _Document:
    try:
        text = Path(path).read_text()
    except OSError as error:
        raise Invalid(
            f"kubeconfig {path} cannot be read: {error.strerror}; name another with --kubeconfig FILE"
        ) from error
    except ValueError as error:
        raise Invalid(f"kubeconfig {path} is not YAML: {place_of_yaml_error(error)}") from None
    return _parsed(text, path)


def _parsed(text: str, path: str) -> _Document:
    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # not chained: its text quotes the file's
        raise Invalid(f"kubeconfig {path} is not YAML: {place_of_yaml_error(error)}") from None
    if document is None:
        document = {}  # an empty file is an empty kubeconfig
    if not isinstance(document, dict):
        raise Invalid(f"kubeconfig {path} is no mapping of clusters, users and contexts")
    try:
        found = msgspec.convert(document, _Document)
    except msgspec.ValidationError as error:
        raise Invalid(f"kubeconfig {path}: {error}") from error
    if (found.kind or "Config", found.api_version or "v1") != ("Config", "v1"):
        raise Invalid(f"kubeconfig {path} is of kind {found.kind!r}, apiVersion {found.api_version!r}: not v1 Config")
    return found


def _absolute(section: C, base: Path) -> C:
    """Paths are relative to the file that they stand in; a plugin's command only if it is a path."""
    named: dict[str, Any] = {field: str(base / value) for field in _FILES if (value := getattr(section, field, None))}
    if isinstance(section, User) and section.exec is not None and os.sep in (command := section.exec.command or ""):
        named["exec"] = msgspec.structs.replace(section.exec, command=str(base / command))
    return msgspec.structs.replace(section, **named)
