"""Exec plugins of kubeconfigs: a command that gives a token, or a client certificate and its key (KEP-541).

Guarantees
    The command's environment is client-go's: `env` over our own, and KUBERNETES_EXEC_INFO with the cluster, if the
    kubeconfig asks for that. It may use the terminal only if its interactiveMode allows it and standard input is one.
    Its output is used only if it is complete: of the version that the kubeconfig names, with a token or a certificate
    that fits its key.
Errors
    Denied, naming the command and the user entry; with the kubeconfig's installHint if the command is not there.
Source
    client.authentication.k8s.io/v1 and v1beta1.
"""

from __future__ import annotations

import datetime
import os
import shutil
import ssl
import sys
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from propeller.decoding import UNDECODABLE
from propeller.errors import Denied, Invalid
from propeller.kube._command import CommandError, Transcript, output_of
from propeller.kube._tls import show_certificate
from propeller.kube._transport import Credential
from propeller.text import bounded, one_line

INFO = "KUBERNETES_EXEC_INFO"
HINT_CHARACTERS = 2048

Time = Annotated[datetime.datetime, msgspec.Meta(tz=True)]


class _Status(msgspec.Struct, frozen=True, rename="camel"):
    token: str | None = None
    client_certificate_data: str | None = None
    client_key_data: str | None = None
    expiration_timestamp: Time | None = None


class _ExecCredential(msgspec.Struct, frozen=True, rename="camel"):
    api_version: str = ""
    kind: str = ""
    status: _Status | None = None


class ExecPlugin(msgspec.Struct, frozen=True, kw_only=True):
    """A user entry's `exec`. `source` names the entry and its file."""

    command: str
    args: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    api_version: str
    interactive_mode: str = "Never"
    install_hint: str = ""
    cluster: Mapping[str, Any] | None = None
    """The cluster as the plugin sees it; None unless the kubeconfig says that it may."""
    source: str

    def __repr__(self) -> str:
        return f"ExecPlugin({self.command!r})"  # arguments and environment may hold secrets

    @property
    def where(self) -> str:
        return f"exec plugin {self.command!r} of {self.source}"

    @property
    def interactive(self) -> bool:
        """Whether the plugin may prompt at the terminal."""
        return self.interactive_mode != "Never" and sys.stdin is not None and os.isatty(0)

    async def obtain(self, transcript: Transcript) -> Credential:
        """Run the plugin. Raises Denied."""
        interactive = self.interactive
        if self.interactive_mode == "Always" and not interactive:
            raise Denied(
                f"{self.where} has interactiveMode Always, and standard input is not a terminal: run it in one, or "
                "name a user whose plugin asks nobody"
            )
        found = shutil.which(self.command)
        if found is None:
            raise Denied(self._not_found("is not there, or is not executable"))
        spec: dict[str, Any] = {"interactive": interactive}
        if self.cluster is not None:
            spec["cluster"] = self.cluster
        info = {"kind": "ExecCredential", "apiVersion": self.api_version, "spec": spec}
        environment = {**os.environ, **dict(self.env), INFO: msgspec.json.encode(info).decode()}
        try:
            output = await output_of((found, *self.args), environment, transcript, interactive=interactive)
        except CommandError as error:
            raise Denied(f"{self.where} failed: {error}") from error
        except (OSError, ValueError) as error:  # ValueError: a null byte in an argument
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise Denied(self._not_found(f"cannot be started: {reason}")) from error
        return self._credential(output)

    def _not_found(self, what: str) -> str:
        hint = f". Hint: {bounded(one_line(self.install_hint.strip()), HINT_CHARACTERS)}" if self.install_hint else ""
        return f"{self.where} {what}{hint}"

    def _credential(self, output: bytes) -> Credential:
        try:
            answer = msgspec.json.decode(output, type=_ExecCredential)
        except UNDECODABLE as error:
            raise Denied(f"{self.where} printed no ExecCredential ({error})") from None  # it may quote a token
        if answer.kind != "ExecCredential" or answer.api_version != self.api_version:
            raise Denied(
                f"{self.where} printed kind {bounded(answer.kind, 64)!r} of {bounded(answer.api_version, 64)!r}; the "
                f"kubeconfig asks for ExecCredential of {self.api_version!r}"
            )
        if answer.status is None:
            raise Denied(f"{self.where} printed an ExecCredential without status")
        return self._checked(answer.status)

    def _checked(self, status: _Status) -> Credential:
        certificate, key = status.client_certificate_data or "", status.client_key_data or ""
        if bool(certificate) != bool(key):
            given, missing = ("Certificate", "Key") if certificate else ("Key", "Certificate")
            raise Denied(f"{self.where} gave status.client{given}Data without status.client{missing}Data")
        if not (status.token or certificate):
            raise Denied(f"{self.where} gave neither status.token nor a client certificate with its key")
        try:
            if certificate:
                show_certificate(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), certificate.encode(), key.encode())
        except Invalid as error:
            raise Denied(
                f"{self.where}: what status.clientCertificateData and clientKeyData hold cannot be used ({error})"
            ) from error
        expires = status.expiration_timestamp
        return Credential(
            token=status.token or "",
            certificate=certificate.encode(),
            key=key.encode(),
            expires=expires.timestamp() if expires is not None else None,
        )
