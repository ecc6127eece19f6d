"""A real kube-apiserver on an etcd of its own: TLS, tokens, client certificates, RBAC, quotas, watch cache.

Assumptions
    There is no controller manager: nothing collects garbage, empties namespaces, makes service accounts or counts
    quotas. So the admission of service accounts is off, unless asked for: pods can be created without one.
"""

from __future__ import annotations

import signal
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from propeller.kube import Connection
from propeller.testing._certificates import Authority, make_key
from propeller.testing._components import binary
from propeller.testing._etcd import Etcd
from propeller.testing._processes import ServerProcess, free_ports

ADMIN_TOKEN = "admin-token"
NOBODY_TOKEN = "nobody-token"
"""The token of a user without any rights."""

_TOKENS = f'{ADMIN_TOKEN},admin,admin,"system:masters"\n{NOBODY_TOKEN},nobody,nobody\n'


class KubeApiserver:
    """One running API server; see `run_kube_apiserver`."""

    def __init__(self, directory: Path, flags: Sequence[str] = (), *, service_accounts: bool = False) -> None:
        (port,) = free_ports(1)
        self.url = f"https://127.0.0.1:{port}"
        self.token = ADMIN_TOKEN
        self.authority = Authority(directory)
        self.etcd = Etcd(directory)
        serving, signing = self.authority.server(), make_key(directory / "service-accounts.key")
        self.signing_key = signing
        """Of service accounts' tokens, for a controller manager."""
        (directory / "tokens.csv").write_text(_TOKENS)
        self._tls = ssl.create_default_context(cadata=self.ca.decode())
        self._process = ServerProcess(
            "kube-apiserver",
            [
                str(binary("kube-apiserver")),
                f"--etcd-servers={self.etcd.url}",
                "--bind-address=127.0.0.1",
                f"--secure-port={port}",
                f"--tls-cert-file={serving.certificate}",
                f"--tls-private-key-file={serving.key}",
                f"--client-ca-file={self.authority.pair.certificate}",
                f"--token-auth-file={directory / 'tokens.csv'}",
                f"--service-account-key-file={signing}",
                f"--service-account-signing-key-file={signing}",
                "--service-account-issuer=https://kubernetes.default.svc",
                "--service-cluster-ip-range=10.0.0.0/24",
                "--authorization-mode=RBAC",
                *(() if service_accounts else ("--disable-admission-plugins=ServiceAccount",)),
                "--endpoint-reconciler-type=none",
                "--profiling=false",
                *flags,
            ],
            directory / "kube-apiserver.log",
        )

    @property
    def ca(self) -> bytes:
        """The certificate that clients verify the server by, PEM."""
        return self.authority.pem

    @property
    def pid(self) -> int:
        """The id of kube-apiserver's process, while it runs."""
        return self._process.pid

    def connection(self, *, token: str = ADMIN_TOKEN, server: str = "") -> Connection:
        """The connection of a client; `server` is the URL of a proxy before it, if any."""
        return Connection(server=server or self.url, ca=self.ca, token=token)

    def kubeconfig(self, path: Path) -> Path:
        """Write a kubeconfig for kubectl and the CLI."""
        path.write_text(yaml.safe_dump(self.kubeconfig_document()))
        return path

    def kubeconfig_document(self) -> dict[str, Any]:
        """Return the administrator's kubeconfig."""
        authority = str(self.authority.pair.certificate)
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "tests",
            "clusters": [{"name": "tests", "cluster": {"server": self.url, "certificate-authority": authority}}],
            "users": [{"name": "admin", "user": {"token": self.token}}],
            "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "admin"}}],
        }

    def compact(self) -> int:
        """Have etcd forget every version before now; returns the oldest that is left."""
        return self.etcd.compact()

    def spawn_copied(self, copy: Path) -> None:
        """Copy the state of the cluster, which is down meanwhile; then as `spawn`."""
        self.stop(crash=True)
        self.etcd.stop()
        self.etcd.copy(copy)
        self.etcd.start()
        self.spawn()

    def spawn_restored(self, copy: Path) -> None:
        """Put the state of the cluster back to a copy, as Kubernetes' documentation says: API servers are stopped
        before, and started afterwards. Then as `spawn`.
        """
        self.stop(crash=True)
        self.etcd.stop()
        self.etcd.put_back(copy)
        self.etcd.start()
        self.spawn()

    def start(self) -> None:
        """Start, in the main thread, and wait until it serves."""
        self.spawn()
        self.wait()

    def spawn(self) -> None:
        """Start, in the main thread, without waiting."""
        self._process.spawn()

    def wait(self) -> None:
        """Wait until it serves; in any thread."""
        self._process.wait(self._is_ready, deadline=90)

    def stop(self, *, crash: bool = False) -> None:
        """End its process, with SIGKILL if `crash`; its data stays in etcd."""
        self._process.stop(signal.SIGKILL if crash else signal.SIGTERM)

    def _is_ready(self) -> bool:
        request = urllib.request.Request(f"{self.url}/readyz", headers={"Authorization": f"Bearer {self.token}"})
        try:
            with urllib.request.urlopen(request, timeout=5, context=self._tls) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


@contextmanager
def run_kube_apiserver(
    directory: Path, flags: Sequence[str] = (), *, service_accounts: bool = False
) -> Iterator[KubeApiserver]:
    """etcd and kube-apiserver, ready; ended in the opposite order with the block, however it is left. `directory` takes
    their data; `flags` are further ones of kube-apiserver. With `service_accounts` pods need an account, and get its
    token; a controller manager has to make accounts then. Raises MissingComponent, and Unavailable with the end of a
    log if one does not get ready.
    """
    server = KubeApiserver(directory, flags, service_accounts=service_accounts)
    try:
        server.etcd.start()
        server.start()
        yield server
    finally:
        server.stop(crash=True)  # its data is thrown away, and waiting for watches to drain takes seconds
        server.etcd.stop()
