"""Fixtures of the real servers, for all tests: each starts once per session, with the first test that asks for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers._kube_apiserver import KubeApiserver, running


@pytest.fixture(scope="session")
def kube_apiserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubeApiserver]:
    """A real API server for the whole session. Tests share it: each makes a namespace of its own."""
    with running(tmp_path_factory.mktemp("kube-apiserver")) as server:
        yield server
