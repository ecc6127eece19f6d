"""A server for a test whose kubelet runs the pods of a whole cluster: the embedded one, and a kube-apiserver that no
other module uses. A conftest imports both fixtures.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from propeller import testing
from propeller.testing import KubeApiserver, ServerUnderTest, run_kube_apiserver


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubeApiserver]:
    with run_kube_apiserver(tmp_path_factory.mktemp("own-server")) as server:
        yield server


@pytest.fixture(
    params=[
        pytest.param("embedded", marks=pytest.mark.needs("embedded")),
        pytest.param("kube-apiserver", marks=pytest.mark.needs("kube-apiserver")),
    ]
)
async def server(request: pytest.FixtureRequest) -> AsyncIterator[ServerUnderTest]:
    if request.param == "embedded":
        async with testing.embedded_http_server() as embedded:
            yield embedded
    else:
        async with testing.real_server(request.getfixturevalue("own_server")) as real:
            yield real
