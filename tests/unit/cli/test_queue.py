"""The queue as people read it, and what is said if there is none."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from propeller.cli import _queue
from propeller.cli._probes import Probes
from propeller.cli._queue import _at_url, _read, _show
from propeller.cli._queue_text import duration, queue_text
from propeller.embedded.server import ApiServer
from propeller.errors import Invalid, PropellerError, Unavailable
from propeller.kube import LEASES, NAMESPACES, Client, Raw
from propeller.telemetry import Metrics, serve_metrics

PAGE: dict[str, Any] = {
    "pools": [
        {"name": "hive", "held": 80, "capacity": 80, "waiting": 1204, "grantsPerSecond": 4.13},
        {"name": "api", "held": 0, "capacity": None, "waiting": 0, "grantsPerSecond": None},
    ],
    "tenants": [
        {"name": "ml", "weight": 2.0, "held": {"hive": 27}, "waiting": {"hive": 4}, "share": 0.3375, "ideal": 0.6667},
    ],
    "tenantsNotShown": 3,
    "quotas": [{"namespace": "ml-production", "waiting": 7}],
    "claims": [
        {
            "pool": "hive",
            "amount": 2,
            "tenant": "ml/production",
            "position": 4,
            "execution": "ml-production/b7",
            "attempt": 0,
            "resource": "b7-n4-0",
            "since": "2026-01-01T00:00:00Z",
            "waitedSeconds": 250.2,
            "estimateSeconds": None,
        }
    ],
    "waiting": 1204,
    "notShown": 1203,
}


def test_quotas_of_several_clusters_are_shown_with_the_cluster() -> None:
    quotas = [{"cluster": "east", "namespace": "ml", "waiting": 7}, {"namespace": "ml", "waiting": 1}]
    shown = queue_text(PAGE | {"quotas": quotas})
    rows = [line.split("  ") for line in shown.splitlines()]
    assert [[cell.strip() for cell in row if cell] for row in rows if row[0].strip() in ("CLUSTER", "east", "-")] == [
        ["CLUSTER", "NAMESPACE", "WAITING FOR QUOTA"],
        ["east", "ml", "7"],
        ["-", "ml", "1"],
    ]


def test_pools_tenants_and_claims_are_tables_and_what_is_not_shown_is_counted() -> None:
    assert queue_text(PAGE).splitlines() == [
        "POOL  HELD  CAPACITY  WAITING  GRANTS",
        "hive  80    80        1204     4.1/s",
        "api   0     -         0        -",
        "",
        "TENANT  WEIGHT  SHARE  IDEAL  HELD     WAITING",
        "ml      2       33.8%  66.7%  hive=27  hive=4",
        "and 3 more tenants",
        "",
        "NAMESPACE      WAITING FOR QUOTA",
        "ml-production  7",
        "",
        "POOL  TENANT         PLACE  WAITED  ESTIMATE  TOKENS  ATTEMPT",
        "hive  ml/production  4      4m10s   unknown   2       ml-production/b7-n4-0",
        "and 1203 more that wait: --first 500, --pool, --tenant",
    ]
    assert queue_text({**PAGE, "claims": [], "waiting": 0}).endswith("nobody waits for tokens")


def test_what_waits_in_other_controllers_is_counted() -> None:
    shared = PAGE | {"controllers": 3}
    assert queue_text(shared).splitlines()[-1].startswith("and 1203 more that wait, here or in 2 other controllers: ")
    assert queue_text(shared | {"claims": []}).splitlines()[-1] == "1204 wait for tokens in 2 other controllers"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "0s"),
        (119.4, "119s"),
        (120, "2m0s"),
        (599, "9m59s"),
        (3600, "60m"),
        (5 * 3600 + 60, "5h1m"),
        (30 * 3600, "30h"),
        (51 * 3600, "2d3h"),
    ],
)
def test_durations_are_short(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize("answer", [b"<html>", b"[]", b'{"other": 1}'])
def test_an_answer_that_is_no_queue_is_said_to_be_none(answer: bytes) -> None:
    with pytest.raises(PropellerError, match="is that the HTTP port of a propeller controller"):
        _read(answer)


async def test_a_port_is_asked_and_what_it_refuses_is_said() -> None:
    def page(query: Any) -> bytes:
        if query.get("pool") == "nope":
            raise Invalid("'nope' is no pool")
        if query.get("pool") == "standby":
            raise Unavailable("this process does not run workflows now: other has the lease")
        return orjson.dumps({"claims": [], "pool": query.get("pool")})

    async with serve_metrics(Metrics(), pages={"/queue": page}) as port:
        url = f"http://127.0.0.1:{port}/"
        async with _at_url(url, {"pool": "hive"}) as look:
            assert _read(await look()) == {"claims": [], "pool": "hive"}
        async with _at_url(url, {"pool": "nope"}) as look:
            with pytest.raises(Invalid, match="'nope' is no pool"):
                await look()
        async with _at_url(url, {"pool": "standby"}) as look:
            with pytest.raises(Unavailable, match="other has the lease"):
                await look()
    async with _at_url(url, {}) as look:
        with pytest.raises(Unavailable, match="does not answer"):
            await look()
    async with serve_metrics(Metrics()) as port, _at_url(f"http://127.0.0.1:{port}", {}) as look:
        with pytest.raises(Unavailable, match="it answers 404 to /queue"):
            await look()
    with pytest.raises(Invalid, match="is no URL"):
        async with _at_url("localhost:10254", {}):
            pass


async def _asks(server: ApiServer, holder: str | None) -> PropellerError:
    """What is said if the lease is held by that one, and no pod of it is there."""
    from propeller.cli._queue import _through_proxy

    client = Client(server.transport())
    await client.create(NAMESPACES, {"metadata": {"name": "flyte"}})
    if holder is not None:
        lease = {"metadata": {"name": "leader"}, "spec": {"holderIdentity": holder}}
        await client.create(LEASES.typed(Raw), lease, "flyte")
    with pytest.raises(PropellerError) as raised:
        await _through_proxy(client, "flyte", "leader", 10254, {})
    return raised.value


@pytest.mark.parametrize(
    ("holder", "word"),
    [
        (None, "there is no lease flyte/leader"),
        ("", "nobody has the lease flyte/leader"),
        ("laptop_1234", "there is no pod laptop in namespace flyte: if it runs outside of the cluster"),
    ],
)
async def test_if_the_leader_cannot_be_asked_it_is_said_what_to_do(holder: str | None, word: str) -> None:
    async with ApiServer() as server:
        assert word in str(await _asks(server, holder))


class _Slow:
    """A controller whose pages take 0.1 s, with its clock."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def queue(self, asked: Any) -> dict[str, Any]:
        self.seconds += 0.1
        return {"claims": [], "pool": asked.pool}

    def monotonic(self) -> float:
        return self.seconds

    now = monotonic


