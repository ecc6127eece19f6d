"""Whether this user may create namespaces, in which the kubelet runs containers of unpacked images."""

from __future__ import annotations

import functools
import os
import subprocess

import pytest


@functools.cache
def may_create_namespaces() -> bool:
    command = ["unshare", "--user", "--map-root-user", "--mount", "true"]
    try:
        return subprocess.run(command, capture_output=True, timeout=30, check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.fixture(scope="session")
def namespaces() -> None:
    """Skip the test if there are none; fail it in CI."""
    if may_create_namespaces():
        return
    why = "user namespaces are not permitted here: sysctl kernel.unprivileged_userns_clone, user.max_user_namespaces"
    if os.environ.get("CI") == "true":
        pytest.fail(why, pytrace=False)
    pytest.skip(why)
