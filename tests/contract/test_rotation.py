"""Certificates that are replaced in their files while a client runs. On the real server alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from propeller.config import Client as ClientSettings
from propeller.errors import Denied, Unavailable
from propeller.kube import CONFIG_MAPS, Connection, connect
from tests.servers import KubeApiserver
from tests.servers._certificates import Authority, Pair


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
    async with connect(connection, ClientSettings(deadline=1.0)) as client:
        with pytest.raises(Unavailable, match="certificate that is not trusted"):
            await client.list(CONFIG_MAPS, "default")
        file.write_bytes(kube_apiserver.ca)
        await client.list(CONFIG_MAPS, "default")
