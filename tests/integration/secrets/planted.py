"""Secrets that tests plant, and a server that echoes what it is sent: the worst that a debugging proxy may do."""

from __future__ import annotations

import base64
import json
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

MARK = "x7Qz"
SECRET = f"PLANTED-1-{MARK}"
"""In no form that a pattern knows: only a name beside it, or its place, says what it is."""

ACCESS_KEY = f"AKIA{MARK.upper()}PLANTED12345"[:20]
TOKEN = f"eyJhbGciOiJub25lIn0.{MARK}PLANTED.{MARK}"
BASIC = base64.b64encode(f"me:{SECRET}".encode()).decode()
PEM = f"-----BEGIN PRIVATE KEY-----\n{MARK}PLANTED\n-----END PRIVATE KEY-----"
FORMS = (MARK, ACCESS_KEY, BASIC, base64.b64encode(PEM.encode()).decode()[:40])

SIGNED = f"https://bucket/key?X-Amz-Credential={ACCESS_KEY}%2Fs3&X-Amz-Security-Token={SECRET}&X-Amz-Signature={SECRET}"


def assert_nothing_came_out(text: str) -> None:
    """None of the planted values, in any of their forms."""
    lower = text.lower()
    found = [form for form in FORMS if form.lower() in lower]
    assert not found, f"{found} came out:\n{text}"


def all_text_of(error: BaseException) -> str:
    """What anybody may print of an error: itself in every form, and its traceback with the errors that caused it."""
    shown = [error]
    while (cause := shown[-1].__cause__) is not None:
        shown.append(cause)
    ours = [f"{one} {one!r}" for one in shown if type(one).__module__.startswith("propeller")]
    return "\n".join([*ours, *traceback.format_exception(error)])


def kubeconfig(
    directory: Path, server: str, *, cluster: dict[str, Any] | None = None, user: dict[str, Any] | None = None
) -> str:
    """The path of one with these sections, and a planted token where no user is given."""
    path = directory / "kubeconfig"
    document = {
        "current-context": "here",
        "clusters": [{"name": "c", "cluster": {"server": server, **(cluster or {})}}],
        "users": [{"name": "u", "user": {"token": TOKEN} if user is None else user}],
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "ns"}}],
    }
    path.write_text(yaml.safe_dump(document))
    return str(path)


def plugin(directory: Path, script: str) -> dict[str, Any]:
    """The user of a kubeconfig whose exec plugin is this shell script."""
    path = directory / "plugin"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    version = "client.authentication.k8s.io/v1"
    return {"exec": {"apiVersion": version, "command": str(path), "interactiveMode": "Never"}}


def closed_port() -> int:
    """A port that nobody listens on."""
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        return server.server_port


@contextmanager
def echoing_server(status: int, *, kubernetes: bool = True) -> Iterator[str]:
    """The address of a server that answers all requests with `status` and the request's own headers as the reason."""

    class Echo(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", "0")))
            said = f"refused: {self.headers}\nAuthorization: Bearer {TOKEN}\ntoken={SECRET}, see {SIGNED}\n{PEM}"
            body = json.dumps({"kind": "Status", "code": status, "reason": "", "message": said}) if kubernetes else said
            data = body.encode()
            self.send_response(status)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    for method in ("GET", "PUT", "POST", "PATCH", "DELETE", "HEAD", "CONNECT"):
        setattr(Echo, f"do_{method}", Echo.answer)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
