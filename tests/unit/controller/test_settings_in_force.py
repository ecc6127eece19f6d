"""Operators' settings of attempts and effects reach what they are for."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
import pytest

from propeller.config import ControllerOptions, EffectOptions
from propeller.errors import StorageError
from propeller.storage import MemoryStore
from propeller.workflow import AttemptOptions
from tests.unit.controller.bench import Bench, bench
from tests.unit.controller.test_at_hand import ended, pod
from tests.unit.workflow.drive import task

EVICTED = {"phase": "Failed", "reason": "Evicted"}


def with_settings(of: Bench, **sections: Any) -> Bench:
    return dataclasses.replace(of, settings=msgspec.structs.replace(of.settings, **sections))


@pytest.mark.parametrize("retries", [0, 2])
async def test_a_task_has_as_many_attempts_after_evictions_as_the_setting_says(retries: int) -> None:
    settings = AttemptOptions(system_retries=retries)
    async with bench() as made, (of := with_settings(made, attempts=settings)).controller():
        await of.create(task("a"))
        for attempt in range(retries + 1):
            await pod(of, f"w-a-{attempt}")
            await of.report(f"w-a-{attempt}", **EVICTED)
        assert (await ended(of))["phase"] == 5
        assert not await of.has_pod(f"w-a-{retries + 1}")


async def test_the_pause_after_an_eviction_is_the_settings() -> None:
    settings = AttemptOptions(system_backoff=100.0, system_backoff_cap=100.0)
    async with bench() as made, (of := with_settings(made, attempts=settings)).controller():
        await of.create(task("a"))
        await pod(of, "w-a-0")
        began = of.clock.monotonic()
        await of.report("w-a-0", **EVICTED)
        await pod(of, "w-a-1")
        assert 100.0 <= of.clock.monotonic() - began < 110.0


async def test_a_pod_that_cannot_start_has_the_settings_grace() -> None:
    waiting = {"name": "w-a-0", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no"}}}
    async with bench() as made, (of := with_settings(made, attempts=AttemptOptions(start_grace={}))).controller():
        await of.create(task("a"))
        await pod(of, "w-a-0")
        began = of.clock.monotonic()
        await of.report("w-a-0", phase="Pending", containerStatuses=[waiting])
        await ended(of)
        assert of.clock.monotonic() - began < AttemptOptions().start_grace["ImagePullBackOff"]


class Away(MemoryStore):
    """An object store whose outputs cannot be read."""

    async def read(self, uri: str, *arguments: Any, **options: Any) -> bytes:
        if "outputs" in uri or "error" in uri:
            raise StorageError(f"{uri}: away")
        return await super().read(uri, *arguments, **options)


async def test_an_effect_is_tried_again_for_as_long_as_the_setting_says() -> None:
    effects, once = EffectOptions(retry_budget=20.0), AttemptOptions(system_retries=0)
    async with bench(store=Away()) as made, (of := with_settings(made, effects=effects, attempts=once)).controller():
        await of.create(task("a"))
        await pod(of, "w-a-0")
        began = of.clock.monotonic()
        await of.report("w-a-0", phase="Succeeded")
        assert (await ended(of))["phase"] == 5
        assert effects.retry_budget <= of.clock.monotonic() - began < EffectOptions().retry_budget


@pytest.mark.parametrize(
    ("section", "fields", "says"),
    [
        (AttemptOptions, {"system_retries": -1}, "system_retries must be between 0 and 100"),
        (AttemptOptions, {"system_retries": 255}, "system_retries must be between 0 and 100"),
        (AttemptOptions, {"system_backoff": 60.0}, "at most system_backoff_cap"),
        (AttemptOptions, {"unseen_after": 0.0}, "unseen_after must be at least 1"),
        (AttemptOptions, {"start_grace": {"A": -1.0}}, "each of start_grace 0 or more"),
        (EffectOptions, {"backoff": 0.0}, "backoff must be over 0"),
        (EffectOptions, {"quota_retry": 0.0}, "quota_retry and storage_retry at least 0.1"),
        (ControllerOptions, {"effects_at_once": 0}, "effects_at_once must be at least 1"),
        (ControllerOptions, {"event_delay": -1.0}, "event_delay must be 0 or more"),
    ],
)
def test_settings_that_cannot_work_are_refused(section: type, fields: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        section(**fields)
