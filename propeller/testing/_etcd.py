"""A real etcd with one member, in memory speed: it need not survive a crash of the machine."""

from __future__ import annotations

import base64
import json
import shutil
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from propeller.errors import Unavailable
from propeller.testing._components import binary
from propeller.testing._processes import ServerProcess, free_ports


class Etcd:
    """An etcd process. Clients connect to `url`, without TLS or authentication: loopback only."""

    def __init__(self, directory: Path) -> None:
        client, peer = (f"http://127.0.0.1:{port}" for port in free_ports(2))
        self.url = client
        self._data = directory / "etcd"
        self._process = ServerProcess(
            "etcd",
            [
                str(binary("etcd")),
                f"--data-dir={self._data}",
                f"--listen-client-urls={client}",
                f"--advertise-client-urls={client}",
                f"--listen-peer-urls={peer}",
                f"--initial-advertise-peer-urls={peer}",
                f"--initial-cluster=default={peer}",
                "--unsafe-no-fsync",
                "--watch-progress-notify-interval=1s",  # kubeadm says 5 s; bookmarks of quiet kinds follow from it
                "--log-level=warn",
            ],
            directory / "etcd.log",
        )

    def start(self) -> None:
        self._process.start(self._is_healthy, deadline=30)

    def stop(self) -> None:
        self._process.stop()

    def revision(self) -> int:
        """The newest revision: the resourceVersion of the last write."""
        return int(self._call("/v3/kv/range", {"key": _text("none")})["header"]["revision"])

    def copy(self, copy: Path) -> None:
        """Copy its data. It must be stopped, as for an offline backup."""
        shutil.copytree(self._data, copy)

    def put_back(self, copy: Path) -> None:
        """Restore the data of a copy, with its revisions. It must be stopped."""
        shutil.rmtree(self._data)
        shutil.copytree(copy, self._data)

    def compact(self) -> int:
        """Forget every revision before the newest one; returns that.

        API servers learn it from `compact_rev_key`, which the one writes that compacts every five minutes.
        """
        revision = self.revision()
        self._call("/v3/kv/put", {"key": _text("compact_rev_key"), "value": _text(str(revision))})
        self._call("/v3/kv/compaction", {"revision": str(revision), "physical": True})
        return revision

    def _is_healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=1) as answer:
                return bool(json.load(answer)["health"] == "true")
        except OSError:
            return False

    def _call(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """etcd's JSON gateway: the v3 API with base64 keys."""
        request = urllib.request.Request(
            self.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                found: dict[str, Any] = json.load(answer)
        except urllib.error.HTTPError as error:
            raise Unavailable(f"etcd refused {path}: {error.read().decode(errors='replace')}") from error
        return found


def _text(value: str) -> str:
    return base64.b64encode(value.encode()).decode()
