"""Settings of every pod, in addition to its task's."""

from __future__ import annotations

from typing import Self

import msgspec

from propeller.config import KueueOptions, PodPolicy, Settings


class PodSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The supported part of FlytePropeller's `plugins.k8s` section."""

    policy: PodPolicy = PodPolicy()
    """What pods may ask of the platform."""

    kueue: KueueOptions = KueueOptions()
    """Whose pods Kueue admits."""

    raw_output_prefix: str
    """URI under which tasks write their own files where the execution names no place."""

    environment: dict[str, str] = {}
    """Variables of every container. They win over the task's own and the execution's, as FlytePropeller's
    default-env-vars do.
    """

    annotations: dict[str, str] = msgspec.field(
        default_factory=lambda: {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}
    )
    """Annotations of every pod. FlytePropeller's default: a task that is moved to another machine starts over."""

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Those of a controller."""
        endpoint = settings.storage.s3_endpoint
        return cls(
            policy=settings.pods,
            kueue=settings.kueue,
            raw_output_prefix=settings.storage.raw_output_prefix,
            environment={"FLYTE_AWS_ENDPOINT": endpoint} if endpoint else {},
        )
