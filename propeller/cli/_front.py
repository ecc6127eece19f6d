"""One port for several processes: what each serves of its own, summed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from propeller.errors import Unavailable

if TYPE_CHECKING:
    import aiohttp
    from prometheus_client.metrics_core import Metric

ANSWER_SECONDS = 2.0
"""In which a process has to answer. A kubelet's probe waits for a second by default, three times."""

LARGEST_COUNTS = frozenset(
    {"propeller_loop_lag_max_seconds", "process_start_time_seconds", "process_max_fds", "python_info"}
)
"""Gauges of which the processes' largest is shown; all others are summed."""


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
        """The page of the first process that has one: processes share their pools, or have none. Raises Unavailable."""
        why = "no process runs"
        for number in sorted(self.ports):
            status, text = await self._ask(number, "/queue", query)
            if status == 200:
                return text.encode()
            why = text.strip()
        raise Unavailable(why)

    async def _ask_all(self, path: str) -> dict[int, tuple[int, str]]:
        numbers = sorted(self.ports)
        answers = await asyncio.gather(*(self._ask(number, path) for number in numbers))
        return dict(zip(numbers, answers, strict=True))

    async def _ask(self, number: int, path: str, query: Mapping[str, str] | None = None) -> tuple[int, str]:
        import aiohttp

        url = f"http://127.0.0.1:{self.ports[number]}{path}"
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
                if family.name in LARGEST_COUNTS:
                    known[key] = max(known.get(key, sample.value), sample.value)
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
