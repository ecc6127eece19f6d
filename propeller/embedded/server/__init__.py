"""A Kubernetes API server in miniature, in this process and in memory: reached without sockets through
`ApiServer.transport`, and over HTTP through `ApiServer.serve`, where kubectl works against it.

It may be smaller than kube-apiserver 1.37, never different: what it answers, tests/contract asserts on both.

Caveats
    Kinds: namespaces, nodes, pods, events, config maps, secrets, resource quotas, service accounts, leases, roles and
    their bindings, custom resource definitions and what they define. Roles are kept, not enforced; CEL rules are kept,
    not evaluated; there are no admission webhooks, no conversion webhooks and no protobuf.
"""

from propeller.embedded.server._http import Front
from propeller.embedded.server._pod_requests import LogSource
from propeller.embedded.server._server import ApiServer
from propeller.embedded.server._transport import Forward, Interceptor

__all__ = ["ApiServer", "Forward", "Front", "Interceptor", "LogSource"]
