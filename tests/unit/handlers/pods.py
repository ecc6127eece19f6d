"""Pods as a kubelet reports them."""

from __future__ import annotations

from typing import Any

import msgspec

from propeller.handlers.plugins import ATTEMPT_ANNOTATION
from propeller.kube import Pod


def container(name: str = "main", **state: Any) -> dict[str, Any]:
    """A container's status; `waiting`, `running` or `terminated` is its state."""
    return {"name": name, "state": state}


def ended(
    exit_code: int, reason: str = "", message: str = "", *, name: str = "main", at: str | None = None
) -> dict[str, Any]:
    return container(name, terminated={"exitCode": exit_code, "reason": reason, "message": message, "finishedAt": at})


def waiting(reason: str, message: str = "", *, name: str = "main") -> dict[str, Any]:
    return container(name, waiting={"reason": reason, "message": message})


def pod(
    phase: str = "",
    *containers: dict[str, Any],
    init: tuple[dict[str, Any], ...] = (),
    primary: str | None = "main",
    attempt: str = "1",
    name: str = "e-n0-1",
    uid: str = "uid",
    version: str = "1",
    deleted: bool | str = False,
    grace: int = 30,
    restarts: str = "Never",
    **status: Any,
) -> Pod:
    annotations = {ATTEMPT_ANNOTATION: attempt} if attempt else {}
    if primary is not None:
        annotations["primary_container_name"] = primary
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": "ns",
        "uid": f"uid of {name}",
        "resourceVersion": version,
        "annotations": annotations,
        "ownerReferences": [{"kind": "FlyteWorkflow", "name": "e", "uid": uid}],
    }
    if deleted:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:30Z" if deleted is True else deleted
        metadata["deletionGracePeriodSeconds"] = grace
    body = {"phase": phase, "containerStatuses": containers, "initContainerStatuses": init, **status}
    spec = {"restartPolicy": restarts}
    return msgspec.convert({"metadata": metadata, "spec": spec, "status": body}, Pod)
