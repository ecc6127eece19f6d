"""The store's way to Redis: one script call for an exchange, and messages that wake.

Guarantees
    One exchange is one round trip, but for the first after the server has forgotten the script. It is never repeated
    here: whether one had its effect is settled by the next statement.
    A node of a cluster that does not have the keys names the one that does: the next exchange goes there.
    A wake-up may be lost with its connection. So each new subscription wakes, too.
Assumptions
    The server evicts nothing (maxmemory-policy noeviction). If it does all the same, and takes one of our keys, the
    store begins anew, as after a restart without data.
Errors
    Unavailable for what may pass: no connection, no answer in time, a server that loads its data, is read-only, or is
    full. Denied for wrong credentials or missing rights, Untrusted for a certificate, Invalid for settings. None names
    a password.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import logging
import os
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from propeller.errors import Denied, Invalid, PropellerError, Unavailable, Untrusted
from propeller.pauses import Pauses
from propeller.redaction import shown_url
from propeller.resourcemgr.shared._depending_on import depending_on
from propeller.resourcemgr.shared._messages import Answer, Statement
from propeller.resourcemgr.shared._options import RedisOptions

_log = logging.getLogger(__name__)

PASSWORD = "PROPELLER_REDIS_PASSWORD"  # noqa: S105 - the name of the variable
SCRIPT = Path(__file__).with_name("store.lua").read_text()
_SHA = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()

_PING_SECONDS = 5.0
"""How often the server has to answer on a subscription on which nothing comes."""


MAX_TTL = 86_400.0
"""Seconds."""


_NO_RIGHTS = ("can't run this command", "can't access at least one of the keys", "ACL failure in script")
"""What Redis says, by its versions, if a script does what its user may not."""


def keys_of(prefix: str, tree: str) -> list[str]:
    """The keys of a tree of pools. They have one hash tag."""
    names = ("meta", "limits", "pools", "nodes", "leases", "lanes", "members", "balances", "groups")
    return [f"{prefix}:{{{tree}}}:{name}" for name in names]


def answer_of(data: bytes) -> Answer:
    """The script's answer. MessagePack of Lua does not tell an empty map from an empty list."""
    found = msgspec.msgpack.decode(data)
    for name in ("usage", "blocked", "kept"):
        found[name] = found.get(name) or {}
    return msgspec.convert(found, Answer, strict=False)


