"""The S3 server of these tests."""

from __future__ import annotations

from tests.servers.s3 import rclone, s3

__all__ = ["rclone", "s3"]
