"""Obtain a bearer token from an auth provider with kubernetes-asyncio's config loader, as a command.

`python -m propeller.kube._auth_provider_main KUBECONFIG CONTEXT` prints `{"token": ...}`.
"""

from __future__ import annotations

import asyncio
import json
import sys

from kubernetes_asyncio import client, config


async def obtain(kubeconfig: str, context: str) -> dict[str, str]:
    """The token for a context whose user entry has an auth provider."""
    configuration = client.Configuration()
    await config.load_kube_config(kubeconfig, context, configuration)
    token = str(configuration.api_key.get("BearerToken", "")).removeprefix("Bearer ")
    return {"token": token}


def main() -> int:
    try:
        found = asyncio.run(obtain(sys.argv[1], sys.argv[2]))
    except Exception as error:  # noqa: BLE001 - plugins raise anything; the caller reads one line
        print(f"{type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201 - this process speaks by its streams
        return 1
    if not found["token"]:
        print("the user entry gave no token", file=sys.stderr)  # noqa: T201
        return 1
    json.dump(found, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
