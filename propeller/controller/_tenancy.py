"""Whose an execution is: a tenant is a domain of a project, or a namespace where no label says more."""

from __future__ import annotations

from collections.abc import Callable

from propeller.controller._resource import FlyteWorkflow
from propeller.resourcemgr import SEPARATOR

PROJECT_LABEL, DOMAIN_LABEL = "project", "domain"
"""FlyteAdmin's, on every FlyteWorkflow."""


def tenant_of(workflows: Callable[[str], FlyteWorkflow | None]) -> Callable[[str], str]:
    """A function from an execution's key to its tenant (`ml/production`); `workflows` looks it up in a cache."""

    def tenant(key: str) -> str:
        workflow = workflows(key)
        labels = None if workflow is None else workflow.metadata.labels
        if labels and (project := labels.get(PROJECT_LABEL)):
            return f"{project}{SEPARATOR}{labels.get(DOMAIN_LABEL, '')}"
        return key.partition("/")[0]

    return tenant
