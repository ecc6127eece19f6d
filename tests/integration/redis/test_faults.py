"""Redis restarted with and without data, failed over, paused, full, cut off from one process, emptied; wrong
credentials and certificates. Pools are not exceeded, but by the bound that docs/limits.md states.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from propeller.errors import Invalid, Untrusted
from propeller.resourcemgr import Limits, Pool
from propeller.resourcemgr.shared import RedisOptions
from propeller.testing import Authority, Pair, RedisServer, TcpProxy, eventually, run_redis_server
from tests.integration.redis.processes import TTL, process, short
from tests.integration.redis.stores import prime

pytestmark = pytest.mark.needs("redis-server")


@pytest.mark.parametrize("keeps_data", [True, False])
async def test_a_crash_of_redis_exceeds_no_pool_with_its_data_or_without(tmp_path: Path, *, keeps_data: bool) -> None:
    flags = ("--appendonly", "yes", "--appendfsync", "always") if keeps_data else ()
    with run_redis_server(tmp_path, flags) as redis:
        options = short(redis)
        await prime(options)
        async with process("a", options) as a, process("b", options) as b:
            a.ask(3)
            await a.has(3)
            b.ask(3)
            await b.has(1)
            redis.stop(crash=True)
            await a.keeps(3, seconds=0.1)
            a.ask(1)
            a.end()
            await a.has(3)  # within its slice
            redis.start()
            await b.keeps(1, seconds=TTL)
            a.end()
            await b.has(2)
            assert len(a.held) == 2


async def test_a_failover_to_a_replica_that_lacks_the_last_grants_exceeds_no_pool(tmp_path: Path) -> None:
    with run_redis_server(tmp_path / "primary") as primary, run_redis_server(tmp_path / "replica") as replica:
        await prime(short(primary))
        async with TcpProxy(primary.url) as proxy:
            options = short(primary, url=proxy.url)
            async with process("a", options) as a, process("b", options) as b:
                a.ask(1)
                await a.has(1)
                replica.follow(primary)
                await eventually(lambda: replica.is_in_step or None, interval=0.02)
                replica.follow(None)
                a.ask(3)
                await a.has(4)  # three of them are unknown to the replica
                proxy.lead_to(replica.url)
                proxy.cut()
                b.ask(4)
                await b.keeps(0, seconds=TTL / 2)
                assert len(a.held) == 4
                a.end()
                await b.has(1)
                assert len(a.held) == 3


async def test_a_server_that_is_paused_is_waited_for_within_the_slice(redis: RedisServer) -> None:
    options = short(redis)
    await prime(options)
    async with process("a", options) as a, process("b", options) as b:
        a.ask(3)
        await a.has(3)
        b.ask(2)
        await b.has(1)
        redis.pause()
        a.ask(2)
        await a.keeps(3, seconds=0.2)
        a.end()  # after the statement that has had no answer
        await a.has(3)
        assert len(b.held) == 1
        redis.resume()
        await a.keeps(3, seconds=TTL / 2)
        a.end()
        a.end()
        await eventually(lambda: len(a.held) + len(b.held) == 4 or None, interval=0.01)


async def test_the_slice_of_a_process_that_is_cut_off_is_the_bound_and_with_stop_it_starts_nothing(
    redis: RedisServer,
) -> None:
    await prime(short(redis))
    async with TcpProxy(redis.url) as of_a, TcpProxy(redis.url) as of_b:
        cut, stopped = short(redis, url=of_a.url), short(redis, url=of_b.url, lost="stop")
        async with process("a", cut) as a, process("b", stopped) as b, process("c", short(redis)) as c:
            a.ask(2)
            b.ask(2)
            await a.has(2)
            await b.has(2)
            c.ask(9)
            await c.keeps(0, seconds=0.1)
            await of_a.refuse()
            await of_b.refuse()
            await a.keeps(2, seconds=0.1)
            for one in (a, b):
                one.ask(2)
                one.end()
            await a.has(2)
            await c.has(4)  # after a TTL what the others had is its
            await a.keeps(2, seconds=0.2)
            await b.keeps(1, seconds=0.0)
            wait = b.tokens.explain("b4")
            assert str(wait) == f"waits for api: {of_b.url} is not reached"
            await of_a.listen()
            await of_b.listen()
            await eventually(lambda: redis.command("HLEN", "propeller:{tokens}:members") == "3" or None)

            def turn_of_b() -> bool:
                if c.held:
                    c.end()
                return len(b.held) == 2

            await eventually(turn_of_b)
            assert len(a.held) + len(b.held) + len(c.held) <= 4


async def test_a_server_that_is_full_grants_nothing_and_says_so(
    redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    options = short(redis, lost="stop")
    await prime(options)
    async with process("a", options) as a:
        a.ask(1)
        await a.has(1)
        redis.command("CONFIG", "SET", "maxmemory", "1")
        with caplog.at_level(logging.WARNING):
            a.ask(1)
            await a.keeps(1, seconds=0.5)
        assert "is full (maxmemory)" in caplog.text
        redis.command("CONFIG", "SET", "maxmemory", "0")
        await a.has(2)


@pytest.mark.parametrize("key", ["leases", "pools", "members", "meta"])
async def test_a_key_that_is_evicted_or_deleted_is_no_licence_to_grant_more(redis: RedisServer, key: str) -> None:
    options = short(redis)
    await prime(options)
    async with process("a", options) as a, process("b", options) as b:
        a.ask(3)
        await a.has(3)
        redis.command("DEL", f"propeller:{{tokens}}:{key}")
        b.ask(3)
        await b.keeps(0, seconds=TTL / 2)
        await b.has(1)
        assert len(a.held) == 3
        a.end()
        await b.has(2)


async def test_changed_limits_are_everywhere_at_once_and_two_that_disagree_are_named(
    redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    options = short(redis)
    await prime(options)
    async with process("a", options) as a, process("b", options) as b:
        a.ask(3)
        b.ask(3)
        await eventually(lambda: len(a.held) + len(b.held) == 4 or None, interval=0.01)
        a.tokens.configure(Limits(pools=(Pool(name="api", capacity=5),), generation=1))
        await eventually(lambda: len(a.held) + len(b.held) == 5 or None, interval=0.01)
        with caplog.at_level(logging.INFO):
            a.tokens.configure(Limits(pools=(Pool(name="api", capacity=6),), generation=2))
            b.tokens.configure(Limits(pools=(Pool(name="api", capacity=1),), generation=2))
            await eventually(lambda: "differ" in caplog.text or None, interval=0.01)
        assert "pool 'api' is" in caplog.text
        assert "capacity=6" in caplog.text
        assert "capacity=1" in caplog.text
        assert len(a.held) + len(b.held) in (5, 6)


PASSWORD = "correct horse"


@pytest.mark.parametrize("of_file", [True, False])
async def test_a_password_comes_from_the_environment_or_a_file_and_is_never_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, *, of_file: bool
) -> None:
    with run_redis_server(tmp_path / "redis", ("--requirepass", PASSWORD)) as redis:
        secret = tmp_path / "secret"
        options = short(redis, password_file=str(secret) if of_file else "")

        def give(password: str) -> None:
            secret.write_text(f"{password}\n")
            monkeypatch.setenv("PROPELLER_REDIS_PASSWORD", password)

        give("wrong battery")
        with caplog.at_level(logging.DEBUG), pytest.raises(Invalid, match="refuses the user 'default'") as caught:
            async with process("a", options):
                pass
        assert "PROPELLER_REDIS_PASSWORD" in str(caught.value)
        give(PASSWORD)
        async with process("a", options) as a:
            a.ask(1)
            await a.has(1)
        for secret_text in ("wrong battery", PASSWORD):
            assert secret_text not in caplog.text
            assert secret_text not in str(caught.value)
            assert secret_text not in repr(options)


RIGHTS = "eval evalsha info time ping subscribe publish get set del hget hmget hgetall hset hdel hlen"
"""As docs/limits.md lists them."""


@pytest.mark.parametrize("missing", ["", "hgetall", "info", "evalsha", "subscribe"])
async def test_the_rights_that_are_documented_are_enough_and_needed(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    await prime(short(redis))
    rights = [f"+{right}" for right in RIGHTS.split() if right != missing]
    redis.command(
        "ACL", "SETUSER", "controller", "on", f">{PASSWORD}", "resetchannels", "~propeller:*", "&propeller:*", *rights
    )
    monkeypatch.setenv("PROPELLER_REDIS_PASSWORD", PASSWORD)
    options = short(redis, username="controller")
    if missing and missing != "subscribe":
        with pytest.raises(Invalid, match="refuses the user 'controller'"):
            async with process("a", options):
                pass
        return
    async with process("a", options) as a, process("b", options) as b:
        a.ask(4)
        await a.has(4)
        b.ask(1)
        a.end()
        await b.has(1)  # without messages it hears of it when it renews what it has


async def test_a_slow_line_delays_grants_and_exceeds_nothing(redis: RedisServer) -> None:
    await prime(short(redis))
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(TcpProxy(redis.url))
        a = await stack.enter_async_context(process("a", short(redis, url=proxy.url)))
        b = await stack.enter_async_context(process("b", short(redis)))
        proxy.throttle(4000)
        for _ in range(5):
            a.ask(2)
            b.ask(2)
            for _ in range(20):
                assert len(a.held) + len(b.held) <= 4
                await asyncio.sleep(0.02)
            for one in (a, b):
                if one.held:
                    one.end()
        proxy.throttle(None)
        await eventually(lambda: len(a.held) + len(b.held) == 4 or None, interval=0.01)


async def test_a_password_in_the_url_is_refused_without_being_shown(redis: RedisServer) -> None:
    with pytest.raises(Invalid, match="PROPELLER_REDIS_PASSWORD") as caught:
        async with process("a", RedisOptions(url=redis.url.replace("//", "//:secret@"))):
            pass
    assert "secret@" not in str(caught.value)


@asynccontextmanager
async def _tls_before(redis: RedisServer, pair: Pair, authority: Path) -> AsyncIterator[int]:
    """A port that speaks TLS, asks for a client's certificate, and leads to a server that was built without."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(pair.certificate, pair.key)

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            sink.write(data)
        sink.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_redis, to_redis = await asyncio.open_connection("127.0.0.1", redis.port)
        await asyncio.gather(pump(reader, to_redis), pump(from_redis, writer), return_exceptions=True)

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as server:
        yield server.sockets[0].getsockname()[1]


