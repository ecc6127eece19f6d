"""`propeller cluster`: the embedded cluster over HTTP, for kubectl, tests, and trying things out."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from propeller.cli._event_loop import run
from propeller.cli._files import private_kubeconfig
from propeller.cli._output import say
from propeller.cli._settings import load_settings, with_max_pods
from propeller.config import RoutingOptions, Settings
from propeller.controller import Recorder, WorkflowController, workflow_crd
from propeller.embedded import embedded_cluster
from propeller.embedded.server import own_certificate
from propeller.fairqueues import fair_queue_crd
from propeller.kube import CUSTOM_RESOURCE_DEFINITIONS, NAMESPACES
from propeller.routing import routing_table_crd
from propeller.storage import Storage


def serve_cluster(
    *, port: int, kubeconfig: str, controller: bool, python: str, max_pods: int | None, tls: bool, config: str | None
) -> None:
    """Serve an API server whose pods run as processes of this machine, until Ctrl-C."""
    settings = with_max_pods(load_settings(config), max_pods)
    kubelet = msgspec.structs.replace(settings.kubelet, python=python, project=str(Path.cwd()))
    settings = msgspec.structs.replace(settings, kubelet=kubelet, routing=RoutingOptions())  # it is one cluster
    run(_serve(port, Path(kubeconfig), settings, with_controller=controller, with_tls=tls))


async def _serve(port: int, kubeconfig: Path, settings: Settings, *, with_controller: bool, with_tls: bool) -> None:
    async with AsyncExitStack() as stack:
        workdir = stack.enter_context(tempfile.TemporaryDirectory(prefix="propeller-", ignore_cleanup_errors=True))
        cluster = await stack.enter_async_context(embedded_cluster(Path(workdir), settings))
        await cluster.client.create(NAMESPACES, {"metadata": {"name": "flytesnacks-development"}})
        for definition in (workflow_crd(), fair_queue_crd(), routing_table_crd()):
            await cluster.client.create(CUSTOM_RESOURCE_DEFINITIONS, definition)
        if with_controller:
            storage = await stack.enter_async_context(Storage(settings.storage))
            recorder = await stack.enter_async_context(Recorder(cluster.client, settings.events))
            controller = WorkflowController(cluster.client, storage, settings, recorder=recorder)
            await stack.enter_async_context(controller.running())
        tls, ca = await own_certificate() if with_tls else (None, None)
        front = await stack.enter_async_context(cluster.server.serve(port=port, tls=tls, ca=ca))
        stack.enter_context(private_kubeconfig(kubeconfig, front.kubeconfig(), "--kubeconfig"))
        where = urlsplit(front.url).netloc  # the path is a secret
        say(f"serving {where}; use it with: kubectl --kubeconfig {kubeconfig}", to_stderr=True)
        await asyncio.Event().wait()  # until cancelled
