"""Settings of connectors: what contradicts itself is refused, and says which field."""

from __future__ import annotations

from typing import Any

import pytest

from propeller.connectors import ConnectorOptions, ConnectorService

ONE = ConnectorService(name="one", endpoint="localhost:8000", insecure=True)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"name": "a b"}, "name must be letters"),
        ({"endpoint": " "}, "endpoint of connector one must be host:port"),
        ({"insecure": True, "ca_file": "/ca.pem"}, "insecure and has a ca_file"),
        ({"timeouts": {"getTask": 1.0}}, r"names? \['getTask'\]"),
        ({"timeouts": {"GetTask": 0.0}}, "GetTask of connector one must be over 0"),
        ({"timeout": float("nan")}, "timeout of connector one must be over 0"),
    ],
)
def test_a_service_that_cannot_be_meant_is_refused(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        ConnectorService(**{"name": "one", "endpoint": "localhost:8000"} | given)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"services": (ONE, ONE)}, r"services has \['one'\] twice"),
        ({"default": "two"}, "default names service 'two'"),
        ({"task_types": {"trino": "two"}}, "trino names service 'two'"),
        ({"task_types": {"trino": ""}}, "trino names service ''"),
        ({"refresh": 0}, "refresh must be over 0"),
        ({"poll_shortest": 60.0}, "poll_longest, 30.0, must be at least poll_shortest"),
        ({"poll_share": 2.0}, "poll_share must be 0 to 1"),
        ({"polls_at_once": 0}, "polls_at_once must be at least 1"),
        ({"max_failures": 0}, "max_failures must be at least 1"),
        ({"max_message_bytes": 1}, "max_message_bytes must be at least 1024"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        ConnectorOptions(**{"services": (ONE,)} | given)


def test_a_call_has_the_deadline_of_its_own_or_that_of_its_service() -> None:
    service = ConnectorService(name="one", endpoint="localhost:8000", timeouts={"ExecuteTaskSync": 300.0})
    assert [service.timeout_of(call) for call in ("GetTask", "ExecuteTaskSync")] == [10.0, 300.0]
