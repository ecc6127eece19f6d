"""Ports for servers that tests start later."""

import errno
import socket

import pytest

from propeller.testing import free_ports


def test_a_port_is_kept_until_a_server_listens_there() -> None:
    (port,) = free_ports(1)
    with socket.socket() as stranger, pytest.raises(OSError) as error:
        stranger.bind(("127.0.0.1", port))
    assert error.value.errno == errno.EADDRINUSE
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    for _ in range(2):  # also after it was stopped
        with socket.create_server(("127.0.0.1", port)), socket.create_connection(("127.0.0.1", port)):
            pass


@pytest.mark.parametrize("address", ["0.0.0.0", "127.0.0.1"])
def test_the_kernel_gives_a_kept_port_to_nobody_else(address: str) -> None:
    kept = set(free_ports(50))
    assert len(kept) == 50
    given: list[socket.socket] = []
    try:
        for _ in range(2_000):
            other = socket.socket()
            given.append(other)
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind((address, 0))
        assert kept.isdisjoint(other.getsockname()[1] for other in given)
    finally:
        for other in given:
            other.close()


def test_a_process_keeps_a_bounded_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("propeller.testing._processes.RESERVED_PORTS", 3)
    (first,) = free_ports(1)
    free_ports(3)
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", first))
