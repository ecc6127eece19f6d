"""Auth providers of kubeconfigs (`auth-provider`: oidc and those of clouds), which kubernetes-asyncio knows.

Guarantees
    They are asked in a process of their own: importing kubernetes-asyncio costs 112 MB.
Errors
    Denied, naming the context and the kubeconfig.
"""

from __future__ import annotations

import os
import sys

import msgspec

from propeller.errors import Denied
from propeller.kube._command import CommandError, Transcript, output_of
from propeller.kube._transport import Credential

OBTAIN = (sys.executable, "-m", "propeller.kube._auth_provider_main")
"""The command that obtains a token; kubeconfig and context follow."""


class _Obtained(msgspec.Struct, frozen=True):
    token: str

    def __repr__(self) -> str:
        return "_Obtained(...)"


class AuthProvider(msgspec.Struct, frozen=True, kw_only=True):
    """The auth provider of a context's user."""

    kubeconfig: str
    context: str

    @property
    def where(self) -> str:
        return f"the auth provider of context {self.context!r} of {self.kubeconfig}"

    @property
    def interactive(self) -> bool:
        return False

    async def obtain(self, transcript: Transcript) -> Credential:
        """Ask for a token. Raises Denied."""
        try:
            output = await output_of((*OBTAIN, self.kubeconfig, self.context), os.environ, transcript)
            found = msgspec.json.decode(output, type=_Obtained)
        except (CommandError, OSError) as error:
            raise Denied(f"{self.where} failed: {error}") from error
        except ValueError:
            raise Denied(f"{self.where} gave what is no token") from None  # the error may quote it
        return Credential(token=found.token)
