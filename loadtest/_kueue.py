"""Kueue beside a kube-apiserver of a test: its resource types, webhooks and configuration, and the process itself.

Kueue writes its certificate into a Secret, which a kubelet would mount: here it is written into a directory. Its
webhooks are reached by a Service of type ExternalName, as there is no network of a cluster.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import yaml

from loadtest._process import cpu
from propeller.errors import PropellerError
from propeller.kube import CUSTOM_RESOURCE_DEFINITIONS, NAMESPACES, SECRETS, Client, Raw, Resource
from propeller.testing import KubeApiserver, MissingComponent, ServerProcess, binary, eventually, free_ports

NAMESPACE = "kueue-system"
SERVICE, SECRET = "kueue-webhook-service", "kueue-webhook-server-cert"
MANIFESTS = "kueue-manifests.yaml"
CONVERTED = {"localqueues", "clusterqueues", "cohorts", "workloads", "multikueueclusters"}
"""Resource types with a webhook that converts versions, of Kueue's config/components/crd/kustomization.yaml."""

COHORT, FLAVOR = "all", "machines"
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
DEADLINE = 120.0  # seconds until it is ready

CONCURRENCY = 20
"""Reconciles at once of pods and Workloads. As shipped 5; more than these change nothing on two cores."""


def _kind(
    kind: str, plural: str, group: str = "kueue.x-k8s.io", version: str = "v1beta2", *, cluster: bool = False
) -> Any:
    return Resource(group=group, version=version, kind=kind, plural=plural, type=dict[str, Any], namespaced=not cluster)


COHORTS = _kind("Cohort", "cohorts", cluster=True)
CLUSTER_QUEUES = _kind("ClusterQueue", "clusterqueues", cluster=True)
LOCAL_QUEUES = _kind("LocalQueue", "localqueues")
FLAVORS = _kind("ResourceFlavor", "resourceflavors", cluster=True)
WORKLOADS = _kind("Workload", "workloads")
_SERVICES = _kind("Service", "services", "", "v1")
_SECRETS = SECRETS.typed(Raw)
_WEBHOOKS = {
    kind: _kind(kind, f"{kind.lower()}s", "admissionregistration.k8s.io", "v1", cluster=True)
    for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
}


class Kueue:
    """A running Kueue."""

    def __init__(self, process: ServerProcess) -> None:
        self._process = process

    @property
    def cpu(self) -> float:
        """Seconds of its CPU so far."""
        return cpu(psutil.Process(self._process.pid))

    @property
    def memory(self) -> int:
        """Bytes that are resident now."""
        return int(psutil.Process(self._process.pid).memory_info().rss)


@asynccontextmanager
async def running_kueue(server: KubeApiserver, client: Client, directory: Path) -> AsyncIterator[Kueue]:
    """Install it into the API server, and run it, ready, until the block is left. Raises PropellerError if it is not
    built.
    """
    try:
        executable, manifests = binary("kueue"), binary(MANIFESTS)
    except MissingComponent as error:
        raise PropellerError("kueue is not here: run `python tools/assets.py --only kueue`") from error
    webhooks, health = free_ports(2)
    await _install(client, manifests, webhooks)
    certificates = directory / "kueue-certificates"
    certificates.mkdir()
    config = directory / "kueue.yaml"
    config.write_text(yaml.safe_dump(_configuration(webhooks, health, certificates)))
    command = [str(executable), f"--config={config}", "--zap-log-level=error"]
    kubeconfig = server.kubeconfig(directory / "kueue.kubeconfig")
    process = ServerProcess("kueue", ["env", f"KUBECONFIG={kubeconfig}", *command], directory / "kueue.log")
    process.spawn()
    try:
        await _mounted(client, certificates)
        await _ready(f"http://127.0.0.1:{health}/readyz", directory / "kueue.log")
        yield Kueue(process)
    finally:
        process.stop()


async def create_queues(client: Client, weights: dict[str, float], slots: int) -> None:
    """A queue named as its tenant in each tenant's namespace, with fair sharing of one quota of so many CPUs."""
    quota = {"name": FLAVOR, "resources": [{"name": "cpu", "nominalQuota": str(slots)}]}
    none = {"name": FLAVOR, "resources": [{"name": "cpu", "nominalQuota": "0"}]}

    async def create(resource: Any, name: str, spec: dict[str, Any], namespace: str | None = None) -> None:
        await eventually(lambda: client.create(resource, {"metadata": {"name": name}, "spec": spec}, namespace))

    await create(FLAVORS, FLAVOR, {})
    await create(COHORTS, COHORT, {"resourceGroups": [{"coveredResources": ["cpu"], "flavors": [quota]}]})
    for name, weight in weights.items():
        spec = {
            "cohortName": COHORT,
            "namespaceSelector": {},
            "queueingStrategy": "BestEffortFIFO",
            "resourceGroups": [{"coveredResources": ["cpu"], "flavors": [none]}],
            "fairSharing": {"weight": f"{weight:g}"},
        }
        await create(CLUSTER_QUEUES, name, spec)
        await create(LOCAL_QUEUES, name, {"clusterQueue": name}, name)
    await eventually(lambda: _are_active(client, len(weights)))


