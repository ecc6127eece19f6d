"""Kinds of every real cluster that this server lacks, so that a request for one can be answered by its name.

kubectl and controllers show the message: "the server could not find the requested resource" alone would blame the
request.
"""

from __future__ import annotations

from collections.abc import Iterable

from propeller.embedded.server._answers import Failure, qualified

_PLURALS = {
    *("services", "endpoints", "persistentvolumes", "persistentvolumeclaims", "replicationcontrollers"),
    *("podtemplates", "limitranges", "componentstatuses"),
}
"""Of the core group."""

_GROUPS = {
    *("admissionregistration.k8s.io", "apiregistration.k8s.io", "apps", "autoscaling", "batch"),
    *("certificates.k8s.io", "discovery.k8s.io", "events.k8s.io", "flowcontrol.apiserver.k8s.io", "metrics.k8s.io"),
    *("networking.k8s.io", "node.k8s.io", "policy", "resource.k8s.io", "scheduling.k8s.io", "storage.k8s.io"),
}
"""That are lacked as a whole."""


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
