"""For tests of controllers: API servers to run them on, embedded and real, faults between, and virtual time.

`propeller.testing.plugin` has the same as pytest fixtures. Nothing else of this package needs pytest, and nothing of
propeller imports it.
"""

from propeller.testing._certificates import Authority, Pair
from propeller.testing._components import MissingComponent, binary, find
from propeller.testing._eventually import eventually, is_deleted
from propeller.testing._kube_apiserver import NOBODY_TOKEN, KubeApiserver, run_kube_apiserver
from propeller.testing._postgresql import PostgresqlServer, run_postgresql_server
from propeller.testing._processes import ServerProcess, free_ports
from propeller.testing._redis import RedisServer, run_redis_server
from propeller.testing._s3 import S3Server, run_s3_server
from propeller.testing._servers import (
    HttpServerUnderTest,
    ServerUnderTest,
    embedded_http_server,
    embedded_server,
    real_server,
)
from propeller.testing._tcp_proxy import TcpProxy
from propeller.testing._virtual_time import VirtualTimeLoop, now, run_virtually

__all__ = [
    "NOBODY_TOKEN",
    "Authority",
    "HttpServerUnderTest",
    "KubeApiserver",
    "MissingComponent",
    "Pair",
    "PostgresqlServer",
    "RedisServer",
    "S3Server",
    "ServerProcess",
    "ServerUnderTest",
    "TcpProxy",
    "VirtualTimeLoop",
    "binary",
    "embedded_http_server",
    "embedded_server",
    "eventually",
    "find",
    "free_ports",
    "is_deleted",
    "now",
    "real_server",
    "run_kube_apiserver",
    "run_postgresql_server",
    "run_redis_server",
    "run_s3_server",
    "run_virtually",
]
