"""A controller that has run its first workflow, on a server whose pods end at once: where large measurements begin."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from loadtest._process import ControllerProcess, started
from loadtest._scale_target import NAMESPACE, Target, warm
from loadtest._statuses import Statuses
from loadtest.completer import Completer
from propeller.kube import Client


class Warmed(msgspec.Struct, frozen=True):
    """What is measured, and with what; `idle` is the controller's memory in bytes, from which its peak is counted."""

    client: Client
    completer: Completer
    statuses: Statuses
    controller: ControllerProcess
    idle: int


@asynccontextmanager
async def warmed(target: Target, command: str) -> AsyncIterator[Warmed]:
    """Start a controller by its command, and end it with the block."""
    statuses = Statuses()
    async with target.client() as client:
        completer = Completer(client, NAMESPACE, lambda: 0.0)
        async with (
            completer.running(),
            statuses.followed(client, NAMESPACE),
            started(command, target.kubeconfig, target.directory) as controller,
        ):
            await controller.ready()
            await warm(client, completer, statuses)
            idle = controller.taken.peak = controller.memory
            yield Warmed(client, completer, statuses, controller, idle)
