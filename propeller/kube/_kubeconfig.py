"""Where an API server is: from kubeconfigs as kubectl reads them, or from the pod that we run in.

Guarantees
    Static credentials (certificates, tokens, service account) are read here; what has to be obtained (exec plugins,
    auth providers) is named, and fetched when it is needed.
    What would be acted on differently than kubectl does (impersonation, passwords, SOCKS) is refused, not ignored.
Errors
    Invalid, naming the file, the context or user, and what mends it.
"""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec
import yaml

from propeller.errors import Invalid
from propeller.kube._connection import Connection
from propeller.redaction import place_of_yaml_error, shown_url

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")

C = TypeVar("C", bound="_Cluster | _User")


class _Cluster(msgspec.Struct, frozen=True, rename="kebab"):
    server: str | None = None
    certificate_authority: str | None = None
    certificate_authority_data: str | None = None
    insecure_skip_tls_verify: bool | None = None
    tls_server_name: str | None = None
    proxy_url: str | None = None

    def __repr__(self) -> str:
        return "_Cluster(...)"  # its URLs may hold passwords


class _User(msgspec.Struct, frozen=True, rename="kebab"):
    client_certificate: str | None = None
    client_certificate_data: str | None = None
    client_key: str | None = None
    client_key_data: str | None = None
    token: str | None = None
    token_file: str | None = msgspec.field(default=None, name="tokenFile")
    exec: dict[str, Any] | None = None
    auth_provider: dict[str, Any] | None = None
    username: str | None = None
    password: str | None = None
    as_: str | None = msgspec.field(default=None, name="as")
    as_uid: str | None = None
    as_groups: list[str] | None = None
    as_user_extra: dict[str, Any] | None = None

    def __repr__(self) -> str:
        return "_User(...)"


class _Context(msgspec.Struct, frozen=True):
    cluster: str | None = None
    user: str | None = None
    namespace: str | None = None


class _NamedCluster(msgspec.Struct, frozen=True):
    name: str
    cluster: _Cluster | None = None


class _NamedUser(msgspec.Struct, frozen=True):
    name: str
    user: _User | None = None


class _NamedContext(msgspec.Struct, frozen=True):
    name: str
    context: _Context | None = None


class _Document(msgspec.Struct, frozen=True, rename="kebab"):
    """One kubeconfig file (client-go's api/v1.Config), as far as we read it."""

    current_context: str | None = None
    clusters: list[_NamedCluster] | None = None
    users: list[_NamedUser] | None = None
    contexts: list[_NamedContext] | None = None


class _Merged(msgspec.Struct):
    """Several files as one, as kubectl merges them: the first to name something wins."""

    source: str
    current: str = ""
    clusters: dict[str, _Cluster] = {}
    users: dict[str, _User] = {}
    contexts: dict[str, _Context] = {}


def load_connection(kubeconfig: str | None = None, context: str | None = None) -> Connection:
    """The connection of a kubeconfig's context; without one, KUBECONFIG, ~/.kube/config, or the pod's service account.

    Raises Invalid.
    """
    paths = [kubeconfig] if kubeconfig else [p for p in os.environ.get("KUBECONFIG", "").split(os.pathsep) if p]
    default = Path("~/.kube/config").expanduser()
    if not paths and default.exists():
        paths = [str(default)]
    if not paths:
        if (SERVICE_ACCOUNT / "token").exists():
            return _in_cluster()
        raise Invalid(f"no cluster: there is no {default}, and KUBECONFIG is not set; name one with --kubeconfig FILE")
    return _of_context(_merged(paths), context)


def _in_cluster() -> Connection:
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST", ""), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        raise Invalid(f"{SERVICE_ACCOUNT} is there, but KUBERNETES_SERVICE_HOST is not set: is this a pod?")
    namespace = SERVICE_ACCOUNT / "namespace"
    return Connection(
        server=f"https://{f'[{host}]' if ':' in host else host}:{port}",
        namespace=namespace.read_text().strip() if namespace.exists() else "default",
        ca=_content(SERVICE_ACCOUNT / "ca.crt", "the service account's"),
        ca_file=str(SERVICE_ACCOUNT / "ca.crt"),
        token_file=str(SERVICE_ACCOUNT / "token"),
    )


def _merged(paths: list[str]) -> _Merged:
    present = [path for path in paths if len(paths) == 1 or Path(path).exists()]
    if not present:
        raise Invalid(f"none of the kubeconfigs in KUBECONFIG exists: {', '.join(paths)}")
    merged = _Merged(os.pathsep.join(paths))
    for path in present:
        document, base = _read(path), Path(path).resolve().parent
        merged.current = merged.current or document.current_context or ""
        for cluster in document.clusters or ():
            merged.clusters.setdefault(cluster.name, _absolute(cluster.cluster or _Cluster(), base))
        for user in document.users or ():
            merged.users.setdefault(user.name, _absolute(user.user or _User(), base))
        for context in document.contexts or ():
            merged.contexts.setdefault(context.name, context.context or _Context())
    return merged


