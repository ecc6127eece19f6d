"""The resource type that the controller serves."""

from __future__ import annotations

from typing import Any

from propeller.handlers.plugins import CHILD_WORKFLOWS
from propeller.kube import Raw, Resource

FLYTE_WORKFLOWS: Resource[Raw] = CHILD_WORKFLOWS.typed(dict[str, Any])
"""FlyteWorkflows as plain JSON; `WORKFLOWS` has those fields alone that the controller reads."""