async def test_tls_is_verified_on_both_sides(redis: RedisServer, tmp_path: Path) -> None:
    for name in ("ours", "other"):
        (tmp_path / name).mkdir()
    authority, other = Authority(tmp_path / "ours"), Authority(tmp_path / "other")
    client = authority.client("controller", "controllers")
    await prime(short(redis))
    async with _tls_before(redis, authority.server(), authority.pair.certificate) as port:
        tls = short(
            redis,
            url=f"rediss://localhost:{port}",
            ca_file=str(authority.pair.certificate),
            certificate_file=str(client.certificate),
            key_file=str(client.key),
        )
        async with process("a", tls) as a:
            a.ask(1)
            await a.has(1)
        with pytest.raises(Untrusted, match="certificate of Redis"):
            async with process("a", msgspec.structs.replace(tls, ca_file=str(other.pair.certificate))):
                pass


async def test_any_node_of_a_cluster_leads_to_the_one_that_has_the_keys(tmp_path: Path) -> None:
    flags = ("--cluster-enabled", "yes")
    with run_redis_server(tmp_path / "one", flags) as one, run_redis_server(tmp_path / "two", flags) as two:
        one.command("CLUSTER", "ADDSLOTS", *map(str, range(8192)))
        two.command("CLUSTER", "ADDSLOTS", *map(str, range(8192, 16384)))
        one.command("CLUSTER", "MEET", "127.0.0.1", str(two.port))
        await eventually(lambda: "cluster_state:ok" in one.command("CLUSTER", "INFO") or None)
        await eventually(lambda: "cluster_state:ok" in two.command("CLUSTER", "INFO") or None)
        async with process("a", short(one)) as a, process("b", short(two)) as b:
            a.ask(3)
            b.ask(3)
            await eventually(lambda: len(a.held) + len(b.held) == 4 or None, interval=0.01)
            while a.held:
                a.end()
            await b.has(3)