async def reserved(client: Client) -> float:
    """CPUs of the quota that are reserved now, by the status of the queues."""
    total = 0.0
    for queue in (await client.list(CLUSTER_QUEUES)).items:
        for flavor in queue.get("status", {}).get("flavorsReservation", ()):
            total += sum(float(one.get("total", 0)) for one in flavor["resources"])
    return total


async def _are_active(client: Client, count: int) -> bool:
    found = (await client.list(CLUSTER_QUEUES)).items
    active = [
        queue
        for queue in found
        for condition in queue.get("status", {}).get("conditions", ())
        if condition["type"] == "Active" and condition["status"] == "True"
    ]
    return len(active) == count


def _configuration(webhooks: int, health: int, certificates: Path) -> dict[str, Any]:
    return {
        "apiVersion": "config.kueue.x-k8s.io/v1beta2",
        "kind": "Configuration",
        "namespace": NAMESPACE,
        "health": {"healthProbeBindAddress": f"127.0.0.1:{health}"},
        "metrics": {"bindAddress": "0"},
        "webhook": {"host": "127.0.0.1", "port": webhooks, "certDir": str(certificates)},
        "leaderElection": {"leaderElect": False},
        "controller": {"groupKindConcurrency": {"Pod": CONCURRENCY, "Workload.kueue.x-k8s.io": CONCURRENCY}},
        "clientConnection": {"qps": -1, "burst": -1},  # no limit of the client's own: 50 a second as shipped
        "internalCertManagement": {"enable": True, "webhookServiceName": SERVICE, "webhookSecretName": SECRET},
        "integrations": {"frameworks": ["pod"]},
        "fairSharing": {"preemptionStrategies": ["LessThanOrEqualToFinalShare", "LessThanInitialShare"]},
        "featureGates": {"VisibilityOnDemand": False, "MultiKueue": False, "TopologyAwareScheduling": False},
    }


async def _install(client: Client, manifests: Path, port: int) -> None:
    reference = {"namespace": NAMESPACE, "name": SERVICE, "port": port}
    documents = [one for one in yaml.safe_load_all(manifests.read_text()) if one]
    await client.create(NAMESPACES, {"metadata": {"name": NAMESPACE}})
    await client.create(_SECRETS, {"metadata": {"name": SECRET}}, NAMESPACE)
    service = {"type": "ExternalName", "externalName": "localhost"}
    await client.create(_SERVICES, {"metadata": {"name": SERVICE}, "spec": service}, NAMESPACE)
    for document in documents:
        if document["kind"] == "CustomResourceDefinition":
            if document["spec"]["names"]["plural"] in CONVERTED:
                webhook = {
                    "clientConfig": {"service": reference | {"path": "/convert"}},
                    "conversionReviewVersions": ["v1"],
                }
                document["spec"]["conversion"] = {"strategy": "Webhook", "webhook": webhook}
            await client.create(CUSTOM_RESOURCE_DEFINITIONS.typed(Raw), document)
    for document in documents:
        if (resource := _WEBHOOKS.get(document["kind"])) is not None:
            document["metadata"]["name"] = f"kueue-{document['metadata']['name']}"
            for webhook in document["webhooks"]:
                webhook["clientConfig"]["service"] |= reference
                webhook["namespaceSelector"] = _others()
            await client.create(resource, document)


def _others() -> dict[str, Any]:
    key, ours = "kubernetes.io/metadata.name", ["kube-system", NAMESPACE]
    return {"matchExpressions": [{"key": key, "operator": "NotIn", "values": ours}]}


async def _mounted(client: Client, certificates: Path) -> None:
    """Write the certificate where Kueue looks for it, once Kueue has made it."""

    async def data() -> dict[str, str] | None:
        found: dict[str, str] = (await client.get(_SECRETS, SECRET, NAMESPACE)).get("data") or {}
        return found if {"tls.crt", "tls.key"} <= found.keys() else None

    made = await eventually(data, deadline=DEADLINE)
    assert made is not None
    for name, text in made.items():
        partial = certificates / f".{name}"
        partial.write_bytes(base64.b64decode(text))
        partial.replace(certificates / name)


async def _ready(url: str, log: Path) -> None:
    async def check() -> bool:
        try:
            async with aiohttp.ClientSession() as session, session.get(url) as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    try:
        await eventually(check, deadline=DEADLINE)
    except (TimeoutError, PropellerError) as error:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-10:])
        raise PropellerError(f"Kueue is not ready after {DEADLINE:g} s: {tail}") from error
    await asyncio.sleep(1.0)
