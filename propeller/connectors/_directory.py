"""Know which service runs tasks of which type: as the services list them, and as the settings say.

Guarantees
    The services are asked at the same time, at start and every `refresh` seconds: one that hangs or is away delays no
    other. What it has listed last counts until it answers again.
    The order is Flyte's: `connectors.task_types`, what services list, `connectors.default`. A type that services list
    in other versions only is `connectors.default`'s, or nobody's.
Caveats
    While a service has never answered, it is not known which types it runs: tasks that nothing else runs wait for it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import NamedTuple

from propeller.beside import beside
from propeller.connectors._channel import Channel, OpenChannel, open_channel
from propeller.connectors._options import ConnectorOptions, ConnectorService
from propeller.errors import PropellerError, Rejected
from propeller.telemetry import Causes
from propeller.text import NAME_CHARACTERS, bounded, one_line

_log = logging.getLogger(__name__)

MAX_CATEGORIES = 10_000
"""Task types that one service may list: more are not a connector's."""

MAX_SHOWN = 20
"""Task types that a message lists."""

UNIMPLEMENTED = 501


class Category(NamedTuple):
    """A type of tasks, and its version (flytekit's `task_type_version`)."""

    name: str
    version: int = 0


class Service(NamedTuple):
    """The service that runs a task. `is_sync`: its task is run within one call."""

    channel: Channel
    is_sync: bool
    by_default: bool = False
    """Whether nothing says so but `connectors.default`."""


class Unknown(NamedTuple):
    """It is not known yet who runs the task."""

    why: str


class Nobody(NamedTuple):
    """No service runs the task."""

    why: str
    has_versions: bool = False
    """Whether services run other versions of its type: then a pod would not do what the platform means."""


