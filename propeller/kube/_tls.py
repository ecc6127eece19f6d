"""TLS of one API server: the authorities to trust, and the certificate to show.

Guarantees
    The server's certificate is verified unless the connection says otherwise. A key is in a file of ours for no longer
    than it takes to read it.
    Files that the kubeconfig names are checked when a connection is opened, and changes are used from then on. While a
    certificate and its key do not fit together (one is written, the other not yet), the last that did are used.
Errors
    Invalid, for malformed certificates and keys.
"""

from __future__ import annotations

import logging
import ssl
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from propeller.errors import Invalid
from propeller.kube._transport import NOBODY, Credential

if TYPE_CHECKING:
    from propeller.kube._connection import Connection

log = logging.getLogger(__name__)

Signature = tuple[tuple[int, int, int], ...]

_FILES = {"ca": "ca_file", "client_certificate": "client_certificate_file", "client_key": "client_key_file"}


class TlsSource:
    """Call it for the context of a connection that is about to be opened: the same object as long as no file changed,
    and no other certificate than before was obtained.

    Raises Invalid when made.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._context = tls_context(connection)
        self._paths = {field: path for field, name in _FILES.items() if (path := getattr(connection, name))}
        self._seen: Signature | None = None  # the files may have changed since the connection was read
        self._obtains = connection.exec_plugin is not None

    def __call__(self, credential: Credential = NOBODY) -> ssl.SSLContext:
        if self._paths:
            self._look()
        if self._obtains and credential.certificate != (self._connection.client_certificate or b""):
            shown = {"client_certificate": credential.certificate, "client_key": credential.key}
            self._connection = msgspec.structs.replace(self._connection, **shown)
            self._context = tls_context(self._connection)
        return self._context

    def _look(self) -> None:
        try:
            signature = tuple(_signature(path) for path in self._paths.values())
            if signature == self._seen:
                return
            self._seen = signature
            content = {field: Path(path).read_bytes() for field, path in self._paths.items()}
            if all(getattr(self._connection, field) == data for field, data in content.items()):
                return
            changed = msgspec.structs.replace(self._connection, **content)
            self._context = tls_context(changed)
        except (OSError, Invalid) as error:
            log.warning("certificates for %s have changed and cannot be used yet: %s", self._connection.origin, error)
            return
        self._connection = changed
        log.info("certificates for %s have changed and are in use", changed.origin)


def _signature(path: str) -> tuple[int, int, int]:
    """Of the file behind the path: mounted secrets are replaced by turning a link."""
    found = Path(path).stat()
    return found.st_mtime_ns, found.st_size, found.st_ino


def tls_context(connection: Connection) -> ssl.SSLContext:
    """Verifies the server unless the kubeconfig says otherwise; shows the client certificate if there is one."""
    try:
        context = ssl.create_default_context(cadata=connection.ca.decode() if connection.ca else None)
    except (ssl.SSLError, ValueError) as error:
        raise Invalid(f"certificate-authority of {connection.origin} is no PEM certificate: {error}") from error
    if not connection.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if connection.client_certificate and connection.client_key:
        try:
            show_certificate(context, connection.client_certificate, connection.client_key)
        except Invalid as error:
            raise Invalid(f"client certificate or key for {connection.origin} is not usable: {error}") from error
    return context


def show_certificate(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """Have the context show a client certificate (PEM). Raises Invalid if the two are none, or do not fit together."""
    # ssl reads certificates from files only; these live as long as this call, and only we can read them
    with tempfile.TemporaryDirectory() as directory:
        paths = Path(directory, "cert"), Path(directory, "key")
        for path, data in zip(paths, (certificate, key), strict=True):
            path.touch(mode=0o600)
            path.write_bytes(data)
        try:
            context.load_cert_chain(*paths, password="")
        except (OSError, ValueError) as error:
            raise Invalid(str(error)) from error
