"""`propeller` with a planted defect: every other reconcile of a workflow that runs fails. Its pods are marked."""

from __future__ import annotations

from itertools import count
from typing import Any

from propeller.cli.__main__ import main
from propeller.controller import WorkflowController
from propeller.kube import Client

MADE_BY = {"made-by": "bad-version"}

_advance, _create, _number = WorkflowController._advance, Client.create, count()


def _fails_every_other_time(self: WorkflowController, *arguments: Any) -> Any:
    if next(_number) % 2:
        raise RuntimeError("a defect of this version")
    return _advance(self, *arguments)


async def _marked(self: Client, resource: Any, body: Any, *arguments: Any, **named: Any) -> Any:
    if resource.kind == "Pod":
        body["metadata"]["labels"] |= MADE_BY
    return await _create(self, resource, body, *arguments, **named)


if __name__ == "__main__":
    WorkflowController._advance = _fails_every_other_time  # type: ignore[assignment, method-assign]
    Client.create = _marked  # type: ignore[method-assign]
    main()
