"""Translate botocore's errors: which bucket, permission, endpoint or credential failed, and how to mend it."""

from __future__ import annotations

from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from propeller.errors import CorruptBlob, Invalid, StorageError
from propeller.storage._options import StorageOptions
from propeller.storage._stores import missing

_MISSING = {"NoSuchKey", "404", "NotFound"}
_DENIED = {"AccessDenied", "403", "Forbidden", "AllAccessDisabled"}
_CREDENTIALS = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "RequestExpired"}
_REGION = {"PermanentRedirect", "AuthorizationHeaderMalformed", "301", "IllegalLocationConstraintException"}

_NO_OBJECT = {"XMinioParentIsObject", "XMinioObjectExistsAsDirectory", "ObjectParentIsObject", "InvalidObjectState"}
"""Codes for a directory at the object's path or the other way round, in servers that keep objects in files; and for an
archived object.
"""

_CONDITION = {"PreconditionFailed", "ConditionalRequestConflict", "412"}
"""Codes for a write whose condition does not hold, or that another write has overtaken."""

_SET_CREDENTIALS = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile in ~/.aws, or a role"


class Target(msgspec.Struct, frozen=True):
    """The blob and action of a request, for its errors."""

    uri: str
    bucket: str
    action: str
    settings: StorageOptions

    @property
    def endpoint(self) -> str:
        return self.settings.s3_endpoint or f"Amazon S3 in {self.settings.s3_region}"


@contextmanager
def translated(target: Target) -> Iterator[None]:
    """Raise propeller's errors instead of botocore's and aiohttp's."""
    import aiohttp
    from botocore import exceptions

    try:
        yield
    except exceptions.ClientError as error:
        raise _answered(target, error.response) from error
    except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError) as error:
        raise StorageError(f"{target.uri}: no S3 credentials were found; {_SET_CREDENTIALS}") from error
    except (exceptions.CredentialRetrievalError, exceptions.ProfileNotFound) as error:
        raise StorageError(f"{target.uri}: S3 credentials cannot be had: {error}; {_SET_CREDENTIALS}") from error
    except exceptions.ParamValidationError as error:
        raise Invalid(f"{target.uri!r} names no possible bucket and key: {error}") from error
    except ValueError as error:  # botocore's own for an endpoint that is no URL
        raise Invalid(f"storage.s3_endpoint is {target.settings.s3_endpoint!r}: {error}") from error
    except (exceptions.BotoCoreError, aiohttp.ClientError, OSError) as error:
        raise StorageError(
            f"{target.uri}: no answer from {target.endpoint}: {error}; see that the server runs and that "
            "storage.s3_endpoint is its address"
        ) from error


async def unless_refused(request: Awaitable[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the answer to a conditional write; None if its condition does not hold. Raises as botocore does."""
    from botocore import exceptions

    try:
        return await request
    except exceptions.ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code in _CONDITION or code in _MISSING:  # of what should be replaced, nothing may be there
            return None
        raise


def _answered(target: Target, response: dict[str, dict[str, object]]) -> Exception:
    code = str(response.get("Error", {}).get("Code", ""))
    message = str(response.get("Error", {}).get("Message", ""))
    if code in _MISSING:
        return missing(target.uri)
    if code in _NO_OBJECT:
        return CorruptBlob(
            f"{target.uri} cannot be read or written as an object: {target.endpoint} answers {code}: {message}"
        )
    if code == "NoSuchBucket":
        return StorageError(
            f"{target.uri}: {target.endpoint} has no bucket {target.bucket!r}: create it, or change "
            "storage.metadata_prefix"
        )
    if code in _DENIED:
        listing = ", and s3:ListBucket, without which S3 answers so for what is missing"
        needed = f"{target.action}{listing if target.action == 's3:GetObject' else ''}"
        return StorageError(
            f"{target.uri}: access denied: these credentials need {needed}, on bucket {target.bucket!r}"
        )
    if code in _CREDENTIALS:
        return StorageError(f"{target.uri}: {target.endpoint} refuses the credentials ({code}): {_SET_CREDENTIALS}")
    if code in _REGION:
        return StorageError(
            f"{target.uri}: bucket {target.bucket!r} is in another region than storage.s3_region, "
            f"{target.settings.s3_region!r}: {message}"
        )
    return StorageError(f"{target.uri}: {target.endpoint} answers {code}: {message}")