class RedisStore:
    """See the module's text. `exchanges` counts those that were sent. Raises Invalid for settings that cannot be used,
    also if the library is not installed.
    """

    def __init__(self, options: RedisOptions, member: str) -> None:
        _check(options)
        self._options = options
        self._keys = keys_of(options.prefix, options.tree)
        self._channels = (f"{self._keys[0]}:wake", f"{self._keys[0]}:wake:{member}")
        self._moved: tuple[str, int] | None = None
        self._client: Any = None
        self.exchanges = 0
        self.is_doubtful = False

    @property
    def place(self) -> str:
        """Where it is, for messages."""
        return shown_url(self._options.url)

    async def exchange(self, statement: Statement) -> Answer:
        """State, and get the answer. Raises Unavailable, Denied, Untrusted or Invalid."""
        self.exchanges += 1
        encoded = msgspec.msgpack.encode(statement)
        with self._translated():
            async with asyncio.timeout(self._options.timeout):
                return answer_of(await self._run(encoded))

    async def probe(self) -> None:
        """Return if the server answers. Raises as `exchange`."""
        with self._translated():
            try:
                async with asyncio.timeout(self._options.timeout):
                    if self._client is None:
                        self._client = self._connection()
                    await self._client.ping()
                self.is_doubtful = False
            except BaseException:
                await self._disconnect()
                raise

    async def _run(self, statement: bytes) -> bytes:
        from redis.exceptions import MovedError, NoScriptError

        if self._client is None:
            self._client = self._connection()
        arguments = (len(self._keys), *self._keys, statement)
        try:
            try:
                found = await self._client.evalsha(_SHA, *arguments)
            except NoScriptError:
                found = await self._client.eval(SCRIPT, *arguments)
        except MovedError as error:
            self._moved = error.host, error.port
            await self._disconnect()
            raise
        except BaseException:
            await self._disconnect()
            raise
        assert isinstance(found, bytes)
        return found

    async def _disconnect(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with suppress(Exception):  # it is broken, or its answer is of no use any more
                await client.aclose()

    @asynccontextmanager
    async def waking(self, wake: Callable[[], None]) -> AsyncIterator[None]:
        """Call `wake` when something was granted that was waited for, until the block is left."""
        await asyncio.to_thread(importlib.import_module, "redis.asyncio")  # it takes a fifth of a second
        try:
            async with depending_on(self._listen(wake), "wake-ups of the store of tokens"):
                yield
        finally:
            await self._disconnect()

    async def _listen(self, wake: Callable[[], None]) -> None:
        pauses, loop = Pauses(0.1, 5.0), asyncio.get_running_loop()
        while True:
            try:
                with self._translated():
                    await self._follow(wake)
            except PropellerError as error:  # exchanges meet the same, and say so
                _log.debug("wake-ups of the store of tokens: %s", error)
            self.is_doubtful = True
            await asyncio.sleep(pauses.failed(loop.time()))

    async def _follow(self, wake: Callable[[], None]) -> None:
        client = self._connection()
        try:
            async with client.pubsub() as channel:
                async with asyncio.timeout(self._options.timeout):
                    await channel.subscribe(*self._channels)
                is_asked = False
                while True:
                    message = await channel.get_message(timeout=_PING_SECONDS)
                    if message is not None:
                        is_asked = False
                        if message["type"] in ("message", "subscribe"):
                            wake()
                    elif is_asked:
                        raise Unavailable(f"Redis at {self.place} answers no ping")
                    else:
                        is_asked = True
                        await channel.ping()
        finally:
            with suppress(Exception):
                await client.aclose()

    def _connection(self) -> Any:
        """A client that connects when it is used, and never tries again by itself."""
        from redis.asyncio import Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        options, parts = self._options, urlsplit(self._options.url)
        host, port = self._moved or (parts.hostname or "", parts.port or 6379)
        tls: dict[str, Any] = {}
        if parts.scheme == "rediss":
            tls = {
                "ssl": True,
                "ssl_ca_certs": options.ca_file or None,
                "ssl_certfile": options.certificate_file or None,
                "ssl_keyfile": options.key_file or None,
            }
        return Redis(
            host=host,
            port=port,
            db=int(parts.path.strip("/") or 0),
            username=options.username or None,
            password=_password(options),
            socket_timeout=None,  # it would be kept by wait_for, which loses a cancellation now and then (until 3.12)
            socket_connect_timeout=options.timeout,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
            **tls,
        )

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Errors of the library as errors of ours."""
        from redis import exceptions as errors

        try:
            yield
        except (errors.AuthenticationError, errors.AuthorizationError, errors.NoPermissionError) as error:
            raise self._denied(error) from error
        except errors.MovedError as error:
            raise Unavailable(f"Redis at {self.place} has the keys on another node: {error}") from error
        except (errors.TimeoutError, TimeoutError) as error:
            raise Unavailable(f"Redis at {self.place} does not answer within {self._options.timeout:g} s") from error
        except (errors.ConnectionError, OSError) as error:
            if (reason := _distrust(error)) is not None:
                raise Untrusted(f"the certificate of Redis at {self.place} is not trusted: {reason}") from error
            raise Unavailable(f"Redis at {self.place} is not reached: {error}") from error
        except errors.RedisError as error:
            if any(words in str(error) for words in _NO_RIGHTS):
                raise self._denied(error) from error
            if "OOM command not allowed" in str(error):
                text = "is full (maxmemory): it needs more memory, or fewer other keys"
                raise Unavailable(f"Redis at {self.place} {text}") from error
            raise Unavailable(f"Redis at {self.place} cannot do it: {error}") from error

    def _denied(self, error: Exception) -> Denied:
        user, why = self._options.username or "default", str(error).strip(".")
        return Denied(
            f"Redis at {self.place} refuses the user {user!r}: {why}. "
            f"Its password is read from redis.password_file or {PASSWORD}; docs/limits.md lists its rights"
        )


def _distrust(error: BaseException | None) -> str | None:
    """Why a certificate was not accepted, if that is what the error comes from."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error.verify_message
        error = error.__cause__ or error.__context__
    return None


def _password(options: RedisOptions) -> str | None:
    if not options.password_file:
        return os.environ.get(PASSWORD) or None
    try:
        return Path(options.password_file).read_text().strip() or None
    except (OSError, UnicodeDecodeError) as error:
        raise Unavailable(f"redis.password_file {options.password_file!r} cannot be read: {error}") from error


def _check(options: RedisOptions) -> None:
    """Raise Invalid for settings that cannot be used."""
    shown = shown_url(options.url)
    try:
        parts = urlsplit(options.url)
        is_right = parts.scheme in ("redis", "rediss") and bool(parts.hostname) and (parts.port or 1) > 0
        int(parts.path.strip("/") or 0)
    except ValueError:
        is_right = False
    if not is_right:
        raise Invalid(f"redis.url is {shown!r}: write redis://host:port/database, or rediss:// for TLS")
    if shown != options.url:
        raise Invalid(
            f"redis.url {shown!r} has a user, a query or a fragment: write the user to redis.username, and the "
            f"password to {PASSWORD} in the environment or to redis.password_file"
        )
    if not 0 < options.timeout <= options.ttl / 3 or options.ttl > MAX_TTL:
        raise Invalid(
            f"redis.timeout is {options.timeout:g} and redis.ttl {options.ttl:g}: the timeout has to be above 0 and at "
            f"most a third of the TTL, and the TTL at most {MAX_TTL:g}"
        )
    if not options.prefix or any(mark in options.prefix + options.tree for mark in "{}") or not options.tree:
        raise Invalid("redis.prefix and redis.tree have to be names without braces")
    if options.lost_after < 0:
        raise Invalid(f"redis.lost_after is {options.lost_after:g}: it has to be 0 or more")
    if find_spec("redis") is None:
        raise Invalid("redis.url is set, which needs the package redis: pip install 'propeller[redis]'")
