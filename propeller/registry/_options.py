"""Options of the registry: where registered entities are."""

from __future__ import annotations

import msgspec


class RegistryOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Registered launch plans, which executions start by project, domain, name and version."""

    prefix: str = ""
    """URI below which `propeller register --registry` has written: `file://` or `s3://`. The controller only reads
    there. Empty: `registry` below `storage.metadata_prefix`.
    """
