"""Credentials: given, read from a file that is rotated, or obtained from a plugin.

Guarantees
    A file is read again every TOKEN_FILE_SECONDS, and at once after a 401. A plugin's credentials are replaced before
    they expire, by one run however many requests wait for it.
    A plugin is run with growing pauses, up to MAX_PAUSE: until the next run, refused or expired credentials stay in
    use, and a failure is repeated. If a run fails before the credentials expire, they stay in use.
Errors
    Denied, naming the file or the plugin.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Protocol

from propeller.clock import Clock
from propeller.errors import Denied
from propeller.kube._command import Transcript
from propeller.kube._transport import Credential
from propeller.pauses import Pauses

log = logging.getLogger(__name__)

TOKEN_FILE_SECONDS = 60.0
"""How long a token file's content is used before it is read again: kubelets rotate it well before it expires."""

EXPIRY_MARGIN_SECONDS = 60.0
"""Seconds before their expiry at which a plugin's credentials are replaced, so that no request carries an expired
token; those that live for less than two minutes, after half of it.
"""

FIRST_PAUSE = 1.0
MAX_PAUSE = 60.0
"""Seconds between two runs of a plugin, each of which starts a process or two and may ask people to log in: with
credentials that the server refuses, every request would lead to one. Credentials that live longer cost no pause.
"""


class Provider(Protocol):
    """A source of credentials that is run for them."""

    @property
    def where(self) -> str:
        """Its name, and the file that names it, for messages."""

    async def obtain(self, transcript: Transcript) -> Credential:
        """Raises Denied."""


class FixedCredential:
    waits_for = ""

    def __init__(self, credential: Credential) -> None:
        self._credential = credential

    async def current(self) -> Credential:
        return self._credential

    def refused(self, credential: Credential) -> None:
        """A fixed credential has no successor."""


class FileToken:
    """While the file cannot be read (it may just be being replaced), the last token is used, or `fallback`."""

    waits_for = ""

    def __init__(self, path: str, clock: Clock, fallback: str = "") -> None:
        self._path = Path(path)
        self._clock = clock
        self._credential = Credential(token=fallback)
        self._read_at: float | None = None
        self._refused = False

    async def current(self) -> Credential:
        if self._read_at is None or self._refused or self._clock.monotonic() - self._read_at > TOKEN_FILE_SECONDS:
            try:
                self._credential = Credential(token=self._path.read_text().strip())
            except (OSError, UnicodeDecodeError) as error:
                if not self._credential.token:
                    reason = error.strerror if isinstance(error, OSError) else "it is no text"
                    raise Denied(f"the token file {self._path} cannot be read: {reason}") from None  # may be the token
            self._read_at = self._clock.monotonic()
            self._refused = False
        return self._credential

    def refused(self, credential: Credential) -> None:
        self._refused = self._refused or credential == self._credential


class ObtainedCredential:
    """Credentials of an exec plugin or an auth provider."""

    def __init__(self, provider: Provider, clock: Clock) -> None:
        self._provider = provider
        self._clock = clock
        self._credential: Credential | None = None
        self._refused = False
        self._renew_at: float | None = None
        self._lock = asyncio.Lock()
        self._running: Transcript | None = None
        self._pauses = Pauses(FIRST_PAUSE, MAX_PAUSE)
        self._failure = ""
        """Why the last run gave nothing, "" if it gave something."""

    @property
    def waits_for(self) -> str:
        if self._running is None:
            return ""
        said = self._running.last_line
        return f"{self._provider.where} (it says: {said})" if said else self._provider.where

    async def current(self) -> Credential:
        async with self._lock:
            due = self._renew_at is not None and self._clock.now() >= self._renew_at
            if self._credential is not None and not ((self._refused or due) and self._may_run()):
                return self._credential
            if not self._may_run():
                raise Denied(self._failure)
            return await self._run()

    def refused(self, credential: Credential) -> None:
        self._refused = self._refused or credential == self._credential

    async def _run(self) -> Credential:
        self._pauses.failed(self._clock.monotonic())
        self._failure = f"{self._provider.where} was given up before it gave credentials"
        if self._refused or self._has_expired():
            self._credential = None
        self._running = Transcript()
        try:
            found = await self._provider.obtain(self._running)
        except Denied as error:
            self._failure = str(error)
            self._running = None
            if self._credential is not None:
                log.warning("%s; the credentials from before are used until they expire", error)
                return self._credential
            raise
        self._running = None
        self._credential, self._refused = found, False
        self._renew_at = None if found.expires is None else self._renewal(found.expires)
        return found

    def _has_expired(self) -> bool:
        expires = self._credential.expires if self._credential is not None else None
        return expires is not None and self._clock.now() >= expires

    def _may_run(self) -> bool:
        return not self._pauses.left(self._clock.monotonic())

    def _renewal(self, expires: float) -> float:
        return expires - min(EXPIRY_MARGIN_SECONDS, (expires - self._clock.now()) / 2)
