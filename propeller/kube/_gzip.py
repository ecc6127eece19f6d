"""Compressed responses, unfolded up to a limit: a small one may unfold to more than memory holds. That a server, or a
proxy before it, compresses without being asked is no reason to misread it.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Mapping

import msgspec

from propeller.errors import Unavailable
from propeller.kube._http_responses import BODY_LIMIT
from propeller.kube._transport import Response, Stream

_GZIP = 16 + zlib.MAX_WBITS  # zlib's way to say: with gzip's header and checksum

RATIO = 64
"""Times its compressed size that a response may have, if that is over `ANY_RATIO_BYTES`. Pages of one and the same pod
shrink to a thirtieth.
"""

ANY_RATIO_BYTES = 32 * 1024 * 1024

INLINE_BYTES = 16 * 1024
"""Compressed bytes that are unfolded on the loop: 16 MiB of zeros, 10 ms, at the worst. More goes to a thread."""

STREAM_BYTES = 64 * 1024
"""Of a stream that are unfolded at once."""


def inflated(response: Response, limit: int = BODY_LIMIT) -> Response:
    """The response with its body as it was before it was compressed, if it was; its headers are as they came.

    Raises Unavailable if it is not gzip, or would have more than `limit` bytes, or `RATIO` times its own.
    """
    if not _is_compressed(response.headers):
        return response
    unfolding = zlib.decompressobj(_GZIP)
    limit = min(limit, max(ANY_RATIO_BYTES, RATIO * len(response.body)))
    try:
        body = unfolding.decompress(response.body, limit)
    except zlib.error as error:
        raise Unavailable(f"the answer is not the gzip that it says it is: {error}") from error
    if unfolding.unconsumed_tail:
        raise Unavailable(
            f"an answer of {len(response.body)} bytes unfolds to over {limit} bytes: ask for smaller pages"
        )
    if not unfolding.eof:
        raise Unavailable("the answer's gzip ends before its end")
    if unfolding.unused_data.strip(b"\0"):
        raise Unavailable("the answer's gzip is followed by something else")
    return msgspec.structs.replace(response, body=body)


async def unfolded(response: Response) -> Response:
    """As `inflated`; a large one beside the loop."""
    if len(response.body) <= INLINE_BYTES or not _is_compressed(response.headers):
        return inflated(response)
    return await asyncio.to_thread(inflated, response)


def unfolded_stream(stream: Stream) -> Stream:
    """The stream as it was before it was compressed, if it was. Raises Unavailable."""
    return _Unfolding(stream) if _is_compressed(stream.headers) else stream


class _Unfolding:
    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.status = stream.status
        self.headers = stream.headers

    async def __aiter__(self) -> AsyncIterator[bytes]:
        unfolding = zlib.decompressobj(_GZIP)
        async for chunk in self._stream:
            rest = chunk
            while rest:
                try:
                    piece = unfolding.decompress(rest, STREAM_BYTES)
                except zlib.error as error:
                    raise Unavailable(f"the stream is not the gzip that it says it is: {error}") from error
                rest = unfolding.unconsumed_tail
                if piece:
                    yield piece
                await asyncio.sleep(0)  # a little may unfold to much
        if not unfolding.eof:
            raise Unavailable("the stream's gzip ends before its end")


def _is_compressed(headers: Mapping[str, str]) -> bool:
    encoding = headers.get("content-encoding", "").strip().lower()
    if encoding in {"", "identity"}:
        return False
    if encoding not in {"gzip", "x-gzip"}:
        raise Unavailable(f"the answer is compressed as {encoding[:50]!r}, which nobody asked for: look at the proxy")
    return True
