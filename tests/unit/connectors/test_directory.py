"""Who runs a type of tasks: what services list, what settings say, and what is not known yet."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import cast

from flyteidl.admin import agent_pb2

from propeller.connectors import (
    Category,
    Channel,
    ConnectorOptions,
    ConnectorService,
    Directory,
    Nobody,
    Service,
    Unknown,
)
from propeller.errors import PropellerError, Rejected, Unavailable
from propeller.testing import run_virtually

DAY = 86_400.0


class Listing:
    """A service that answers ListAgents alone."""

    def __init__(self, name: str, answer: Sequence[agent_pb2.Agent] | PropellerError) -> None:
        self.name = name
        self.answer = answer
        self.asked = 0
        self.closed = False

    async def list_agents(self) -> agent_pb2.ListAgentsResponse:
        self.asked += 1
        if isinstance(self.answer, PropellerError):
            raise self.answer
        return agent_pb2.ListAgentsResponse(agents=self.answer)

    async def close(self) -> None:
        self.closed = True


def agent(*types: str, version: int = 0, is_sync: bool = False) -> agent_pb2.Agent:
    categories = [agent_pb2.TaskCategory(name=name, version=version) for name in types]
    return agent_pb2.Agent(name="agent", is_sync=is_sync, supported_task_categories=categories)


class World:
    def __init__(self, *listings: Listing, default: str = "", **task_types: str) -> None:
        services = tuple(ConnectorService(name=one.name, endpoint=f"{one.name}:8000") for one in listings)
        self.options = ConnectorOptions(services=services, default=default, task_types=task_types, refresh=10.0)
        by_name = {one.name: one for one in listings}
        self.directory = Directory(self.options, lambda service, _: cast(Channel, by_name[service.name]))


def found(world: World, *categories: Category, after: float = 1.0) -> list[Service | Unknown | Nobody]:
    """What the directory says `after` seconds."""

    async def look() -> list[Service | Unknown | Nobody]:
        async with world.directory.running():
            await asyncio.sleep(after)
            return [world.directory.find(category) for category in categories]

    return run_virtually(look())


def test_a_type_is_run_by_the_first_service_that_lists_it() -> None:
    first, second = Listing("first", [agent("trino")]), Listing("second", [agent("trino", "chat", is_sync=True)])
    trino, chat = found(World(first, second), Category("trino"), Category("chat"))
    assert isinstance(trino, Service)
    assert isinstance(chat, Service)
    assert [(trino.channel.name, trino.is_sync), (chat.channel.name, chat.is_sync)] == [
        ("first", False),
        ("second", True),
    ]
    assert first.closed
    assert second.closed


def test_settings_go_before_what_is_listed_and_the_default_after_it() -> None:
    first, second = Listing("first", [agent("trino")]), Listing("second", [])
    world = World(first, second, default="second", trino="second")
    trino, other = found(world, Category("trino"), Category("other"))
    assert isinstance(trino, Service)
    assert isinstance(other, Service)
    assert [trino.channel.name, other.channel.name] == ["second", "second"]


def test_nobody_is_said_with_what_there_is() -> None:
    (answer,) = found(World(Listing("first", [agent("trino", "hive")])), Category("bigquery"))
    assert answer == Nobody("no connector runs task type 'bigquery': of services first there are hive, trino")


def test_another_version_of_the_type_is_named() -> None:
    first, second = Listing("first", [agent("trino", version=2)]), Listing("second", [agent("trino", version=3)])
    (answer,) = found(World(first, second), Category("trino", 1))
    assert isinstance(answer, Nobody)
    assert answer.has_versions
    assert answer.why.startswith(
        "no connector runs version 1 of task type 'trino': first runs version 2; second runs version 3; "
    )


def test_a_type_that_is_listed_in_other_versions_is_the_defaults_rather_than_a_pods() -> None:
    """As FlytePropeller has it, which goes by the name of the type alone to choose between a connector and a pod."""
    first, other = Listing("first", [agent("trino", version=2)]), Listing("other", [])
    trino, hive = found(World(first, other, default="other"), Category("trino", 1), Category("hive"))
    assert isinstance(trino, Service)
    assert isinstance(hive, Service)
    assert [(trino.channel.name, trino.by_default), (hive.channel.name, hive.by_default)] == [
        ("other", False),
        ("other", True),
    ]


def test_a_service_cannot_write_control_characters_into_messages() -> None:
    (answer,) = found(World(Listing("first", [agent("tri\x1b[2Jno")])), Category("bigquery"))
    assert isinstance(answer, Nobody)
    assert "\x1b" not in answer.why


def test_a_service_that_has_never_answered_leaves_open_what_it_runs() -> None:
    silent = Listing("second", Unavailable("connection refused"))
    trino, other = found(World(Listing("first", [agent("trino")]), silent), Category("trino"), Category("other"))
    assert isinstance(trino, Service)
    assert other == Unknown(
        "connector second at second:8000 has not said yet which task types it runs: connection refused"
    )


def test_a_service_is_asked_again_and_its_last_answer_counts() -> None:
    listing = Listing("first", Unavailable("connection refused"))
    world = World(listing)

    async def live() -> list[object]:
        seen: list[object] = []
        async with world.directory.running():
            for answer in ([agent("trino")], Unavailable("gone"), [agent("hive")]):
                await asyncio.sleep(5.0)
                listing.answer = answer
                await asyncio.sleep(15.0)
                seen.append([type(world.directory.find(Category(name))) for name in ("trino", "hive")])
        return seen

    assert run_virtually(live()) == [[Service, Nobody], [Service, Nobody], [Nobody, Service]]
    assert 5 <= listing.asked <= 8


def test_a_service_without_the_call_is_used_by_what_the_settings_say() -> None:
    old = Listing("old", Rejected("not implemented", status=501))
    trino, other = found(World(old, trino="old"), Category("trino"), Category("other"))
    assert isinstance(trino, Service)
    assert isinstance(other, Nobody)


def test_a_stranger_cannot_list_without_bound() -> None:
    huge = Listing("huge", [agent(*(f"type-{number}" for number in range(20_000)), "x" * 1000)])
    found(world := World(huge), Category("x"))
    assert len(world.directory._listed["huge"]) == 10_000
