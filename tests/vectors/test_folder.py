"""The vectors are there, and all of them are discovered."""

from __future__ import annotations

import os

import pytest

from tests.vectors.folder import FOLDER, MISSING, found, is_here


def test_the_vectors_are_here() -> None:
    if not is_here():
        if os.environ.get("CI") == "true":
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    assert found("flytekit/*/workflow.pb"), f"{FOLDER} has no workflow of flytekit"
    assert found("snacks-core/*_2.pb"), f"{FOLDER} has no workflow of flytesnacks"
