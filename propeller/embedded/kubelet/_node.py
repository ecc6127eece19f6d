"""The Node object for this machine, and the machine's capacity."""

from __future__ import annotations

import os
import platform
import zlib
from collections.abc import Mapping

import msgspec

from propeller.clock import rfc3339
from propeller.embedded.kubelet._status import LOCAL_IP
from propeller.kube._objects import Raw


class Capacity(msgspec.Struct, frozen=True, kw_only=True):
    """`cpu` in cores, `memory` in bytes, `pods` that run at once."""

    cpu: int
    memory: int
    pods: int


def machine_capacity(max_pods: int) -> Capacity:
    """This machine's; `max_pods` of 0 means twice the cores that this process may use, at least 4."""
    cores = len(os.sched_getaffinity(0))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Capacity(cpu=cores, memory=memory, pods=max_pods or max(4, 2 * cores))


def address_of(uid: str) -> str:
    """Return a loopback address for a pod: another one for each uid, but for one in two million."""
    number = zlib.crc32(uid.encode())
    return f"127.{64 + number % 64}.{number // 64 % 256}.{1 + number // 16384 % 254}"


def node_object(name: str, capacity: Capacity, *, now: float, since: float, labels: Mapping[str, str]) -> Raw:
    """The node, ready at `now`, having become so at `since` (epoch seconds)."""
    amounts = {"cpu": str(capacity.cpu), "memory": str(capacity.memory), "pods": str(capacity.pods)}
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "KubeletReady",
        "message": "pods run as processes of this machine",
        "lastHeartbeatTime": rfc3339(now),
        "lastTransitionTime": rfc3339(since),
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", **labels}},
        "status": {
            "capacity": amounts,
            "allocatable": amounts,
            "addresses": [{"type": "InternalIP", "address": LOCAL_IP}, {"type": "Hostname", "address": name}],
            "conditions": [ready],
            "nodeInfo": {
                "kubeletVersion": "v1.37.2+propeller",
                "kubeProxyVersion": "",
                "operatingSystem": "linux",
                "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine()),
                "osImage": platform.system(),
                "kernelVersion": platform.release(),
                "containerRuntimeVersion": "process://1",
                "machineID": "",
                "systemUUID": "",
                "bootID": "",
            },
        },
    }
