"""Limits of a workflow's size. A workflow that exceeds one is refused, naming the limit."""

from __future__ import annotations

import msgspec

from propeller.compiler._errors import CompileError, CompileErrors, ErrorCode


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of one compilation. Messages nested deeper than 100 levels are refused too: that is protobuf's limit."""

    nodes: int = 100_000
    """Nodes of the workflow and its sub-workflows, as written. FlyteAdmin stops at 100 by default, so this is far
    beyond what exists; so many take a few seconds and about 400 MB to compile and build."""

    depth: int = 24
    """Nodes within nodes (a branch in a branch, an array in an array). protobuf's limit leaves room for about as
    many."""

    id_length: int = 8192
    """Characters of a node's id. A case of a branch has its branch's id in front of its own, and once more each time
    that Flyte compiles its workflow again."""

    bytes: int = 64 * 1024 * 1024
    """Of all messages together, serialized. The largest closures known are a few MiB; a resource is at most 1.5."""


DEFAULT_LIMITS = Limits()


def exceeded(limit: str, value: int, most: int, what: str) -> CompileErrors:
    """Return the error for `what`, which has `value` when `limit` allows `most`."""
    message = f"{what} is {value}, and Limits.{limit} allows {most}: make the workflow smaller, or raise the limit"
    return CompileErrors((CompileError(ErrorCode.INVALID_VALUE, "", message),))
