"""`s3://`: blobs in Amazon S3, or in a server with the same protocol.

Guarantees
    aiobotocore is imported, and one client opened, on the first use; `aclose` closes it.
    Size is checked against Content-Length before a body is read; a body without one is read no further than the limit.
Assumptions
    Credentials are where AWS's tools look for them: AWS_* variables, ~/.aws, the role of pod or machine. With a custom
    endpoint, the bucket is in the path of the URL, as most such servers require.
Errors
    MissingBlob; CorruptBlob over the limit; StorageError that names the bucket and the permission or endpoint; Invalid
    if aiobotocore is not installed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, BinaryIO

from propeller.errors import CorruptBlob, Invalid, MissingBlob
from propeller.redaction import shown_url
from propeller.storage._options import StorageOptions
from propeller.storage._s3_errors import Target, translated, unless_refused
from propeller.storage._stores import too_large
from propeller.storage._transfers import PIECE, over
from propeller.storage._uri import bucket_and_key

CONNECTIONS = 64
"""As many as a controller has effects under way at once."""

CONNECT_SECONDS = 5.0
"""A server that is there answers a connect within milliseconds."""

ATTEMPTS = 3
"""Attempts of one request within its deadline. Callers retry after longer pauses."""

DIRECTORY_TYPE = "application/x-directory"
"""Content type of the objects that stand for directories."""

PART_BYTES = 16 << 20
"""Of a file that is uploaded in parts: this much of it is in memory."""

MAX_PARTS = 10_000
"""S3's own limit."""

_PAGE = 1000
"""Keys of one answer to a list: the most that S3 gives."""


class S3Store:
    """Reads and writes objects; see the module's text. More than 15 methods: one for each operation of a store, and
    what they share.
    """

    is_local = False

    def __init__(self, settings: StorageOptions) -> None:
        self._settings = settings
        self._opened = AsyncExitStack()
        self._opening = asyncio.Lock()
        self._client: Any = None

    def read_now(self, uri: str, limit: int) -> bytes | None:
        return None

    def write_now(self, uri: str, data: bytes) -> bool:
        return False

    async def read(self, uri: str, limit: int) -> bytes:
        async with self._answered(uri) as answer:
            if str(answer.get("ContentType", "")).partition(";")[0] == DIRECTORY_TYPE:
                raise CorruptBlob(f"{uri} is a directory, and a blob is an object with content: move it away")
            return await _read(uri, answer, limit)

    async def write(self, uri: str, data: bytes) -> None:
        bucket, key = bucket_and_key(uri)
        client = self._client or await self._open()
        with translated(Target(uri, bucket, "s3:PutObject", self._settings)):
            await client.put_object(Bucket=bucket, Key=key, Body=data)

    async def delete(self, uri: str) -> None:
        bucket, key = bucket_and_key(uri)
        client = self._client or await self._open()
        with translated(Target(uri, bucket, "s3:DeleteObject", self._settings)):
            await client.delete_object(Bucket=bucket, Key=key)

    async def create(self, uri: str, data: bytes) -> str | None:
        return await self._write_if(uri, data, IfNoneMatch="*")

    async def replace(self, uri: str, data: bytes, version: str) -> str | None:
        return await self._write_if(uri, data, IfMatch=version)

    async def _write_if(self, uri: str, data: bytes, **condition: str) -> str | None:
        bucket, key = bucket_and_key(uri)
        client = self._client or await self._open()
        with translated(Target(uri, bucket, "s3:PutObject", self._settings)):
            answer = await unless_refused(client.put_object(Bucket=bucket, Key=key, Body=data, **condition))
        return None if answer is None else str(answer.get("ETag", ""))

    async def read_version(self, uri: str, limit: int) -> tuple[bytes, str]:
        async with self._answered(uri) as answer:
            return await _read(uri, answer, limit), str(answer.get("ETag", ""))

    async def copy(self, source: str, target: str) -> str | None:
        """The server copies: no bytes come here."""
        (bucket, key), (to_bucket, to_key) = bucket_and_key(source), bucket_and_key(target)
        client = self._client or await self._open()
        origin = {"Bucket": bucket, "Key": key}
        try:
            with translated(Target(target, to_bucket, "s3:PutObject", self._settings)):
                answer = await client.copy_object(Bucket=to_bucket, Key=to_key, CopySource=origin)
        except MissingBlob:
            return None
        return str(answer.get("CopyObjectResult", {}).get("ETag", ""))

    async def list_blobs(self, prefix: str, most: int) -> list[str]:
        bucket, _, key = prefix.removeprefix("s3://").partition("/")
        client = self._client or await self._open()
        found: list[str] = []
        page: dict[str, Any] = {}
        with translated(Target(prefix, bucket, "s3:ListBucket", self._settings)):
            while len(found) < most:
                asked = {"Bucket": bucket, "Prefix": key, "MaxKeys": min(most - len(found), _PAGE), **page}
                answer = await client.list_objects_v2(**asked)
                found += [f"s3://{bucket}/{one['Key']}" for one in answer.get("Contents", ())]
                if not (token := answer.get("NextContinuationToken")):
                    break
                page = {"ContinuationToken": token}
        return found

    async def exists(self, uri: str) -> bool:
        uri = uri.rstrip("/")
        return await self.list_blobs(uri, 1) == [uri] or bool(await self.list_blobs(f"{uri}/", 1))

    async def fetch(self, uri: str, target: BinaryIO, limit: int) -> int:
        copied = 0
        async with self._answered(uri) as answer:
            if (size := answer.get("ContentLength")) is not None and size > limit:
                raise over(uri, size, limit)
            while piece := await answer["Body"].read(PIECE):
                copied += len(piece)
                if copied > limit:
                    raise over(uri, copied, limit)
                target.write(piece)
        return copied

    async def put(self, uri: str, source: BinaryIO, size: int) -> None:
        bucket, key = bucket_and_key(uri)
        client = self._client or await self._open()
        with translated(Target(uri, bucket, "s3:PutObject", self._settings)):
            if size <= PART_BYTES:
                await client.put_object(Bucket=bucket, Key=key, Body=source.read())
            else:
                await _put_in_parts(client, {"Bucket": bucket, "Key": key}, source, size)

    async def aclose(self) -> None:
        self._client = None
        await self._opened.aclose()

    @asynccontextmanager
    async def _answered(self, uri: str) -> AsyncIterator[dict[str, Any]]:
        """The answer to a request for an object; its body is closed at the end."""
        bucket, key = bucket_and_key(uri)
        client = self._client or await self._open()
        with translated(Target(uri, bucket, "s3:GetObject", self._settings)):
            answer = await client.get_object(Bucket=bucket, Key=key)
            try:
                yield answer
            finally:
                answer["Body"].close()  # of a body that was read to its end the connection is kept

    async def _open(self) -> Any:
        async with self._opening:
            if self._client is None:
                session, options = await asyncio.to_thread(_prepare, self._settings)
                with translated(Target("s3://", "", "", self._settings)):
                    self._client = await self._opened.enter_async_context(session.create_client("s3", **options))
            return self._client


