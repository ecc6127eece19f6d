"""Whose an execution is: a tenant is a domain of a project, or a namespace where no label says more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from propeller import handlers
from propeller.controller._resource import FlyteWorkflow
from propeller.controller._session import Running, Session
from propeller.resourcemgr import SEPARATOR, Path
from propeller.workflow import Running as RunningAttempt

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


def running_attempts(sessions: Mapping[str, Session]) -> Counter[Path]:
    """Attempts that run, by tenant. Costs time in proportion to the active nodes of all executions."""
    found: Counter[Path] = Counter()
    for session in sessions.values():
        if isinstance(session, Running):
            states = session.execution.states.values()
            running = sum(type(state) is RunningAttempt for state in states)
            if running:
                found[handlers.tenant_of(session.execution.info)] += running
    return found
