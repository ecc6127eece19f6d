"""Peers that are programs in Go, built once for each state of their sources.

They live in the per-user cache, so that the project's own environment and lock do not know them.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from tools import assets

ROOT = Path(__file__).parent.parent


class Missing(Exception):
    """A peer cannot be measured here; the text says why, and how to get it."""


def built(module: str, package: str = ".") -> Path:
    """The binary of a package of a module below `loadtest`. Raises Missing."""
    source = ROOT / "loadtest" / module
    files = (source / package / "main.go", source / "go.mod", source / "go.sum")
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]
    name = "-".join([module, *([package] if package != "." else [])])
    binary = cache_directory() / f"{name}-{digest}"
    if not binary.exists():
        log = cache_directory() / f"{name}.log"
        aside = binary.with_suffix(f".{os.getpid()}")
        try:
            cache_directory().mkdir(parents=True, exist_ok=True)
            go = assets.Go(assets.go_command(log), log)
            go.run("build", "-o", str(aside), f"./{package}", cwd=source, GOFLAGS="-mod=readonly -buildvcs=false")
        except assets.BuildFailed as error:
            raise Missing(f"{name} could not be built: {error}") from error
        aside.replace(binary)  # atomically, as another process may build it, too
    return binary


def cache_directory() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "propeller" / "loadtest"
