"""Address and credentials of an API server: from kubeconfigs as kubectl reads them, or from the pod that we run in.

Guarantees
    Static credentials (certificates, tokens, service account) are read here; those to be obtained (exec plugins, auth
    providers) are described, and fetched when they are needed. Plain http servers are shown no credentials.
    The rules are those of client-go's clientcmd; a field that would act differently than in kubectl is refused, not
    ignored.
Errors
    Invalid, naming the file, the context, cluster or user, the field, and the mend.
"""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from propeller.errors import Invalid
from propeller.kube._auth_provider import AuthProvider
from propeller.kube._connection import Connection, Impersonation
from propeller.kube._exec import ExecPlugin
from propeller.kube._kubeconfig_files import Cluster, Exec, Kubeconfig, User, merged, self_contained
from propeller.kube._proxy import parse_proxy, proxy_of_environment
from propeller.redaction import shown_url
from propeller.text import visible

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")

EXEC_VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")
EXEC_MODES = ("Never", "IfAvailable", "Always")
EXEC_EXTENSION = "client.authentication.k8s.io/exec"
"""The extension of a cluster that its users' plugins are given as `spec.cluster.config`."""


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
            return _with_proxy(_in_cluster())
        raise Invalid(f"no cluster: there is no {default}, and KUBECONFIG is not set; name one with --kubeconfig FILE")
    return _with_proxy(_of_context(merged(paths), context))


def parse_connection(data: bytes, source: str, context: str | None = None) -> Connection:
    """The connection of a kubeconfig's context, for one that is no file, such as a Secret's. `source` names it in
    messages. Raises Invalid; also if it names files or commands.
    """
    return _with_proxy(_of_context(self_contained(data, source), context))


def _with_proxy(connection: Connection) -> Connection:
    """The environment's proxy, for a connection that names none."""
    if connection.proxy:
        return connection
    url, name = proxy_of_environment(connection.server, os.environ)
    if url:
        parse_proxy(url, name)
    return msgspec.structs.replace(connection, proxy=url or None, proxy_source=name) if url else connection


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


def _of_context(config: Kubeconfig, context: str | None) -> Connection:
    where = f"kubeconfig {config.source}"
    name = context or config.current
    if not name:
        raise Invalid(f"{where} has no current-context: set one, or name one with --context")
    if name not in config.contexts:
        raise Invalid(f"{where} has no context {name!r}; it has {sorted(config.contexts)}")
    chosen, file = config.contexts[name].section, config.contexts[name].file
    found = config.clusters.get(chosen.cluster or "")
    if found is None or not found.section.server:
        raise Invalid(f"kubeconfig {file}: context {name!r} names cluster {chosen.cluster!r}, which has no server")
    if chosen.user and chosen.user not in config.users:
        raise Invalid(f"kubeconfig {file}: context {name!r} names user {chosen.user!r}, which is not there")
    connection = _to_cluster(found.section, f"kubeconfig {found.file}: cluster {chosen.cluster!r}")
    connection = msgspec.structs.replace(connection, namespace=chosen.namespace or "default")
    if not chosen.user:
        return connection
    user, file = config.users[chosen.user].section, config.users[chosen.user].file
    who = f"user {chosen.user!r} of kubeconfig {file}"
    _check_user(user, who)
    connection = msgspec.structs.replace(connection, impersonation=_impersonation(user, who))
    if urlsplit(connection.server).scheme != "https":  # anyone on the way could read the credentials
        return connection
    connection = _as_user(connection, user, who)
    if connection.token or connection.token_file or connection.client_certificate:
        return connection  # a plugin is used only without other credentials
    if user.exec is not None:
        return msgspec.structs.replace(connection, exec_plugin=_plugin(user.exec, found.section, connection, who))
    if user.auth_provider is not None:
        return msgspec.structs.replace(connection, auth_provider=AuthProvider(kubeconfig=config.source, context=name))
    return connection


def _to_cluster(cluster: Cluster, where: str) -> Connection:
    """Without credentials."""
    _check_once(cluster, "certificate-authority", where)
    authority = _data(cluster, "certificate-authority", where)
    if authority is not None and cluster.insecure_skip_tls_verify:
        raise Invalid(
            f"{where} has certificate-authority and insecure-skip-tls-verify: true: remove one, for a server is either "
            "verified or not"
        )
    if cluster.proxy_url:
        parse_proxy(cluster.proxy_url, f"{where}: proxy-url")
    return Connection(
        server=_server(cluster.server or "", f"{where}: server"),
        ca=authority,
        ca_file=_file(cluster, "certificate-authority"),
        verify=not cluster.insecure_skip_tls_verify,
        tls_server_name=cluster.tls_server_name or "",
        proxy=cluster.proxy_url or None,
        proxy_source=f"proxy-url of {where}",
    )


