"""A small Kubernetes API server in this process and in memory: reached without sockets through `ApiServer.transport`,
and over HTTP through `ApiServer.serve`, where kubectl works against it.

It may have less than kube-apiserver 1.37, but never behave differently: tests/contract asserts every behaviour on both.

Caveats
    Kinds: namespaces, nodes, pods, events, config maps, secrets, resource quotas, service accounts, leases, roles and
    their bindings, Jobs, custom resource definitions and their resources; lists of services and limit ranges are empty.
    Roles are stored, not enforced; CEL rules are stored, not evaluated; there are no admission and no conversion
    webhooks. Protobuf requests are answered in JSON.
    Nothing schedules, and nothing marks a new node as not ready. managedFields appear with an object's first apply.
    Empty fields (an empty text, a zero, false) are kept as they were written; Go omits them.
"""

from propeller.embedded.server._backup import Backup
from propeller.embedded.server._server import ApiServer
from propeller.embedded.server.endpoints._front import Front
from propeller.embedded.server.endpoints._pod_logs import LogSource
from propeller.embedded.server.endpoints._tls import own_certificate
from propeller.embedded.server.endpoints._transport import Forward, Interceptor

__all__ = ["ApiServer", "Backup", "Forward", "Front", "Interceptor", "LogSource", "own_certificate"]
