"""Deletes pods some time after they have finished: those with the label `ttl-seconds-after-finished`."""

from __future__ import annotations

import time
from contextlib import suppress

from propeller.clock import parse_rfc3339
from propeller.errors import NotFound
from propeller.informers import Informer
from propeller.kube import PODS, Client, Pod, connect, load_connection
from propeller.reconcile import Controller, Result, WorkQueue, run_until_signal

LABEL = "ttl-seconds-after-finished"


async def delete_finished_pods(client: Client) -> None:
    """Run until cancelled."""
    async with Informer(client, PODS, label_selector=LABEL) as pods:
        queue: WorkQueue[str] = WorkQueue(tenant=lambda key: key.partition("/")[0])  # fair between namespaces

        async def reconcile(key: str) -> Result | None:
            pod = pods.store.get(key)
            ttl = (pod.metadata.labels or {})[LABEL] if pod and has_finished(pod) else ""
            if pod is None or not ttl.isdecimal():
                return None
            left = finished_at(pod) + int(ttl) - time.time()
            if left > 0:
                return Result(requeue_after=left)
            with suppress(NotFound):
                await client.delete(PODS, pod.metadata.name, pod.metadata.namespace, uid=pod.metadata.uid)
            return None

        pods.subscribe(lambda change: queue.add(change.key))
        await Controller(queue, reconcile, name="pod-ttl", synced=pods.has_synced).run()


def has_finished(pod: Pod) -> bool:
    return pod.status.phase in ("Succeeded", "Failed") and not pod.metadata.deletion_timestamp


def finished_at(pod: Pod) -> float:
    ends = [end.finished_at for one in pod.status.container_statuses if (end := one.state.terminated)]
    known = [end for end in ends if end] or [pod.metadata.creation_timestamp or ""]
    return max(map(parse_rfc3339, known))


async def main() -> None:
    async with connect(load_connection()) as client:
        await delete_finished_pods(client)


if __name__ == "__main__":
    run_until_signal(main())
