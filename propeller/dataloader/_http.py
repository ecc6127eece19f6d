"""Files that an input names by an `http(s)://` URL, as FlyteCopilot takes them: read without credentials.

Errors
    Invalid if the server has no such file (a status of 4xx) or one over the limit; StorageError for what may pass.
"""

from __future__ import annotations

import asyncio
from typing import BinaryIO

from propeller.errors import Invalid, StorageError
from propeller.redaction import shown_url

SCHEMES = ("http://", "https://")

MAX_REDIRECTS = 5

_SILENCE = 60.0
"""Seconds without a byte until the server counts as gone; the whole has `raw_containers.download_timeout`."""

_PIECE = 1024 * 1024
"""Bytes in memory at once."""

_PASSES = frozenset({408, 425, 429})


def is_http(uri: str) -> bool:
    """Whether the URI is a URL of HTTP."""
    return uri.lower().startswith(SCHEMES)


async def fetch_http(url: str, target: BinaryIO, limit: int) -> int:
    """Write what is at the URL to an open file, in pieces; return its bytes."""
    import aiohttp

    shown = shown_url(url)
    timeout = aiohttp.ClientTimeout(total=None, connect=_SILENCE, sock_read=_SILENCE)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=True, auto_decompress=False) as session,
            session.get(url, max_redirects=MAX_REDIRECTS, headers={"Accept-Encoding": "identity"}) as answer,
        ):
            _require_there(shown, answer.status)
            size = 0
            async for piece in answer.content.iter_chunked(_PIECE):
                size += len(piece)
                if size > limit:
                    raise Invalid(f"{shown} has more than {limit} bytes (raw_containers.max_bytes)")
                await asyncio.to_thread(target.write, piece)
            return size
    except (aiohttp.InvalidURL, UnicodeError) as error:  # a host's name that IDNA has not
        raise Invalid(f"{shown} is no URL that can be asked") from error
    except aiohttp.TooManyRedirects as error:
        raise Invalid(f"{shown} redirects more than {MAX_REDIRECTS} times") from error
    except (aiohttp.ClientError, TimeoutError) as error:
        raise StorageError(f"{shown} is not read: {type(error).__name__}") from error


def _require_there(shown: str, status: int) -> None:
    if status >= 500 or status in _PASSES:
        raise StorageError(f"{shown} answers {status}")
    if status != 200:
        raise Invalid(f"{shown} answers {status}")
