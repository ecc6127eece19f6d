"""Runs on this machine: what they have of the settings, and what is theirs."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from propeller.cli._local_run import LocalRun, _settings
from propeller.cli._settings import with_max_pods
from propeller.config import KubeletOptions, Settings


@pytest.mark.parametrize(("serve", "wanted", "written"), [("", True, False), ("kc", True, True), ("kc", False, False)])
def test_events_are_written_only_with_serve_and_events_enabled(serve: str, wanted: bool, written: bool) -> None:
    settings = Settings(kubelet=KubeletOptions(events=wanted))
    run = LocalRun(file=Path("flow.py"), entity="wf", words=(), python="python", serve=serve, settings=settings)
    assert _settings(run, "file:///runs/x", Path("logs")).kubelet.events is written


def test_an_option_for_the_number_of_pods_goes_before_the_settings() -> None:
    settings = Settings(kubelet=KubeletOptions(max_pods=5))
    assert with_max_pods(settings, None) is settings
    assert with_max_pods(settings, 2) == msgspec.structs.replace(settings, kubelet=KubeletOptions(max_pods=2))
