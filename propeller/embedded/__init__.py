"""A cluster without machines: an API server in this process, and a kubelet that runs pods as processes.

`embedded_cluster` gives both, `run_kubelet` the kubelet alone, for any other API server.
"""

from propeller.embedded._cluster import Cluster, embedded_cluster
from propeller.embedded._node import run_kubelet

__all__ = ["Cluster", "embedded_cluster", "run_kubelet"]
