"""Limits of options, which help names, and what commands do keeps to."""

from __future__ import annotations

MAX_LINES = 100_000

DEFAULT_SHARDS = 16
"""If several processes are asked for, and no number of shards."""

MAX_SHARDS = 32
"""As many as workflows have shard keys."""
