"""Bearer tokens: given, read from a file that is rotated, or obtained from a plugin.

Guarantees
    A file is read again every TOKEN_FILE_SECONDS, and at once when the server refuses the token. A token that a plugin
    gave is replaced before it expires, once however many requests wait for it.
    A plugin that is given up leaves no process. It is run with growing pauses, up to LONGEST_PAUSE: meanwhile a token
    that was refused, or has expired when it comes, is used all the same, and what failed fails again as it did.
Errors
    Denied, naming the file or the context.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

import msgspec

from propeller.clock import Clock
from propeller.errors import Denied
from propeller.pauses import Pauses
from propeller.redaction import redact
from propeller.text import OVERLAP, bounded, one_line

TOKEN_FILE_SECONDS = 60.0
"""How long a token file's content is used before it is read again: kubelets rotate it well before it expires."""

EXPIRY_MARGIN_SECONDS = 60.0
"""An obtained token is replaced this long before it expires, so that no request carries an expired one; one that lives
for less than two minutes after half its life.
"""

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
"""Seconds between two runs of a plugin, each of which starts two processes and may ask people to log in: with tokens
that the server refuses, every request would lead to one. A token that lasts for longer costs no pause.
"""

REASON_CHARACTERS = 1024
"""Of what a plugin says when it fails: a line for people."""

OBTAIN = (sys.executable, "-m", "propeller.kube._credentials")
"""The command that obtains a token; kubeconfig and context follow."""


class FixedToken:
    waits_for = ""

    def __init__(self, token: str) -> None:
        self._token = token

    async def token(self) -> str:
        return self._token

    def expired(self, token: str) -> None:
        """A fixed token has no successor."""


class FileToken:
    """While the file cannot be read (it may just be being replaced), the last token is used."""

    waits_for = ""

    def __init__(self, path: str, clock: Clock) -> None:
        self._path = Path(path)
        self._clock = clock
        self._token = ""
        self._read_at = 0.0
        self._refused = False

    async def token(self) -> str:
        if not self._token or self._refused or self._clock.monotonic() - self._read_at > TOKEN_FILE_SECONDS:
            try:
                self._token = self._path.read_text().strip()
            except (OSError, UnicodeDecodeError) as error:
                if not self._token:
                    reason = error.strerror if isinstance(error, OSError) else "it is no text"
                    raise Denied(f"the token file {self._path} cannot be read: {reason}") from None  # may be the token
            self._read_at = self._clock.monotonic()
            self._refused = False
        return self._token

    def expired(self, token: str) -> None:
        self._refused = self._refused or token == self._token


class _Obtained(msgspec.Struct, frozen=True):
    token: str
    expires: float | None = None

    def __repr__(self) -> str:
        return f"_Obtained(expires={self.expires})"


class ObtainedToken:
    """A token that an exec plugin or auth provider gives, through kubernetes-asyncio in a process of its own."""

    def __init__(self, kubeconfig: str, context: str, clock: Clock) -> None:
        self._kubeconfig = kubeconfig
        self._context = context
        self._clock = clock
        self._token = ""
        self._refused = False
        self._renew_at: float | None = None
        self._lock = asyncio.Lock()
        self.waits_for = ""
        self._pauses = Pauses(FIRST_PAUSE, LONGEST_PAUSE)
        self._failure = ""
        """Why the last run gave no token, "" where it did."""

    async def token(self) -> str:
        async with self._lock:
            due = self._renew_at is not None and self._clock.now() >= self._renew_at
            if (self._token and not (self._refused or due)) or not self._may_run():
                if self._failure:
                    raise Denied(self._failure)
                return self._token
            self._pauses.failed(self._clock.monotonic())
            self._token, self._failure = "", f"{self._where}: no credentials could be obtained: the plugin was given up"
            self.waits_for = f"the credentials of {self._where} (exec plugin or auth provider)"
            try:
                found = await self._obtain()
            except Denied as error:
                self._failure = str(error)
                self.waits_for = ""
                raise
            self.waits_for = ""
            self._token, self._refused, self._failure = found.token, False, ""
            self._renew_at = None if found.expires is None else self._renewal(found.expires)
            return self._token

    def expired(self, token: str) -> None:
        self._refused = self._refused or token == self._token

    @property
    def _where(self) -> str:
        return f"context {self._context!r} of {self._kubeconfig}"

    def _may_run(self) -> bool:
        return not self._pauses.left(self._clock.monotonic())

    def _renewal(self, expires: float) -> float:
        return expires - min(EXPIRY_MARGIN_SECONDS, (expires - self._clock.now()) / 2)

    async def _obtain(self) -> _Obtained:
        where = self._where
        starting = asyncio.create_task(
            asyncio.create_subprocess_exec(
                *OBTAIN,
                self._kubeconfig,
                self._context,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,  # so that the plugin, which is its child, can be ended with it
            )
        )
        try:
            # asyncio, cancelled while it starts a process, kills that process only and then waits for its children
            process = await asyncio.shield(starting)
            output, errors = await process.communicate()
        finally:
            process = await starting
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):  # it has just ended
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        if process.returncode:
            said = redact(errors[-OVERLAP:].decode(errors="replace")).strip()  # whole: a key's last line has no form
            reason = said.splitlines()[-1] if said else "no reason given"
            raise Denied(f"{where}: no credentials could be obtained: {bounded(one_line(reason), REASON_CHARACTERS)}")
        try:
            return msgspec.json.decode(output, type=_Obtained)
        except ValueError as error:
            raise Denied(f"{where}: what was obtained is no token: {error}") from error
