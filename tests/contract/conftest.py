"""The servers that each test of this suite runs on.

`server` is every form of both: the embedded one in memory and over HTTP, and a real kube-apiserver. `http_server`
leaves out the form without a network. A test that asks for either runs once on each. What only one of them has is asked
for by name: `real_server` (several users), `embedded_server` (the controllers of a whole cluster: garbage, quotas).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager

import pytest

from propeller import testing
from propeller.testing import HttpServerUnderTest, KubeApiserver, ServerUnderTest

IN_MEMORY = pytest.param("embedded", marks=pytest.mark.needs("embedded"), id="embedded")
OVER_HTTP = [
    pytest.param("embedded over HTTP", marks=pytest.mark.needs("embedded"), id="embedded-http"),
    pytest.param("kube-apiserver", marks=pytest.mark.needs("kube-apiserver"), id="kube-apiserver"),
]


def http_face(request: pytest.FixtureRequest) -> AbstractAsyncContextManager[HttpServerUnderTest]:
    if request.param == "kube-apiserver":
        return testing.real_server(request.getfixturevalue("kube_apiserver"))
    return testing.embedded_http_server()


@pytest.fixture(params=[IN_MEMORY, *OVER_HTTP])
async def server(request: pytest.FixtureRequest) -> AsyncIterator[ServerUnderTest]:
    context: AbstractAsyncContextManager[ServerUnderTest] = (
        testing.embedded_server() if request.param == "embedded" else http_face(request)
    )
    async with context as face:
        yield face


@pytest.fixture(params=OVER_HTTP)
async def http_server(request: pytest.FixtureRequest) -> AsyncIterator[HttpServerUnderTest]:
    async with http_face(request) as face:
        yield face


@pytest.fixture
async def real_server(kube_apiserver: KubeApiserver) -> AsyncIterator[HttpServerUnderTest]:
    async with testing.real_server(kube_apiserver) as face:
        yield face


@pytest.fixture(params=[IN_MEMORY])
async def embedded_server(request: pytest.FixtureRequest) -> AsyncIterator[ServerUnderTest]:
    async with testing.embedded_server() as face:
        yield face
