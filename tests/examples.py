"""How many examples hypothesis tries: few while somebody waits for the tests, all in CI.

`--hypothesis-profile=full` asks for all of them anywhere, `--hypothesis-profile=quick` for few.
"""

from __future__ import annotations

import os
from typing import Any

from hypothesis import HealthCheck, settings

FULL, QUICK = 100, 20
"""Examples of a test that does not say how many it needs: hypothesis' own default, and a fifth of it."""


def load_profile() -> None:
    """Register both profiles and load the full one if CI=true, else the quick one."""
    noisy: dict[str, Any] = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}  # cores are shared
    settings.register_profile("full", max_examples=FULL, print_blob=True, **noisy)
    settings.register_profile("quick", max_examples=QUICK, **noisy)
    settings.load_profile("full" if os.environ.get("CI") == "true" else "quick")


def examples(full: int, **options: Any) -> settings:
    """Settings of a test that needs another number of examples than most: `full` in the full profile, else a share.

    Call it when the test is defined: the profile is loaded by then.
    """
    return settings(max_examples=max(1, full * settings().max_examples // FULL), **options)
