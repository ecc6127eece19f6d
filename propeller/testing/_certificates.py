"""Certificates of a test's own authority, made with the openssl command.

Clients verify them against the authority's certificate, as in production.

Errors
    MissingComponent if there is no openssl, Unavailable with its output if it fails.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import msgspec

from propeller.errors import Unavailable
from propeller.testing._components import binary

_DAYS = "2"

_AUTHORITY = """
[req]
distinguished_name = name
prompt = no
x509_extensions = extensions
[name]
CN = {name}
[extensions]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
"""

_SERVER = """
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
authorityKeyIdentifier = keyid
subjectAltName = {names}
"""

LOOPBACK = ("IP:127.0.0.1", "DNS:localhost", "DNS:kubernetes.default.svc")

_CLIENT = """
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth
authorityKeyIdentifier = keyid
"""


class Pair(msgspec.Struct, frozen=True):
    """A certificate and its key, as PEM files."""

    certificate: Path
    key: Path


class Authority:
    """A certificate authority that lives in `directory`."""

    def __init__(self, directory: Path, name: str = "propeller tests") -> None:
        self._directory = directory
        self.pair = Pair(directory / "ca.crt", directory / "ca.key")
        config = directory / "ca.cnf"
        config.write_text(_AUTHORITY.format(name=name))
        make_key(self.pair.key)
        _openssl(
            "req", "-x509", "-new", "-key", self.pair.key, "-config", config, "-days", _DAYS,
            "-out", self.pair.certificate,
        )  # fmt: skip

    @property
    def pem(self) -> bytes:
        """The authority's own certificate, for clients to verify servers by."""
        return self.pair.certificate.read_bytes()

    def server(self, name: str = "server", names: Sequence[str] = LOOPBACK) -> Pair:
        """Issue a certificate for a server of these names, in OpenSSL's words; by default one on loopback."""
        return self._issue(name, "/CN=kube-apiserver", _SERVER.format(names=", ".join(names)))

    def client(self, user: str, group: str) -> Pair:
        """Issue a certificate for a client that Kubernetes knows as `user` of `group`."""
        return self._issue(user, f"/O={group}/CN={user}", _CLIENT)

    def _issue(self, name: str, subject: str, extensions: str) -> Pair:
        pair = Pair(self._directory / f"{name}.crt", self._directory / f"{name}.key")
        request, extension_file = self._directory / f"{name}.csr", self._directory / f"{name}.ext"
        extension_file.write_text(extensions)
        make_key(pair.key)
        _openssl("req", "-new", "-key", pair.key, "-subj", subject, "-out", request)
        _openssl(
            "x509", "-req", "-in", request, "-CA", self.pair.certificate, "-CAkey", self.pair.key, "-CAcreateserial",
            "-days", _DAYS, "-extfile", extension_file, "-out", pair.certificate,
        )  # fmt: skip
        return pair


def make_key(path: Path) -> Path:
    """A new private key (ECDSA P-256)."""
    _openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", path)
    return path


def _openssl(*arguments: str | Path) -> None:
    try:
        subprocess.run([binary("openssl"), *map(str, arguments)], check=True, capture_output=True, text=True)
    except subprocess.CalledProcessError as error:
        raise Unavailable(f"openssl {arguments[0]} failed: {error.stderr.strip()}") from error
