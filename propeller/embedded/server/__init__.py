"""A Kubernetes API server in miniature, in this process and in memory: reached without sockets through
`ApiServer.transport`, and over HTTP through `ApiServer.serve`, where kubectl works against it.

It may be smaller than kube-apiserver 1.37, never different: what it answers, tests/contract asserts on both.

Caveats
    Kinds: namespaces, nodes, pods, events, config maps, secrets, resource quotas, service accounts, leases, roles and
    their bindings, custom resource definitions and what they define; services and limit ranges are listed as empty.
    Roles are kept, not enforced; CEL rules are kept, not evaluated; there are no admission webhooks and no conversion
    webhooks. Protobuf is read, and answered in JSON.
    Nothing schedules, and nothing marks a new node as not ready. managedFields show from an object's first apply on.
    Members that say nothing (an empty text, a zero, false) are kept as they were written, where Go leaves them out.
"""

from propeller.embedded.server._backup import Backup
from propeller.embedded.server._server import ApiServer
from propeller.embedded.server.endpoints._front import Front
from propeller.embedded.server.endpoints._pod_logs import LogSource
from propeller.embedded.server.endpoints._tls import own_certificate
from propeller.embedded.server.endpoints._transport import Forward, Interceptor

__all__ = ["ApiServer", "Backup", "Forward", "Front", "Interceptor", "LogSource", "own_certificate"]
