"""PodTemplates of a cluster, as pods are made from them."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Protocol

import msgspec


class PodTemplate(msgspec.Struct, frozen=True, kw_only=True):
    """A PodTemplate's parts. Pods share them: do not change them."""

    namespace: str
    version: Hashable
    """Differs as soon as anything in the PodTemplate has changed."""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    spec: dict[str, Any] = {}


class PodTemplates(Protocol):
    """Finds the PodTemplates of a cluster."""

    async def ready(self) -> None:
        """Wait until the cluster's PodTemplates are known. Raises Unavailable if they cannot be read."""
        ...

    def find(self, namespace: str, name: str, /) -> PodTemplate | None:
        """Return the PodTemplate of that namespace and name; None if there is none."""
        ...
