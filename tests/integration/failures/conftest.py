"""The rows are made to happen on both servers."""

from tests.own_servers import own_server, server

__all__ = ["own_server", "server"]
