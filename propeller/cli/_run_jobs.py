"""Jobs of remote services of a run on this machine: they would go on after it.

Guarantees
    A run that is over waits until its jobs are deleted, at most `JOBS_SECONDS`; if it is interrupted, it is aborted
    first. A run without jobs waits for nothing. What may go on is said.
"""

from __future__ import annotations

import asyncio
import contextlib

from propeller.cli._progress import Progress
from propeller.controller import JOBS_FINALIZER, WORKFLOWS, FlyteWorkflow
from propeller.errors import NotFound
from propeller.informers import Change
from propeller.kube import Client

JOBS_SECONDS = 15.0
"""Longer than a call to a service takes by its default deadline, and short for a person who has pressed Ctrl-C."""


class RunJobs:
    """Knows whether the workflow of a run may have jobs: while its finalizer for them stands."""

    def __init__(self, key: str) -> None:
        self._key = key
        self._held = False
        self._over = asyncio.Event()

    def follow(self, change: Change[FlyteWorkflow]) -> None:
        """Hear of a workflow."""
        if change.key != self._key:
            return
        self._held = change.new is not None and JOBS_FINALIZER in change.new.metadata.finalizers
        if self._held:
            self._over.clear()
        else:
            self._over.set()

    async def over(self, progress: Progress) -> None:
        """Wait until the jobs of an execution that has ended are deleted."""
        if not self._held:
            return
        progress.note("waiting until its jobs are deleted")
        try:
            await asyncio.wait_for(self._over.wait(), JOBS_SECONDS)
        except TimeoutError:
            progress.say(f"warning: jobs of its connectors may go on: they were not deleted within {JOBS_SECONDS:g} s")

    async def abort(self, client: Client, name: str, namespace: str, progress: Progress) -> None:
        """Abort an execution that has jobs, and wait until they are deleted."""
        if not self._held:
            return
        with contextlib.suppress(NotFound):
            await client.delete(WORKFLOWS, name, namespace)
        await self.over(progress)
