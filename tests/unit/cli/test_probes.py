"""The probes of `propeller controller`, for a standby, for a leader, and when credentials are refused."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from propeller.cli._probes import Probes
from propeller.clock import Clock
from propeller.errors import Denied, PropellerError, Unavailable
from propeller.kube import Client
from propeller.kube._requests import Requests

REFUSED_FOR = 300.0


class HandClock(Clock):
    time = 0.0

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time


def probes(clock: HandClock) -> tuple[Probes, Requests]:
    requests = Requests(clock)
    return Probes(cast(Client, SimpleNamespace(requests=requests)), REFUSED_FOR, clock), requests


def election(holder: str = "", trouble: str = "") -> Any:
    return SimpleNamespace(lease="flyte/propeller-controller", holder=holder, trouble=trouble)


CONTROLLER: Any = SimpleNamespace(liveness=lambda: None)


def test_a_standby_is_ready_and_live() -> None:
    found, _ = probes(HandClock())
    found.election = election(holder="another")
    assert (found.ready(), found.live()) == (None, None)


def test_a_candidate_that_has_not_looked_at_the_lease_or_cannot_is_not_ready() -> None:
    found, _ = probes(HandClock())
    found.election = election()
    assert found.ready() == "lease flyte/propeller-controller has not been looked at yet"
    found.election = election(holder="another", trouble="leases is forbidden")
    assert (found.ready(), found.live()) == ("leases is forbidden", None)


def test_a_process_whose_api_server_is_away_at_the_start_is_live_and_not_ready() -> None:
    found, _ = probes(HandClock())
    found.waits_for = "an answer of https://here"
    assert (found.ready(), found.live()) == ("waiting for an answer of https://here", None)


def test_a_leader_is_ready_once_its_caches_are_filled() -> None:
    found, _ = probes(HandClock())
    found.election, found.leads = election(holder="us"), True
    assert found.ready() == "the caches are not filled yet"
    found.controller = CONTROLLER
    assert found.ready() is None


def test_a_controller_without_election_is_ready_once_its_caches_are_filled() -> None:
    found, _ = probes(HandClock())
    assert found.ready() is not None
    found.controller = CONTROLLER
    assert found.ready() is None


@pytest.mark.parametrize("refusal", [401, Denied("context 'c': no credentials could be obtained", status=401)])
def test_credentials_that_are_refused_for_long_fail_both_probes(refusal: int | PropellerError) -> None:
    clock = HandClock()
    found, requests = probes(clock)
    found.controller = CONTROLLER

    def refuse() -> None:
        if isinstance(refusal, int):
            requests.answered("get", refusal)
        else:
            requests.failed("get", refusal)

    refuse()
    clock.time = REFUSED_FOR - 1
    refuse()
    assert (found.live(), found.ready()) == (None, None)
    clock.time = REFUSED_FOR + 1
    said = "the API server has refused our credentials for 301 s, or none can be obtained"
    assert (found.live(), found.ready()) == (said, said)
    requests.answered("get", 200)
    assert (found.live(), found.ready()) == (None, None)


def test_a_server_that_is_away_or_unwell_says_nothing_about_credentials() -> None:
    clock = HandClock()
    found, requests = probes(clock)
    found.controller = CONTROLLER
    requests.failed("get", Unavailable("nobody there"))
    requests.answered("get", 503)
    clock.time = 10 * REFUSED_FOR
    assert found.live() is None
    requests.answered("get", 401)
    requests.answered("get", 503)
    clock.time = 20 * REFUSED_FOR
    assert found.live() is not None, "a 503 in between does not accept them"
