"""The server's address for other processes, and its kubeconfig."""

from __future__ import annotations

import base64
from typing import Any

_NAME = "embedded"


class Front:
    """Where the server listens, and the bearer `token` that it requires."""

    def __init__(self, url: str, token: str, ca: bytes | None) -> None:
        self.url = url
        self.token = token
        self._ca = ca

    def __repr__(self) -> str:
        return f"Front({self.url})"

    def kubeconfig(self, namespace: str = "default") -> dict[str, Any]:
        """A kubeconfig with one context, as JSON (which is YAML)."""
        is_secure = self.url.startswith("https")
        cluster: dict[str, Any] = {"server": self.url if is_secure else f"{self.url}/{self.token}"}
        if self._ca is not None:
            cluster["certificate-authority-data"] = base64.b64encode(self._ca).decode()
        context = {"cluster": _NAME, "user": _NAME, "namespace": namespace}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": _NAME, "cluster": cluster}],
            "users": [{"name": _NAME, "user": {"token": self.token}}],
            "contexts": [{"name": _NAME, "context": context}],
            "current-context": _NAME,
        }
