"""A certificate of the server's own, for as long as it runs: made with the openssl command, trusted by its kubeconfig.

Guarantees
    The private key is in a directory of the user's own (mode 0700), and removed before this returns.
"""

from __future__ import annotations

import asyncio
import ssl
import tempfile
from pathlib import Path

from propeller.errors import Invalid

_DAYS = "30"
_ARGUMENTS = (
    *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", _DAYS),
    *("-subj", "/CN=propeller embedded", "-addext", "subjectAltName=IP:127.0.0.1,IP:::1,DNS:localhost"),
)


async def own_certificate() -> tuple[ssl.SSLContext, bytes]:
    """A context to serve with on loopback, and the certificate (PEM) that clients verify it by.

    Raises Invalid if there is no openssl, or it fails.
    """
    with tempfile.TemporaryDirectory(prefix="propeller-") as directory:
        key, certificate = Path(directory, "key"), Path(directory, "certificate")
        try:
            process = await asyncio.create_subprocess_exec(
                *("openssl", *_ARGUMENTS, "-keyout", str(key), "-out", str(certificate)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
            )
        except OSError as error:
            raise Invalid("TLS needs the openssl command: install openssl, or serve without TLS") from error
        _, said = await process.communicate()
        if process.returncode:
            raise Invalid(f"openssl made no certificate: {said.decode(errors='replace').strip()[-200:]}")
        return _loaded(certificate, key)


def _loaded(certificate: Path, key: Path) -> tuple[ssl.SSLContext, bytes]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    return context, certificate.read_bytes()
