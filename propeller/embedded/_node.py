"""The kubelet as the node of any cluster: the embedded one, or one with a real API server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from propeller.clock import SYSTEM_CLOCK, Clock
from propeller.config import Settings
from propeller.embedded.kubelet import ClientApi, Kubelet, PodSeen
from propeller.informers import Change, Informer
from propeller.kube import PODS, Client, Raw


@asynccontextmanager
async def run_kubelet(
    client: Client,
    workdir: Path,
    settings: Settings = Settings(),
    *,
    node_name: str = "embedded",
    api_server: tuple[str, int] | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> AsyncIterator[Kubelet]:
    """A kubelet of any cluster, the embedded one or a real one. With `api_server`, host and port, pods find the API
    server by the usual variables; their service accounts' tokens are in their volumes, if the server's admission adds
    them.
    """
    api = ClientApi(client, follow=follow_pods(client, settings, clock))
    async with Kubelet(
        api, workdir=workdir, settings=settings.kubelet, clock=clock, node_name=node_name, api_server=api_server
    ) as kubelet:
        yield kubelet


def follow_pods(
    client: Client, settings: Settings, clock: Clock
) -> Callable[[PodSeen], AbstractAsyncContextManager[None]]:
    """Return a kubelet's source of pods: an informer of whole pods."""

    @asynccontextmanager
    async def follow(seen: PodSeen) -> AsyncIterator[None]:
        def tell(change: Change[Raw]) -> None:
            pod = change.new if change.new is not None else change.old
            assert pod is not None
            seen(pod, change.new is None)

        async with Informer(client, PODS.typed(Raw), settings=settings.informers) as pods:
            pods.subscribe(tell)
            await pods.wait_for_sync(settings.client.deadline)
            yield

    return follow