class Directory:
    """See the module's text. `open_channel` opens the channel of a service."""

    def __init__(self, options: ConnectorOptions, open_channel: OpenChannel = open_channel) -> None:
        self._options = options
        self._open = open_channel
        self._channels: dict[str, Channel] = {}
        self._listed: dict[str, Mapping[Category, bool]] = {}
        """By service that has answered: what it runs, and whether in one call."""
        self._failed: dict[str, str] = {}
        """By service, why it did not answer the last time."""
        self._found: dict[Category, Service | Unknown | Nobody] = {}
        """What `find` has said since a service last answered: each launch and each look asks."""
        self._causes = Causes(_log)

    @property
    def services(self) -> Mapping[str, Channel]:
        """The channels by the name of their service, while it runs."""
        return self._channels

    def find(self, category: Category) -> Service | Unknown | Nobody:
        """Return who runs a task of that type."""
        if (found := self._found.get(category)) is None:
            if len(self._found) >= MAX_CATEGORIES:  # types are a stranger's
                self._found.clear()
            found = self._found[category] = self._find(category)
        return found

    def _find(self, category: Category) -> Service | Unknown | Nobody:
        if (chosen := self._options.task_types.get(category.name)) is not None:
            return self._service(chosen, category)
        for name in self._channels:
            if (is_sync := self._listed.get(name, {}).get(category)) is not None:
                return Service(self._channels[name], is_sync)
        if silent := [service for service in self._options.services if service.name not in self._listed]:
            return Unknown(" and ".join(self._silence(service) for service in silent))
        versions = self._versions(category.name)
        if self._options.default:
            found = self._service(self._options.default, category)
            return found._replace(by_default=not versions) if isinstance(found, Service) else found
        return Nobody(self._nobody(category, versions), bool(versions))

    def _service(self, name: str, category: Category) -> Service | Unknown:
        if (channel := self._channels.get(name)) is None:
            return Unknown(f"connector {name} is not connected")
        return Service(channel, self._listed.get(name, {}).get(category, False))

    def _silence(self, service: ConnectorService) -> str:
        why = self._failed.get(service.name)
        said = f": {why}" if why else ""
        return f"connector {service.name} at {service.endpoint} has not said yet which task types it runs{said}"

    def _versions(self, name: str) -> Mapping[str, list[int]]:
        """Return the versions of a type by service that runs any."""
        found = {
            service: sorted(listed.version for listed in self._listed.get(service, {}) if listed.name == name)
            for service in self._channels
        }
        return {service: versions for service, versions in found.items() if versions}

    def _nobody(self, category: Category, versions: Mapping[str, list[int]]) -> str:
        if versions:
            shown = "; ".join(f"{name} runs {_numbers(some)}" for name, some in versions.items())
            mapped = " (map tasks of flytekit have version 1, whatever they map)" if category.version == 1 else ""
            return (
                f"no connector runs version {category.version} of task type {category.name!r}: {shown}; install the "
                f"flytekit plugin of the same release on both sides, or let the connector run that version, too{mapped}"
            )
        names = sorted({one_line(listed.name) for listed in self._categories()})
        shown = ", ".join(names[:MAX_SHOWN]) + (f" and {len(names) - MAX_SHOWN} more" if len(names) > MAX_SHOWN else "")
        asked = ", ".join(self._channels) or "none"
        return (
            f"no connector runs task type {category.name!r}: of services {asked} there are {shown or 'no task types'}"
        )

    def _categories(self) -> Iterator[Category]:
        for listed in self._listed.values():
            yield from listed

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep channels open, and ask the services, until the block is left. Awaits no service. Raises Invalid."""
        async with self._open_channels() as stack:
            for channel in self._channels.values():
                await stack.enter_async_context(beside(self._follow(channel), f"list connector {channel.name}"))
            yield

    @asynccontextmanager
    async def asked(self) -> AsyncIterator[None]:
        """Ask the services once, and keep channels open until the block is left. Raises Invalid."""
        async with self._open_channels():
            await asyncio.gather(*(self.ask(channel) for channel in self._channels.values()))
            self._found.clear()
            yield

    @asynccontextmanager
    async def _open_channels(self) -> AsyncIterator[AsyncExitStack]:
        async with AsyncExitStack() as stack:
            for service in self._options.services:
                channel = self._channels[service.name] = self._open(service, self._options)
                stack.push_async_callback(channel.close)
            self._found.clear()
            try:
                yield stack
            finally:
                self._channels = {}
                self._found.clear()

    async def _follow(self, channel: Channel) -> None:
        while True:
            await self.ask(channel)
            self._found.clear()
            await asyncio.sleep(self._options.refresh * random.uniform(0.9, 1.1))

    async def ask(self, channel: Channel) -> None:
        """Ask one service what it runs. Raises nothing."""
        name = channel.name
        try:
            answer = await channel.list_agents()
        except Rejected as error:
            self._failed[name] = str(error)
            if error.status != UNIMPLEMENTED:
                self._causes.report(error, "connector %s does not list its task types", name)
                return
            self._replace(name, {})  # an old one: the settings say which types it runs
            return
        except PropellerError as error:
            self._failed[name] = str(error)
            self._causes.report(error, "connector %s does not list its task types", name)
            return
        except Exception as error:  # noqa: BLE001 - what a library lets out must not end the loop
            self._failed[name] = type(error).__name__
            self._causes.report(error, "connector %s does not list its task types", name)
            return
        listed: dict[Category, bool] = {}
        for agent in answer.agents:
            old = (Category(task_type) for task_type in agent.supported_task_types)
            for category in (*(Category(one.name, one.version) for one in agent.supported_task_categories), *old):
                if category.name and len(listed) < MAX_CATEGORIES and len(category.name) <= NAME_CHARACTERS:
                    listed.setdefault(category, bool(agent.is_sync))
        self._failed.pop(name, None)
        self._replace(name, listed)

    def _replace(self, name: str, listed: Mapping[Category, bool]) -> None:
        if self._listed.get(name) == listed:
            return
        self._listed[name] = listed
        names = one_line(bounded(", ".join(sorted({category.name for category in listed})), NAME_CHARACTERS))
        _log.info("connector %s runs task types: %s", name, names or "none that it lists")


def _numbers(versions: Sequence[int]) -> str:
    more = f" and {len(versions) - MAX_SHOWN} more" if len(versions) > MAX_SHOWN else ""
    return f"version{'s' if len(versions) > 1 else ''} {', '.join(map(str, versions[:MAX_SHOWN]))}{more}"
