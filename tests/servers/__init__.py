"""Real servers for tests (etcd, kube-apiserver), a proxy that makes faults, and one face for all API servers."""

from tests.servers._face import Face, HttpFace, embedded_face, embedded_http_face, kube_apiserver_face
from tests.servers._kube_apiserver import NOBODY_TOKEN, KubeApiserver, running
from tests.servers._proxy import TcpProxy

__all__ = [
    "NOBODY_TOKEN",
    "Face",
    "HttpFace",
    "KubeApiserver",
    "TcpProxy",
    "embedded_face",
    "embedded_http_face",
    "kube_apiserver_face",
    "running",
]
