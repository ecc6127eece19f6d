"""One port for several processes: what each serves of its own, summed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import orjson

from propeller.cli._front_pages import merged_queue
from propeller.errors import Invalid, Unavailable
from propeller.handlers import Asked

if TYPE_CHECKING:
    import aiohttp
    from prometheus_client.metrics_core import Metric

ANSWER_SECONDS = 2.0
"""In which a process has to answer. A kubelet's probe waits for a second by default, three times."""

MAX_OF_PROCESSES = frozenset(
    {
        "propeller_loop_lag_max_seconds",
        "propeller_routing_table_refused",
        "process_start_time_seconds",
        "process_max_fds",
        "python_info",
    }
)
"""Gauges of which the processes' largest is shown."""

MIN_OF_PROCESSES = frozenset({"propeller_cluster_connected", "propeller_cluster_healthy"})
"""Gauges of which the processes' smallest is shown; all others are summed."""


class Front:
    """Asks the processes by their ports. Implements what `serve_metrics` serves."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self.ports: dict[int, int] = {}
        """By number, of processes that serve."""
        self.missing: set[int] = set()
        """Numbers of processes that are to run, and do not serve."""

    async def text(self) -> bytes:
        """All metrics, summed over the processes that answer."""
        answers = await self._ask_all("/metrics")
        return summed(text for status, text in answers.values() if status == 200)

    async def live(self) -> str | None:
        """Why the machine should be restarted: a process that runs is not healthy. One that ended is replaced."""
        return _first_failure(await self._ask_all("/healthz"))

    async def ready(self) -> str | None:
        """Why not all processes do their part."""
        if self.missing:
            return f"process {min(self.missing)} does not run yet"
        return _first_failure(await self._ask_all("/readyz"))

    async def queue(self, query: Mapping[str, str]) -> bytes:
        """What waits in all processes that answer. Raises Invalid, Unavailable."""
        pages = await self._pages("/queue", query)
        return orjson.dumps(merged_queue([orjson.loads(page) for page in pages], Asked.of(query).first))

    async def clusters(self, query: Mapping[str, str]) -> bytes:
        """How the clusters of the routing table are: each process says so for all. Raises Unavailable."""
        return (await self._pages("/clusters", query))[0].encode()

    async def _pages(self, path: str, query: Mapping[str, str]) -> list[str]:
        """The answers of the processes that have one; the reason of the first if none has."""
        answers = list((await self._ask_all(path, query)).values()) or [(503, "no process runs")]
        if pages := [text for status, text in answers if status == 200]:
            return pages
        status, why = answers[0]
        raise (Invalid if status == 400 else Unavailable)(why.strip())

    async def _ask_all(self, path: str, query: Mapping[str, str] | None = None) -> dict[int, tuple[int, str]]:
        async with asyncio.TaskGroup() as group:
            tasks = {
                number: group.create_task(self._ask(port, path, query), name=f"ask process {number}")
                for number, port in sorted(self.ports.items())
            }
        return {number: task.result() for number, task in tasks.items()}

    async def _ask(self, port: int, path: str, query: Mapping[str, str] | None = None) -> tuple[int, str]:
        import aiohttp

        url = f"http://127.0.0.1:{port}{path}"
        try:
            async with asyncio.timeout(ANSWER_SECONDS), self._session.get(url, params=dict(query or {})) as answer:
                return answer.status, await answer.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            return 0, f"it does not answer: {str(error) or type(error).__name__}"


def summed(texts: Iterable[str]) -> bytes:
    """The sum of scrapes in Prometheus' text format, family by family."""
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.parser import text_string_to_metric_families

    families: dict[str, Metric] = {}
    values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
    for text in texts:
        for family in text_string_to_metric_families(text):
            families.setdefault(family.name, family)
            known = values.setdefault(family.name, {})
            for sample in family.samples:
                key = sample.name, tuple(sample.labels.items())
                if family.name in MAX_OF_PROCESSES:
                    known[key] = max(known.get(key, sample.value), sample.value)
                elif family.name in MIN_OF_PROCESSES:
                    known[key] = min(known.get(key, sample.value), sample.value)
                else:
                    known[key] = known.get(key, 0.0) + sample.value
    registry = CollectorRegistry()
    registry.register(_Collected(families, values))
    return generate_latest(registry)


class _Collected:
    """A collector of families that are known already."""

    def __init__(
        self,
        families: Mapping[str, Metric],
        values: Mapping[str, Mapping[tuple[str, tuple[tuple[str, str], ...]], float]],
    ) -> None:
        self._families = families
        self._values = values

    def collect(self) -> Iterable[Metric]:
        for name, family in self._families.items():
            family.samples = []
            for (sample, labels), value in self._values[name].items():
                family.add_sample(sample, dict(labels), value)
            yield family


def _first_failure(answers: Mapping[int, tuple[int, str]]) -> str | None:
    for number, (status, text) in answers.items():
        if status != 200:
            return f"process {number}: {text.strip()}"
    return None
