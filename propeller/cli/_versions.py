"""What a controller tells of itself to those with which it shares the work: its version, and how it is doing."""

from __future__ import annotations

import hashlib
from importlib.metadata import version

import msgspec

from propeller.config import Settings
from propeller.reconcile import Outcome
from propeller.reconcile.rollouts import Counts, Share
from propeller.redaction import redact
from propeller.telemetry import Metrics

DIGEST = 8
"""Characters."""


def version_of(settings: Settings) -> str:
    """The version that rollouts tell apart: that of the settings, or of the package and the settings' values."""
    if settings.shards.version:
        return settings.shards.version
    values = redact(msgspec.json.encode(settings, order="deterministic").decode())  # a new password is no new version
    return f"{version('propeller')}+{hashlib.blake2b(values.encode(), digest_size=DIGEST // 2).hexdigest()}"


def counts_of(metrics: Metrics) -> Counts:
    """What this process has done since it began, as its metrics have it."""
    executions = metrics.executions
    outcomes, seconds = metrics.reconciled()
    failed = outcomes.get(Outcome.ERROR, 0) + outcomes.get(Outcome.DEADLINE, 0)
    shares = {
        "failed reconciles": Share(failed, sum(outcomes.values())),
        "executions failed by SYSTEM": Share(*executions.failed_executions()),
        "attempts failed by SYSTEM": Share(*executions.failed_attempts()),
        "failed status writes": Share(*executions.failed_writes()),
    }
    return Counts(shares, seconds, {"ended nodes": executions.ended_nodes()}, Share(*metrics.late_turns()))