async def test_pages_that_many_ask_for_take_a_tenth_of_the_time() -> None:
    async with ApiServer() as server:
        slow: Any = _Slow()
        probes = Probes(Client(server.transport()), 60.0, slow)
        probes.controller = slow
        answered = 0
        while slow.seconds < 100.0:
            try:
                probes.queue({"pool": "hive"})
                answered += 1
            except Unavailable:
                slow.seconds += 0.01
        assert 80 <= answered <= 101


async def test_a_process_that_does_not_run_workflows_says_so() -> None:
    async with ApiServer() as server:
        probes = Probes(Client(server.transport()), 60.0)
        with pytest.raises(Unavailable, match="this process does not run workflows now"):
            probes.queue({})


async def test_a_page_that_comes_in_pieces_is_read_whole() -> None:
    """Regression: the first piece alone was read, and was no JSON; a page of thousands of claims comes in several."""
    claims = [PAGE["claims"][0] | {"attempt": number} for number in range(20_000)]

    async with (
        serve_metrics(Metrics(), pages={"/queue": lambda _: orjson.dumps(PAGE | {"claims": claims})}) as port,
        _at_url(f"http://127.0.0.1:{port}", {}) as look,
    ):
        assert len(_read(await look())["claims"]) == len(claims)


async def test_an_answer_that_never_ends_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_queue, "MAX_BYTES", 1000)
    async with (
        serve_metrics(Metrics(), pages={"/queue": lambda _: b" " * 100_000}) as port,
        _at_url(f"http://127.0.0.1:{port}", {}) as look,
    ):
        with pytest.raises(PropellerError, match="answers with more than 1000 bytes"):
            await look()


@pytest.mark.parametrize("url", ["http://me:sesame@127.0.0.1:1/?token=sesame", "me:sesame@127.0.0.1:1"])
async def test_credentials_in_a_url_are_not_said(url: str) -> None:
    with pytest.raises(PropellerError, match=r"127\.0\.0\.1:1") as raised:
        async with _at_url(url, {}) as look:
            await look()
    assert "sesame" not in str(raised.value)


async def test_watching_goes_on_while_no_controller_is_active(capfd: pytest.CaptureFixture[str]) -> None:
    """Regression: it ended at the first handover of the lease, unless it was on a terminal."""
    answers: list[bytes | Exception] = [orjson.dumps(PAGE), Unavailable("nobody has the lease"), orjson.dumps(PAGE)]

    async def look() -> bytes:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    @asynccontextmanager
    async def way() -> AsyncIterator[Any]:
        yield look

    with pytest.raises(IndexError):  # there is no fourth answer
        await _show(way(), as_json=True, every=0.0)
    captured = capfd.readouterr()
    assert [orjson.loads(line)["waiting"] for line in captured.out.splitlines()] == [1204, 1204]
    assert captured.err == "nobody has the lease\n"
