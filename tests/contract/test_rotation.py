"""Certificates that are replaced, in their files or by a plugin, while a client runs. On the real server alone."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from propeller.errors import Denied, Unavailable
from propeller.kube import CONFIG_MAPS, Client, ClientOptions, Connection, ExecPlugin, Request, connect
from propeller.testing import Authority, KubeApiserver, Pair


def show(pair: Pair, directory: Path) -> tuple[Path, Path]:
    """The pair in the files that a client shows."""
    certificate, key = directory / "tls.crt", directory / "tls.key"
    certificate.write_bytes(pair.certificate.read_bytes())
    key.write_bytes(pair.key.read_bytes())
    return certificate, key


async def test_a_client_certificate_that_is_replaced_is_shown_by_the_next_connection(
    kube_apiserver: KubeApiserver, tmp_path: Path
) -> None:
    certificate, key = show(kube_apiserver.authority.client("stranger", "people"), tmp_path)
    connection = Connection(
        server=kube_apiserver.url,
        ca=kube_apiserver.ca,
        client_certificate=certificate.read_bytes(),
        client_key=key.read_bytes(),
        client_certificate_file=str(certificate),
        client_key_file=str(key),
    )
    async with connect(connection) as client:
        with pytest.raises(Denied, match='User "stranger" cannot list'):
            await client.list(CONFIG_MAPS, "default")
        show(kube_apiserver.authority.client("administrator", "system:masters"), tmp_path)
        with pytest.raises(Denied, match='User "stranger" cannot list'):
            await client.list(CONFIG_MAPS, "default")  # on the connection that is there
        async for _ in client.watch(CONFIG_MAPS, "default", resource_version="", timeout_seconds=1):
            break  # on one of its own; those that showed the old certificate are not used after it
        await client.list(CONFIG_MAPS, "default")


async def test_an_authority_that_is_replaced_is_trusted_by_the_next_connection(
    kube_apiserver: KubeApiserver, tmp_path: Path
) -> None:
    file = tmp_path / "trusted.crt"
    file.write_bytes(Authority(tmp_path, "stranger").pem)
    connection = Connection(
        server=kube_apiserver.url, ca=file.read_bytes(), ca_file=str(file), token=kube_apiserver.token
    )
    async with connect(connection, ClientOptions(deadline=1.0)) as client:
        with pytest.raises(Unavailable, match="certificate that is not trusted"):
            await client.list(CONFIG_MAPS, "default")
        file.write_bytes(kube_apiserver.ca)
        await client.list(CONFIG_MAPS, "default")


class SetClock:
    """A clock that stands until it is moved."""

    time = 1_000_000.0

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time


ROTATING = """
import datetime, json, pathlib, sys
directory, epoch = pathlib.Path(sys.argv[1]), float(sys.argv[2])
runs = directory / "runs"
run = len(runs.read_text()) if runs.exists() else 0
runs.write_text("x" * (run + 1))
user = ("first", "second", "third")[run]
expires = datetime.datetime.fromtimestamp(epoch + 3600 * (run + 1), datetime.UTC).isoformat()
status = {
    "clientCertificateData": (directory / f"{user}.crt").read_text(),
    "clientKeyData": (directory / f"{user}.key").read_text(),
    "expirationTimestamp": expires,
}
print(json.dumps({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}))
"""


async def test_a_certificate_of_a_plugin_is_replaced_before_it_expires_and_no_old_connection_used(
    kube_apiserver: KubeApiserver, tmp_path: Path
) -> None:
    for user in ("first", "second", "third"):
        pair = kube_apiserver.authority.client(user, "people")
        (tmp_path / f"{user}.crt").write_bytes(pair.certificate.read_bytes())
        (tmp_path / f"{user}.key").write_bytes(pair.key.read_bytes())
    clock = SetClock()
    plugin = ExecPlugin(
        command=sys.executable,
        args=("-SE", "-c", ROTATING, str(tmp_path), str(clock.time)),
        api_version="client.authentication.k8s.io/v1",
        source="a test",
    )
    connection = Connection(server=kube_apiserver.url, ca=kube_apiserver.ca, exec_plugin=plugin)
    async with connect(connection, clock=clock) as client:
        assert [await whoami(client) for _ in range(2)] == ["first", "first"]
        clock.time += 3500
        assert [await whoami(client) for _ in range(2)] == ["first", "first"]
        clock.time += 50
        assert set(await asyncio.gather(*(whoami(client) for _ in range(8)))) == {"second"}
        clock.time += 3600
        assert [await whoami(client) for _ in range(2)] == ["third", "third"]
    assert (tmp_path / "runs").read_text() == "xxx"


async def whoami(client: Client) -> str:
    review = {"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1"}
    request = Request(
        method="POST",
        path="/apis/authentication.k8s.io/v1/selfsubjectreviews",
        headers={"content-type": "application/json"},
        body=json.dumps(review).encode(),
    )
    answer = json.loads((await client.transport.send(request, deadline=60)).body)
    return str(answer["status"]["userInfo"]["username"])
