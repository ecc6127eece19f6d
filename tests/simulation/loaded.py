"""Worlds in which most tasks are raw containers: their programs end, and uploaders beside them go on.

What the attempt comes to is known only when its uploader has ended: outputs are there then, and not before. In between
controllers are killed, and pods vanish, are drained or deleted: what is not uploaded is lost, and is the system's
failure. Of a failed program the uploader may say why, but a controller does not wait for that for long.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from unittest import mock

from propeller.clock import LoopClock, rfc3339
from propeller.dataloader import PROGRAM_FAILED
from propeller.handlers.plugins.pod import _report
from propeller.handlers.plugins.pod._dataloader import UPLOADER
from propeller.handlers.transitions import _task
from propeller.kube import Raw
from tests.simulation import oracle, sidecars, world
from tests.simulation.kubelet import Kubelet
from tests.simulation.model import Expected
from tests.simulation.oracle import Oracle
from tests.simulation.scripts import Outcome
from tests.simulation.sidecars import Kind, Sidecars, end_of_task, statuses

MAX_UPLOAD = 10.0
"""Virtual seconds: no task's time is to be up for that."""

_CLOCK = LoopClock()


class Uploaders(Sidecars):
    """The webhook of `Sidecars` adds uploaders, in all worlds. Those of failed programs may hang."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.used = True

    def hangs(self, pod: Raw) -> bool:
        """Whether the uploader of a failed program never ends; then somebody has to stop the pod."""
        uid, name = pod["metadata"]["uid"], pod["metadata"]["name"]
        if self._rng.random() >= 0.3:
            return False
        self._left[uid] = name, _CLOCK.monotonic()
        return True


class LoadingKubelet(Kubelet):
    """Has what a program wrote uploaded after its end."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._unwritten: dict[str, tuple[Expected, Outcome]] = {}
        """By uid, what a program has written and nobody has uploaded."""
        self._draws = random.Random(f"uploads {self._sidecars._seed}")

    async def _run_pod(self, pod: Raw) -> None:
        found = self._oracle.pods.get(pod["metadata"]["uid"])
        if found is not None and is_loaded(pod):
            found[1].kinds |= {"raw container"}
        await super()._run_pod(pod)

    def _write(self, pod: Raw, expected: Expected, outcome: Outcome) -> None:
        uid = pod["metadata"]["uid"]
        if not is_loaded(pod) or self._drains.has_struck(uid):  # in its grace it uploads, too
            super()._write(pod, expected, outcome)
        else:
            self._unwritten[uid] = expected, outcome

    async def _end(self, pod: Raw, expected: Expected, outcome: Outcome) -> None:
        gone = outcome in {Outcome.VANISHES, Outcome.LOST, Outcome.DRAINED}
        if not (is_loaded(pod) and gone and self._draws.random() < 0.6):
            await super()._end(pod, expected, outcome)
            return
        ended = _ended(0)
        await self._report(pod, {"phase": "Running", **statuses(pod, ended)})  # nothing of it is uploaded
        await asyncio.sleep(self._draws.uniform(0.0, MAX_UPLOAD))
        if outcome is not Outcome.DRAINED:
            await super()._end(pod, expected, outcome)
            return
        await asyncio.sleep(await self._drains.strike(pod))
        self._oracle.run_ended(pod["metadata"]["uid"], unseen=True)
        if self._drains.end_is_reported():
            await self._report(pod, {"phase": "Succeeded", **statuses(pod, ended, _ended(137))})
        await self._rest(1.0)
        await self._remove(pod)

    async def _report_end(self, pod: Raw, phase: str, terminated: dict[str, Any]) -> None:
        if not is_loaded(pod):
            await super()._report_end(pod, phase, terminated)
            return
        code = terminated["exitCode"]
        ended = {"terminated": terminated | {"finishedAt": rfc3339(_CLOCK.now())}}
        if self._draws.random() < 0.8:  # else all is in one report
            await self._report(pod, {"phase": "Running", **statuses(pod, ended)})
            assert isinstance(self._sidecars, Uploaders)
            if code and self._sidecars.hangs(pod):
                await asyncio.Event().wait()
            await asyncio.sleep(self._draws.uniform(0.0, MAX_UPLOAD))
        if (found := self._unwritten.pop(pod["metadata"]["uid"], None)) is not None:
            super()._write(pod, *found)
        says = PROGRAM_FAILED if code and self._draws.random() < 0.5 else 0
        await self._report(pod, {"phase": phase, **statuses(pod, ended, _ended(says))})


def is_loaded(pod: Raw) -> bool:
    """Whether an uploader is in the pod."""
    return any(found["name"] == UPLOADER for found in pod["spec"].get("initContainers", ()))


def _ended(code: int) -> dict[str, Any]:
    reason = "Error" if code else "Completed"
    return {"terminated": {"exitCode": code, "reason": reason, "finishedAt": rfc3339(_CLOCK.now())}}


def _end_with_its_upload(status: dict[str, Any]) -> dict[str, Any] | None:
    """The status of the task's container once its run has ended: one that ended well has uploaded."""
    found = end_of_task(status)
    uploaders = [one for one in status.get("initContainerStatuses", ()) if one["name"] == UPLOADER]
    if found is None or found["state"]["terminated"]["exitCode"] or not uploaders:
        return found
    return found if "terminated" in uploaders[0]["state"] else None


@contextmanager
def most_tasks_are_loaded() -> Iterator[None]:
    """See the module's text."""
    with (
        mock.patch.object(sidecars, "NAME", UPLOADER),
        mock.patch.object(sidecars, "KINDS", (Kind.NATIVE,)),
        mock.patch("tests.simulation.scene.Sidecars", Uploaders),
        mock.patch.object(world, "Kubelet", LoadingKubelet),
        mock.patch.object(oracle, "end_of_task", _end_with_its_upload),
        mock.patch.object(Oracle, "loaded", True),
    ):
        yield


def _the_end_of_a_program_is_that_of_its_upload() -> AbstractContextManager[Any]:
    return mock.patch.object(_report, "upload_of", return_value=None)


def _a_failed_program_is_waited_for_for_ever() -> AbstractContextManager[Any]:
    return mock.patch.object(_task, "MAX_WAIT_FOR_REASON", 1e9)


LOADED_MUTATIONS: Mapping[str, Any] = {
    function.__name__.strip("_").replace("_", " "): function
    for function in (_the_end_of_a_program_is_that_of_its_upload, _a_failed_program_is_waited_for_for_ever)
}
