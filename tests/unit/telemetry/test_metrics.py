"""Metrics and the port that serves them."""

from __future__ import annotations

from collections.abc import Hashable

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from propeller.errors import Unavailable
from propeller.telemetry import Metrics, serve_metrics


def samples(metrics: Metrics, name: str) -> dict[tuple[str, ...], float]:
    """The samples called `name`: label values in the order of the label names -> value."""
    return {
        tuple(value for _, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(metrics.text().decode())
        for sample in family.samples
        if sample.name == name
    }


def test_reconciles_are_counted_by_outcome_and_timed() -> None:
    metrics = Metrics()
    on_reconcile = metrics.reconciles_of("workflows")
    on_reconcile("ok", 0.002)
    on_reconcile("ok", 0.002)
    on_reconcile("error", 4.0)
    assert samples(metrics, "propeller_rounds_total") == {("workflows", "ok"): 2, ("workflows", "error"): 1}
    assert samples(metrics, "propeller_round_seconds_count") == {("workflows",): 3}
    assert samples(metrics, "propeller_round_seconds_sum") == {("workflows",): pytest.approx(4.004)}


def test_queue_depths_are_read_when_scraped() -> None:
    metrics = Metrics()
    depths: dict[Hashable, int] = {"a": 1}
    metrics.watch_queue("workflows", lambda: depths)
    depths["a"] = 7
    assert samples(metrics, "propeller_queue_waiting") == {("workflows", "a"): 7}


def test_more_tenants_than_a_scrape_should_hold_are_summed_up() -> None:
    metrics = Metrics()
    metrics.watch_queue("workflows", lambda: {f"tenant {number}": number for number in range(1000)})
    waiting = samples(metrics, "propeller_queue_waiting")
    assert len(waiting) == 101
    assert sum(waiting.values()) == sum(range(1000))
    assert ("workflows", "tenant 999") in waiting


def test_lease_and_lag_are_gauges() -> None:
    metrics = Metrics()
    metrics.watch_lease("flyte/propeller", lambda: True)
    on_block = metrics.watch_lag(lambda: 0.25)
    on_block(0.25)
    assert samples(metrics, "propeller_leading") == {("flyte/propeller",): 1}
    assert samples(metrics, "propeller_loop_lag_max_seconds") == {(): 0.25}
    assert samples(metrics, "propeller_loop_blocks_total") == {(): 1}


def test_samples_of_lag_make_a_histogram() -> None:
    metrics = Metrics()
    for seconds in (0.0, 0.002, 0.03, 2.0):
        metrics.lagged(seconds)
    counts = {float(bound): count for (bound,), count in samples(metrics, "propeller_loop_lag_seconds_bucket").items()}
    assert (counts[0.001], counts[0.0025], counts[0.05], counts[float("inf")]) == (1, 2, 3, 4)


async def test_the_port_serves_metrics_and_probes() -> None:
    metrics = Metrics()
    reason: str | None = "caches are not synced yet"
    async with (
        serve_metrics(metrics, ready=lambda: reason) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
    ):
        async with session.get("/metrics") as answer:
            assert answer.status == 200
            assert "propeller_rounds" in await answer.text()
        async with session.get("/healthz") as answer:
            assert (answer.status, await answer.text()) == (200, "ok\n")
        async with session.get("/readyz") as answer:
            assert (answer.status, await answer.text()) == (503, "caches are not synced yet\n")
        reason = None
        async with session.get("/readyz") as answer:
            assert answer.status == 200


async def test_a_port_in_use_is_named() -> None:
    async with serve_metrics(Metrics()) as port:
        with pytest.raises(Unavailable, match=f"127.0.0.1:{port}"):
            async with serve_metrics(Metrics(), port=port):
                pass


async def test_leaving_closes_the_port() -> None:
    async with serve_metrics(Metrics()) as port:
        pass
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(f"http://127.0.0.1:{port}/healthz")
