"""Resources that every real cluster has and this server lacks, so that a request for them gets a message that names
them.

kubectl and controllers show the message: "the server could not find the requested resource" alone would blame the
request.
"""

from __future__ import annotations

from collections.abc import Iterable

from propeller.embedded.server._errors import Failure, qualified

_PLURALS = {
    *("endpoints", "persistentvolumes", "persistentvolumeclaims", "replicationcontrollers"),
    "componentstatuses",
}
"""Resources of the core group."""

_GROUPS = {
    *("admissionregistration.k8s.io", "apiregistration.k8s.io", "apps", "autoscaling", "batch"),
    *("certificates.k8s.io", "discovery.k8s.io", "events.k8s.io", "flowcontrol.apiserver.k8s.io", "metrics.k8s.io"),
    *("networking.k8s.io", "node.k8s.io", "policy", "resource.k8s.io", "scheduling.k8s.io", "storage.k8s.io"),
}
"""That are lacked as a whole."""

_SUBRESOURCES = {
    "pods": ("attach", "ephemeralcontainers", "exec", "portforward", "proxy", "resize"),
    "nodes": ("proxy",),
    "serviceaccounts": ("token",),
}
"""By plural."""


def lacked_subresource(plural: str, subresource: str) -> Failure | None:
    """The answer to a request for a subresource that this server lacks, if a real cluster has it; else None."""
    if subresource not in _SUBRESOURCES.get(plural, ()):
        return None
    message = f"the embedded API server has no {plural}/{subresource}"
    return Failure(404, "NotFound", message, details={"kind": f"{plural}/{subresource}"})


def none_can_be_made(plural: str) -> Failure:
    """The answer to a write of a kind that is only ever listed."""
    message = f"the embedded API server keeps no {plural}: lists of them are empty, and none can be created"
    return Failure(404, "NotFound", message, details={"kind": plural})


def lacked(path: str, served: Iterable[str]) -> Failure | None:
    """The answer to a request for a resource of a kind that a real cluster has and this server lacks; else None.

    `served` are the plurals, with their groups, that there are.
    """
    match path.strip("/").split("/"):
        case ["api", "v1", "namespaces", _, plural, *_] | ["api", "v1", plural, *_] if plural in _PLURALS:
            group = ""
        case ["apis", group, _, "namespaces", _, plural, *_] | ["apis", group, _, plural, *_] if group in _GROUPS:
            pass
        case _:
            return None
    name = qualified(plural, group)
    message = f"the embedded API server has no {name}; it serves {', '.join(sorted(served))}"
    return Failure(404, "NotFound", message, details={"group": group, "kind": plural})
