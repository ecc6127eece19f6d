"""The resource type that the controller serves."""

from __future__ import annotations

from typing import Any

from propeller.kube import Raw, Resource

FLYTE_WORKFLOWS: Resource[Raw] = Resource(
    group="flyte.lyft.com",
    version="v1alpha1",
    kind="FlyteWorkflow",
    plural="flyteworkflows",
    type=dict[str, Any],
)
"""FlyteWorkflows as plain JSON; `WORKFLOWS` has those fields alone that the controller reads."""
