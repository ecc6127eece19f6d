"""What a file's entities are registered and compiled as."""

from __future__ import annotations

import msgspec


class Versioned(msgspec.Struct, frozen=True, kw_only=True):
    """Project, domain, version and images of serialized entities."""

    project: str = "flytesnacks"
    domain: str = "development"
    version: str = "local"
    image: str = "propeller.local/none:latest"
    images: dict[str, str] = {}
    """Images by the names that tasks use."""
    needs_images: bool = False
    """Whether pods will pull them. Otherwise none is looked up or built."""
