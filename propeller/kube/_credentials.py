"""Obtain a bearer token with kubernetes-asyncio's config loader, in a process of its own: importing it costs 112 MB.

`python -m propeller.kube._credentials KUBECONFIG CONTEXT` prints `{"token": ..., "expires": epoch seconds or null}`.
"""

from __future__ import annotations

import asyncio
import json
import sys

from kubernetes_asyncio import client, config


async def obtain(kubeconfig: str, context: str) -> dict[str, object]:
    """The token for a context, by whatever its user entry asks for: exec plugin, OIDC, cloud provider."""
    configuration = client.Configuration()
    loader = await config.load_kube_config(kubeconfig, context, configuration)
    token = str(configuration.api_key.get("BearerToken", "")).removeprefix("Bearer ")
    expiry = getattr(loader, "exec_plugin_expiry", None)  # an attribute only where a plugin named a time
    return {"token": token, "expires": expiry.timestamp() if expiry is not None else None}


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
