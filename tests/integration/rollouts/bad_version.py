"""`propeller` with a planted defect: no reconcile of a workflow that runs succeeds."""

from __future__ import annotations

from propeller.cli.__main__ import main
from propeller.controller import WorkflowController


def _fails(self: WorkflowController, *_: object) -> None:
    raise RuntimeError("a defect of this version")


WorkflowController._advance = _fails  # type: ignore[assignment, method-assign]
main()
