"""Compressed answers, unfolded up to the limit of any answer: a small one may unfold to more than memory holds."""

from __future__ import annotations

import zlib

import msgspec

from propeller.errors import Unavailable
from propeller.kube._http_connection import BODY_LIMIT
from propeller.kube._transport import Response

_GZIP = 16 + zlib.MAX_WBITS  # zlib's way to say: with gzip's header and checksum


def inflated(response: Response, limit: int = BODY_LIMIT) -> Response:
    """The answer with its body as it was before it was compressed, where it was; its headers are as they came.

    Raises Unavailable where that is no gzip, or over `limit` bytes.
    """
    if response.headers.get("content-encoding", "").lower() != "gzip":
        return response
    unfolding = zlib.decompressobj(_GZIP)
    try:
        body = unfolding.decompress(response.body, limit)
    except zlib.error as error:
        raise Unavailable(f"the answer is not the gzip that it says it is: {error}") from error
    if unfolding.unconsumed_tail:
        raise Unavailable(f"an answer unfolds to over {limit} bytes: ask for smaller pages")
    if not unfolding.eof:
        raise Unavailable("the answer's gzip ends before its end")
    return msgspec.structs.replace(response, body=body)
