"""A whole cluster: kube-apiserver, etcd, kube-controller-manager and kube-scheduler, with the project's kubelet as its
two nodes. One runs containers of the image, unpacked, and the other tasks as processes of this machine.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from propeller.config import KubeletOptions, Settings
from propeller.embedded import run_kubelet
from propeller.kube import Client, connect
from propeller.testing import KubeApiserver, ServerProcess, run_kube_apiserver
from tests import assets
from tests.e2e.conftest import EXAMPLES
from tests.e2e.test_real_cluster import output_of

DEADLINE = 180.0
"""Seconds for one wait: a bound on what hangs, not a goal."""

PLATFORM, TASKS = "platform", "tasks"
"""The nodes. Only pods that tolerate it are assigned to the first."""

CONTROLLERS = (
    *("deployment-controller", "replicaset-controller", "disruption-controller", "endpointslice-controller"),
    *("serviceaccount-controller", "root-ca-certificate-publisher-controller", "namespace-controller"),
    *("garbage-collector-controller", "node-lifecycle-controller", "taint-eviction-controller", "job-controller"),
)

AUDITED = "system:serviceaccount:flyte:propeller"


class Request(msgspec.Struct, frozen=True):
    """A line of the audit log: what an account asked for."""

    account: str
    """Without its namespace."""
    verb: str
    group: str
    resource: str
    """With its subresource: pods/status."""
    namespace: str
    code: int
    credential: str
    """The id of the token."""


class Cluster(msgspec.Struct, frozen=True):
    server: KubeApiserver
    home: Path
    client: Client
    """An administrator's."""

    @property
    def kubeconfig(self) -> Path:
        return self.home / "admin"

    async def kubectl(self, *words: str, stdin: bytes = b"") -> str:
        command = (assets.binary("kubectl"), "--kubeconfig", self.kubeconfig, "--cache-dir", self.home)
        return await output_of(*command, *words, stdin=stdin)

    async def objects(self, kind: str, *words: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(await self.kubectl("get", kind, "-o", "json", *words))["items"]
        return found

    def requests(self) -> list[Request]:
        """All requests of the controller's account so far."""
        return list(audited(self.home / "audit.log"))


def audited(log: Path) -> Iterator[Request]:
    for line in log.read_text().splitlines():
        event = json.loads(line)
        if "objectRef" not in event:
            continue  # the version, discovery
        of = event["objectRef"]
        extra = event["user"].get("extra", {})
        yield Request(
            event["user"]["username"].rpartition(":")[2],
            event["verb"],
            of.get("apiGroup", ""),
            "/".join(filter(None, (of["resource"], of.get("subresource")))),
            of.get("namespace", ""),
            event["responseStatus"]["code"],
            "".join(extra.get("authentication.kubernetes.io/credential-id", [])),
        )


def audit_flags(home: Path, **who: list[str]) -> tuple[str, ...]:
    """Flags of kube-apiserver that keep an audit log in `home`, of `users` or `userGroups`; by default of the
    controller's account.
    """
    rules = [{"level": "Metadata"} | (who or {"users": [AUDITED]}), {"level": "None"}]
    policy = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"], "rules": rules}
    (home / "policy.yaml").write_text(json.dumps(policy))
    return (f"--audit-policy-file={home / 'policy.yaml'}", f"--audit-log-path={home / 'audit.log'}")


@contextmanager
def run_control_plane(home: Path) -> Iterator[KubeApiserver]:
    """API server, controller manager and scheduler."""
    home.mkdir(exist_ok=True)
    with run_kube_apiserver(home, audit_flags(home), service_accounts=True) as server:
        kubeconfig = server.kubeconfig(home / "admin")
        common = (f"--kubeconfig={kubeconfig}", "--leader-elect=false", "--secure-port=0")
        manager = (
            f"--controllers={','.join(CONTROLLERS)}",
            f"--service-account-private-key-file={server.signing_key}",
            f"--root-ca-file={server.authority.pair.certificate}",
        )
        processes = [
            ServerProcess(name, [str(assets.binary(name)), *common, *flags], home / f"{name}.log")
            for name, flags in (("kube-controller-manager", manager), ("kube-scheduler", ()))
        ]
        try:
            for process in processes:
                process.spawn()
            yield server
        finally:
            for process in processes:
                process.stop()


@asynccontextmanager
async def run_nodes(
    server: KubeApiserver, home: Path, images: dict[str, str], project: Path = EXAMPLES
) -> AsyncIterator[Cluster]:
    """Both nodes; containers of `images` run in their root file systems, tasks in `project`."""
    address = urlsplit(server.url)
    assert address.hostname is not None
    assert address.port is not None
    platform = KubeletOptions(
        images=images, schedules=False, pod_addresses=True, max_pods=10, zygote=False, token_refresh=0.005
    )
    tasks = KubeletOptions(python=sys.executable, project=str(project), schedules=False, max_pods=8)
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(connect(server.connection()))
        for name, options in ((PLATFORM, platform), (TASKS, tasks)):
            kubelet = run_kubelet(
                client,
                home / name,
                Settings(kubelet=options),
                node_name=name,
                api_server=(address.hostname, address.port),
            )
            await stack.enter_async_context(kubelet)
        cluster = Cluster(server, home, client)
        await cluster.kubectl("taint", "node", PLATFORM, "platform=yes:NoSchedule")
        yield cluster


async def until(holds: Callable[[], Any], what: str) -> Any:
    """What a coroutine function returns, once that is true."""
    try:
        async with asyncio.timeout(DEADLINE):
            while not (found := await holds()):
                await asyncio.sleep(0.2)
    except TimeoutError:
        raise AssertionError(f"not within {DEADLINE:g} s: {what}") from None
    return found


async def run_helm(cluster: Cluster, *words: str | Path) -> str:
    return await output_of(assets.binary("helm"), "--kubeconfig", cluster.kubeconfig, *words)
