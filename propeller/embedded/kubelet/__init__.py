"""A kubelet without containers: it runs each pod of a cluster as processes of this machine, as the cluster's one node.

It works against any API server, the embedded one or a real kube-apiserver: registers a Node, binds unscheduled pods,
runs them, and reports what a real kubelet would. Python programs, above all flytekit's, are forked from a process that
has already imported their libraries, so that a small task takes 0.02 s rather than 1-2 s.

Caveats
    There is no container runtime: images are not pulled, nothing is isolated. A pod's command runs as the user, in the
    user's own environment; `python`, `python3`, `pyflyte` and `pyflyte-*execute` are those of the user's interpreter.
    Images that were unpacked into a directory (`kubelet.images`) are the exception: their containers run in it.
    Paths of volumes are in the environment (`PROPELLER_VOLUME_<NAME>`), because an unprivileged user cannot mount.
    Memory limits are enforced by polling a few times a second; CPU limits and ephemeral storage are not enforced.
    Probes by exec and gRPC, lifecycle hooks and ports are ignored; so are security contexts, but in an unpacked image
    for user, group and a read-only root. It needs Linux.
"""

from propeller.embedded.kubelet._api import Api, PodSeen, Token
from propeller.embedded.kubelet._client_api import ClientApi, Verbs
from propeller.embedded.kubelet._kubelet import Kubelet
from propeller.embedded.kubelet._linked import LinkedFiles
from propeller.embedded.kubelet._node import Capacity
from propeller.embedded.kubelet._usage import Usage

__all__ = ["Api", "Capacity", "ClientApi", "Kubelet", "LinkedFiles", "PodSeen", "Token", "Usage", "Verbs"]