def _as_user(connection: Connection, user: User, who: str) -> Connection:
    """With the static credentials."""
    certificate, key = _data(user, "client-certificate", who), None
    if certificate is not None:
        key = _data(user, "client-key", who)
    if user.token_file and not user.token:
        _content(Path(user.token_file), f"{who}: tokenFile")
    return msgspec.structs.replace(
        connection,
        client_certificate=certificate,
        client_key=key,
        client_certificate_file=_file(user, "client-certificate") if certificate is not None else "",
        client_key_file=_file(user, "client-key") if key is not None else "",
        token=user.token or "",
        token_file=user.token_file or "",
    )


def _plugin(exec_: Exec, cluster: Cluster, connection: Connection, who: str) -> ExecPlugin:
    for field, value in (("command", exec_.command), ("apiVersion", exec_.api_version)):
        if not value:
            raise Invalid(f"{who}: exec.{field} is missing")
    version = exec_.api_version or ""
    if version not in EXEC_VERSIONS:
        raise Invalid(f"{who}: exec.apiVersion {version!r} is none of {', '.join(EXEC_VERSIONS)}")
    mode = exec_.interactive_mode or ("IfAvailable" if version != EXEC_VERSIONS[0] else "")
    if mode not in EXEC_MODES:
        wrong = f"{mode!r} is none of" if mode else f"is missing, which {version} requires: it is one of"
        raise Invalid(f"{who}: exec.interactiveMode {wrong} {', '.join(EXEC_MODES)}")
    variables = tuple((variable.name, variable.value) for variable in exec_.env or ())
    bad = next((name for name, _ in variables if not name or "=" in name), None)
    if bad is not None:
        raise Invalid(f"{who}: exec.env has a variable with the name {bad!r}")
    return ExecPlugin(
        command=exec_.command or "",
        args=tuple(exec_.args or ()),
        env=variables,
        api_version=version,
        interactive_mode=mode,
        install_hint=visible(exec_.install_hint or ""),
        cluster=_cluster_info(cluster, connection) if exec_.provide_cluster_info else None,
        source=who,
    )


def _cluster_info(cluster: Cluster, connection: Connection) -> dict[str, Any]:
    """`spec.cluster` of client.authentication.k8s.io: absent fields are left out, the configuration is the content of
    the extension.
    """
    extensions = cluster.extensions or ()
    found = {
        "server": connection.server,
        "tls-server-name": connection.tls_server_name,
        "insecure-skip-tls-verify": not connection.verify,
        "certificate-authority-data": base64.b64encode(connection.ca or b"").decode(),
        "proxy-url": connection.proxy,
        "disable-compression": cluster.disable_compression,
        "config": next((e.extension for e in extensions if e.name == EXEC_EXTENSION), None),
    }
    return {key: value for key, value in found.items() if value}


def _check_user(user: User, who: str) -> None:
    if user.username or user.password:
        raise Invalid(f"{who}: username and password are not supported, nor are they by Kubernetes since 1.19")
    if user.exec is not None and user.auth_provider is not None:
        raise Invalid(f"{who} has exec and auth-provider: remove one")
    if user.client_certificate or user.client_certificate_data:
        for key in ("client-certificate", "client-key"):
            _check_once(user, key, who)
        if not (user.client_key or user.client_key_data):
            raise Invalid(f"{who} has client-certificate without client-key; give both or neither")


def _impersonation(user: User, who: str) -> Impersonation | None:
    others = {"as-uid": user.as_uid, "as-groups": user.as_groups, "as-user-extra": user.as_user_extra}
    if not user.as_:
        if named := [name for name, value in others.items() if value]:
            raise Invalid(f"{who} has {', '.join(named)} without as: name the user to act as, or remove them")
        return None
    found = Impersonation(
        user=user.as_,
        uid=user.as_uid or "",
        groups=tuple(user.as_groups or ()),
        extra={key: tuple(values or ()) for key, values in (user.as_user_extra or {}).items()},
    )
    for value in (found.user, found.uid, *found.groups, *(v for values in found.extra.values() for v in values)):
        if not value.isprintable():
            raise Invalid(f"{who}: what as-* name goes into headers, and cannot hold control characters: {value!r}")
    return found


def _server(url: str, what: str) -> str:
    """Without query and fragment, its scheme in lower case."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise Invalid(f"{what} {shown_url(url)!r} is no URL of the form https://host:port or http://host:port")
    return parts._replace(query="", fragment="").geturl().rstrip("/")


def _check_once(section: Cluster | User, key: str, where: str) -> None:
    field = key.replace("-", "_")
    if getattr(section, field) and getattr(section, f"{field}_data"):
        raise Invalid(f"{where} has {key} and {key}-data; remove one")


def _data(section: Cluster | User, key: str, where: str) -> bytes | None:
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


def _file(section: Cluster | User, key: str) -> str:
    """The path of such a field, "" if its content is inline."""
    field = key.replace("-", "_")
    return "" if getattr(section, f"{field}_data") else getattr(section, field) or ""


def _content(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a path with a null byte
        reason = error.strerror if isinstance(error, OSError) else error
        raise Invalid(f"{what} {path} cannot be read: {reason}") from None  # the path may be a key