def _read(path: str) -> _Document:
    try:
        document = yaml.safe_load(Path(path).read_text())
    except OSError as error:
        raise Invalid(
            f"kubeconfig {path} cannot be read: {error.strerror}; name another with --kubeconfig FILE"
        ) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # not chained: its text quotes the file's
        raise Invalid(f"kubeconfig {path} is not YAML: {place_of_yaml_error(error)}") from None
    if not isinstance(document, dict):
        raise Invalid(f"kubeconfig {path} is no mapping of clusters, users and contexts")
    try:
        return msgspec.convert(document, _Document)
    except msgspec.ValidationError as error:
        raise Invalid(f"kubeconfig {path}: {error}") from error


def _absolute(section: C, base: Path) -> C:
    """Paths are relative to the file that they stand in."""
    files = ("certificate_authority", "client_certificate", "client_key", "token_file")
    named = {field: value for field in files if (value := getattr(section, field, None))}
    return msgspec.structs.replace(section, **{field: str(base / value) for field, value in named.items()})


def _of_context(merged: _Merged, context: str | None) -> Connection:
    where = f"kubeconfig {merged.source}"
    name = context or merged.current
    if not name:
        raise Invalid(f"{where} has no current-context: set one, or name one with --context")
    chosen = merged.contexts.get(name)
    if chosen is None:
        raise Invalid(f"{where} has no context {name!r}; it has {sorted(merged.contexts)}")
    cluster = merged.clusters.get(chosen.cluster or "", _Cluster())
    if not cluster.server:
        raise Invalid(f"{where}: context {name!r} names cluster {chosen.cluster!r}, which has no server")
    if chosen.user and chosen.user not in merged.users:
        raise Invalid(f"{where}: context {name!r} names user {chosen.user!r}, which is not there")
    user = merged.users.get(chosen.user or "", _User())
    _check_user(user, f"{where}: user {chosen.user!r}")
    return Connection(
        server=_http_url(cluster.server, f"{where}: server").rstrip("/"),
        namespace=chosen.namespace or "default",
        ca=_data(cluster, "certificate-authority", where),
        client_certificate=_data(user, "client-certificate", where),
        client_key=_data(user, "client-key", where),
        ca_file=_file(cluster, "certificate-authority"),
        client_certificate_file=_file(user, "client-certificate"),
        client_key_file=_file(user, "client-key"),
        token=user.token or "",
        token_file=user.token_file or "",
        obtain=None if user.exec is None and user.auth_provider is None else (merged.source, name),
        verify=not cluster.insecure_skip_tls_verify,
        tls_server_name=cluster.tls_server_name or "",
        proxy=_http_url(cluster.proxy_url, f"{where}: proxy-url") if cluster.proxy_url else None,
    )


def _check_user(user: _User, where: str) -> None:
    asked = {"as": user.as_, "as-uid": user.as_uid, "as-groups": user.as_groups, "as-user-extra": user.as_user_extra}
    if fields := [name for name, value in asked.items() if value]:  # ignored, requests would have rights of another
        shown = ", ".join(f"{name!r}" for name in fields)
        raise Invalid(f"{where}: impersonation ({shown}) is not supported; name a user who may do what is needed")
    if user.username or user.password:
        raise Invalid(f"{where}: username and password are not supported, nor are they by Kubernetes since 1.19")
    certificate = bool(user.client_certificate or user.client_certificate_data)
    key = bool(user.client_key or user.client_key_data)
    if certificate != key:
        given, missing = ("certificate", "key") if certificate else ("key", "certificate")
        raise Invalid(f"{where} has client-{given} without client-{missing}: give both or neither")


def _http_url(url: str, what: str) -> str:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise Invalid(f"{what} {shown_url(url)!r} is no URL of the form https://host:port or http://host:port")
    return url


def _data(section: _Cluster | _User, key: str, where: str) -> bytes | None:
    """A field that is given inline as base64 (`key-data`) or as a file's path (`key`)."""
    field = key.replace("-", "_")
    if inline := getattr(section, f"{field}_data"):
        try:
            return base64.b64decode("".join(inline.split()), validate=True)
        except ValueError as error:
            raise Invalid(f"{where}: {key}-data is not base64") from error
    if path := getattr(section, field):
        return _content(Path(path), f"{where}: {key}")
    return None


def _file(section: _Cluster | _User, key: str) -> str:
    """The path of such a field, "" where it is given inline."""
    field = key.replace("-", "_")
    return "" if getattr(section, f"{field}_data") else getattr(section, field) or ""


def _content(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a path with a null byte
        reason = error.strerror if isinstance(error, OSError) else error
        raise Invalid(f"{what} {path} cannot be read: {reason}") from None  # the path may be a key