async def _read(uri: str, answer: dict[str, Any], limit: int) -> bytes:
    body, size = answer["Body"], answer.get("ContentLength")
    if size is not None:
        if size > limit:
            raise too_large(uri, size, limit)
        data: bytes = await body.read()
        return data
    pieces: list[bytes] = []
    read = 0
    while piece := await body.read(PIECE):
        pieces.append(piece)
        read += len(piece)
        if read > limit:
            raise too_large(uri, read, limit)
    return b"".join(pieces)


async def _put_in_parts(client: Any, where: dict[str, str], source: BinaryIO, size: int) -> None:
    """S3's multipart upload. One that fails is aborted, so that its parts cost nothing."""
    begun = await client.create_multipart_upload(**where)
    upload = {**where, "UploadId": begun["UploadId"]}
    try:
        parts: list[dict[str, Any]] = []
        part_bytes = max(PART_BYTES, -(-size // MAX_PARTS))
        while piece := source.read(part_bytes):
            number = len(parts) + 1
            answer = await client.upload_part(**upload, PartNumber=number, Body=piece)
            parts.append({"PartNumber": number, "ETag": answer["ETag"]})
        await client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    except BaseException:
        await client.abort_multipart_upload(**upload)
        raise


def _prepare(settings: StorageOptions) -> tuple[Any, dict[str, Any]]:
    """A session and its client's options. For a thread: imports and the service's description take most of a second."""
    try:
        from aiobotocore.config import AioConfig
        from aiobotocore.session import get_session
    except ImportError as error:
        raise Invalid("s3:// needs the package aiobotocore: pip install 'propeller[s3]'") from error
    endpoint = settings.s3_endpoint
    if shown_url(endpoint) != endpoint:  # the libraries would show it in errors and logs
        raise Invalid(
            f"storage.s3_endpoint {shown_url(endpoint)!r} has a user, a query or a fragment, which no S3 server takes: "
            "remove it; credentials are AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile in ~/.aws, or a role"
        )
    session = get_session()
    descriptions = session.get_component("data_loader")
    descriptions.load_service_model("s3", "service-2")  # kept by the loader: the client finds it there
    descriptions.load_service_model("s3", "endpoint-rule-set-1")
    own_server = bool(endpoint)
    return session, {
        "region_name": settings.s3_region,
        "endpoint_url": endpoint or None,
        "config": AioConfig(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=settings.deadline,
            max_pool_connections=CONNECTIONS,
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            s3={"addressing_style": "path" if own_server else "auto"},
            # Servers other than AWS's often reject the checksums that its newer clients add.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    }
