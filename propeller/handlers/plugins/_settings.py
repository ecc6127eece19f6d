"""Settings of every pod, in addition to its task's."""

from __future__ import annotations

from typing import Self

import msgspec

from propeller.config import KueueOptions, PodDefaults, PodPolicy, RawContainerOptions, Settings
from propeller.handlers.plugins._templates import PodTemplates


class PodSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The supported part of FlytePropeller's `plugins.k8s` section."""

    policy: PodPolicy = PodPolicy()
    """What pods may ask of the platform."""

    defaults: PodDefaults = PodDefaults()
    """What the platform gives to them."""

    templates: PodTemplates | None = None
    """PodTemplates of the cluster in which the pods run; None if pods have no templates."""

    kueue: KueueOptions = KueueOptions()
    """Whose pods Kueue admits."""

    raw_containers: RawContainerOptions = RawContainerOptions()
    """The containers that load files beside raw containers."""

    s3_endpoint: str = ""
    """URL of the S3 server that these use; empty means AWS."""

    s3_region: str = "us-east-1"
    """Region that these sign for."""

    raw_output_prefix: str
    """URI under which tasks write their own files where the execution names no place."""

    environment: dict[str, str] = {}
    """Variables of every container, before those of `defaults`."""

    @property
    def variables(self) -> dict[str, str]:
        """Variables of every container. They win over the task's own and the execution's, as FlytePropeller's
        default-env-vars do.
        """
        return self.environment | self.defaults.environment if self.defaults.environment else self.environment

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Those of a controller."""
        endpoint = settings.storage.s3_endpoint
        return cls(
            policy=settings.pods,
            defaults=settings.pod_defaults,
            kueue=settings.kueue,
            raw_containers=settings.raw_containers,
            s3_endpoint=endpoint,
            s3_region=settings.storage.s3_region,
            raw_output_prefix=settings.storage.raw_output_prefix,
            environment={"FLYTE_AWS_ENDPOINT": endpoint} if endpoint else {},
        )
